"""Answers to cue-conflict images as a section of the report."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.reporting.metric_table import MetricTable

_COLUMNS = ("shape_bias", "coverage", "shape_match", "texture_match")


@dataclass(frozen=True)
class CategoryRow:
    """The figures of one category of the shape, in the order of the columns."""

    title: str
    n: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class ConflictFigures:
    """Where every image went, and the measures that follow.

    Attributes:
        counts: What is counted, how many, and which part of the line they belong to.
        rows: All true conflicts, then those of each category.
    """

    counts: tuple[tuple[str, int, str], ...]
    rows: tuple[CategoryRow, ...]


def conflict_figures(table: MetricTable) -> ConflictFigures | None:
    """The figures of the summary; None where no cue conflicts were audited."""
    eligible, coverage = table.one("texture/eligible"), table.one("texture/coverage")
    if eligible is None or coverage is None:
        return None
    counts = [
        ("Images explained", eligible.n, ""),
        ("True conflicts: two different, known categories", coverage.n, eligible.text),
    ]
    for name, title in (
        ("shape_match", "taken for the category of their shape"),
        ("texture_match", "taken for the category of their texture"),
        ("neither", "taken for neither"),
    ):
        metric = table.one(f"texture/{name}")
        if metric is not None and metric.estimate is not None:
            counts.append((title, round(metric.estimate * metric.n), metric.text))
    names = [metric.labels.get("category", "") for metric in table.named("texture/coverage")]
    categories = [_row(table, name, {"category": name}) for name in sorted(filter(None, names))]
    return ConflictFigures(tuple(counts), (_row(table, "All", {}), *categories))


def _row(table: MetricTable, title: str, labels: dict[str, str]) -> CategoryRow:
    metrics = [table.one(f"texture/{column}", labels) for column in _COLUMNS]
    coverage = metrics[_COLUMNS.index("coverage")]
    return CategoryRow(
        title,
        coverage.n if coverage else 0,
        tuple(
            "–" if metric is None else f"{metric.estimate:.3f} {_interval(metric.low, metric.high)}"
            for metric in metrics
        ),
    )


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{low:.3f}, {high:.3f}]"
