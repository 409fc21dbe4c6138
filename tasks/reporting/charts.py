"""Geometry of the report's charts; the template turns it into SVG and escapes the words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tasks.reporting.formatting import shortened

WIDTH = 360.0
_PLOT_LEFT, _PLOT_RIGHT = 4.0, 282.0
_LABEL_HEIGHT, _LANE_HEIGHT, _ROW_GAP = 20.0, 17.0, 9.0
_LABEL_LENGTH = 58


@dataclass(frozen=True)
class Tick:
    """One grid line and its label."""

    position: float
    label: str


@dataclass(frozen=True)
class Axis:
    """Maps values to positions along one direction.

    Attributes:
        start: Position of `low`; `stop` is the position of `high`.
        origin: Value at which bars begin.
        multiples: Whether values are labelled as multiples (2×), not in percent.
    """

    title: str
    low: float
    high: float
    start: float
    stop: float
    origin: float
    values: tuple[float, ...]
    logarithmic: bool = False
    multiples: bool = False

    def position(self, value: float) -> float:
        """Where `value` stands; values beyond the axis stand at its end."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        place = (self._scaled(min(max(value, self.low), self.high)) - low) / (high - low)
        return round(self.start + place * (self.stop - self.start), 1)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.logarithmic else value

    @property
    def ticks(self) -> tuple[Tick, ...]:
        """Grid lines at round values."""
        return tuple(Tick(self.position(value), self._label(value)) for value in self.values)

    def _label(self, value: float) -> str:
        return f"{value:g}×" if self.multiples else f"{100 * value:g}"


def fraction_axis(
    title: str,
    values: Iterable[float],
    *,
    start: float = _PLOT_LEFT,
    stop: float = _PLOT_RIGHT,
) -> Axis:
    """From 0 to a round number above every value, labelled in percent."""
    top = max([*values, 0.01])
    steps = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25)
    step = next((step for step in steps if top <= 6 * step), math.ceil(top / 6))
    count = max(math.ceil(round(top / step, 9)), 1)
    grid = tuple(round(index * step, 6) for index in range(count + 1))
    return Axis(title, 0.0, grid[-1], start, stop, 0.0, grid)


def change_axis(
    title: str,
    values: Iterable[float],
    *,
    start: float = _PLOT_LEFT,
    stop: float = _PLOT_RIGHT,
) -> Axis:
    """Fractions on both sides of 0, labelled in percent, with 0 as the origin of bars."""
    known = [*values, 0.0]
    low, high = min(known), max([*known, 0.01])
    steps = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
    step = next((step for step in steps if high - low <= 6 * step), 1.0)
    first, last = math.floor(round(low / step, 9)), math.ceil(round(high / step, 9))
    grid = tuple(round(index * step, 6) for index in range(first, last + 1))
    return Axis(title, grid[0], grid[-1], start, stop, 0.0, grid)


def ratio_axis(title: str, values: Iterable[float]) -> Axis:
    """Logarithmic, with 1 on it, labelled at powers of 2 or 10."""
    positive = [value for value in values if value > 0] + [1.0]
    base = 10.0 if max(positive) / min(positive) > 64 else 2.0
    first = math.floor(round(math.log(min(positive), base), 9))
    last = math.ceil(round(math.log(max(positive), base), 9))
    first, last = (first, last) if last > first else (-1, 1)
    stride = math.ceil((last - first) / 6)
    grid = tuple(base**power for power in range(first, last + 1) if power % stride == 0)
    return Axis(
        title,
        base**first,
        base**last,
        _PLOT_LEFT,
        _PLOT_RIGHT,
        1.0,
        grid,
        logarithmic=True,
        multiples=True,
    )


@dataclass(frozen=True)
class Value:
    """What one bar shows."""

    estimate: float
    low: float | None
    high: float | None
    text: str
    tip: str
    series: int = 0


@dataclass(frozen=True)
class Bar:
    """A bar from the origin with its whisker, in chart units."""

    x: float
    width: float
    y: float
    tip_x: float
    low: float | None
    high: float | None
    text: str
    tip: str
    series: int


@dataclass(frozen=True)
class Row:
    """The bars of one level."""

    y: float
    height: float
    title: str
    note: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class RowChart:
    """Horizontal bars, one row per level, labelled in words.

    Attributes:
        description: What a screen reader says in place of the picture.
    """

    description: str
    width: float
    height: float
    origin: float
    axis: Axis
    rows: tuple[Row, ...]


def row_chart(
    description: str, axis: Axis, rows: Sequence[tuple[str, str, Sequence[Value]]]
) -> RowChart:
    """Lay out rows of (title, note, values) below each other."""
    y, placed = 4.0, []
    for title, note, values in rows:
        bars = tuple(
            _bar(value, axis, y + _LABEL_HEIGHT + lane * _LANE_HEIGHT)
            for lane, value in enumerate(values)
        )
        height = _LABEL_HEIGHT + max(len(bars), 1) * _LANE_HEIGHT
        note = shortened(note, _LABEL_LENGTH - len(title))
        placed.append(Row(y, height, title, note, bars))
        y += height + _ROW_GAP
    return RowChart(description, WIDTH, y + 40, axis.position(axis.origin), axis, tuple(placed))


