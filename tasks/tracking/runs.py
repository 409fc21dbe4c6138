"""The MLflow run of an audit: found by tag, opened at the start, closed whatever happens.

Every call names its run; there is no active run, so flows in threads, an enclosing MLflow run
and the variable MLFLOW_RUN_ID cannot divert what is logged.
"""

from __future__ import annotations

import contextlib
import getpass
import logging
import time
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

from tasks.tracking.connection import TrackingError, connection, shortened, tag_values
from tasks.tracking.locations import artifact_root, is_server, without_password

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlflow import MlflowClient
    from mlflow.entities import Run

logger = logging.getLogger(__name__)

AUDIT_ID = "audit.id"
AUDIT_NAME = "audit.name"
ERROR = "audit.error"
SUPERSEDED_BY = "audit.superseded_by"

_AT_START = "The audit goes on without it, and tries again when its results are complete."
_AT_END = "The run may be shown with a wrong status; the audit is not affected."
# The page of such an experiment opens with charts of runs instead of GenAI traces.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}


def find_run(uri: str, experiment: str, digest: str) -> str | None:
    """The id of the run that belongs to an audit; None when there is none.

    Raises:
        TrackingError: If MLflow cannot be reached.
    """
    with connection(uri, f"looking for the run of audit {digest[:8]}", remedy="") as client:
        found = client.get_experiment_by_name(experiment)
        run = None if found is None else current_run(client, found.experiment_id, digest)
        return None if run is None else str(run.info.run_id)


@contextlib.contextmanager
def tracked_run(
    uri: str,
    experiment: str,
    name: str,
    digest: str,
    *,
    tags: Mapping[str, str] | None = None,
    killed_by: tuple[type[BaseException], ...] = (),
) -> Iterator[str | None]:
    """Show an audit as RUNNING while the block runs, and its outcome afterwards.

    The run is found again by its tag, so a resumed audit, also after SIGKILL, has one run. It
    ends FINISHED; KILLED after an interruption (KeyboardInterrupt, a signal turned into an
    exception, cancellation); FAILED, with the tag `audit.error`, after any other exception.

    Args:
        tags: Set at once, beside `audit.id` and `audit.name`.
        killed_by: Further exceptions that mean interruption, such as Prefect's CancelledRun.

    Yields:
        The run id; None if MLflow could not be reached. The audit is worth more than its display,
        so that is a warning; `publish` at the end tries again and says what failed.

    Raises:
        TrackingError: If the block succeeded but its run cannot be closed.
    """
    identity = tag_values({**(tags or {}), AUDIT_ID: digest, AUDIT_NAME: name})
    run_id = _open_or_warn(uri, experiment, name, digest, identity)
    try:
        yield run_id
    except BaseException as error:
        if run_id is not None:
            _close_or_warn(uri, experiment, digest, error, killed_by)
        raise
    if run_id is not None:
        with connection(uri, "closing the run of the audit", remedy=_AT_END) as client:
            # Publishing may have put a new run in the place of the one opened here.
            experiment_id = ensure_experiment(client, uri, experiment)
            run = current_run(client, experiment_id, digest)
            if run is not None and run.info.status != "FINISHED":
                client.set_terminated(run.info.run_id, "FINISHED")


def outcome(
    error: BaseException, killed_by: tuple[type[BaseException], ...] = ()
) -> tuple[str, str]:
    """Status and text of `audit.error` for an exception that ended an audit."""
    # What is not an Exception is a request to stop: Ctrl-C, SystemExit from a signal handler,
    # asyncio's CancelledError, Prefect's TerminationSignal.
    interrupted = not isinstance(error, Exception) or isinstance(
        error, (CancelledError, *killed_by)
    )
    text = without_password(f"{type(error).__name__}: {error}").rstrip(": ")
    return ("KILLED" if interrupted else "FAILED"), shortened(text, 2000)


def close_as(client: MlflowClient, run_id: str, error: BaseException, *killed_by: type) -> None:
    """Close a run with the status and the tag that the exception calls for."""
    status, text = outcome(error, killed_by)
    client.set_tag(run_id, ERROR, text)
    client.set_terminated(run_id, status)


