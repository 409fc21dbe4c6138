"""Profiles over levels as compositions: parts of a whole, where one part gains what others lose.

Octaves: the levels in order, finest first, the approximation one octave above the last.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wam_core.comparison.paired import random_signs
from wam_core.intervals import FloatArray

SMALLEST_SHARE = 1e-6
"""What replaces shares below it before a logarithm; the rest is scaled down in proportion."""


@dataclass(frozen=True)
class CompositionTest:
    """Paired test of a whole profile.

    Attributes:
        distance: Aitchison distance between the centres (the norm of the mean difference of
            centred log-ratios).
        p_value: Of no difference, by flipping the signs of units.
        n_replaced: Shares that were replaced because they were too small.
    """

    distance: float
    p_value: float
    n_replaced: int


def centred_log_ratios(shares: FloatArray, smallest: float = SMALLEST_SHARE) -> FloatArray:
    """ln(share) less its mean over the levels (Aitchison 1982), shape (sample, level).

    Shares below `smallest` are replaced by it and the others scaled so that they sum to 1
    (multiplicative replacement).

    Raises:
        ValueError: If a row does not sum to 1.
    """
    if len(shares) and not np.allclose(shares.sum(-1), 1.0, atol=1e-6):
        raise ValueError("shares must sum to 1 over the levels")
    small = shares < smallest
    taken = smallest * small.sum(-1, keepdims=True)
    kept = np.where(small, 0.0, shares)
    scaled = kept * (1 - taken) / kept.sum(-1, keepdims=True)
    logarithms = np.log(np.where(small, smallest, scaled))
    return np.asarray(logarithms - logarithms.mean(-1, keepdims=True))


def composition_test(
    first: FloatArray,
    second: FloatArray,
    groups: np.ndarray,
    *,
    n_permutations: int = 9999,
    seed: int = 0,
) -> CompositionTest:
    """Do the profiles of the same samples differ? One test of all levels together.

    The statistic is the norm of the mean difference of centred log-ratios; under the null the two
    models of a pair are exchangeable, so the signs of a group's differences are flipped together.

    Args:
        first: Shares, shape (sample, level).
        second: As `first`.
        groups: Group of each sample as a whole number.
    """
    differences = centred_log_ratios(second) - centred_log_ratios(first)
    replaced = int((first < SMALLEST_SHARE).sum() + (second < SMALLEST_SHARE).sum())
    sums = sum_by_group(differences, groups)
    observed = float(np.linalg.norm(sums.sum(0)))
    exceed = 0
    for signs in random_signs(len(sums), n_permutations, seed):
        exceed += int((np.linalg.norm(signs @ sums, axis=1) >= observed * (1 - 1e-12)).sum())
    return CompositionTest(observed / len(first), (exceed + 1) / (n_permutations + 1), replaced)


def sum_by_group(values: FloatArray, groups: np.ndarray) -> FloatArray:
    """Sums of rows over the samples of each group, shape (group, ...)."""
    _, codes = np.unique(groups, return_inverse=True)
    sums = np.zeros((int(codes.max()) + 1 if len(codes) else 0, *values.shape[1:]))
    np.add.at(sums, codes, values)
    return sums


def wasserstein_octaves(first: FloatArray, second: FloatArray) -> float:
    """1-Wasserstein distance between two profiles over ordered levels, in octaves.

    Example:
        >>> wasserstein_octaves(np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0]))
        2.0
    """
    return float(np.abs(np.cumsum(first - second)[:-1]).sum())


def centroid_shift_octaves(first: FloatArray, second: FloatArray) -> float:
    """How many octaves coarser (positive) or finer (negative) the second profile is."""
    return float(((second - first) * np.arange(1, len(first) + 1)).sum())


def jensen_shannon(first: FloatArray, second: FloatArray) -> float:
    """Jensen-Shannon divergence of two profiles, base 2, in [0, 1].

    Example:
        >>> jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
        1.0
    """
    middle = (first + second) / 2

    def divergence(profile: FloatArray) -> float:
        part = profile > 0
        return float((profile[part] * np.log2(profile[part] / middle[part])).sum())

    return max(0.0, (divergence(first) + divergence(second)) / 2)
