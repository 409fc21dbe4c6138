"""From two audit folders to a comparison folder: numbers, tables, report, MLflow run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from tasks.comparison.comparability import (
    differing_settings,
    noted_differences,
    require_comparable,
)
from tasks.comparison.measures import accuracy_changes, drifted_profiles, paired_profiles
from tasks.comparison.samples import FinishedAudit, common_ids, is_paired
from tasks.comparison.sentences import comparison_sentences
from tasks.config import TrackingConfig
from tasks.reporting.comparison import write_comparison_report
from tasks.store import AuditFolder
from tasks.tracking import Publication, PublishedRun, publish, resolve_tracking_uri


@dataclass(frozen=True)
class Comparison:
    """A comparison that has been written.

    Attributes:
        record: Content of `comparison.json`.
    """

    folder: AuditFolder
    record: dict[str, Any]


def compare_audits(
    first: str, second: str, *, force: bool = False, output: str | None = None
) -> Comparison:
    """Compare two finished audits and write a folder of the comparison.

    Args:
        force: Compare also where settings differ, and list them.
        output: Folder to write; None for one below `comparisons` beside the first audit.

    Raises:
        ConfigError: If a folder is not an audit's.
        IncompleteAuditError: If an audit has missing shards.
        IdentityError: If settings differ that decide what a number means.
    """
    left, right = FinishedAudit.open(first), FinishedAudit.open(second)
    if not force:
        require_comparable(left.record, right.record)
    paired = is_paired(left, right)
    record: dict[str, Any] = {
        "schema_version": 1,
        "digest": _digest(left, right, force=force),
        "audits": {"first": _side(left), "second": _side(right)},
        "paired": paired,
        "n_common": len(common_ids(left, right)),
        "forced": [
            vars(difference) for difference in differing_settings(left.record, right.record)
        ],
        "noted": [vars(difference) for difference in noted_differences(left.record, right.record)],
        "frequency_labels": left.record.get("frequency_labels") or {},
    }
    if paired:
        fine_levels = left.record["config"]["analyses"]["reliance"]["fine_levels"]
        metrics = accuracy_changes(left, right) + paired_profiles(left, right, fine_levels)
    else:
        metrics = drifted_profiles(left, right)
    record["metrics"] = metrics
    record["headline"] = comparison_sentences(record)
    folder = AuditFolder(output or _place(left, right, record["digest"]))
    folder.write_json("comparison.json", record)
    folder.write_bytes("metrics.csv", metrics_table(metrics).to_csv(index=False).encode())
    folder.write_bytes("report.html", write_comparison_report(record).encode())
    return Comparison(folder, record)


def publish_comparison(comparison: Comparison) -> PublishedRun | None:
    """Publish a comparison as an MLflow run of its own, where the first audit was published.

    Raises:
        TrackingError: If MLflow cannot be reached; the folder is complete all the same.
    """
    side = comparison.record["audits"]["first"]
    tracking = TrackingConfig.model_validate(side["tracking"])
    if not tracking.enabled:
        return None
    names = {place: audit["name"] for place, audit in comparison.record["audits"].items()}
    with TemporaryDirectory(prefix="wam-audit-") as stage:
        files = {}
        for name in ("comparison.json", "metrics.csv", "report.html"):
            files[name] = Path(stage) / name
            files[name].write_bytes(comparison.folder.read_bytes(name))
        publication = Publication(
            name=f"{names['first']} against {names['second']}",
            digest=comparison.record["digest"],
            experiment=tracking.experiment,
            params=names,
            tags={
                "audit.kind": "comparison",
                "audit.folder": comparison.folder.url,
                "compare.first": comparison.record["audits"]["first"]["digest"],
                "compare.second": comparison.record["audits"]["second"]["digest"],
                "compare.paired": str(comparison.record["paired"]).lower(),
                "compare.forced": str(bool(comparison.record["forced"])).lower(),
            },
            note="\n".join(f"- {sentence}" for sentence in comparison.record["headline"]),
            metrics=comparison.record["metrics"],
            counts={"common_samples": comparison.record["n_common"]},
            files=files,
        )
        return publish(resolve_tracking_uri(tracking, side["store"]), publication)


def metrics_table(metrics: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per number, labels as columns."""
    rows = []
    for entry in metrics:
        rest = {key: value for key, value in entry.items() if key not in {"labels", "direction"}}
        rows.append({"name": rest.pop("name"), **entry["labels"], **rest})
    return pd.DataFrame(rows)


def _side(audit: FinishedAudit) -> dict[str, Any]:
    record = audit.record
    return {
        "name": record["name"],
        "folder": audit.folder.url,
        "digest": record["digest"],
        "model": record["model"]["description"],
        "weights_digest": record["model"]["weights_digest"],
        "dataset_digest": record["dataset"]["digest"],
        "n_ok": len(audit.samples),
        "tracking": record["config"]["tracking"],
        "store": record["config"]["store"]["url"],
    }


def _digest(left: FinishedAudit, right: FinishedAudit, *, force: bool) -> str:
    # Audits of one configuration and other weights or data share the digest of their settings.
    parts = [
        [audit.record["digest"], audit.record["model"]["weights_digest"],
         audit.record["dataset"]["digest"]]
        for audit in (left, right)
    ]  # fmt: skip
    return hashlib.sha256(json.dumps([parts, force]).encode()).hexdigest()


def _place(left: FinishedAudit, right: FinishedAudit, digest: str) -> str:
    parent = left.folder.url.rstrip("/").rpartition("/")[0] or "."
    names = f"{left.record['name']}-against-{right.record['name']}"
    return f"{parent}/comparisons/{names}-{digest[:8]}"
