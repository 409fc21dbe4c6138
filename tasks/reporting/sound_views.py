"""Waveforms as pictures: the envelope over time, and importance over time and level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.reporting.explanation import FloatArray, SampleExplanation
from tasks.reporting.wording import ordered_levels

COLUMNS = 420
_HEIGHT = 150
_INK = (0.72, 0.84, 0.98)
_AXIS = (0.35, 0.40, 0.48)


@dataclass(frozen=True)
class SoundView:
    """How the waveforms of one sample are drawn, all on one amplitude scale.

    Attributes:
        peak: Amplitude at the upper edge of a picture.
    """

    peak: float

    def signal(self, signal: FloatArray) -> FloatArray:
        """Smallest and largest amplitude of every column, light on black, (height, width, 3)."""
        waveform = np.nan_to_num(signal.mean(axis=0))
        low, high = envelope(waveform, COLUMNS)
        rows = np.linspace(1, -1, _HEIGHT)[:, None] * self.peak
        half = self.peak / _HEIGHT
        covered = (rows >= low - half) & (rows <= high + half)
        picture = np.zeros((*covered.shape, 3))
        picture[_HEIGHT // 2] = _AXIS
        picture[covered] = _INK
        return picture

    def importance(self, importance: FloatArray) -> FloatArray:
        """The importance within every column, from top to bottom of the picture."""
        return np.repeat(column_sums(importance)[None], _HEIGHT, axis=0)


def view_of_sound(explanation: SampleExplanation) -> SoundView:
    """The view of a sample: the input's largest amplitude fills the picture."""
    signal = explanation.signal
    peak = 0.0 if signal is None else float(np.abs(np.nan_to_num(signal)).max(initial=0.0))
    return SoundView(peak or 1.0)


def envelope(waveform: FloatArray, columns: int) -> tuple[FloatArray, FloatArray]:
    """Smallest and largest amplitude within each of so many stretches of a waveform."""
    starts = _starts(len(waveform), columns)
    return np.minimum.reduceat(waveform, starts), np.maximum.reduceat(waveform, starts)


def column_sums(importance: FloatArray, columns: int = COLUMNS) -> FloatArray:
    """Importance within each of so many stretches."""
    values = np.nan_to_num(importance, posinf=0.0, neginf=0.0)
    sums: FloatArray = np.add.reduceat(values, _starts(len(values), columns))
    return sums


def scalogram(maps: dict[str, FloatArray], columns: int = COLUMNS) -> FloatArray:
    """Importance over level and time, shape (level, column), the finest level first."""
    return np.stack([column_sums(maps[level], columns) for level in ordered_levels(set(maps))])


def _starts(length: int, columns: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    columns = min(columns, length)
    return (np.arange(columns) * length // columns).astype(np.intp)
