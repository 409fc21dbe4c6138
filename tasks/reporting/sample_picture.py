"""The picture of one sample: what the model saw, and where each level's importance lies."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tasks.reporting.explanation import FloatArray, SampleExplanation
from tasks.reporting.formatting import finite, percent, shortened
from tasks.reporting.gallery import class_words
from tasks.reporting.pictures import (
    COLORMAP,
    SCALING_RULE,
    can_picture,
    overlay,
    renderer,
)
from tasks.reporting.sound_picture import sound_figure
from tasks.reporting.surfaces import surface_picture
from tasks.reporting.volume_cards import total_importance
from tasks.reporting.volume_views import PLANES, view_of
from tasks.reporting.wording import level_title, method_title, ordered_levels, ordered_methods

# All lengths in inches.
_CELL, _GAP, _MARGIN = 2.1, 0.14, 0.3
_HEADER, _ROW_TITLE, _PANEL_TITLE, _FOOTER = 1.02, 0.34, 0.62, 0.8
_BLUE, _MUTED, _LINE = "#0072B2", "#555555", "#d4d8de"


@dataclass(frozen=True)
class Cell:
    """One picture with its words; `share` in [0, 1] draws a bar below it."""

    picture: FloatArray
    title: str
    note: str
    share: float | None = None


def sample_figure(explanation: SampleExplanation) -> Figure:
    """Input and reconstructions above one row of per-level maps for each method.

    A sample without a signal gives a figure that says why.
    """
    signal = explanation.signal
    if signal is None or not can_picture(signal):
        return _figure_without_picture(explanation)
    if signal.ndim == 2:
        return sound_figure(explanation, signal)
    rows = list(_rows(explanation, signal))
    height, width = rows[0][1][0].picture.shape[:2]
    cell_height = _CELL * min(max(height / width, 0.3), 2.0)
    row_height = _ROW_TITLE + _PANEL_TITLE + cell_height + 2 * _GAP
    columns = max(4, *(len(cells) for _, cells in rows))
    canvas = _Canvas(
        2 * _MARGIN + columns * (_CELL + _GAP) - _GAP, _HEADER + row_height * len(rows) + _FOOTER
    )
    _draw_header(canvas, explanation)
    for index, (title, cells) in enumerate(rows):
        _draw_row(canvas, _HEADER + index * row_height, title, cells, cell_height)
    if len(rows) > 1:
        _draw_footer(canvas)
    return canvas.figure


class _Canvas:
    """A figure addressed in inches from its upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), dpi=110, facecolor="white")

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Empty axes without frame, labels or ticks."""
        bottom = self.height - top - height
        axes = self.figure.add_axes(
            (left / self.width, bottom / self.height, width / self.width, height / self.height)
        )
        axes.set_axis_off()
        return axes

    def text(
        self,
        left: float,
        top: float,
        words: str,
        *,
        size: float,
        bold: bool = False,
        ink: str = "black",
    ) -> None:
        """Words whose upper left corner is at (left, top); never read as mathematics."""
        self.figure.text(
            left / self.width,
            1 - top / self.height,
            words,
            fontsize=size,
            fontweight="bold" if bold else "normal",
            color=ink,
            va="top",
            parse_math=False,
        )


def _rows(explanation: SampleExplanation, signal: FloatArray) -> Iterator[tuple[str, list[Cell]]]:
    render = renderer(explanation)
    picture = render.signal(signal)
    rebuilt = [
        Cell(render.signal(array), "Rebuilt", _wrapped(f"from the most important {caption}"))
        for caption, array in explanation.reconstructions.items()
    ]
    seen = "as the model sees it" if signal.ndim < 4 else PLANES
    yield "Input and reconstructions", [Cell(picture, "Input", seen), *rebuilt]
    for method in ordered_methods(set(explanation.maps)):
        maps, shares = explanation.maps[method], explanation.shares.get(method, {})
        cells = [
            Cell(
                overlay(picture, render.importance(maps[level])),
                f"{level_title(level)}: {percent(shares.get(level))}",
                _band(explanation.frequency_labels.get(level, "")),
                finite(shares.get(level)) or 0.0,
            )
            for level in ordered_levels(set(maps))
        ]
        if signal.ndim == 4:
            cells += _surface_cells(explanation, signal, maps)
        if cells:
            yield f"{method_title(method)}: importance by level, fine to coarse", cells


def _surface_cells(
    explanation: SampleExplanation, signal: FloatArray, maps: dict[str, FloatArray]
) -> list[Cell]:
    picture = surface_picture(
        signal, total_importance(maps), view_of(explanation), COLORMAP, side=360
    )
    if picture is None:
        return []
    return [
        Cell(picture, "Surface, all levels", "coloured by the importance\nwithin a voxel of it")
    ]


def _wrapped(text: str) -> str:
    return textwrap.fill(shortened(text, 96), 34)


def _band(text: str) -> str:
    """A frequency label on at most two lines, the structure size on the second."""
    return shortened(text, 70).replace(" (", "\n(", 1)


def _draw_header(canvas: _Canvas, explanation: SampleExplanation) -> None:
    room = int((canvas.width - 2 * _MARGIN) / 0.085)
    label = class_words(explanation.label, explanation.label_name, explanation.probability_label)
    predicted = class_words(
        explanation.predicted, explanation.predicted_name, explanation.probability_predicted
    )
    canvas.text(
        _MARGIN, 0.2, shortened(explanation.sample_id, int(room * 0.75)), size=13, bold=True
    )
    verdict = f" ({explanation.outcome})" if explanation.outcome != "unknown" else ""
    first = f"Label: {label}.   Predicted: {predicted}{verdict}."
    canvas.text(_MARGIN, 0.48, shortened(first, room), size=9.5)
    second = f"Status: {explanation.status}. {explanation.detail}   Source: {explanation.source}"
    canvas.text(_MARGIN, 0.69, shortened(second, room), size=8.5, ink=_MUTED)


def _draw_row(
    canvas: _Canvas, top: float, title: str, cells: list[Cell], cell_height: float
) -> None:
    canvas.text(_MARGIN, top + 0.08, title, size=10.5, bold=True)
    words_top = top + _ROW_TITLE
    picture_top = top + _ROW_TITLE + _PANEL_TITLE
    for column, cell in enumerate(cells):
        left = _MARGIN + column * (_CELL + _GAP)
        canvas.text(left, words_top, cell.title, size=9, bold=True)
        canvas.text(left, words_top + 0.17, cell.note, size=7.5, ink=_MUTED)
        axes = canvas.axes(left, picture_top, _CELL, cell_height)
        axes.imshow(cell.picture, interpolation="nearest")
        if cell.share is not None:
            _draw_share(
                canvas.axes(left, picture_top + cell_height + 0.04, _CELL, 0.06), cell.share
            )


def _draw_share(axes: Axes, share: float) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.add_patch(Rectangle((0, 0), 1, 1, color=_LINE, linewidth=0))
    axes.add_patch(Rectangle((0, 0), min(max(share, 0.0), 1.0), 1, color=_BLUE, linewidth=0))


def _draw_footer(canvas: _Canvas) -> None:
    """The colour scale with its ends named, and the rule by which maps were scaled."""
    top = canvas.height - _FOOTER + 0.12
    axes = canvas.axes(_MARGIN, top, 2 * _CELL, 0.12)
    axes.set_axis_on()
    mappable = ScalarMappable(Normalize(0, 1), COLORMAP)
    bar = canvas.figure.colorbar(mappable, cax=axes, orientation="horizontal", ticks=[0, 1])
    bar.ax.set_xticklabels(["0", "99.5th percentile"], fontsize=7.5)
    bar.ax.get_xticklabels()[0].set_horizontalalignment("left")
    bar.ax.get_xticklabels()[1].set_horizontalalignment("right")
    left = _MARGIN + 2 * (_CELL + _GAP)
    room = int((canvas.width - left - _MARGIN) / 0.068)
    rule = f"{SCALING_RULE} Blue bars: share of the method's importance."
    words = "Importance, shining over the dimmed input. " + rule
    canvas.text(left, top - 0.03, textwrap.fill(words, room), size=7.5, ink=_MUTED)


def _figure_without_picture(explanation: SampleExplanation) -> Figure:
    canvas = _Canvas(8.0, 2.4)
    _draw_header(canvas, explanation)
    reason = "the sample could not be read"
    if explanation.signal is not None:
        reason = f"signals of shape {tuple(explanation.signal.shape)} are not pictured"
    words = f"No picture: {reason}. {explanation.detail}".strip()
    canvas.text(_MARGIN, 1.05, textwrap.fill(shortened(words, 400), 90), size=9.5)
    return canvas.figure
