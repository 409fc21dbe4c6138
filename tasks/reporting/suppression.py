"""What the model loses with one cue suppressed, as a section of the report."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.analyses.suppression import ACCURACY, CLEAN, CONSISTENCY, LOSS
from tasks.reporting.metric_table import Metric, MetricTable
from wam_core.suppression import SUPPRESSIONS


@dataclass(frozen=True)
class SuppressionRow:
    """One suppression at one strength, its figures in the order of the columns."""

    cue: str
    title: str
    strength: str
    cells: tuple[str, ...]
    n: int


@dataclass(frozen=True)
class SuppressionTable:
    """All suppressions, cue by cue, and the accuracy they are compared with."""

    clean: str
    rows: tuple[SuppressionRow, ...]


def suppression_table(table: MetricTable) -> SuppressionTable | None:
    """None where no suppression was made."""
    found = [metric.labels for metric in table.named(CONSISTENCY)]
    if not found:
        return None
    clean = table.one(CLEAN)
    rows = tuple(_row(table, labels) for labels in sorted(found, key=_order))
    return SuppressionTable(clean.phrase if clean else "", rows)


def _row(table: MetricTable, labels: dict[str, str]) -> SuppressionRow:
    metrics = [table.one(name, labels) for name in (ACCURACY, LOSS, CONSISTENCY)]
    suppression = SUPPRESSIONS[labels["suppression"]]
    return SuppressionRow(
        cue=labels["cue"].capitalize(),
        title=suppression.name.replace("_", " ").capitalize(),
        strength=f"{labels['strength']} ({suppression.measure})",
        cells=tuple(_cell(metric) for metric in metrics),
        n=max(metric.n for metric in metrics if metric is not None),
    )


def _cell(metric: Metric | None) -> str:
    return metric.phrase if metric else ""


def _order(labels: dict[str, str]) -> tuple[int, int]:
    names = list(SUPPRESSIONS)
    strengths = SUPPRESSIONS[labels["suppression"]].strengths
    return names.index(labels["suppression"]), strengths.index(float(labels["strength"]))
