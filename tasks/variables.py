"""Means over samples by name and labels, and what follows from several of them.

A variable is one number per sample. Aggregation keeps its weighted sums per bootstrap replicate;
a function of several means is computed on the means and on every replicate, so that its interval
knows how they vary together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from wam_core.intervals import FloatArray, Interval, ReplicateSums

_WHOLE_NUMBERS = ("level", "other_level", "cut", "stage")

Labels = dict[str, str | int]

Tallies = dict[tuple[str, ...], FloatArray]
"""Sums over samples by name that need no replicates, such as counts; added up element by element.

They are for what has too many cells for a bootstrap: classes times coalitions.
"""


@dataclass(frozen=True, order=True)
class Variable:
    """A mean over samples: which metric, with which labels.

    Attributes:
        address: Label and value, sorted by label.
    """

    metric: str
    address: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, metric: str, **labels: object) -> Variable:
        """The variable with these labels; a label whose value is None or "" is left out.

        Example:
            >>> Variable.of("reliance/share", method="gradient", level=2).labels()
            {'level': 2, 'method': 'gradient'}
        """
        given = {label: str(value) for label, value in labels.items() if value not in (None, "")}
        return cls(metric, tuple(sorted(given.items())))

    def get(self, label: str) -> str:
        """Value of a label, or ""."""
        return dict(self.address).get(label, "")

    def relabelled(self, **labels: object) -> Variable:
        """With these labels put in place of its own; None takes a label away."""
        return Variable.of(self.metric, **(dict(self.address) | labels))

    def renamed(self, metric: str) -> Variable:
        """Another metric with the same labels."""
        return Variable(metric, self.address)

    def labels(self) -> Labels:
        """Labels of the metric in the summary."""
        return {
            label: int(value) if label in _WHOLE_NUMBERS and value.isdigit() else value
            for label, value in self.address
        }


@dataclass(frozen=True)
class MeansOfSamples:
    """Means of variables with their bootstrap replicates.

    Attributes:
        chance: Accuracy of always answering the most frequent class; None without labels.
        tallies: Sums of the analyses that need no replicates.
    """

    variables: tuple[Variable, ...]
    sums: ReplicateSums
    confidence: float
    chance: float | None = None
    tallies: Tallies = field(default_factory=dict)

    def __contains__(self, variable: Variable) -> bool:
        return variable in self._place and self.sums.counts[self._place[variable]] > 0

    def named(self, metric: str) -> list[Variable]:
        """Variables of a metric that have a value, in order."""
        return [variable for variable in self.variables if variable.metric == metric]

    def derive(
        self, variables: Sequence[Variable], function: Callable[[FloatArray], FloatArray]
    ) -> Interval:
        """A function of several means, with its percentile interval over the replicates.

        Args:
            function: From means (row, variable) to one number per row; NaN where there is none.
        """
        places = [self._place[variable] for variable in variables]
        counts = self.sums.counts[places]
        n = int(counts.min()) if len(counts) else 0
        if n == 0:
            return Interval(None, None, None, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = self.sums.sums[places] / counts
            replicates = self.sums.weighted_sums[:, places] / self.sums.weighted_counts[:, places]
            estimate = float(function(means[None])[0])
            values = function(replicates) if np.isfinite(estimate) else np.array([])
        if not np.isfinite(estimate):
            return Interval(None, None, None, n)
        values = values[np.isfinite(values)]
        # One key takes all samples the same number of times: its replicates never differ.
        one_key = not np.any(self.sums.weighted_counts[:, places[0]] % counts[0])
        if one_key or len(values) < 2:
            return Interval(estimate, None, None, n)
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(values, [tail, 1 - tail])
        return Interval(estimate, min(float(low), estimate), max(float(high), estimate), n)

    @cached_property
    def _place(self) -> dict[Variable, int]:
        return {variable: index for index, variable in enumerate(self.variables)}


def add_tallies(left: Tallies, right: Tallies) -> Tallies:
    """Sums over the samples of both.

    Example:
        >>> add_tallies({("n",): np.array([1.0])}, {("n",): np.array([2.0])})
        {('n',): array([3.])}
    """
    total = dict(left)
    for key, values in right.items():
        total[key] = total[key] + values if key in total else values
    return total
