"""Two audits of different samples: is their distance larger than that of random splits?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wam_core.comparison.compositions import wasserstein_octaves
from wam_core.intervals import FloatArray


@dataclass(frozen=True)
class Drift:
    """Distance between mean profiles beside what chance alone gives.

    Attributes:
        distance_octaves: 1-Wasserstein distance of the two mean profiles.
        null_median: Of the distances between random splits of all samples.
        null_95: Their 95th percentile.
        p_value: Share of random splits, the observed one counted, at least as far apart.
    """

    distance_octaves: float
    null_median: float
    null_95: float
    p_value: float


def profile_drift(
    first: FloatArray, second: FloatArray, *, n_splits: int = 999, seed: int = 0
) -> Drift:
    """Compare mean profiles of unrelated samples with a null of random splits.

    All samples are pooled and split at random into parts of the two audits' sizes: the labels
    "first" and "second" are permuted. Samples must be independent.

    Args:
        first: Shares, shape (sample, level).
        second: Shares of other samples, the same levels.

    Raises:
        ValueError: If either has no sample, or the levels differ.
    """
    if not len(first) or not len(second) or first.shape[1] != second.shape[1]:
        raise ValueError(
            f"drift needs samples with the same levels; got {first.shape} and {second.shape}"
        )
    observed = wasserstein_octaves(first.mean(0), second.mean(0))
    pooled = np.concatenate([first, second])
    rng = np.random.default_rng(seed)
    total = pooled.sum(0)
    null = np.empty(n_splits)
    for split in range(n_splits):
        part = pooled[rng.permutation(len(pooled))[: len(first)]].sum(0)
        null[split] = wasserstein_octaves(part / len(first), (total - part) / len(second))
    exceed = int((null >= observed * (1 - 1e-12)).sum())
    return Drift(
        observed,
        float(np.median(null)),
        float(np.quantile(null, 0.95)),
        (exceed + 1) / (n_splits + 1),
    )
