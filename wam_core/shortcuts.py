"""Frequency shortcuts: levels that stand out in a class's data, and levels that decide for it.

After Wang, Veldhuis, Brune and Strisciuglio, "What do neural networks learn in image
classification? A frequency shortcut perspective", ICCV 2023, with the levels of a wavelet transform
in place of Fourier frequencies.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_LEAST_PROBABILITY = 1e-7
"""Probabilities are float32: smaller ones are rounding, and would rule every mean of logarithms."""


def class_contrast(energy: Float[np.ndarray, "class level"]) -> Float[np.ndarray, "class level"]:
    """How a class's energy compares with every other class's, level by level: from -1 to 1.

    The accumulative difference of class-wise spectra: the sum over the other classes of
    sign(E_c - E_other), over their number. 1: more energy than in every other class. It is a
    property of the data; the model has no part in it.

    Args:
        energy: Mean energy of a class's samples per level; NaN rows take no part and have no value.

    Raises:
        ValueError: If fewer than two classes have energies.

    Example:
        >>> class_contrast(np.array([[3.0, 1.0], [2.0, 1.0], [1.0, 4.0]]))
        array([[ 1. , -0.5],
               [ 0. , -0.5],
               [-1. ,  1. ]])
    """
    known = np.isfinite(energy).all(1)
    if known.sum() < 2:
        raise ValueError(f"classes are compared with each other, but there are {known.sum()}")
    values = energy[known]
    order = np.sort(values, axis=0)
    contrast = np.full(energy.shape, np.nan)
    for level in range(energy.shape[1]):
        below = np.searchsorted(order[:, level], values[:, level], side="left")
        above = len(values) - np.searchsorted(order[:, level], values[:, level], side="right")
        contrast[known, level] = (below - above) / (len(values) - 1)
    return contrast


def loss(probability: FloatArray) -> FloatArray:
    """Cross-entropy in nats of the probability of the right class, at most 16.1."""
    return np.asarray(-np.log(np.maximum(probability, _LEAST_PROBABILITY)))


def dominant_levels(
    loss_increase: Float[np.ndarray, " level"], share: float, most: int
) -> Int[np.ndarray, " dominant"]:
    """Levels without which a class's loss rises most, the most important first.

    Args:
        loss_increase: Mean loss without each level, less that with all.
        share: Least increase that counts, over the largest.
        most: Most levels.

    Returns:
        Positions; none where no level's removal raises the loss.

    Example:
        >>> dominant_levels(np.array([0.1, 2.0, 1.2, -0.3]), share=0.25, most=2)
        array([1, 2])
    """
    largest = loss_increase.max()
    if not largest > 0:
        return np.array([], dtype=np.int64)
    order = np.argsort(-loss_increase, kind="stable")[:most]
    return np.asarray(order[loss_increase[order] >= share * largest])
