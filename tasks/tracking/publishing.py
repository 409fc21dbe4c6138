"""Publish an audit's results, once, whatever was published before.

MLflow appends metric points: logging them again would draw every curve twice. So the points of a
run are logged once, last, and marked by the tag `audit.published`, the SHA-256 of the points.

- The tag is there and equal: the numbers stay untouched; tables, figures and files are refreshed.
- The run has no points: it is filled.
- Anything else (other numbers, or a publication that died between its points and its tag): a new
  run is filled, then the old one is tagged `audit.superseded_by` and deleted. MLflow's deletion
  only hides; the page's filter "Deleted" shows such a run, and `mlflow runs restore` brings it
  back. So an audit has one active run, and no number that was ever shown is lost.

A parameter of MLflow cannot change. One that does (only settings that decide no number may, such
as the device) is written to the tag `param.<name>`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.tracking.connection import TrackingError, connection, shortened, tag_values
from tasks.tracking.locations import is_server
from tasks.tracking.metrics import LoggedMetrics, plan_metrics
from tasks.tracking.publication import Publication, PublishedRun
from tasks.tracking.runs import (
    AUDIT_ID,
    AUDIT_NAME,
    ERROR,
    SUPERSEDED_BY,
    close_as,
    create_run,
    ensure_experiment,
    logger,
    runs_of,
)

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.data.dataset_source import DatasetSource
    from mlflow.entities import DatasetInput, Run

PUBLISHED = "audit.published"
NOTE = "mlflow.note.content"

_PARAM_LENGTH = 500
_DATASET_DIGEST_LENGTH = 36


def publish(uri: str, publication: Publication) -> PublishedRun:
    """Publish an audit; repeating it changes nothing but the files.

    Args:
        uri: As `resolve_tracking_uri` gives it.

    Raises:
        TrackingError: For any failure. The run is then FAILED or, where MLflow is away, RUNNING;
            publishing again completes it.
    """
    logged = plan_metrics(publication.metrics, publication.counts)
    tags = _tags(publication, logged)
    with connection(uri, f"publishing audit '{publication.name}'") as client:
        experiment_id = ensure_experiment(client, uri, publication.experiment)
        earlier = runs_of(client, experiment_id, publication.digest)
        run = next((run for run in earlier if _usable(run, logged)), None)
        if run is None:
            run = create_run(client, experiment_id, publication.name, tags)
        complete = run.data.tags.get(PUBLISHED) == logged.fingerprint()
        _fill(client, run, publication, logged, tags)
        replaced = [old for old in earlier if old.info.run_id != run.info.run_id]
        superseded = _supersede(client, replaced, run.info.run_id)
    page = f"/#/experiments/{experiment_id}/runs/{run.info.run_id}"
    url = f"{uri}{page}" if is_server(uri) else ""
    return PublishedRun(run.info.run_id, experiment_id, page, url, complete, superseded)


def add_files(uri: str, run_id: str, files: Sequence[Path], folder: str) -> None:
    """Put files beside those of a published audit; the same names are written over.

    Args:
        uri: As `resolve_tracking_uri` gives it.
        folder: Of the run's artifacts.

    Raises:
        TrackingError: For any failure.
    """
    with connection(uri, f"adding files to run {run_id}") as client:
        for file in files:
            client.log_artifact(run_id, str(file), folder)


def _usable(run: Run, logged: LoggedMetrics) -> bool:
    published = run.data.tags.get(PUBLISHED)
    if published is None:
        return not run.data.metrics
    return published == logged.fingerprint()


def _fill(
    client: MlflowClient,
    run: Run,
    publication: Publication,
    logged: LoggedMetrics,
    tags: dict[str, str],
) -> None:
    """Bring everything into the run, the points last, and close it."""
    run_id = run.info.run_id
    try:
        _log_settings(client, run, publication, tags)
        _log_dataset(client, run, publication)
        _log_artifacts(client, run_id, publication, logged)
        if run.data.tags.get(PUBLISHED) is None:
            _log_points(client, run_id, logged)
        if run.info.status != "FINISHED":
            client.set_terminated(run_id, "FINISHED")
    except BaseException as error:
        _close_quietly(client, run_id, error)
        raise


def _log_settings(
    client: MlflowClient, run: Run, publication: Publication, tags: dict[str, str]
) -> None:
    from mlflow.entities import Param, RunTag

    params = {
        key[:250]: shortened(str(value), _PARAM_LENGTH) for key, value in publication.params.items()
    }
    known = run.data.params
    new = [Param(key, value) for key, value in params.items() if key not in known]
    changed = {
        f"param.{key}": value for key, value in params.items() if known.get(key, value) != value
    }
    note = {NOTE: shortened(publication.note, 5000)} if NOTE not in run.data.tags else {}
    rows = [RunTag(key, value) for key, value in (tags | changed | note).items() if value]
    client.log_batch(run.info.run_id, params=new, tags=rows, synchronous=True)
    if ERROR in run.data.tags:
        client.delete_tag(run.info.run_id, ERROR)


def _log_dataset(client: MlflowClient, run: Run, publication: Publication) -> None:
    if not publication.dataset_name or (run.inputs and run.inputs.dataset_inputs):
        return
    client.log_inputs(run.info.run_id, datasets=[_dataset_input(publication)])


def _dataset_input(publication: Publication) -> DatasetInput:
    from mlflow.data.pandas_dataset import from_pandas
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = _dataset_source(publication.dataset_source)
    digest = publication.dataset_digest[:_DATASET_DIGEST_LENGTH]
    name = publication.dataset_name[:500]
    dataset = Dataset(name, digest, source._get_source_type(), source.to_json())
    if publication.dataset is not None:
        described = from_pandas(publication.dataset, source=source, name=name, digest=digest)
        dataset = described._to_mlflow_entity()
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "audit")])


def _dataset_source(text: str) -> DatasetSource:
    """MLflow's own kind of source where it knows one; otherwise the text as it stands."""
    from mlflow import MlflowException
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.dataset_source_registry import resolve_dataset_source

    try:
        return resolve_dataset_source(text or ".")
    except MlflowException:
        return CodeDatasetSource({"mlflow.source.name": text})


