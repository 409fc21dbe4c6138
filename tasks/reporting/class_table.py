"""The per-class table and chart: accuracy beside what the model relies on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from tasks.reporting.charts import ClassPoint, ScatterChart, scatter_chart
from tasks.reporting.formatting import bounds, finite, percent, significant, whole
from tasks.reporting.metric_table import MetricTable, Profile
from tasks.reporting.pictures import palette
from tasks.reporting.wording import FEW_SAMPLES, level_title


@dataclass(frozen=True)
class Segment:
    """One level in a class's stacked bar, in percent of its width."""

    colour: str
    x: float
    width: float


@dataclass(frozen=True)
class ClassRow:
    """One class; `sort_*` are the raw numbers behind the texts, -1 where there is none."""

    index: str
    name: str
    n: str
    sort_n: float
    few: bool
    accuracy: str
    sort_accuracy: float
    interval: str
    whisker: tuple[float, float, float] | None
    centroid: str
    sort_centroid: float
    fine: str
    sort_fine: float
    segments: tuple[Segment, ...]
    spoken: str


def class_rows(per_class: pd.DataFrame, table: MetricTable) -> list[ClassRow]:
    """Rows in the order of the table given."""
    main = next(iter(table.methods()), "")
    colours = _level_colours(table)
    return [
        _row(record, _class_profile(record, table, main), colours) for record in _records(per_class)
    ]


def level_legend(table: MetricTable) -> list[tuple[str, str]]:
    """Titles of the levels with the colours of the stacked bars, fine to coarse."""
    return [(level_title(level), colour) for level, colour in _level_colours(table).items()]


def class_chart(per_class: pd.DataFrame) -> ScatterChart | None:
    """Accuracy against fine share; None with fewer than three classes that have both."""
    points = [
        ClassPoint(fine, accuracy, n, _tip(record, n), n < FEW_SAMPLES)
        for record in _records(per_class)
        if (fine := finite(record.get("fine_share"))) is not None
        and (accuracy := finite(record.get("accuracy"))) is not None
        and (n := int(finite(record.get("n")) or 0)) > 0
    ]
    if len(points) < 3:
        return None
    return scatter_chart(
        f"Accuracy against fine share of {len(points)} classes; the table below has the numbers.",
        ("fine share (%)", "accuracy (%)"),
        points,
    )


def _level_colours(table: MetricTable) -> dict[str, str]:
    """Viridis from light (fine) to dark (coarse): an order that survives grey printing."""
    levels = table.levels()
    return dict(zip(levels, palette("viridis", len(levels), 1.0, 0.15), strict=True))


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def _text(value: Any) -> str:
    return "" if value is None or pd.isna(value) else str(value)


def _tip(record: dict[str, Any], n: int) -> str:
    return (
        f"{_text(record.get('class_name'))}: accuracy {percent(record.get('accuracy'))}, "
        f"fine share {percent(record.get('fine_share'))}, n = {n}"
    )


def _class_profile(record: dict[str, Any], table: MetricTable, method: str) -> Profile:
    """The class's shares; the summary names a class by its name, or by index if it has none."""
    for key in (_text(record.get("class_name")), _text(record.get("class_index"))):
        found = table.profile("reliance/share", {"method": method, "class": key})
        if found:
            return found
    return {}


def _row(record: dict[str, Any], profile: Profile, colours: dict[str, str]) -> ClassRow:
    n, accuracy = finite(record.get("n")), finite(record.get("accuracy"))
    low, high = finite(record.get("accuracy_low")), finite(record.get("accuracy_high"))
    centroid, fine = finite(record.get("scale_centroid_octaves")), finite(record.get("fine_share"))
    whisker = None
    if accuracy is not None and low is not None and high is not None:
        whisker = (round(100 * low, 1), round(100 * accuracy, 1), round(100 * high, 1))
    return ClassRow(
        index=_text(record.get("class_index")),
        name=_text(record.get("class_name")),
        n=whole(n),
        sort_n=_sortable(n),
        few=(n or 0) < FEW_SAMPLES,
        accuracy=percent(accuracy),
        sort_accuracy=_sortable(accuracy),
        interval=bounds(low, high, "fraction"),
        whisker=whisker,
        centroid=significant(centroid),
        sort_centroid=_sortable(centroid),
        fine=percent(fine),
        sort_fine=_sortable(fine),
        segments=_segments(profile, colours),
        spoken=", ".join(f"{level_title(level)} {m.text}" for level, m in profile.items()),
    )


def _sortable(value: float | None) -> float:
    return -1.0 if value is None else round(value, 6)


def _segments(profile: Profile, colours: dict[str, str]) -> tuple[Segment, ...]:
    total = sum(metric.estimate or 0.0 for metric in profile.values())
    if total <= 0:
        return ()
    x, segments = 0.0, []
    for level, metric in profile.items():
        width = 100 * (metric.estimate or 0.0) / total
        segments.append(Segment(colours[level], round(x, 1), round(width, 1)))
        x += width
    return tuple(segments)
