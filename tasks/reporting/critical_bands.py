"""How much noise in each level the model stands, as a section of the report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tasks.analyses.masking import (
    ACCURACY,
    CENTRE,
    CLEAN,
    CRITERION,
    CYCLES,
    HERTZ,
    THRESHOLD,
    WIDTH,
    Masking,
    is_half,
    masking,
)
from tasks.reporting.charts import OctaveChart, Threshold, octave_chart
from tasks.reporting.formatting import percent
from tasks.reporting.metric_table import Metric, MetricTable
from tasks.reporting.wording import APPROXIMATION, level_title

_OCTAVE = re.compile(r"^([\d.e-]+)–([\d.e-]+) (cycles/\w+|Hz)\b")
_CURVE_POINTS = 121


@dataclass(frozen=True)
class LevelRow:
    """Threshold of one level, and accuracy in every noise."""

    title: str
    band: str
    threshold: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class CriticalBandsSection:
    """Everything about noise in single levels.

    Attributes:
        rule: What a threshold is, with its accuracy.
        channel: Whether a channel is drawn.
        caveats: Why a channel or its width is not stated.
    """

    facts: tuple[tuple[str, str], ...]
    rule: str
    chart: OctaveChart
    channel: bool
    caveats: tuple[str, ...]
    noises: tuple[str, ...]
    rows: tuple[LevelRow, ...]
    n: int


def critical_bands_section(
    table: MetricTable, bands: Mapping[str, str]
) -> CriticalBandsSection | None:
    """The section, or nothing where no noise was put in."""
    at, clean = table.one(CRITERION), table.one(ACCURACY, _as_text(CLEAN.labels()))
    accuracy = {
        (metric.labels["level"], float(metric.labels["noise"])): metric
        for metric in table.named(ACCURACY)
        if "level" in metric.labels
    }
    if at is None or clean is None or not accuracy:
        return None
    lost_at = at.estimate or 0.0
    n_levels = len({level for level, _ in accuracy}) - 1
    found = masking(
        {address: metric.estimate or 0.0 for address, metric in accuracy.items()},
        lost_at,
        n_levels,
    )
    half = "half of" if is_half(lost_at, clean.estimate or 0.0) else "halfway to chance from"
    return CriticalBandsSection(
        facts=_facts(table, found, bands, clean),
        rule=f"{percent(lost_at)}, {half} the {clean.text} without noise",
        chart=_chart(table, found, bands),
        channel=not found.no_centre,
        caveats=_caveats(found),
        noises=tuple(percent(noise, 1) for noise in found.noises),
        rows=tuple(
            LevelRow(
                level_title(level),
                bands.get(level, ""),
                _threshold_words(table, found, place),
                tuple(accuracy[level, noise].text for noise in found.noises),
            )
            for place, level in enumerate(found.level_names)
        ),
        n=clean.n,
    )


def octave_edges(bands: Mapping[str, str], n_levels: int) -> tuple[tuple[str, ...], str]:
    """Frequencies between the levels of detail, highest first, and their unit.

    Empty where a level is not one octave, as where the axes of a volume differ.

    Example:
        >>> octave_edges({"1": "0.25–0.5 cycles/pixel (1–2 px)"}, 1)
        (('0.5', '0.25'), 'cycles/pixel')
    """
    matches = [_OCTAVE.match(bands.get(str(level), "")) for level in range(1, n_levels + 1)]
    found = [match for match in matches if match]
    units = {match[3] for match in found}
    if len(units) != 1 or len(found) < n_levels:
        return (), ""
    edges = [found[0][2], *[match[1] for match in found]]
    return tuple(f"{float(edge):.5g}" for edge in edges), units.pop()


def _chart(table: MetricTable, found: Masking, bands: Mapping[str, str]) -> OctaveChart:
    n_levels = len(found.level_names) - 1
    edges, unit = octave_edges(bands, n_levels)
    levels = []
    for place, level in enumerate(found.level_names):
        metric = table.one(THRESHOLD, {"level": level})
        words = _threshold_words(table, found, place)
        levels.append(
            Threshold(
                "Approx." if level == APPROXIMATION else level_title(level),
                float(found.thresholds[place]),
                None if metric is None else metric.low,
                None if metric is None else metric.high,
                not found.is_within(place),
                f"{level_title(level)}: {words}",
            )
        )
    spoken = "; ".join(level.tip for level in levels)
    return octave_chart(
        f"Noise at the threshold by level. {spoken}.",
        (f"frequency ({unit})" if unit else "level", "noise, RMS in % of the range (log scale)"),
        found.noises.tolist(),
        levels,
        edges,
        _curve(found),
    )


def _curve(found: Masking) -> list[tuple[float, float]]:
    if found.fit is None or found.no_centre:
        return []
    places = np.linspace(0.5, len(found.level_names) - 0.5, _CURVE_POINTS)
    thresholds = 1 / np.maximum(found.fit.sensitivity(places), 1e-12)
    return list(zip(places.tolist(), thresholds.tolist(), strict=True))


def _threshold_words(table: MetricTable, found: Masking, place: int) -> str:
    metric = table.one(THRESHOLD, {"level": found.level_names[place]})
    if metric is not None:
        return metric.phrase
    if found.is_beyond(place):
        return f"above {percent(found.noises[-1], 0)}"
    return f"below {percent(found.noises[0])}" if found.is_below(place) else "–"


def _facts(
    table: MetricTable, found: Masking, bands: Mapping[str, str], clean: Metric
) -> tuple[tuple[str, str], ...]:
    facts = [("Accuracy of the clean samples taken", f"{clean.phrase}, n = {clean.n}")]
    hertz, cycles, width = (table.one(name) for name in (HERTZ, CYCLES, WIDTH))
    frequency = hertz.phrase if hertz else _cycles(cycles, bands, len(found.level_names) - 1)
    centre = table.one(CENTRE)
    if centre is not None:
        facts.append(("Centre of the channel", frequency))
        facts.append(("Centre on the scale of the levels", centre.phrase))
    if width is not None:
        facts.append(("Width of the channel (half maximum)", width.phrase))
    return tuple(facts)


def _cycles(cycles: Metric | None, bands: Mapping[str, str], n_levels: int) -> str:
    """In cycles per pixel, sample or voxel of the grid; millimetres are another unit."""
    if cycles is None:
        return "–"
    unit = octave_edges(bands, n_levels)[1]
    if unit in ("", "cycles/mm"):
        unit = "cycles/voxel"
    return cycles.phrase.replace("cycles/sample", unit)


def _caveats(found: Masking) -> tuple[str, ...]:
    if found.no_centre:
        return (f"No channel is identified: {found.no_centre}.",)
    if found.no_width:
        return (f"The width of the channel is not identified: {found.no_width}.",)
    return ()


def _as_text(labels: Mapping[str, str | int]) -> dict[str, str]:
    return {label: str(value) for label, value in labels.items()}
