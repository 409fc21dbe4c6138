"""Reliance profiles as chart panels: one per method and normalisation, never two methods in one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.reporting.charts import Axis, RowChart, Value, fraction_axis, ratio_axis, row_chart
from tasks.reporting.metric_table import MetricTable, Profile
from tasks.reporting.wording import (
    FEW_SAMPLES,
    METHODS,
    NORMALISATIONS,
    NormalisationWords,
    level_title,
    method_title,
    ordered_levels,
)

OUTCOMES = (("yes", "correct"), ("no", "incorrect"))


@dataclass(frozen=True)
class TableRow:
    """One line of the numbers behind a chart."""

    level: str
    band: str
    series: str
    estimate: str
    interval: str
    n: int


@dataclass(frozen=True)
class Panel:
    """One chart with its numbers.

    Attributes:
        normalisation: Key of the normalisation shown.
    """

    method: str
    title: str
    reading: str
    normalisation: str
    chart: RowChart
    numbers: tuple[TableRow, ...]
    n: int


@dataclass(frozen=True)
class Comparison:
    """Correct against incorrect predictions of one method."""

    panel: Panel
    sizes: dict[str, int]
    summaries: tuple[tuple[str, str, str], ...]

    @property
    def few(self) -> bool:
        """Whether one side has too few samples to conclude from."""
        return min(self.sizes.values()) < FEW_SAMPLES


def reliance_panels(
    table: MetricTable, bands: Mapping[str, str]
) -> list[tuple[NormalisationWords, list[Panel]]]:
    """For each normalisation that has metrics, one panel per method."""
    groups = []
    for words in NORMALISATIONS:
        name = f"reliance/{words.key}"
        panels = [
            _panel(method, words, {"": profile}, bands)
            for method in table.methods()
            if (profile := table.profile(name, {"method": method}))
        ]
        if panels:
            groups.append((words, panels))
    return groups


def outcome_comparisons(table: MetricTable, bands: Mapping[str, str]) -> list[Comparison]:
    """Shares of correct against incorrect samples; empty where one of the two is missing."""
    comparisons = []
    for method in table.methods():
        profiles = {
            outcome: table.profile("reliance/share", {"method": method, "correct": key})
            for key, outcome in OUTCOMES
        }
        if all(profiles.values()):
            panel = _panel(method, NORMALISATIONS[0], profiles, bands)
            sizes = {outcome: _largest_n(profile) for outcome, profile in profiles.items()}
            comparisons.append(Comparison(panel, sizes, _summaries(table, method)))
    return comparisons


def _summaries(table: MetricTable, method: str) -> tuple[tuple[str, str, str], ...]:
    rows = []
    for name, title in (
        ("reliance/fine_share", "Fine share"),
        ("reliance/scale_centroid", "Scale centroid"),
        ("reliance/entropy", "Entropy"),
    ):
        found = [table.one(name, {"method": method, "correct": key}) for key, _ in OUTCOMES]
        if any(found):
            right, wrong = (metric.phrase if metric else "–" for metric in found)
            rows.append((title, right, wrong))
    return tuple(rows)


def _panel(
    method: str,
    words: NormalisationWords,
    profiles: Mapping[str, Profile],
    bands: Mapping[str, str],
) -> Panel:
    metrics = [metric for profile in profiles.values() for metric in profile.values()]
    levels = ordered_levels({level for profile in profiles.values() for level in profile})
    rows = level_rows(levels, profiles, bands)
    title = method_title(method)
    description = f"{words.title} by level, {title}. {spoken(levels, profiles)}"
    return Panel(
        method=method,
        title=title,
        reading=METHODS[method].reading if method in METHODS else "",
        normalisation=words.key,
        chart=row_chart(description, _axis(words, profiles), rows),
        numbers=_numbers(levels, profiles, bands),
        n=max((metric.n for metric in metrics), default=0),
    )


def _axis(words: NormalisationWords, profiles: Mapping[str, Profile]) -> Axis:
    make = ratio_axis if words.key == "relative_share" else fraction_axis
    return make(words.axis, spread(profiles.values()))


def level_rows(
    levels: Sequence[str], profiles: Mapping[str, Profile], bands: Mapping[str, str]
) -> list[tuple[str, str, list[Value]]]:
    """Rows of a chart: one per level, one bar per series."""
    return [
        (level_title(level), bands.get(level, ""), _values(level, profiles)) for level in levels
    ]


def spread(profiles: Iterable[Profile]) -> list[float]:
    """Every estimate and bound, for an axis that holds them all."""
    return [
        value
        for profile in profiles
        for metric in profile.values()
        for value in (metric.estimate, metric.low, metric.high)
        if value is not None
    ]


def _values(level: str, profiles: Mapping[str, Profile]) -> list[Value]:
    return [
        Value(
            metric.estimate or 0.0,
            metric.low,
            metric.high,
            metric.text,
            f"{_named(level, series)}: {metric.phrase}, n = {metric.n}",
            index,
        )
        for index, (series, profile) in enumerate(profiles.items())
        if (metric := profile.get(level))
    ]


def _named(level: str, series: str) -> str:
    return f"{level_title(level)}, {series}" if series else level_title(level)


def spoken(levels: Sequence[str], profiles: Mapping[str, Profile]) -> str:
    """The numbers of a chart, read out."""
    parts = [
        f"{_named(level, series)} {profile[level].text}"
        for level in levels
        for series, profile in profiles.items()
        if level in profile
    ]
    return "; ".join(parts) + "."


def _numbers(
    levels: Sequence[str], profiles: Mapping[str, Profile], bands: Mapping[str, str]
) -> tuple[TableRow, ...]:
    return tuple(
        TableRow(
            level_title(level),
            bands.get(level, ""),
            series,
            profile[level].text,
            profile[level].interval or "–",
            profile[level].n,
        )
        for level in levels
        for series, profile in profiles.items()
        if level in profile
    )


def _largest_n(profile: Profile) -> int:
    return max((metric.n for metric in profile.values()), default=0)