def _log_artifacts(
    client: MlflowClient, run_id: str, publication: Publication, logged: LoggedMetrics
) -> None:
    with tempfile.TemporaryDirectory(prefix="wam-audit-publish-") as name:
        stage = Path(name)
        for figure, png in publication.figures.items():
            _staged(stage, f"figures/{figure}").write_bytes(png)
        for table, frame in publication.tables.items():
            _staged(stage, f"tables/{table}.csv").write_text(frame.to_csv(index=False), "utf-8")
        if publication.metrics:
            text = _metrics_table(publication, logged).to_csv(index=False)
            _staged(stage, "tables/metrics.csv").write_text(text, "utf-8")
        for artifact, path in publication.files.items():
            # Links, not copies: a report may have many megabytes.
            _staged(stage, artifact).symlink_to(path.resolve(strict=True))
        client.log_artifacts(run_id, str(stage))


def _staged(stage: Path, name: str) -> Path:
    path = (stage / name).resolve()
    if not path.is_relative_to(stage.resolve()):
        raise TrackingError(f"the artifact name '{name}' leads out of the run; use a plain name")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _metrics_table(publication: Publication, logged: LoggedMetrics) -> pd.DataFrame:
    """All metrics, also those per class: one row each, with its name in MLflow if it has one."""
    import pandas as pd

    rows = []
    for metric, place in zip(publication.metrics, logged.places, strict=True):
        labels = metric.get("labels", {})
        rest = {key: value for key, value in metric.items() if key not in ("name", "labels")}
        rows.append({"name": metric["name"], **labels, **rest, "mlflow": place})
    return pd.DataFrame(rows)


def _log_points(client: MlflowClient, run_id: str, logged: LoggedMetrics) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    points = [Metric(point.name, point.value, now, point.step) for point in logged.points]
    client.log_batch(run_id, metrics=points, synchronous=True)
    client.set_tag(run_id, PUBLISHED, logged.fingerprint())


def _tags(publication: Publication, logged: LoggedMetrics) -> dict[str, str]:
    tags = {**publication.tags, AUDIT_ID: publication.digest, AUDIT_NAME: publication.name}
    if logged.omitted:
        reasons = (f"{name}: {reason}" for name, reason in logged.omitted.items())
        tags["audit.omitted"] = "; ".join(reasons)
    if logged.table_only:
        tags["audit.table_only"] = f"{logged.table_only} metrics stand in tables/metrics.csv only"
    return tag_values(tags)


def _supersede(client: MlflowClient, runs: list[Run], successor: str) -> tuple[str, ...]:
    """Tag and hide runs; the tag alone is enough where deleting is not allowed."""
    for run in runs:
        client.set_tag(run.info.run_id, SUPERSEDED_BY, successor)
        if run.info.status in ("RUNNING", "SCHEDULED"):
            client.set_terminated(run.info.run_id, "FINISHED")
        try:
            client.delete_run(run.info.run_id)
        except Exception as error:  # MLflow's own, or that of its transport
            logger.warning("the superseded MLflow run %s stays: %s", run.info.run_id, error)
    return tuple(run.info.run_id for run in runs)


def _close_quietly(client: MlflowClient, run_id: str, error: BaseException) -> None:
    """The failure under way is the one to report; MLflow may be gone altogether."""
    try:
        close_as(client, run_id, error)
    except Exception as failure:  # MLflow's own, or that of its transport
        logger.debug("the run %s could not be closed: %s", run_id, failure)
