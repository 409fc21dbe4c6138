"""Intervals for proportions and means, from sums that can be merged in any order.

Means are bootstrapped with Poisson weights: replicate b gives every sample a Poisson(1) weight that
depends only on (seed, key, b), where the key is the sample's id, or its group's name when samples
share a source. A weighted sum per replicate is all that is kept, so shards can be summed apart,
merged in any order, and divided once at the end; samples of one group rise and fall together,
which makes it a cluster bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from wam_core.noise import generator

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval; the bounds are None where none can be given.

    Attributes:
        n: Number of samples behind the estimate.
    """

    estimate: float | None
    low: float | None
    high: float | None
    n: int


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion.

    Raises:
        ValueError: If there are more successes than trials, or fewer than none.

    Example:
        >>> interval = wilson_interval(45, 50)
        >>> round(interval.low, 3), round(interval.high, 3)
        (0.786, 0.957)
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes must be 0 to n = {n}, got {successes}")
    if n == 0:
        return Interval(None, None, None, 0)
    z = float(stats.norm.ppf((1 + confidence) / 2))
    share = successes / n
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At 0 and n successes the exact bound is 0 or 1; keep rounding from crossing it.
    low = 0.0 if successes == 0 else max(0.0, (centre - spread) / scale)
    high = 1.0 if successes == n else min(1.0, (centre + spread) / scale)
    return Interval(share, low, high, n)


def normal_interval(total: float, squares: float, n: int, confidence: float = 0.95) -> Interval:
    """Mean with Student's interval, from the sum of values and of their squares.

    Example:
        >>> interval = normal_interval(6.0, 14.0, 3)
        >>> round(interval.estimate, 3), round(interval.low, 3), round(interval.high, 3)
        (2.0, -0.484, 4.484)
    """
    if n == 0:
        return Interval(None, None, None, 0)
    mean = total / n
    if n == 1:
        return Interval(mean, None, None, 1)
    variance = max(squares - n * mean * mean, 0.0) / (n - 1)
    spread = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * math.sqrt(variance / n)
    return Interval(mean, mean - spread, mean + spread, n)


def poisson_weights(keys: Sequence[str], n_resamples: int, seed: int) -> FloatArray:
    """Bootstrap weights, shape (key, replicate); equal keys get equal weights."""
    # The prefix keeps the weights independent of the noise of a sample with the same key.
    unique = {
        key: generator(seed, f"bootstrap\0{key}", draw=0).poisson(1.0, n_resamples)
        for key in dict.fromkeys(keys)
    }
    if not unique:
        return np.zeros((0, n_resamples))
    return np.stack([unique[key] for key in keys]).astype(np.float64)


def percentile_interval(
    estimate: float, replicates: FloatArray, n: int, confidence: float
) -> Interval:
    """An estimate between the quantiles of its bootstrap replicates, shape (replicate,).

    Args:
        n: Number of samples behind the estimate.
    """
    tail = (1 - confidence) / 2
    low, high = np.quantile(replicates, [tail, 1 - tail])
    # A percentile interval of few samples may miss its own estimate by rounding.
    return Interval(estimate, min(float(low), estimate), max(float(high), estimate), n)


@dataclass(frozen=True)
class ReplicateSums:
    """Weighted sums per bootstrap replicate and variable: a monoid under `merge`.

    Attributes:
        sums: Sum of the values, shape (variable,).
        counts: Number of values that are not NaN, shape (variable,).
        weighted_sums: Shape (replicate, variable).
        weighted_counts: Shape (replicate, variable).
    """

    sums: FloatArray
    counts: FloatArray
    weighted_sums: FloatArray
    weighted_counts: FloatArray

    @classmethod
    def of(cls, values: FloatArray, weights: FloatArray) -> ReplicateSums:
        """Sums over samples of values, shape (sample, variable); NaN means no value.

        Args:
            values: Shape (sample, variable).
            weights: Shape (sample, replicate), from `poisson_weights`.

        Raises:
            ValueError: If the numbers of samples differ.
        """
        if len(values) != len(weights):
            raise ValueError(f"{len(values)} rows of values but {len(weights)} rows of weights")
        present = ~np.isnan(values)
        filled = np.where(present, values, 0.0)
        counted = present.astype(np.float64)
        return cls(
            sums=filled.sum(0),
            counts=counted.sum(0),
            weighted_sums=weights.T @ filled,
            weighted_counts=weights.T @ counted,
        )

    def merge(self, other: ReplicateSums) -> ReplicateSums:
        """Sums over both sets of samples."""
        return ReplicateSums(
            self.sums + other.sums,
            self.counts + other.counts,
            self.weighted_sums + other.weighted_sums,
            self.weighted_counts + other.weighted_counts,
        )

    def take(self, places: NDArray[np.int64]) -> ReplicateSums:
        """Some of the variables."""
        return ReplicateSums(
            self.sums[places],
            self.counts[places],
            self.weighted_sums[:, places],
            self.weighted_counts[:, places],
        )

    def intervals(self, confidence: float = 0.95) -> list[Interval]:
        """Mean of each variable with its percentile interval; no bounds below two keys."""
        results = []
        for variable in range(len(self.sums)):
            n = int(self.counts[variable])
            if n == 0:
                results.append(Interval(None, None, None, 0))
                continue
            estimate = float(self.sums[variable] / self.counts[variable])
            counts = self.weighted_counts[:, variable]
            means = self.weighted_sums[counts > 0, variable] / counts[counts > 0]
            # One key takes all n samples the same number of times: its replicates never differ.
            one_key = not np.any(counts % n)
            if one_key or len(means) < 2:
                results.append(Interval(estimate, None, None, n))
                continue
            results.append(percentile_interval(estimate, means, n, confidence))
        return results


NO_SUMS = ReplicateSums.of(np.zeros((0, 0)), np.zeros((0, 1)))
"""Of no sample and no variable; merged with others it changes nothing."""


def quantile_interval(values: FloatArray, probability: float, confidence: float) -> Interval:
    """Quantile of the values with the distribution-free interval of order statistics.

    Args:
        values: Shape (sample,); NaN means no value.
        probability: Which quantile, in (0, 1); 0.5 is the median.
        confidence: Level of the interval.
    """
    present = np.sort(values[~np.isnan(values)])
    n = len(present)
    if n == 0:
        return Interval(None, None, None, 0)
    estimate = float(np.quantile(present, probability))
    tail = (1 - confidence) / 2
    lower = int(stats.binom.ppf(tail, n, probability)) - 1
    upper = int(stats.binom.ppf(1 - tail, n, probability))
    low = float(present[lower]) if lower >= 0 else None
    high = float(present[upper]) if upper < n else None
    return Interval(estimate, low, high, n)
