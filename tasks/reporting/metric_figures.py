"""Matplotlib figures of the metrics, for MLflow; drawn without pyplot or other global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.reporting.formatting import finite, shortened
from tasks.reporting.metric_table import Metric, MetricTable, Profile
from tasks.reporting.wording import (
    NORMALISATIONS,
    NormalisationWords,
    level_title,
    method_title,
    ordered_levels,
)

BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#666666"
MOST_CLASSES = 40


def profile_figures(summary: dict[str, Any]) -> dict[str, Figure]:
    """Figures by name; one whose metrics are missing is left out.

    Names: `reliance_profile`, `correct_incorrect`, `per_class_accuracy`.
    """
    table = MetricTable(summary.get("metrics") or [])
    figures = {
        "reliance_profile": _reliance_profile(table),
        "correct_incorrect": _correct_incorrect(table),
        "per_class_accuracy": _per_class_accuracy(table),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def _reliance_profile(table: MetricTable) -> Figure | None:
    """One row per method, one column per normalisation; no axis is shared between methods."""
    methods = [m for m in table.methods() if table.profile("reliance/share", {"method": m})]
    if not methods:
        return None
    figure = Figure(figsize=(12.5, 0.8 + 2.9 * len(methods)), layout="constrained")
    grid = figure.subplots(len(methods), len(NORMALISATIONS), squeeze=False)
    for method, axes_row in zip(methods, grid, strict=True):
        for words, axes in zip(NORMALISATIONS, axes_row, strict=True):
            _draw_normalisation(axes, words, table, method)
        axes_row[0].set_ylabel(method_title(method).replace(", ", ",\n"), fontsize=9)
    figure.suptitle("Reliance by level, with intervals; methods are not comparable", fontsize=11)
    return figure


def _draw_normalisation(
    axes: Axes, words: NormalisationWords, table: MetricTable, method: str
) -> None:
    profile = table.profile(f"reliance/{words.key}", {"method": method})
    axes.set_title(words.title, fontsize=10)
    if not profile:
        axes.text(0.5, 0.5, "not computed", ha="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    ratio = words.key == "relative_share"
    _draw_profile(axes, profile, tuple(profile), 0.0, BLUE, ratio=ratio)
    _finish_levels(axes, tuple(profile), words.axis)


def _correct_incorrect(table: MetricTable) -> Figure | None:
    pairs = {
        method: (
            table.profile("reliance/share", {"method": method, "correct": "yes"}),
            table.profile("reliance/share", {"method": method, "correct": "no"}),
        )
        for method in table.methods()
    }
    complete = {method: pair for method, pair in pairs.items() if all(pair)}
    if not complete:
        return None
    figure = Figure(figsize=(5.2 * len(complete), 4.2), layout="constrained")
    grid = figure.subplots(1, len(complete), squeeze=False)[0]
    for (method, (right, wrong)), axes in zip(complete.items(), grid, strict=True):
        levels = ordered_levels({*right, *wrong})
        _draw_profile(axes, right, levels, -0.2, BLUE, name="correct")
        _draw_profile(axes, wrong, levels, 0.2, VERMILION, name="incorrect")
        axes.set_title(method_title(method), fontsize=10)
        _finish_levels(axes, levels, NORMALISATIONS[0].axis)
        axes.legend(fontsize=8, frameon=False)
    return figure


def _draw_profile(
    axes: Axes,
    profile: Profile,
    levels: Sequence[str],
    offset: float,
    colour: str,
    *,
    ratio: bool = False,
    name: str = "",
) -> None:
    """Horizontal bars with whiskers; ratios as bars from 1 on a logarithmic axis."""
    scale, origin = (1.0, 1.0) if ratio else (100.0, 0.0)
    shown = [level for level in levels if level in profile]
    places = [levels.index(level) + offset for level in shown]
    values = [scale * (profile[level].estimate or 0.0) for level in shown]
    label = f"{name} (n = {max(profile[level].n for level in shown)})" if name else None
    height = 0.38 if offset else 0.7
    if ratio:
        axes.set_xscale("log")
        values = [max(value, 1e-3) for value in values]
        axes.axvline(1.0, color=GREY, linewidth=1)
    axes.barh(
        places, [v - origin for v in values], left=origin, height=height, color=colour, label=label
    )
    axes.errorbar(
        values,
        places,
        xerr=_errors([profile[level] for level in shown], values, scale),
        fmt="none",
        ecolor="black",
        capsize=2.5,
        linewidth=1.2,
    )


def _errors(
    metrics: Sequence[Metric], values: Sequence[float], scale: float
) -> tuple[list[float], list[float]]:
    """Distances below and above each value; 0 where there is no bound."""
    below = [
        max(value - scale * (value / scale if metric.low is None else metric.low), 0.0)
        for metric, value in zip(metrics, values, strict=True)
    ]
    above = [
        max(scale * (value / scale if metric.high is None else metric.high) - value, 0.0)
        for metric, value in zip(metrics, values, strict=True)
    ]
    return below, above


def _finish_levels(axes: Axes, levels: Sequence[str], label: str) -> None:
    axes.set_yticks(range(len(levels)), [level_title(level) for level in levels], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(label, fontsize=8)
    _plain(axes)


def _per_class_accuracy(table: MetricTable) -> Figure | None:
    """The classes with the lowest accuracy, worst first."""
    metrics = [metric for metric in table.named("accuracy/top1") if set(metric.labels) == {"class"}]
    if not metrics:
        return None
    shown = sorted(metrics, key=lambda metric: (metric.estimate or 0.0, -metric.n))[:MOST_CLASSES]
    figure = Figure(figsize=(7.5, 1.3 + 0.22 * len(shown)), layout="constrained")
    axes = figure.subplots()
    values = [100 * (finite(metric.estimate) or 0.0) for metric in shown]
    axes.errorbar(
        values,
        range(len(shown)),
        xerr=_errors(shown, values, 100.0),
        fmt="o",
        color=BLUE,
        ecolor=GREY,
        markersize=4,
        capsize=2,
    )
    names = [f"{shortened(_class_label(metric.labels), 40)}  n={metric.n}" for metric in shown]
    axes.set_yticks(range(len(shown)), names, fontsize=8, parse_math=False)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("top-1 accuracy (%), with interval", fontsize=9)
    few = (
        f"{len(shown)} lowest of {len(metrics)} classes"
        if len(shown) < len(metrics)
        else "by class"
    )
    axes.set_title(f"Accuracy, {few}", fontsize=10)
    _plain(axes)
    return figure


def _class_label(labels: Mapping[str, str]) -> str:
    label = labels["class"]
    return f"class {label}" if label.isdigit() else label


def _plain(axes: Axes) -> None:
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
