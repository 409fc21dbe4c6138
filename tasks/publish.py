"""From a computed audit to what people read: summary, gates, report and the MLflow run.

Everything is made from the audit folder, so it can be repeated when MLflow or the report is lost.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from tasks.aggregate import Summary, summarise
from tasks.config import AuditConfig
from tasks.gallery import StoredAudit, choose_gallery
from tasks.gates import GateResult, failed, gates_json, judge, junit_xml
from tasks.reporting import profile_figures, write_report
from tasks.store import AuditFolder, completed_shards, plan_shards
from tasks.store.tables import read_table
from tasks.tracking import Publication, PublishedRun, publish, resolve_tracking_uri
from tasks.trust import TRUSTWORTHY

_FILES = ("report.html", "summary.json", "audit.json", "gates.json", "gates.xml")
_PREVIEW_ROWS = 1000
_SAMPLE_COLUMNS = [
    "sample_index", "sample_id", "source", "label", "correct", "status", "detail",
]  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What an audit came to.

    Attributes:
        summary: Content of `summary.json`.
        gates: How each gate was decided.
        preview: The first samples of the manifest, which MLflow shows as the dataset.
    """

    folder: AuditFolder
    summary: dict[str, Any]
    gates: list[GateResult]
    preview: pd.DataFrame

    @property
    def gates_failed(self) -> bool:
        """Whether any gate failed; an inconclusive one does not fail an audit."""
        return failed(self.gates)


def write_results(folder: AuditFolder, config: AuditConfig | None = None) -> Outcome:
    """Aggregate an audit and write summary, gates and report into its folder.

    Args:
        config: Where this machine keeps the data, and which gates hold; None for what the folder
            recorded.
    """
    stored = StoredAudit.open(folder, config)
    config = stored.config
    shards = plan_shards(len(stored.manifest.table), config.store.shard_size)
    receipts = completed_shards(folder, shards, stored.audit["digest"])
    summary = summarise(config, folder, shards, receipts)
    folder.write_json("summary.json", summary.record)
    results = judge(
        config.gates,
        summary.record,
        max_bad_fraction=config.dataset.max_bad_fraction,
        manifest_size=len(stored.manifest.table),
    )
    folder.write_json("gates.json", gates_json(results))
    folder.write_bytes("gates.xml", junit_xml(results, config.name).encode())
    done = [shard for shard in shards if shard.index in receipts]
    samples = read_table(folder, "samples", done, _SAMPLE_COLUMNS)
    _write_report(stored, summary, samples)
    preview = samples[["sample_id", "source", "label"]].head(_PREVIEW_ROWS)
    return Outcome(folder, summary.record, results, preview)


def publish_results(outcome: Outcome, config: AuditConfig) -> PublishedRun | None:
    """Publish what the folder holds to MLflow; None when tracking is switched off.

    Raises:
        TrackingError: If MLflow cannot be reached; the folder is complete all the same.
    """
    if not config.tracking.enabled:
        return None
    audit = outcome.folder.read_json("audit.json")
    uri = resolve_tracking_uri(config.tracking, config.store.url)
    with TemporaryDirectory(prefix="wam-audit-") as stage:
        return publish(uri, _publication(config, audit, outcome, Path(stage)))


def _write_report(stored: StoredAudit, summary: Summary, samples: pd.DataFrame) -> None:
    settings = stored.config.analyses
    rows = choose_gallery(samples, settings.gallery_size, stored.config.attribution.seed)
    gallery = [stored.explanation(row) for row in rows]
    failures = samples[samples["status"] != "ok"][["sample_id", "source", "status", "detail"]]
    page = write_report(
        summary.record, stored.audit, gallery, summary.per_class, failures, stored.examples()
    )
    stored.folder.write_bytes("report.html", page.encode())


def _publication(
    config: AuditConfig, audit: dict[str, Any], outcome: Outcome, stage: Path
) -> Publication:
    folder, summary = outcome.folder, outcome.summary
    return Publication(
        name=config.name,
        digest=audit["digest"],
        experiment=config.tracking.experiment,
        params=flat_settings(config.identity()),
        tags=_tags(folder, config, audit, outcome),
        note=_note(folder, summary),
        metrics=summary["metrics"],
        counts=summary["counts"],
        figures={f"{name}.png": _png(figure) for name, figure in profile_figures(summary).items()},
        tables={"gates": pd.DataFrame(gates_json(outcome.gates)["gates"])},
        files=_staged_files(folder, stage),
        dataset=outcome.preview,
        dataset_name=config.name,
        dataset_digest=audit["dataset"]["digest"],
        dataset_source=config.dataset.root,
    )


def flat_settings(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted keys.

    Example:
        >>> flat_settings({"basis": {"wavelet": "haar", "levels": 5}})
        {'basis.wavelet': 'haar', 'basis.levels': '5'}
    """
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flat_settings(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


def _tags(
    folder: AuditFolder, config: AuditConfig, audit: dict[str, Any], outcome: Outcome
) -> dict[str, str]:
    return {
        "audit.model": config.model.name,
        "audit.weights": audit["model"]["weights_digest"][:16],
        "audit.dataset": audit["dataset"]["digest"][:16],
        "audit.folder": folder.url,
        "audit.complete": str(outcome.summary["complete"]).lower(),
        "audit.gates": "fail" if outcome.gates_failed else "pass",
        **_trust_tag(outcome.summary),
    }


def _trust_tag(summary: dict[str, Any]) -> dict[str, str]:
    """Whether the explanations passed their sanity checks, where any were made."""
    for entry in summary["metrics"]:
        if entry["name"] == TRUSTWORTHY and not entry["labels"]:
            words = {0.0: "fail", 1.0: "pass"}
            return {"audit.trustworthy": words.get(entry["estimate"], "inconclusive")}
    return {}


def _note(folder: AuditFolder, summary: dict[str, Any]) -> str:
    sentences = "\n".join(f"- {sentence}" for sentence in summary["headline"])
    return f"{sentences}\n\nAudit folder: `{folder.url}`. The report is the artifact `report.html`."


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def _staged_files(folder: AuditFolder, stage: Path) -> dict[str, Path]:
    """Local copies, so that folders on object stores publish the same way."""
    files = {}
    for name in _FILES:
        if folder.exists(name):
            (stage / name).write_bytes(folder.read_bytes(name))
            files[name] = stage / name
    return files
