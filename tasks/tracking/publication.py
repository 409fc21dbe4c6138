"""Everything MLflow gets to know about an audit, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


@dataclass(frozen=True)
class Publication:
    """One audit, ready to be published.

    Args:
        digest: `AuditConfig.digest()`; the tag `audit.id`, by which the run is found again.
        params: Flat settings; values longer than MLflow keeps are shortened.
        tags: Beside the tags `audit.id` and `audit.name`, which are always set.
        note: Markdown description of the run; kept when a person has changed it since.
        metrics: The list `metrics` of summary.json.
        figures: File name to PNG bytes; they land under `figures/`.
        tables: Name to a small table; they land under `tables/` as CSV, which MLflow previews.
        files: Artifact name to local file, such as report.html.
        dataset: A preview of the manifest; None records only name, digest and source.
    """

    name: str
    digest: str
    experiment: str
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    note: str = ""
    metrics: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    figures: dict[str, bytes] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    dataset: pd.DataFrame | None = None
    dataset_name: str = ""
    dataset_digest: str = ""
    dataset_source: str = ""


@dataclass(frozen=True)
class PublishedRun:
    """Where a publication went.

    Args:
        page: Path of the run's page below an MLflow server's address.
        url: Full address when the tracking URI is a server; empty for a database, whose pages
            `wam-audit ui` serves.
        already_published: The run had exactly these numbers; only files were refreshed.
        superseded: Runs of this audit that held other numbers and were replaced by this one.
    """

    run_id: str
    experiment_id: str
    page: str
    url: str
    already_published: bool
    superseded: tuple[str, ...] = ()
