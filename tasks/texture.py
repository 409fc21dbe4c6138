"""Do the indices of texture reliance agree across classes?

Each index is a ratio of two sums over samples: what spoke for fine structure, and all that spoke.
Both are summed per class; the rank correlation of two indices over classes says whether they see
the same thing. The unit is the class, so classes are resampled for the interval. No index is called
shape bias: that name belongs to cue conflict alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tasks.variables import Variable
from wam_core.agreement import rank_correlation
from wam_core.intervals import FloatArray, Interval
from wam_core.noise import generator

FEWEST_CLASSES = 5
"""Below this many classes a rank correlation over classes says nothing."""

AGREEMENT = "texture/agreement"

Votes = dict[str, tuple[FloatArray, FloatArray]]
"""By index: what spoke for fine structure and all that spoke, one number per sample each."""


@dataclass(frozen=True)
class VotesByClass:
    """Sums of votes; a monoid under `merge`.

    Attributes:
        sums: For fine structure and in all, by index and class.
    """

    sums: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, votes: Votes, classes: pd.Series) -> VotesByClass:
        """Sum the votes of samples of each class; a sample without a value has no vote."""
        sums: dict[tuple[str, str], tuple[float, float]] = {}
        names = classes.astype("string").to_numpy(dtype=object, na_value="")
        for index, (fine, everything) in votes.items():
            known = np.isfinite(fine) & np.isfinite(everything)
            for name in sorted(set(names) - {""}):
                chosen = known & (names == name)
                if chosen.any():
                    sums[index, name] = (float(fine[chosen].sum()), float(everything[chosen].sum()))
        return cls(sums)

    def merge(self, other: VotesByClass) -> VotesByClass:
        """Votes of both."""
        sums = dict(self.sums)
        for key, (fine, everything) in other.sums.items():
            before = sums.get(key, (0.0, 0.0))
            sums[key] = (before[0] + fine, before[1] + everything)
        return VotesByClass(sums)

    def agreements(
        self, *, confidence: float, n_resamples: int, seed: int
    ) -> list[tuple[Variable, Interval]]:
        """Rank correlation over classes of every pair of indices that enough classes have."""
        indices = self._indices()
        found = []
        for first, second in itertools.combinations(sorted(indices), 2):
            common = sorted(indices[first].keys() & indices[second].keys())
            if len(common) < FEWEST_CLASSES:
                continue
            values = np.array([[indices[name][key] for key in common] for name in (first, second)])
            variable = Variable.of(AGREEMENT, first=first, second=second)
            interval = _bootstrapped(values, confidence, n_resamples, seed)
            if interval.estimate is not None:
                found.append((variable, interval))
        return found

    def _indices(self) -> Mapping[str, Mapping[str, float]]:
        indices: dict[str, dict[str, float]] = {}
        for (index, name), (fine, everything) in self.sums.items():
            if everything > 0:
                indices.setdefault(index, {})[name] = fine / everything
        return indices


def _bootstrapped(values: FloatArray, confidence: float, n_resamples: int, seed: int) -> Interval:
    n_classes = values.shape[1]
    estimate = float(rank_correlation(values[:1], values[1:])[0])
    if not np.isfinite(estimate):
        return Interval(None, None, None, n_classes)
    draws = generator(seed, "texture agreement", 0).integers(0, n_classes, (n_resamples, n_classes))
    replicates = rank_correlation(values[0][draws], values[1][draws])
    replicates = replicates[np.isfinite(replicates)]
    if len(replicates) < 2:
        return Interval(estimate, None, None, n_classes)
    tail = (1 - confidence) / 2
    low, high = np.quantile(replicates, [tail, 1 - tail])
    return Interval(estimate, min(float(low), estimate), max(float(high), estimate), n_classes)
