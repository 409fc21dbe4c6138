"""A Prefect server for all flow runs of the session, and the command line as users call it."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

# Set before Prefect is imported: its settings are read then.
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,tasks,wam_core",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "NO_COLOR": "1",
}


@pytest.fixture(scope="session")
def quiet_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """No telemetry, and a Prefect home of our own; here and in child processes."""
    values = QUIET | {"PREFECT_HOME": str(tmp_path_factory.mktemp("prefect-home"))}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        yield values


@pytest.fixture(scope="session")
def prefect_server(quiet_environment: dict[str, str]) -> Iterator[None]:
    """One server for all flows that run in this process: starting it takes many seconds."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture(scope="session")
def empty_tracking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: creating its tables takes seconds."""
    from tasks.tracking.connection import connection

    path = tmp_path_factory.mktemp("tracking") / "mlflow.db"
    with connection(f"sqlite:///{path}", "creating the tables"):
        pass
    return path


@pytest.fixture
def tracking_at(empty_tracking: Path) -> Callable[[Path], Path]:
    """Puts a database without runs at a path."""

    def put(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(empty_tracking, path)
        return path

    return put


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The error in one line, however the terminal wrapped it."""
        return " ".join(self.err.split())


@pytest.fixture
def cli(
    prefect_server: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Callable[..., Finished]:
    """Runs a command in this process, with `sys.argv` and exit codes as a terminal has them."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Finished:
        from flows.cli import main

        monkeypatch.setattr(sys, "argv", ["wam-audit", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        captured = capsys.readouterr()
        finished = Finished(code, captured.out, captured.err)
        assert "Traceback" not in finished.out + finished.err
        return finished

    return run
