"""Geometry of a chart of curves over stages; the template turns it into SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.reporting.charts import Tick

_WIDTH, _HEIGHT = 640.0, 330.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 18.0, 12.0, 62.0


@dataclass(frozen=True)
class StageValue:
    """One value before it is placed.

    Attributes:
        place: Along the chart, from 0.
    """

    place: int
    estimate: float
    low: float | None
    high: float | None
    tip: str


@dataclass(frozen=True)
class Marker:
    """One value of a curve, in chart units."""

    x: float
    y: float
    low: float | None
    high: float | None
    tip: str


@dataclass(frozen=True)
class Curve:
    """Markers joined by lines.

    Attributes:
        series: Which colour.
    """

    title: str
    series: int
    markers: tuple[Marker, ...]


@dataclass(frozen=True)
class StageChart:
    """Curves over the same stages.

    Attributes:
        description: What a screen reader says in place of the picture.
        limit: Position of a line across, such as what a check allows.
    """

    description: str
    width: float
    height: float
    titles: tuple[str, str]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    curves: tuple[Curve, ...]
    limit: float | None

    @property
    def left(self) -> float:
        """Where the grid begins."""
        return _LEFT

    @property
    def right(self) -> float:
        """Where the grid ends."""
        return self.width - _RIGHT

    @property
    def bottom(self) -> float:
        """The lower end of the grid."""
        return self.height - _BOTTOM


def stage_chart(
    description: str,
    titles: tuple[str, str],
    stages: Sequence[str],
    curves: Sequence[tuple[str, int, Sequence[StageValue]]],
    limit: float | None = None,
) -> StageChart:
    """Place curves over stages from left to right, on an axis that ends at 1.

    Args:
        titles: Of the axis across and of the axis upwards.
        stages: Label of every stage.
        curves: Title, colour and values of each.
        limit: Value at which a line is drawn.
    """
    values = [bound for _, _, points in curves for point in points for bound in _bounds(point)]
    lowest = min([0.0, *values])
    bottom = math.floor(5 * lowest) / 5
    n_ticks = round((1.0 - bottom) / 0.2)
    room = (_WIDTH - _LEFT - _RIGHT) / max(len(stages) - 1, 1)
    shift = [4.0 * (series - (len(curves) - 1) / 2) for series in range(len(curves))]

    def upwards(value: float) -> float:
        share = (min(max(value, bottom), 1.0) - bottom) / (1.0 - bottom)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP), 1)

    def marker(point: StageValue, lane: int) -> Marker:
        # Whiskers stand beside each other, except at the ends, where there is no room.
        aside = 0.0 if point.place in (0, len(stages) - 1) else shift[lane]
        return Marker(
            round(_LEFT + point.place * room + aside, 1),
            upwards(point.estimate),
            None if point.low is None else upwards(point.low),
            None if point.high is None else upwards(point.high),
            point.tip,
        )

    return StageChart(
        description=description,
        width=_WIDTH,
        height=_HEIGHT,
        titles=titles,
        across=tuple(
            Tick(round(_LEFT + place * room, 1), label) for place, label in enumerate(stages)
        ),
        up=tuple(
            Tick(upwards(bottom + 0.2 * tick), f"{round(bottom + 0.2 * tick, 1):g}")
            for tick in range(n_ticks + 1)
        ),
        curves=tuple(
            Curve(title, series, tuple(marker(point, lane) for point in points))
            for lane, (title, series, points) in enumerate(curves)
        ),
        limit=None if limit is None else upwards(limit),
    )


def _bounds(point: StageValue) -> tuple[float, ...]:
    known = (point.estimate, point.low, point.high)
    return tuple(value for value in known if value is not None)
