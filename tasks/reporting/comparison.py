"""The page of a comparison: changes per level with intervals, and what changed in each class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.reporting.charts import RowChart, Value, change_axis, fraction_axis, row_chart
from tasks.reporting.environment import environment
from tasks.reporting.formatting import (
    bounds,
    percent,
    printable,
    quantity,
    significant,
    with_bounds,
)
from tasks.reporting.wording import level_title, method_title

_LABELS_SHOWN_ELSEWHERE = {"class", "level"}


def write_comparison_report(record: Mapping[str, Any]) -> str:
    """The whole HTML document, without any reference to the network.

    Args:
        record: Content of comparison.json.
    """
    metrics = record["metrics"]
    bands = record["frequency_labels"]
    methods = list(dict.fromkeys(
        entry["labels"]["method"] for entry in metrics if "level" in entry["labels"]
    ))  # fmt: skip
    context = {
        "first": record["audits"]["first"],
        "second": record["audits"]["second"],
        "headline": record["headline"],
        "paired": record["paired"],
        "forced": record["forced"],
        "noted": record["noted"],
        "panels": [_panel(metrics, method, bands) for method in methods],
        "classes": [_class_row(entry) for entry in metrics if "class" in entry["labels"]],
        "scalars": [
            _scalar_row(entry)
            for entry in metrics
            if not entry["labels"].keys() & _LABELS_SHOWN_ELSEWHERE
        ],
        "digest": record["digest"],
    }
    return printable(environment().get_template("comparison.html.j2").render(context))


def _panel(metrics: list[Any], method: str, bands: Mapping[str, str]) -> dict[str, Any]:
    entries = [
        entry
        for entry in metrics
        if entry["labels"].get("method") == method and "level" in entry["labels"]
    ]
    title = method_title(method)
    return {
        "title": title,
        "n": entries[0]["n"],
        "profiles": _profiles(title, entries, bands),
        "changes": _changes(title, entries, bands),
        "rows": [_level_row(entry, bands) for entry in entries],
    }


def _profiles(title: str, entries: list[Any], bands: Mapping[str, str]) -> RowChart:
    rows = []
    for entry in entries:
        level = str(entry["labels"]["level"])
        values = [
            Value(entry[side], None, None, percent(entry[side]), f"{side}: {percent(entry[side])}",
                  place)
            for place, side in enumerate(("first", "second"))
        ]  # fmt: skip
        rows.append((level_title(level), bands.get(level, ""), values))
    axis = fraction_axis(
        "share of the total importance (%)",
        [entry[side] for entry in entries for side in ("first", "second")],
    )
    return row_chart(f"Shares of both audits by level, {title}.", axis, rows)


def _changes(title: str, entries: list[Any], bands: Mapping[str, str]) -> RowChart:
    rows = []
    for entry in entries:
        level = str(entry["labels"]["level"])
        text = with_bounds(entry["estimate"], entry["low"], entry["high"], "fraction")
        value = Value(
            entry["estimate"], entry["low"], entry["high"], percent(entry["estimate"]), text
        )
        rows.append((level_title(level), bands.get(level, ""), [value]))
    known = [
        entry[key]
        for entry in entries
        for key in ("estimate", "low", "high")
        if entry[key] is not None
    ]
    axis = change_axis("change of share, second less first (percentage points)", known)
    spoken = "; ".join(f"{row[0]} {row[2][0].tip}" for row in rows)
    return row_chart(f"Change of share by level, {title}. {spoken}.", axis, rows)


def _level_row(entry: Mapping[str, Any], bands: Mapping[str, str]) -> dict[str, str]:
    level = str(entry["labels"]["level"])
    return _numbers(entry) | {
        "level": level_title(level),
        "band": bands.get(level, ""),
        "holm": _p(entry["p_holm"]),
        "dz": significant(entry["effect_dz"], 2),
        "cliff": significant(entry["cliffs_delta"], 2),
        "equivalent": _p(entry.get("equivalence_p")),
    }


def _class_row(entry: Mapping[str, Any]) -> dict[str, Any]:
    return _numbers(entry) | {
        "name": entry["labels"]["class"],
        "lost": entry["lost"],
        "gained": entry["gained"],
        "holm": _p(entry["p_holm"]),
    }


def _scalar_row(entry: Mapping[str, Any]) -> dict[str, Any]:
    return _numbers(entry) | {
        "name": entry["name"].removeprefix("compare/").replace("_", " "),
        "method": entry["labels"].get("method", ""),
        "p": _p(entry.get("p_value")),
    }


def _numbers(entry: Mapping[str, Any]) -> dict[str, Any]:
    unit = entry["unit"]
    return {
        "first": quantity(entry.get("first"), "fraction" if unit == "ratio" else unit),
        "second": quantity(entry.get("second"), "fraction" if unit == "ratio" else unit),
        "change": quantity(entry["estimate"], unit),
        "interval": bounds(entry["low"], entry["high"], unit) or "–",
        "n": entry["n"],
    }


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
