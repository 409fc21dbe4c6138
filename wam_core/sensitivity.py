"""What a reliance profile predicts of damage: formulas for the link to robustness.

A model that relies on a level is disturbed by damage in it. For importance shares s_l, damage delta
with the footprint q_l (shares of its energy over the levels) and the size |delta|, the predicted
sensitivity is S = sum over l of s_l q_l |delta|: the damage's size times the mean reliance on the
levels where it lies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def predicted_sensitivity(share: FloatArray, footprint: FloatArray, size: FloatArray) -> FloatArray:
    """S = sum over l of s_l q_l |delta|, for every kind of damage.

    Args:
        share: Importance of each level, shape (row, level).
        footprint: Share of the damage's energy in each level, shape (row, damage, level).
        size: |delta|, such as a root mean square, shape (row, damage).

    Returns:
        Shape (row, damage).

    Example:
        >>> noise, fog = [0.75, 0.25], [0.0, 1.0]
        >>> predicted_sensitivity(np.array([[0.8, 0.2]]), np.array([[noise, fog]]), np.ones((1, 2)))
        array([[0.65, 0.2 ]])
    """
    return np.asarray((share[:, None] * footprint).sum(-1) * size)
