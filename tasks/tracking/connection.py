"""A conversation with MLflow: quiet, bounded in time, free of global state, and never fatal.

MLflow reads retries and timeouts from environment variables at call time. They are set here, for
the length of a conversation and under a lock, and restored afterwards; nothing else in the
project touches them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

from tasks.errors import EXIT_INCOMPLETE, AuditError
from tasks.tracking.locations import is_server, sqlite_path, without_password

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mlflow import MlflowClient

_LOCK = threading.RLock()
_NO_TELEMETRY = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
# At most 8 + 1 + 8 s for a server that does not answer.
_KNOCK = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "8",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
# A report of some megabytes through a slow proxy takes its time.
_WORK = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "120",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
_PLAIN = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
}
# An enclosing MLflow run or model of the caller is not ours to write to.
_FOREIGN = ("MLFLOW_RUN_ID", "MLFLOW_ACTIVE_MODEL_ID", "_MLFLOW_ACTIVE_MODEL_ID")
_LOGGERS = ("mlflow", "alembic", "sqlalchemy", "urllib3")
_MESSAGE_LENGTH = 300

NOTHING_LOST = (
    "The audit folder is complete and nothing is lost; `wam-audit report AUDIT` publishes it later."
)


class TrackingError(AuditError):
    """MLflow could not be reached or refused; the audit folder is not touched by that."""

    exit_code: ClassVar[int] = EXIT_INCOMPLETE


@contextlib.contextmanager
def connection(uri: str, action: str, *, remedy: str = NOTHING_LOST) -> Iterator[MlflowClient]:
    """Open a conversation with MLflow.

    Args:
        uri: As `resolve_tracking_uri` gives it.
        action: What is being done, for the message: "publishing the audit".
        remedy: What the reader of the message can count on, and do.

    Yields:
        A client bound to `uri`, after MLflow has answered once.

    Raises:
        TrackingError: For any failure inside, so that MLflow can never end an audit by surprise.
    """
    try:
        with _LOCK, _quiet():
            client = _answering_client(uri)
            with _environment(_WORK | _PLAIN):
                yield client
    except AuditError:
        raise
    except Exception as error:
        raise TrackingError(
            f"MLflow at {without_password(uri)} failed while {action}: {_brief(error)} "
            f"{_advice(uri)}{remedy}"
        ) from error


def _answering_client(uri: str) -> MlflowClient:
    with _environment(_KNOCK | _PLAIN):
        # Set for good, before the import: MLflow's telemetry thread starts with it.
        os.environ.update({k: v for k, v in _NO_TELEMETRY.items() if k not in os.environ})
        from mlflow import MlflowClient

        _hush()
        path = sqlite_path(uri)
        with contextlib.nullcontext() if path is None else _one_creator(path):
            client = MlflowClient(tracking_uri=uri)
            client.search_experiments(max_results=1)
    return client


@contextlib.contextmanager
def _one_creator(database: Path) -> Iterator[None]:
    """Let one process at a time create the tables; two at once end in "table already exists"."""
    database.parent.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # not on POSIX
        yield
        return
    with database.with_name(f".{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that the user has not set himself, and put everything back afterwards."""
    changed: dict[str, str | None] = {
        name: value for name, value in values.items() if name not in os.environ
    }
    changed |= dict.fromkeys(_FOREIGN)
    before = {name: os.environ.get(name) for name in changed}
    _assign(changed)
    try:
        yield
    finally:
        _assign(before)


def _assign(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow's migrations, hints and retries off the terminal of the audit."""
    before = {name: logging.getLogger(name).level for name in _LOGGERS}
    _hush()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def _hush() -> None:
    """Also called after the import, which resets MLflow's own level."""
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    text = without_password(lines[0] if lines else "no message")[:_MESSAGE_LENGTH].rstrip(" .")
    return f"{type(error).__name__}: {text}."


def _advice(uri: str) -> str:
    if is_server(uri):
        return "Is the server running and reachable from this machine? "
    path = sqlite_path(uri)
    return "" if path is None else f"Is {path.parent} writable, with space left on the disk? "


def tag_values(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as MLflow takes them: text, within its limits of length."""
    return {str(key)[:250]: shortened(str(value), 5000) for key, value in tags.items()}


def shortened(text: str, length: int) -> str:
    """The text, ending in an ellipsis when it is longer than MLflow keeps."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