def ensure_experiment(client: MlflowClient, uri: str, name: str) -> str:
    """The id of the experiment, created with an explicit place for its artifacts if need be."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return _create_experiment(client, uri, name)
    if experiment.lifecycle_stage != "active":
        raise TrackingError(
            f"the MLflow experiment '{name}' at {without_password(uri)} has been deleted. Restore "
            f"it (mlflow experiments restore -x {experiment.experiment_id}) or set "
            "tracking.experiment to another name; then `wam-audit report AUDIT` publishes."
        )
    return str(experiment.experiment_id)


def _create_experiment(client: MlflowClient, uri: str, name: str) -> str:
    from mlflow import MlflowException

    folder = artifact_root(uri)
    if folder is None and not (is_server(uri) or uri.startswith(("databricks", "uc"))):
        raise TrackingError(
            f"the database {without_password(uri)} has no experiment '{name}', and MLflow would "
            "put its artifacts into the current folder. Create it with a place of its own: mlflow "
            f"experiments create -n '{name}' -l s3://BUCKET/PATH (with MLFLOW_TRACKING_URI set); "
            "then `wam-audit report AUDIT` publishes."
        )
    location = None if folder is None else folder.as_uri()
    try:
        return str(client.create_experiment(name, location, _EXPERIMENT_TAGS))
    except MlflowException as error:
        # Another audit created it in between.
        experiment = client.get_experiment_by_name(name)
        if experiment is None or error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return str(experiment.experiment_id)


def runs_of(client: MlflowClient, experiment_id: str, digest: str) -> list[Run]:
    """Every active run of an audit that nothing supersedes, the newest first."""
    runs = client.search_runs(
        [experiment_id],
        filter_string=f"tags.`{AUDIT_ID}` = '{digest}'",
        order_by=["attributes.start_time DESC"],
    )
    return [run for run in runs if SUPERSEDED_BY not in run.data.tags]


def current_run(client: MlflowClient, experiment_id: str, digest: str) -> Run | None:
    """The run of an audit; None before its first one."""
    return next(iter(runs_of(client, experiment_id, digest)), None)


def create_run(client: MlflowClient, experiment_id: str, name: str, tags: Mapping[str, str]) -> Run:
    """A new run, RUNNING, that says who made it."""
    source = {
        "mlflow.source.name": "wam-audit",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _user(),
    }
    return client.create_run(experiment_id, int(time.time() * 1000), {**source, **tags}, name)


def _open_or_warn(
    uri: str, experiment: str, name: str, digest: str, tags: Mapping[str, str]
) -> str | None:
    try:
        with connection(uri, "opening the run of the audit", remedy=_AT_START) as client:
            experiment_id = ensure_experiment(client, uri, experiment)
            run = current_run(client, experiment_id, digest)
            if run is None:
                run = create_run(client, experiment_id, name, tags)
            else:
                _reopen(client, run, tags)
            return str(run.info.run_id)
    except TrackingError as error:
        logger.warning("%s", error)
        return None


def _reopen(client: MlflowClient, run: Run, tags: Mapping[str, str]) -> None:
    client.update_run(run.info.run_id, status="RUNNING")
    for key, value in tags.items():
        client.set_tag(run.info.run_id, key, value)
    if ERROR in run.data.tags:
        client.delete_tag(run.info.run_id, ERROR)


def _close_or_warn(
    uri: str,
    experiment: str,
    digest: str,
    error: BaseException,
    killed_by: tuple[type[BaseException], ...],
) -> None:
    """Never hides the exception that is under way."""
    try:
        with connection(uri, "closing the run of the audit", remedy=_AT_END) as client:
            experiment_id = ensure_experiment(client, uri, experiment)
            run = current_run(client, experiment_id, digest)
            if run is not None:
                close_as(client, run.info.run_id, error, *killed_by)
    except TrackingError as failure:
        logger.warning("%s", failure)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"