def _bar(value: Value, axis: Axis, y: float) -> Bar:
    start, end = axis.position(axis.origin), axis.position(value.estimate)
    return Bar(
        x=min(start, end),
        width=round(abs(end - start), 1),
        y=y,
        tip_x=end,
        low=None if value.low is None else axis.position(value.low),
        high=None if value.high is None else axis.position(value.high),
        text=value.text,
        tip=value.tip,
        series=value.series,
    )


@dataclass(frozen=True)
class Point:
    """One class in the scatter chart."""

    x: float
    y: float
    radius: float
    tip: str
    few: bool


@dataclass(frozen=True)
class ScatterChart:
    """Points over two fraction axes."""

    description: str
    width: float
    height: float
    across: Axis
    up: Axis
    points: tuple[Point, ...]


@dataclass(frozen=True)
class ClassPoint:
    """Values of one class before they are placed."""

    across: float
    up: float
    n: int
    tip: str
    few: bool


def scatter_chart(
    description: str, titles: tuple[str, str], points: Sequence[ClassPoint]
) -> ScatterChart:
    """Place classes by two fractions; the area of a point grows with its number of samples."""
    width, height = 640.0, 330.0
    across = fraction_axis(titles[0], (p.across for p in points), start=52, stop=width - 14)
    up = fraction_axis(titles[1], [1.0], start=height - 48, stop=12)
    largest = max((point.n for point in points), default=1) or 1
    placed = tuple(
        Point(
            across.position(point.across),
            up.position(point.up),
            round(3.5 + 6 * math.sqrt(max(point.n, 0) / largest), 1),
            point.tip,
            point.few,
        )
        for point in points
    )
    return ScatterChart(description, width, height, across, up, placed)


@dataclass(frozen=True)
class Threshold:
    """A value of one level before it is placed.

    Attributes:
        title: The level.
        is_open: Whether the value lies beyond the axis, at its end.
    """

    title: str
    estimate: float
    low: float | None
    high: float | None
    is_open: bool
    tip: str


@dataclass(frozen=True)
class Column:
    """One level in a chart over octaves, in chart units."""

    x: float
    y: float
    low: float | None
    high: float | None
    title: str
    is_open: bool
    tip: str


@dataclass(frozen=True)
class OctaveChart:
    """Values of levels side by side, low frequencies on the left, and a curve through them.

    Attributes:
        edges: Frequencies between the levels.
        curve: Corners of the curve in chart units.
    """

    description: str
    width: float
    height: float
    title: str
    up: Axis
    columns: tuple[Column, ...]
    edges: tuple[Tick, ...]
    curve: tuple[tuple[float, float], ...]

    @property
    def left(self) -> float:
        """Where the grid begins."""
        return _OCTAVES_LEFT

    @property
    def right(self) -> float:
        """Where the grid ends."""
        return self.width - _OCTAVES_RIGHT


_OCTAVES_LEFT, _OCTAVES_RIGHT = 60.0, 14.0


def octave_chart(
    description: str,
    titles: tuple[str, str],
    grid: Sequence[float],
    levels: Sequence[Threshold],
    edges: Sequence[str] = (),
    curve: Sequence[tuple[float, float]] = (),
) -> OctaveChart:
    """Place levels, finest first, from right to left over a logarithmic axis in percent.

    Args:
        titles: Of the axis across and of the axis upwards.
        grid: Values of the grid lines, increasing; the axis holds them all.
        edges: Frequencies before, between and after the levels, highest first.
        curve: Place on the scale of the levels (1 is the finest) and value; left out where the
            value is beyond the axis.
    """
    width, height = 640.0, 350.0
    low, high = 0.8 * grid[0], 1.25 * grid[-1]
    up = Axis(titles[1], low, high, height - 66, 12, low, tuple(grid), logarithmic=True)
    step = (width - _OCTAVES_LEFT - _OCTAVES_RIGHT) / max(len(levels), 1)

    def across(place: float) -> float:
        return round(width - _OCTAVES_RIGHT - (place - 0.5) * step, 1)

    def upwards(value: float | None) -> float | None:
        return None if value is None else up.position(value)

    columns = tuple(
        Column(
            across(place),
            up.position(level.estimate),
            upwards(level.low),
            upwards(level.high),
            level.title,
            level.is_open,
            level.tip,
        )
        for place, level in enumerate(levels, start=1)
    )
    corners = tuple(
        (across(place), up.position(value)) for place, value in curve if low <= value <= high
    )
    ticks = tuple(Tick(across(place + 0.5), label) for place, label in enumerate(edges))
    return OctaveChart(description, width, height, titles[0], up, columns, ticks, corners)
