"""Geometry of charts about damage: grids of shaded cells, and predicted against observed loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.reporting.charts import Axis, change_axis, fraction_axis
from tasks.reporting.formatting import shortened

WIDTH = 640.0
_LABELS, _TITLES, _ROW = 150.0, 24.0, 20.0
_FAINTEST, _STRONGEST = 0.02, 0.6
"""Opacity of cells: text on the strongest can still be read, on light pages and on dark ones."""

_LABEL_LENGTH = 22


@dataclass(frozen=True)
class CellValue:
    """One cell before it is placed.

    Attributes:
        shade: 0 (faint) to 1 (strong).
    """

    shade: float
    text: str
    tip: str


@dataclass(frozen=True)
class Cell:
    """A shaded cell, in chart units."""

    x: float
    opacity: float
    text: str
    tip: str


@dataclass(frozen=True)
class CellRow:
    """Cells side by side."""

    y: float
    title: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class CellChart:
    """Rows of shaded cells below titles.

    Attributes:
        series: Which of the report's colours shades them.
    """

    description: str
    width: float
    height: float
    cell_width: float
    cell_height: float
    series: int
    titles: tuple[tuple[float, str], ...]
    rows: tuple[CellRow, ...]


def cell_chart(
    description: str,
    titles: Sequence[str],
    rows: Sequence[tuple[str, Sequence[CellValue | None]]],
    series: int,
) -> CellChart:
    """Place rows of (title, cells), one cell per title; a cell that is None stays empty."""
    step = round((WIDTH - _LABELS) / max(len(titles), 1), 1)
    places = [round(_LABELS + index * step, 1) for index in range(len(titles))]
    placed = tuple(
        CellRow(
            _TITLES + index * _ROW,
            shortened(title, _LABEL_LENGTH),
            tuple(
                Cell(x, _opacity(value.shade), value.text, value.tip)
                for x, value in zip(places, values, strict=True)
                if value is not None
            ),
        )
        for index, (title, values) in enumerate(rows)
    )
    centres = tuple(
        (round(x + step / 2, 1), title) for x, title in zip(places, titles, strict=True)
    )
    height = _TITLES + len(rows) * _ROW + 4
    return CellChart(description, WIDTH, height, step, _ROW, series, centres, placed)


def _opacity(shade: float) -> float:
    return round(_FAINTEST + (_STRONGEST - _FAINTEST) * min(max(shade, 0.0), 1.0), 3)


@dataclass(frozen=True)
class LossValue:
    """One kind of damage before it is placed.

    Attributes:
        kind: Which mark and colour it gets: 0, 1 or 2.
    """

    across: float
    up: float
    low: float | None
    high: float | None
    kind: int
    tip: str


@dataclass(frozen=True)
class LossMark:
    """One kind of damage, in chart units."""

    x: float
    y: float
    low: float | None
    high: float | None
    kind: int
    tip: str


@dataclass(frozen=True)
class LossChart:
    """Observed loss over predicted sensitivity."""

    description: str
    width: float
    height: float
    across: Axis
    up: Axis
    marks: tuple[LossMark, ...]


def loss_chart(description: str, titles: tuple[str, str], values: Sequence[LossValue]) -> LossChart:
    """Place kinds of damage by predicted sensitivity and observed loss."""
    height = 360.0
    across = fraction_axis(titles[0], (v.across for v in values), start=56, stop=WIDTH - 14)
    reach = [bound for v in values for bound in (v.up, v.low, v.high) if bound is not None]
    up = change_axis(titles[1], reach, start=height - 48, stop=12)
    marks = tuple(
        LossMark(
            across.position(value.across),
            up.position(value.up),
            None if value.low is None else up.position(value.low),
            None if value.high is None else up.position(value.high),
            value.kind,
            value.tip,
        )
        for value in values
    )
    return LossChart(description, WIDTH, height, across, up, marks)
