"""Where damage lies in the spectrum, from its energy in each level.

For damage delta = corrupt(x) - x the footprint is q_l = E|D_l delta|^2 over the sum over levels.
Blur takes fine structure away, so its delta is fine although its result is smooth; the gain of a
level, E|D_l corrupt(x)|^2 / E|D_l x|^2, tells the two apart.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
FrequencyClass = Literal["high", "mid", "low"]
FREQUENCY_CLASSES: tuple[FrequencyClass, ...] = ("high", "mid", "low")


def footprint(power: FloatArray) -> FloatArray:
    """Share of the energy in each level, over the last axis; NaN where there is no damage.

    Args:
        power: Energy of the damage in each level, finest first, the approximation last.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(power / power.sum(-1, keepdims=True))


def footprint_centroid(power: FloatArray) -> FloatArray:
    """Mean level under the footprint, in octaves; the approximation counts as one above the last.

    Example:
        >>> footprint_centroid(np.array([[3.0, 1.0, 0.0]]))
        array([1.25])
    """
    octaves = np.arange(1, power.shape[-1] + 1)
    return np.asarray((footprint(power) * octaves).sum(-1))


def frequency_class(power: FloatArray, fine_levels: int) -> FrequencyClass:
    """Where most of the energy of a damage lies: high, mid or low frequencies.

    High are the fine levels, mid half of the other levels of detail (rounded up), low the rest.
    Severities count alike.

    Args:
        power: Of every severity in every level, finest first, the approximation last.

    Example:
        >>> frequency_class(np.array([[0.75, 0.15, 0.05, 0.03, 0.01, 0.01]]), 2)
        'high'
    """
    share = footprint(power).mean(0)
    mid_ends = fine_levels + math.ceil((len(share) - 1 - fine_levels) / 2)
    parts = np.split(share, [fine_levels, mid_ends])
    return FREQUENCY_CLASSES[int(np.argmax([part.sum() for part in parts]))]
