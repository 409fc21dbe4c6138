"""At which frequencies the model errs, as a section of the report: the map, octaves and rings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.colors import to_hex

from tasks.analyses.fourier_sensitivity import CLEAN, ERROR, ERROR_MAP, FLIP, FLIP_MAP, RING
from tasks.reporting.metric_table import Metric, MetricTable

_COLOURS = "cividis"
_CELL = 22
_PLANE = 2
"""Dimensions in which frequencies are drawn as a map."""


@dataclass(frozen=True)
class MapCell:
    """One frequency: its place in the drawing, its colour, and what the pointer is told."""

    x: int
    y: int
    colour: str
    tip: str


@dataclass(frozen=True)
class FrequencyMap:
    """Error or flip rate over the plane of frequencies; zero frequency in the middle.

    Attributes:
        size: Side of the drawing in its own units.
        highest: Largest frequency of either axis, in cycles over the signal.
    """

    title: str
    cells: tuple[MapCell, ...]
    cell: int
    size: int
    highest: int
    legend: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class OctaveRow:
    """One octave of frequencies."""

    title: str
    band: str
    error: str
    flip: str
    rings: tuple[str, ...]
    n: int


@dataclass(frozen=True)
class FourierSection:
    """Everything that the section shows."""

    noise: str
    clean: str
    noises: tuple[str, ...]
    maps: tuple[FrequencyMap, ...]
    rows: tuple[OctaveRow, ...]


def fourier_section(
    table: MetricTable, bands: Mapping[str, str], noise: float | None
) -> FourierSection | None:
    """None where no wave was added.

    Args:
        bands: Frequencies of each level, in words.
        noise: Strength of the waves.
    """
    everything = (*table.named(FLIP), *table.named(RING))
    octaves = sorted({int(metric.labels["octave"]) for metric in everything})
    if not octaves:
        return None
    noises = sorted({metric.labels["noise"] for metric in table.named(RING)}, key=float)
    clean = table.one(CLEAN)
    maps = [
        drawn
        for name, title in (
            (ERROR_MAP, "Wrong answers"),
            (FLIP_MAP, "Answers that change"),
        )
        if (drawn := _map(table, name, title)) is not None
    ]
    return FourierSection(
        noise="" if noise is None else f"{noise:g}",
        clean=clean.phrase if clean else "",
        noises=tuple(noises),
        maps=tuple(maps),
        rows=tuple(_row(table, place, noises, bands) for place in octaves),
    )


def _row(table: MetricTable, place: int, noises: list[str], bands: Mapping[str, str]) -> OctaveRow:
    label = {"octave": str(place)}
    error, flip = table.one(ERROR, label), table.one(FLIP, label)
    rings = [table.one(RING, label | {"noise": noise}) for noise in noises]
    known = [metric for metric in (error, flip, *rings) if metric is not None]
    level = str(place) if str(place) in bands else "approximation"
    return OctaveRow(
        title=f"Octave {place}" if level != "approximation" else "Below",
        band=bands.get(level, ""),
        error=_phrase(error),
        flip=_phrase(flip),
        rings=tuple(_phrase(metric) for metric in rings),
        n=max(metric.n for metric in known),
    )


def _phrase(metric: Metric | None) -> str:
    return metric.phrase if metric else ""


def _map(table: MetricTable, name: str, title: str) -> FrequencyMap | None:
    rates: dict[tuple[int, ...], Metric] = {}
    for metric in table.named(name):
        frequency = tuple(int(cycles) for cycles in metric.labels["frequency"].split())
        if len(frequency) != _PLANE:
            return None
        rates[frequency] = metric
        rates[-frequency[0], -frequency[1]] = metric
    if not rates:
        return None
    rows, columns = (sorted({frequency[axis] for frequency in rates}) for axis in (0, 1))
    values = [metric.estimate or 0.0 for metric in rates.values()]
    low, high = min(values), max(values)
    cells = tuple(
        MapCell(
            x=columns.index(frequency[1]) * _CELL,
            y=rows.index(frequency[0]) * _CELL,
            colour=_colour((metric.estimate or 0.0), low, high),
            tip=f"{frequency[0]} x {frequency[1]} cycles: {metric.phrase} (n = {metric.n})",
        )
        for frequency, metric in sorted(rates.items())
    )
    return FrequencyMap(
        title=title,
        cells=cells,
        cell=_CELL,
        size=_CELL * max(len(rows), len(columns)),
        highest=max(rows[-1], columns[-1]),
        legend=tuple(
            (f"{100 * (low + part * (high - low)):.0f} %", _colour(part, 0, 1))
            for part in (0, 0.25, 0.5, 0.75, 1)
        ),
    )


def _colour(value: float, low: float, high: float) -> str:
    part = 0.5 if high <= low else (value - low) / (high - low)
    return str(to_hex(mpl.colormaps[_COLOURS](part)))
