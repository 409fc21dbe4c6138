"""`wam-audit ui` starts both servers, says where they are, and leaves nothing behind."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from uuid import uuid4

import pytest

from flows.dashboards import run_dashboards
from flows.servers import check_running, free_port, read, serving, wait_until_healthy
from tasks.errors import AuditError, ConfigError
from tasks.tracking import Publication, find_run, publish

MARK = "WAM_AUDIT_TEST_MARK"

SERVER = """
import sys
from http.server import HTTPServer, SimpleHTTPRequestHandler
HTTPServer(("127.0.0.1", int(sys.argv[1])), SimpleHTTPRequestHandler).serve_forever()
"""
STUBBORN_FAMILY = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", child])
print("ready", flush=True)
time.sleep(600)
"""


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def alive(mark):
    """Ids of the processes that inherited the mark, zombies aside."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (folder / "environ").read_bytes().split(b"\0")
            if f"{MARK}={mark}".encode() in environment:
                found.append(int(folder.name))
    return found


@pytest.fixture
def mark():
    """Marks the processes of one test; what a failed test leaves behind is ended."""
    value = uuid4().hex
    yield value
    for process_id in alive(value):
        os.kill(process_id, signal.SIGKILL)


def serve(tmp_path, mark, code, *arguments, port=1):
    return serving(
        "Test server",
        [sys.executable, "-c", code, *arguments],
        os.environ | {MARK: mark},
        address=f"http://127.0.0.1:{port}",
        health_url=f"http://127.0.0.1:{port}/",
        log=tmp_path / "server.log",
    )


def test_a_server_is_waited_for_and_stopped(tmp_path, mark, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.chdir(tmp_path)
    port = unused_port()
    with serve(tmp_path, mark, SERVER, str(port), port=port) as server:
        assert wait_until_healthy(server, 30, threading.Event())
        assert alive(mark) == [server.process.pid]
        assert read(f"{server.address}/missing") is None
    assert alive(mark) == []


def test_children_that_ignore_sigterm_end_too(tmp_path, mark, monkeypatch):
    monkeypatch.setattr("flows.servers._GRACE_S", 0.5)
    log = tmp_path / "server.log"
    with serve(tmp_path, mark, STUBBORN_FAMILY):
        deadline = time.monotonic() + 30
        while "ready" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(alive(mark)) == 2
    deadline = time.monotonic() + 5
    while alive(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive(mark) == []


def test_a_server_that_ends_is_reported_with_its_log(tmp_path, mark):
    with serve(tmp_path, mark, "print('no space left'); raise SystemExit(3)") as server:
        with pytest.raises(AuditError, match=r"(?s)ended with status 3.*no space left"):
            wait_until_healthy(server, 30, threading.Event())
        with pytest.raises(AuditError, match="ended with status 3"):
            check_running(server)


def test_a_server_that_never_answers_is_given_up(tmp_path, mark):
    with (
        serve(tmp_path, mark, "import time; time.sleep(600)", port=unused_port()) as server,
        pytest.raises(AuditError, match=r"did not answer .* within 0\.5 s"),
    ):
        wait_until_healthy(server, 0.5, threading.Event())
    assert alive(mark) == []


def test_waiting_ends_when_the_person_gives_up(tmp_path, mark):
    stop = threading.Event()
    stop.set()
    with serve(tmp_path, mark, "import time; time.sleep(600)") as server:
        assert not wait_until_healthy(server, 30, stop)


def test_the_next_free_port_is_taken():
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert port < free_port("127.0.0.1", port) <= port + 50
        assert free_port("127.0.0.1", port, {port + 1}) > port + 1


def test_a_host_of_another_machine_has_no_port():
    with pytest.raises(ConfigError, match=r"no free port on 192\.0\.2\.1"):
        free_port("192.0.2.1", 4200)


def test_an_unknown_host_is_named():
    with pytest.raises(ConfigError, match=r"the host 'no\.such\.invalid' is unknown"):
        free_port("no.such.invalid", 4200)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_other_machines_are_refused_unless_allowed(host):
    with pytest.raises(ConfigError, match=r"neither asks for a password.*--allow-remote"):
        run_dashboards("audits", "http://127.0.0.1:1", host=host)


def test_allowing_other_machines_warns(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    stop, lines = threading.Event(), []
    stop.set()
    port = unused_port()
    run_dashboards(
        "audits", "http://127.0.0.1:1", host="0.0.0.0", prefect_port=port, allow_remote=True,
        say=lines.append, stop=stop,
    )  # fmt: skip
    assert lines[0].startswith("WARNING: 0.0.0.0")
    assert lines[-1] == "Both dashboards are stopped."


START = """
import sys
from flows.dashboards import run_dashboards
store, uri, prefect_port, mlflow_port = sys.argv[1:]
run_dashboards(store, uri, prefect_port=int(prefect_port), mlflow_port=int(mlflow_port))
"""


def test_both_dashboards_work_and_ctrl_c_leaves_nothing(tmp_path, mark):
    store = tmp_path / "audits"
    uri = f"sqlite:///{store}/mlflow.db"
    publication = Publication("cats", "d" * 64, "wam-audit", counts={"ok": 1})
    publish(uri, publication)
    environment = os.environ | {MARK: mark, "PREFECT_HOME": str(tmp_path / "prefect")}
    environment["PREFECT_API_URL"] = "http://elsewhere:4200/api"
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        taken = busy.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-c", START, str(store), uri, str(taken), str(unused_port())],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            said = _until_started(process)
            _check_pages(said, taken, uri, publication)
            assert len(alive(mark)) >= 3
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")
    assert rest.splitlines()[-1] == "Both dashboards are stopped."
    assert alive(mark) == []


def _until_started(process):
    said = []
    for line in process.stdout:
        said.append(line.rstrip())
        if line.startswith("Ctrl-C"):
            return said
    raise AssertionError("\n".join([*said, process.stderr.read()]))


def _check_pages(said, taken, uri, publication):
    assert re.match(rf"Port {taken} is in use; Prefect takes \d+\.", said[0])
    assert any("PREFECT_API_URL is http://elsewhere:4200/api" in line for line in said)
    page = {line.split()[0]: line.split()[1] for line in said if "http://127" in line}
    assert b"<title>Prefect" in read(page["Prefect"])
    settings = json.loads(read(f"{page['Prefect']}/ui-settings"))
    assert settings["api_url"] == f"{page['Prefect']}/api"
    assert json.loads(read(f"{page['Prefect']}/api/health")) is True
    assert b"<title>MLflow" in read(page["MLflow"])
    experiment = re.search(r"/#/experiments/(\d+)/runs\?compareRunsMode=CHART", page["Charts"])
    run_id = find_run(uri, "wam-audit", publication.digest)
    served = json.loads(read(f"{page['MLflow']}/api/2.0/mlflow/runs/get?run_id={run_id}"))
    assert served["run"]["info"]["experiment_id"] == experiment[1]
    _check_publishing_over_http(page["MLflow"])


def _check_publishing_over_http(address):
    report = Path(__file__)
    publication = Publication(
        "dogs", "e" * 64, "over-http", counts={"ok": 2}, files={"report.html": report},
        dataset_name="dogs", dataset_digest="1",
    )  # fmt: skip
    published = publish(address, publication)
    assert published.url == f"{address}{published.page}"
    again = publish(address, publication)
    assert (again.run_id, again.already_published) == (published.run_id, True)
    query = f"path=report.html&run_uuid={published.run_id}"
    assert read(f"{address}/get-artifact?{query}") == report.read_bytes()
