"""`wam-audit data` as people use it: list, download, say the terms, fail with a message."""

import functools
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from flows import cli
from tasks.downloads import DATASETS, GROUPS
from tasks.errors import EXIT_DONE, EXIT_INCOMPLETE, EXIT_WRONG_USAGE


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Runs `wam-audit data …` in this process; (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WAM_DATA_ROOT", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["wam-audit", "data", *map(str, arguments)])
        code = EXIT_DONE
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or EXIT_DONE
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, " ".join(captured.err.split())

    return command


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Puts AdrenalMNIST3D's registry entry on a server on this machine; returns the file."""
    folder = tmp_path / "served"
    folder.mkdir()
    content = b"arrays" * 1000
    (folder / "adrenalmnist3d_64.npz").write_bytes(content)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    known = DATASETS["adrenalmnist3d"]
    file = replace(
        known.file,
        url=f"http://127.0.0.1:{server.server_port}/adrenalmnist3d_64.npz",
        checksum=f"md5:{hashlib.md5(content).hexdigest()}",
    )
    monkeypatch.setitem(DATASETS, "adrenalmnist3d", replace(known, file=file))
    yield folder / "adrenalmnist3d_64.npz"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_list_states_size_terms_and_origin_of_all(command):
    code, out, _ = command()
    assert code == EXIT_DONE
    for dataset in DATASETS.values():
        assert f"\n{dataset.name}: " in "\n" + out
        assert dataset.licence in out
        assert dataset.homepage in out
    assert "645.8 MB" in out
    assert "the publisher states no checksum" in out
    assert all(f"{name}: all of " in out for name in GROUPS)


def test_a_download_says_where_it_is_and_under_which_terms(command, served, tmp_path):
    code, out, err = command("adrenalmnist3d")
    assert code == EXIT_DONE
    path = tmp_path / "data/adrenalmnist3d_64.npz"
    assert path.read_bytes() == served.read_bytes()
    assert "adrenalmnist3d: downloaded and checked" in out
    assert str(path) in out
    assert "CC BY 4.0" in out
    assert "doi:10.1038/s41597-022-01721-8" in out
    assert f"export WAM_DATA_ROOT={tmp_path / 'data'}" in out
    assert "download adrenalmnist3d" in err


def test_the_second_time_nothing_is_downloaded(command, served, tmp_path, monkeypatch):
    monkeypatch.setenv("WAM_DATA_ROOT", str(tmp_path / "root"))
    assert command("adrenalmnist3d")[0] == EXIT_DONE
    served.unlink()
    code, out, _ = command("adrenalmnist3d", "--json")
    assert code == EXIT_DONE
    (record,) = json.loads(out)
    assert record["path"] == str(tmp_path / "root/adrenalmnist3d_64.npz")
    assert record["downloaded"] is False
    _, out, _ = command("adrenalmnist3d")
    assert "already there, nothing downloaded" in out
    assert "export" not in out


def test_a_file_that_is_gone(command, served, tmp_path):
    served.unlink()
    code, out, message = command("adrenalmnist3d", "--to", tmp_path / "to")
    assert code == EXIT_INCOMPLETE
    assert out == ""
    assert "the server answered 404" in message


def test_a_file_that_changed(command, served, tmp_path):
    served.write_bytes(b"something else")
    code, _, message = command("adrenalmnist3d", "--to", tmp_path / "to")
    assert code == EXIT_INCOMPLETE
    assert "does not match the known hash" in message
    assert not list((tmp_path / "to").rglob("*.npz"))


def test_an_unknown_name(command, tmp_path):
    code, _, message = command("esc5", "--to", tmp_path / "to")
    assert code == EXIT_WRONG_USAGE
    assert "there is no dataset 'esc5' to download; did you mean esc50?" in message
    assert not (tmp_path / "to").exists()


def test_data_of_ones_own_are_left_alone(command, tmp_path):
    (tmp_path / "data/esc10").mkdir(parents=True)
    (tmp_path / "data/esc10/manifest.csv").write_text("mine")
    code, _, message = command("esc10")
    assert code == EXIT_WRONG_USAGE
    assert "Nothing was changed. Move it away" in message


@pytest.mark.parametrize("name", ["esc10", "adrenalmnist3d", "imagenette"])
def test_a_machine_without_internet(name, tmp_path):
    """The real registry in a process of its own; the proxy is one that does not exist."""
    finished = subprocess.run(
        [sys.executable, "-m", "flows.cli", "data", name, "--to", str(tmp_path / "to")],
        env=os.environ | {"https_proxy": "http://127.0.0.1:1", "no_proxy": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == EXIT_INCOMPLETE
    message = " ".join(finished.stderr.split())
    assert f"cannot reach {DATASETS[name].file.url}" in message
    assert "needs the internet" in message
    by_hand = tmp_path / "to/.downloads" / DATASETS[name].file.name
    assert f"bring the file yourself: as {by_hand}" in message
    assert "Traceback" not in message
    assert finished.stdout == ""


def test_help_of_the_command_line_stays_light():
    """Neither pooch nor requests nor torch is needed to say what there is to do."""
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom flows.cli import app\n"
        "assert 'data' in CliRunner().invoke(app, ['--help']).output\n"
        "heavy = {'pooch', 'requests', 'torch', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert time.monotonic() - begun < 60
