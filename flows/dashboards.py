"""`wam-audit ui`: the Prefect and the MLflow server on this machine, with the right environment.

Both are ordinary servers of their projects, started as child processes on loopback. Prefect
shares its database (PREFECT_HOME) with the audits of the command line, MLflow the database beside
the audits, so every audit that ran here shows up.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.servers import Server, check_running, free_port, read, serving, wait_until_healthy
from tasks.errors import ConfigError
from tasks.tracking import artifact_root, without_password

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_WATCH_EVERY_S = 1.0
_NO_TELEMETRY = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
# Where the caller's own audits report is nothing to the servers; a run of his is not theirs.
_NOT_INHERITED = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID")
_say = functools.partial(print, flush=True)


@dataclass(frozen=True)
class Dashboards:
    """Addresses of the pages.

    Args:
        mlflow: The server's address: ours, or that of a remote tracking server.
        experiment: Page with the charts of the audits' runs; MLflow's start page shows GenAI
            traces first.
    """

    prefect: str
    mlflow: str
    experiment: str


def run_dashboards(
    store_url: str,
    tracking_uri: str,
    *,
    experiment: str = "wam-audit",
    host: str = "127.0.0.1",
    prefect_port: int = 4200,
    mlflow_port: int = 5000,
    allow_remote: bool = False,
    startup_timeout_s: float = 180.0,
    say: Callable[[str], None] = _say,
    stop: threading.Event | None = None,
) -> None:
    """Serve both dashboards until Ctrl-C, SIGTERM or the end of the terminal; then stop them.

    Args:
        store_url: `store.url`, named in the output.
        tracking_uri: As `tasks.tracking.resolve_tracking_uri` gives it; of a server that already
            runs elsewhere only the address is printed.
        experiment: `tracking.experiment`.
        prefect_port: The next free port is taken, and said, if this one is in use.
        mlflow_port: As `prefect_port`.
        allow_remote: Serve other machines too; both servers trust everyone who reaches them.
        startup_timeout_s: How long each server may take; the first start creates databases.
        say: Shows one line to the person.
        stop: Ends the dashboards when it is set; needed outside the main thread, where no signal
            handler can be installed.

    Raises:
        ConfigError: If the host or a port cannot be used.
        AuditError: If a server does not start, or ends by itself.
    """
    stop = threading.Event() if stop is None else stop
    _check_host(host, allow_remote=allow_remote, say=say)
    with _stopped_by_signals(stop), tempfile.TemporaryDirectory(prefix="wam-audit-ui-") as logs:
        plan = _Plan(tracking_uri, host, prefect_port, mlflow_port, Path(logs))
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(server) for server in _servers(plan, say)]
            say("Starting; the first start takes up to a minute ...")
            if all(wait_until_healthy(server, startup_timeout_s, stop) for server in servers):
                _announce(_addresses(servers, tracking_uri, experiment), store_url, say)
                _watch(servers, stop)
            say("Stopping ...")
    say("Both dashboards are stopped.")


@dataclass(frozen=True)
class _Plan:
    tracking_uri: str
    host: str
    prefect_port: int
    mlflow_port: int
    logs: Path


def _servers(
    plan: _Plan, say: Callable[[str], None]
) -> Iterator[contextlib.AbstractContextManager[Server]]:
    prefect_port = _port("Prefect", plan.host, plan.prefect_port, set(), say)
    yield _prefect(plan, prefect_port)
    if not _runs_elsewhere(plan.tracking_uri):
        yield _mlflow(plan, _port("MLflow", plan.host, plan.mlflow_port, {prefect_port}, say))


def _prefect(plan: _Plan, port: int) -> contextlib.AbstractContextManager[Server]:
    api = f"{_address(_shown_host(plan.host), port)}/api"
    environment = {
        "PREFECT_SERVER_API_HOST": plan.host,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_API_URL": f"{_address(_local_host(plan.host), port)}/api",
        # Without it the page calls port 4200 whatever the port is.
        "PREFECT_SERVER_UI_API_URL": api,
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }
    command = [sys.executable, "-m", "prefect", "server", "start"]
    return serving(
        "Prefect",
        [*command, "--host", plan.host, "--port", str(port)],
        _inherited() | environment,
        address=_address(_shown_host(plan.host), port),
        health_url=f"{_address(_local_host(plan.host), port)}/api/health",
        log=plan.logs / "prefect.log",
    )


def _mlflow(plan: _Plan, port: int) -> contextlib.AbstractContextManager[Server]:
    address = _address(_shown_host(plan.host), port)
    # The URI may hold a password, and a command line is public on its machine.
    environment = {"MLFLOW_BACKEND_STORE_URI": plan.tracking_uri}
    folder = artifact_root(plan.tracking_uri)
    if folder is not None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        environment["MLFLOW_ARTIFACTS_DESTINATION"] = folder.as_uri()
    if not _is_loopback(plan.host):
        # MLflow refuses requests that name a host it does not know.
        name = _shown_host(plan.host)
        environment["MLFLOW_SERVER_ALLOWED_HOSTS"] = f"{name},{name}:*,localhost:*,127.0.0.1:*"
        environment["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = address
    # The job runner serves GenAI evaluations: a process of 240 MB that no audit needs.
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    return serving(
        "MLflow",
        [*command, "--host", plan.host, "--port", str(port)],
        _inherited() | environment,
        address=address,
        health_url=f"{_address(_local_host(plan.host), port)}/health",
        log=plan.logs / "mlflow.log",
    )


def _inherited() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    return kept | _NO_TELEMETRY


def _addresses(servers: list[Server], tracking_uri: str, experiment: str) -> Dashboards:
    prefect, *ours = servers
    if not ours:
        address = without_password(tracking_uri)
        return Dashboards(prefect.address, address, f"{address}/#/experiments")
    mlflow = ours[0]
    api = mlflow.health_url.removesuffix("/health") + "/api/2.0/mlflow/experiments/get-by-name"
    answer = read(f"{api}?{urllib.parse.urlencode({'experiment_name': experiment})}")
    page = f"{mlflow.address}/#/experiments"
    if answer is not None:
        identity = json.loads(answer)["experiment"]["experiment_id"]
        page += f"/{identity}/runs?compareRunsMode=CHART&workflowType=machine_learning"
    return Dashboards(prefect.address, mlflow.address, page)


def _announce(pages: Dashboards, store_url: str, say: Callable[[str], None]) -> None:
    say(f"Audits   {without_password(store_url)}")
    say(f"Prefect  {pages.prefect}")
    say(f"MLflow   {pages.mlflow}")
    say(f"Charts   {pages.experiment}")
    if pages.experiment.endswith("/#/experiments"):
        say("         (open the experiment there; it appears with its first published audit)")
    else:
        say('         (MLflow opens in its "GenAI" mode; this address shows the charts of runs)')
    reporting_to = os.environ.get("PREFECT_API_URL")
    if reporting_to and reporting_to.rstrip("/") != f"{pages.prefect}/api":
        say(
            f"Note: PREFECT_API_URL is {without_password(reporting_to)}; audits started with it "
            "appear there, not on the Prefect page above."
        )
    say("Ctrl-C stops both.")


def _watch(servers: list[Server], stop: threading.Event) -> None:
    while not stop.wait(_WATCH_EVERY_S):
        for server in servers:
            check_running(server)


@contextlib.contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Let signals only set the event: a second Ctrl-C must not cut the clean-up short."""

    def request_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, request_stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _port(name: str, host: str, wanted: int, taken: set[int], say: Callable[[str], None]) -> int:
    port = free_port(host, wanted, taken)
    if port != wanted:
        say(f"Port {wanted} is in use; {name} takes {port}.")
    return port


def _check_host(host: str, *, allow_remote: bool, say: Callable[[str], None]) -> None:
    if _is_loopback(host):
        return
    if not allow_remote:
        raise ConfigError(
            f"the dashboards would listen on {host}, where other machines reach them, and neither "
            "asks for a password: anyone there could delete runs and start deployments. Use "
            "127.0.0.1 (with an SSH tunnel from elsewhere), or allow it explicitly with "
            "--allow-remote."
        )
    say(f"WARNING: {host} is reachable from other machines, and neither dashboard has a password.")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _runs_elsewhere(tracking_uri: str) -> bool:
    return tracking_uri.startswith(("http://", "https://", "databricks", "uc"))


def _shown_host(host: str) -> str:
    """The host as browsers reach it: 0.0.0.0 is an address to listen on, not to call."""
    return socket.gethostname() if host in ("0.0.0.0", "::") else host


def _local_host(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
