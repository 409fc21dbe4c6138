"""Geometry of charts of curves with bands of intervals; the template turns it into SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.reporting.charts import Axis, fraction_axis

_WIDTH, _HEIGHT = 360.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 8.0, 10.0, 42.0


@dataclass(frozen=True)
class CurveValues:
    """One curve before it is placed: values at equal steps from 0 to 1.

    Attributes:
        low: Lower ends of the intervals; empty without them. So is `high`.
        series: Its colour.
        is_control: Whether it is dashed.
    """

    title: str
    values: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    series: int
    is_control: bool


@dataclass(frozen=True)
class Curve:
    """One curve in chart units, and the outline of its band."""

    title: str
    corners: tuple[tuple[float, float], ...]
    band: tuple[tuple[float, float], ...]
    series: int
    is_control: bool


@dataclass(frozen=True)
class CurveChart:
    """Curves over a fraction, both axes in percent."""

    description: str
    width: float
    height: float
    across: Axis
    up: Axis
    curves: tuple[Curve, ...]


def curve_chart(
    description: str, titles: tuple[str, str], curves: Sequence[CurveValues]
) -> CurveChart:
    """Place curves of probabilities over a fraction.

    Args:
        titles: Of the axis across and of the axis upwards.
    """
    across = fraction_axis(titles[0], [1.0], start=_LEFT, stop=_WIDTH - _RIGHT)
    up = fraction_axis(titles[1], [1.0], start=_HEIGHT - _BOTTOM, stop=_TOP)

    def placed(values: Sequence[float]) -> tuple[tuple[float, float], ...]:
        last = max(len(values) - 1, 1)
        return tuple(
            (across.position(place / last), up.position(value))
            for place, value in enumerate(values)
        )

    return CurveChart(
        description,
        _WIDTH,
        _HEIGHT,
        across,
        up,
        tuple(
            Curve(
                curve.title,
                placed(curve.values),
                (*placed(curve.low), *reversed(placed(curve.high))),
                curve.series,
                curve.is_control,
            )
            for curve in curves
        ),
    )
