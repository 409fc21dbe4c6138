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

from wam_core.intervals import NO_SUMS, FloatArray, Interval, ReplicateSums

_WHOLE_NUMBERS = ("level", "other_level", "cut", "severity", "stage")

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
        many: Variables of which there are so many that fewer replicates of them are kept: the
            first ones, so that a function of both kinds is computed on those that both have.
        chance: Accuracy of always answering the most frequent class; None without labels.
        tallies: Sums of the analyses that need no replicates.
    """

    variables: tuple[Variable, ...]
    sums: ReplicateSums
    confidence: float
    chance: float | None = None
    tallies: Tallies = field(default_factory=dict)
    many: tuple[Variable, ...] = ()
    sums_of_many: ReplicateSums = NO_SUMS

    def __contains__(self, variable: Variable) -> bool:
        return variable in self._place and self._counts[self._place[variable]] > 0

    def named(self, metric: str) -> list[Variable]:
        """Variables of a metric that have a value, in order."""
        known = (*self.variables, *self.many)
        return [variable for variable in known if variable.metric == metric]

    def derive(
        self, variables: Sequence[Variable], function: Callable[[FloatArray], FloatArray]
    ) -> Interval:
        """A function of several means, with its percentile interval over the replicates.

        Args:
            function: From means (row, variable) to one number per row; NaN where there is none.
        """
        n = min((int(self._counts[self._place[variable]]) for variable in variables), default=0)
        return self._derived(variables, lambda means, counts: function(means), n)

    def derive_counted(
        self,
        variables: Sequence[Variable],
        function: Callable[[FloatArray, FloatArray], FloatArray],
        n: int,
    ) -> Interval:
        """The same where it also matters of how many samples each variable is the mean.

        Args:
            function: From means and numbers of samples, each (row, variable), to one number per
                row; a mean over no sample is NaN.
            n: Number of samples behind the result.
        """
        return self._derived(variables, function, n)

    def count(self, variable: Variable) -> int:
        """Number of samples that have the variable."""
        return int(self._counts[self._place[variable]])

    def _derived(
        self,
        variables: Sequence[Variable],
        function: Callable[[FloatArray, FloatArray], FloatArray],
        n: int,
    ) -> Interval:
        if n == 0:
            return Interval(None, None, None, 0)
        columns = self._columns(variables)
        with np.errstate(invalid="ignore", divide="ignore"):
            estimate = float(function(columns.sums[None] / columns.counts, columns.counts[None])[0])
        if not np.isfinite(estimate):
            return Interval(None, None, None, n)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = columns.weighted_sums / columns.weighted_counts
            values = function(means, columns.weighted_counts)
        values = values[np.isfinite(values)]
        # One key takes all samples the same number of times: its replicates never differ.
        one_key = not np.any(columns.weighted_counts.sum(1) % columns.counts.sum())
        if one_key or len(values) < 2:
            return Interval(estimate, None, None, n)
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(values, [tail, 1 - tail])
        return Interval(estimate, min(float(low), estimate), max(float(high), estimate), n)

    def _columns(self, variables: Sequence[Variable]) -> ReplicateSums:
        """Sums of some variables, with as many replicates as all of them have."""
        places = np.array([self._place[variable] for variable in variables], dtype=np.int64)
        n_own, own = len(self.variables), places < len(self.variables)
        parts = [(self.sums, own, places), (self.sums_of_many, ~own, places - n_own)]
        parts = [part for part in parts if part[1].any()]
        if len(parts) == 1:
            return parts[0][0].take(parts[0][2])
        n_replicates = min(len(sums.weighted_sums) for sums, _, _ in parts)
        wide = (n_replicates, len(places))
        columns = ReplicateSums(
            np.empty(len(places)), np.empty(len(places)), np.empty(wide), np.empty(wide)
        )
        for sums, taken, where in parts:
            part = sums.take(where[taken])
            columns.sums[taken], columns.counts[taken] = part.sums, part.counts
            columns.weighted_sums[:, taken] = part.weighted_sums[:n_replicates]
            columns.weighted_counts[:, taken] = part.weighted_counts[:n_replicates]
        return columns

    @cached_property
    def _counts(self) -> FloatArray:
        return np.concatenate([self.sums.counts, self.sums_of_many.counts])

    @cached_property
    def _place(self) -> dict[Variable, int]:
        known = (*self.variables, *self.many)
        return {variable: index for index, variable in enumerate(known)}


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
