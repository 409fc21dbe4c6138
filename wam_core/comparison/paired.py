"""Two models on the same samples: tests, intervals and effect sizes of paired differences.

Everything is a difference "second less first". Bootstraps resample pairs, or whole groups of pairs
where samples share a source.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from wam_core.intervals import FloatArray, Interval, percentile_interval

_CELLS = 2_000_000
"""Numbers drawn at a time, which bounds the memory of resampling."""


@dataclass(frozen=True)
class McNemar:
    """Exact McNemar test of paired verdicts.

    Attributes:
        first_only: Samples that only the first model gets right.
        second_only: Samples that only the second model gets right.
        p_value: Two-sided, 2 P(Bin(b + c, 1/2) <= min(b, c)), at most 1.
    """

    first_only: int
    second_only: int
    n: int
    p_value: float


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:
    """McNemar's exact test (1947) of two models' verdicts, each of shape (sample,).

    Raises:
        ValueError: If the numbers of samples differ.

    Example:
        >>> test = mcnemar(np.array([True] * 6 + [False]), np.array([False] * 6 + [True]))
        >>> test.first_only, test.second_only, test.p_value
        (6, 1, 0.125)
    """
    _check_pairs(first, second)
    gained = int(np.sum(~first & second))
    lost = int(np.sum(first & ~second))
    discordant = gained + lost
    p_value = float(stats.binomtest(lost, discordant, 0.5).pvalue) if discordant else 1.0
    return McNemar(lost, gained, len(first), p_value)


def cluster_weights(groups: NDArray[np.int64], n_resamples: int, seed: int) -> Iterator[FloatArray]:
    """Bootstrap weights of samples, in blocks of shape (replicate, sample).

    Groups are drawn with replacement, as many as there are; a sample's weight is how often its
    group was drawn.

    Args:
        groups: Group of each sample as a whole number, shape (sample,); each its own: plain.
    """
    _, codes = np.unique(groups, return_inverse=True)
    n_groups = int(codes.max()) + 1 if len(codes) else 0
    rng = np.random.default_rng(seed)
    block = max(1, _CELLS // max(n_groups, 1))
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        drawn = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=size)
        yield drawn[:, codes].astype(np.float64)


def mean_differences(
    first: FloatArray,
    second: FloatArray,
    groups: NDArray[np.int64],
    *,
    n_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Interval]:
    """Mean of second - first per variable with the percentile interval of a paired bootstrap.

    Args:
        first: Shape (sample, variable); all numbers finite.
        second: As `first`, the same samples.

    Raises:
        ValueError: If the shapes differ.
    """
    _check_pairs(first, second)
    differences = second - first
    if not len(differences):
        return [Interval(None, None, None, 0)] * differences.shape[1]
    replicates = np.concatenate(
        [
            weights @ differences / weights.sum(1, keepdims=True)
            for weights in cluster_weights(groups, n_resamples, seed)
        ]
    )
    estimates = differences.mean(0)
    return [
        _percentile(float(estimate), column, len(np.unique(groups)), len(first), confidence)
        for estimate, column in zip(estimates, replicates.T, strict=True)
    ]


def ratio_of_means(
    first: FloatArray,
    second: FloatArray,
    groups: NDArray[np.int64],
    *,
    n_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Mean of the first over mean of the second, shapes (sample,), with a paired bootstrap.

    No interval where the mean of the second is not positive, and no bound that is not finite.
    """
    _check_pairs(first, second)
    if not len(first) or second.mean() <= 0:
        return Interval(None, None, None, len(first))
    ratios = []
    for weights in cluster_weights(groups, n_resamples, seed):
        above, below = weights @ first, weights @ second
        ratios.append(above[below > 0] / below[below > 0])
    estimate = float(first.mean() / second.mean())
    replicates = np.concatenate(ratios)
    return _percentile(estimate, replicates, len(np.unique(groups)), len(first), confidence)


def cohens_dz(differences: FloatArray) -> float | None:
    """Mean over standard deviation of paired differences; None where they do not vary.

    Example:
        >>> cohens_dz(np.array([1.0, 2.0, 3.0]))
        2.0
    """
    if len(differences) < 2:
        return None
    spread = float(differences.std(ddof=1))
    # Equal differences up to rounding have no spread to measure an effect by.
    if spread <= 1e-12 * max(1.0, float(np.abs(differences).max())):
        return None
    return float(differences.mean()) / spread


def cliffs_delta(first: FloatArray, second: FloatArray) -> float | None:
    """P(second > first) - P(second < first) over all pairs of samples (Cliff 1993), in [-1, 1].

    Example:
        >>> cliffs_delta(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
        0.75
    """
    if not len(first) or not len(second):
        return None
    ordered = np.sort(first)
    below = np.searchsorted(ordered, second, side="left").sum()
    above = (len(first) - np.searchsorted(ordered, second, side="right")).sum()
    return float(below - above) / (len(first) * len(second))


def sign_flip_p(differences: FloatArray, *, n_permutations: int = 9999, seed: int = 0) -> float:
    """Two-sided p-value of a mean difference of 0, by flipping the signs of pairs.

    Args:
        differences: Shape (unit,): one per sample, or the sum over each group of samples.
    """
    observed = abs(float(differences.sum()))
    exceed = 0
    for signs in random_signs(len(differences), n_permutations, seed):
        exceed += int(np.sum(np.abs(signs @ differences) >= observed * (1 - 1e-12)))
    return (exceed + 1) / (n_permutations + 1)


def random_signs(n: int, n_permutations: int, seed: int) -> Iterator[FloatArray]:
    """Signs of units in blocks of shape (permutation, unit)."""
    rng = np.random.default_rng(seed)
    block = max(1, _CELLS // max(n, 1))
    for start in range(0, n_permutations, block):
        size = min(block, n_permutations - start)
        yield np.asarray(rng.integers(0, 2, (size, n)) * 2.0 - 1.0, dtype=np.float64)


def holm(p_values: list[float]) -> list[float]:
    """Adjusted p-values that keep the family-wise error rate (Holm 1979).

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def equivalence_p(differences: FloatArray, margin: float) -> float | None:
    """P-value of two one-sided t-tests (Schuirmann 1987): small means |mean| is below `margin`.

    Raises:
        ValueError: If the margin is not positive.
    """
    if margin <= 0:
        raise ValueError(f"the margin of equivalence must be positive; got {margin}")
    n = len(differences)
    if n < 2:
        return None
    mean, error = float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(n)
    if error == 0:
        return 0.0 if abs(mean) < margin else 1.0
    lower = stats.t.sf((mean + margin) / error, n - 1)
    upper = stats.t.cdf((mean - margin) / error, n - 1)
    return float(max(lower, upper))


def _percentile(
    estimate: float, replicates: FloatArray, n_groups: int, n: int, confidence: float
) -> Interval:
    if n_groups < 2 or len(replicates) < 2:
        return Interval(estimate, None, None, n)
    return percentile_interval(estimate, replicates, n, confidence)


def _check_pairs(first: NDArray[np.generic], second: NDArray[np.generic]) -> None:
    if first.shape != second.shape:
        raise ValueError(f"pairs must have one shape; got {first.shape} and {second.shape}")
