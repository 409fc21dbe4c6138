"""The picture of one sound: waveforms over time, importance over time and frequency."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from tasks.reporting.explanation import FloatArray, SampleExplanation
from tasks.reporting.formatting import percent, shortened
from tasks.reporting.gallery import class_words
from tasks.reporting.pictures import COLORMAP, scaled_importance
from tasks.reporting.sound_views import envelope, scalogram
from tasks.reporting.wording import level_title, method_title, ordered_levels, ordered_methods

_COLUMNS = 900
_BLUE, _GREY = "#0072B2", "#777777"


def sound_figure(explanation: SampleExplanation, signal: FloatArray) -> Figure:
    """Input, one map per method with a row for each level, and the reconstructions."""
    methods = ordered_methods(set(explanation.maps))
    n_levels = max((len(explanation.maps[method]) for method in methods), default=1)
    heights = [1.1, *[0.3 * n_levels] * len(methods), *[0.9] * len(explanation.reconstructions)]
    figure = Figure(figsize=(10.5, 1.5 + sum(heights) + 0.45 * len(heights)), dpi=110)
    figure.set_facecolor("white")
    rows = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    rate = explanation.sample_rate
    duration = signal.shape[1] / (rate or 1)
    peak = float(np.abs(signal).max(initial=0.0)) or 1.0
    _draw_waveform(rows[0], signal, duration, peak, "Input, as the model hears it", _BLUE)
    for axes, method in zip(rows[1:], methods, strict=False):
        _draw_map(axes, explanation, method, duration)
    for axes, (caption, rebuilt) in zip(
        rows[1 + len(methods) :], explanation.reconstructions.items(), strict=False
    ):
        title = f"Rebuilt from the most important {caption}"
        _draw_waveform(axes, rebuilt, duration, peak, title, _GREY)
    rows[-1].set_xlabel("time in s" if rate else "time in samples")
    rows[-1].set_xlim(0, duration)
    _draw_title(figure, explanation)
    return figure


def _draw_waveform(
    axes: Axes, signal: FloatArray, duration: float, peak: float, title: str, ink: str
) -> None:
    low, high = envelope(np.nan_to_num(signal.mean(axis=0)), _COLUMNS)
    times = (np.arange(len(low)) + 0.5) * duration / len(low)
    axes.fill_between(times, low, high, color=ink, linewidth=0.4)
    axes.set_ylim(-1.05 * peak, 1.05 * peak)
    axes.set_ylabel("amplitude", fontsize=8)
    axes.tick_params(labelsize=7.5)
    axes.set_title(shortened(title, 110), fontsize=9.5, loc="left", parse_math=False)


def _draw_map(axes: Axes, explanation: SampleExplanation, method: str, duration: float) -> None:
    maps, shares = explanation.maps[method], explanation.shares.get(method, {})
    levels = ordered_levels(set(maps))
    picture = scaled_importance(scalogram(maps, _COLUMNS))
    axes.imshow(
        picture,
        aspect="auto",
        interpolation="nearest",
        cmap=COLORMAP,
        norm=Normalize(0, 1),
        extent=(0, duration, len(levels) - 0.5, -0.5),
    )
    names = [
        explanation.frequency_labels.get(level, level_title(level)).partition(" (")[0]
        for level in levels
    ]
    labels = [
        f"{name}  {percent(shares.get(level))}" for name, level in zip(names, levels, strict=True)
    ]
    axes.set_yticks(range(len(levels)), labels, fontsize=7.5)
    axes.set_title(
        f"{method_title(method)}: importance over time and frequency, with each level's share; "
        "one colour scale from 0 to the 99.5th percentile",
        fontsize=9.5,
        loc="left",
        parse_math=False,
    )


def _draw_title(figure: Figure, explanation: SampleExplanation) -> None:
    label = class_words(explanation.label, explanation.label_name, explanation.probability_label)
    predicted = class_words(
        explanation.predicted, explanation.predicted_name, explanation.probability_predicted
    )
    outcome = f" ({explanation.outcome})" if explanation.outcome != "unknown" else ""
    lines = [
        shortened(explanation.sample_id, 100),
        shortened(f"Label: {label}.  Predicted: {predicted}{outcome}.", 130),
        shortened(f"Status: {explanation.status}. {explanation.detail}", 130),
    ]
    height = float(figure.get_size_inches()[1])
    for line, (words, size) in enumerate(zip(lines, (12, 9.5, 8.5), strict=True)):
        figure.text(
            0.02,
            1 - (0.12 + 0.24 * line) / height,
            words,
            fontsize=size,
            va="top",
            parse_math=False,
        )
    figure.subplots_adjust(
        left=0.21, right=0.985, top=1 - 1.15 / height, bottom=0.5 / height, hspace=0.45
    )
