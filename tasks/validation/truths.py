"""What is true by construction, and what was found: the two sides of every check."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Labels = Mapping[str, str | int]


@dataclass(frozen=True)
class Tolerance:
    """How far an estimate may lie from the truth, and why that far.

    Attributes:
        absolute: In the unit of the statistic.
        relative: Over the magnitude of the truth; added to `absolute`.
    """

    absolute: float
    reason: str
    relative: float = 0.0

    def around(self, expected: float) -> float:
        """Allowed distance from a value."""
        return self.absolute + self.relative * abs(expected)


ROUNDING = Tolerance(1e-6, "exact; rounding of float32", relative=1e-5)
NOTHING = Tolerance(0.0, "a bound, with nothing to add")


@dataclass(frozen=True)
class Truth:
    """One number that a statistic must come to.

    Attributes:
        statistic: Metric of `summary.json`, or `table/column` of the audit's tables.
        labels: Which of the statistic's numbers.
        expected: The truth, or the bound.
        kind: `about` (within the tolerance), `at_least` and `at_most` (a bound, widened by the
            tolerance), or `absent`: there must be no such number.
    """

    statistic: str
    labels: Labels
    expected: float
    tolerance: Tolerance
    kind: Literal["about", "at_least", "at_most", "absent"] = "about"

    def holds_for(self, estimate: float | None) -> bool:
        """Whether an estimate agrees; None stands for a number that does not exist."""
        if self.kind == "absent":
            return estimate is None
        if estimate is None or not math.isfinite(estimate):
            return False
        allowed = self.tolerance.around(self.expected)
        if self.kind == "at_least":
            return estimate >= self.expected - allowed
        if self.kind == "at_most":
            return estimate <= self.expected + allowed
        return abs(estimate - self.expected) <= allowed


def absent(statistic: str, labels: Labels | None = None) -> Truth:
    """A number that must not be reported."""
    return Truth(statistic, labels or {}, math.nan, NOTHING, "absent")


@dataclass(frozen=True)
class Check:
    """A truth beside what the product reported.

    Attributes:
        experiment: Name of the experiment, the same in every dimension.
        dimension: Number of axes of its signals.
        estimate: What the audit reported; None if it reported nothing.
    """

    experiment: str
    dimension: int
    truth: Truth
    estimate: float | None

    @property
    def passed(self) -> bool:
        """Whether the estimate agrees with the truth."""
        return self.truth.holds_for(self.estimate)

    @property
    def strain(self) -> float:
        """Distance from the truth over the allowed one; above 1 fails, infinite without a number.

        For bounds and absences it is 0 where they hold.
        """
        if self.truth.kind != "about":
            return 0.0 if self.passed else math.inf
        if self.estimate is None or not math.isfinite(self.estimate):
            return math.inf
        allowed = self.truth.tolerance.around(self.truth.expected)
        return abs(self.estimate - self.truth.expected) / allowed

    def record(self) -> dict[str, Any]:
        """As plain JSON data."""
        truth = self.truth
        return {
            "experiment": self.experiment,
            "dimension": self.dimension,
            "statistic": truth.statistic,
            "labels": dict(truth.labels),
            "kind": truth.kind,
            "expected": None if truth.kind == "absent" else truth.expected,
            "tolerance": None if truth.kind == "absent" else truth.tolerance.around(truth.expected),
            "reason": truth.tolerance.reason,
            "estimate": self.estimate,
            "passed": self.passed,
        }


@dataclass(frozen=True)
class CheckGroup:
    """Checks of one statistic in one experiment and dimension: a line of the table."""

    statistic: str
    experiment: str
    dimension: int
    checks: list[Check] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def worst(self) -> Check:
        """The check that comes closest to failing, or fails most."""
        return max(self.checks, key=lambda check: check.strain)


def grouped(checks: list[Check]) -> list[CheckGroup]:
    """Group checks by statistic, experiment and dimension, in that order of importance."""
    groups: dict[tuple[str, str, int], CheckGroup] = {}
    for check in checks:
        key = (check.truth.statistic, check.experiment, check.dimension)
        groups.setdefault(key, CheckGroup(*key)).checks.append(check)
    return [groups[key] for key in sorted(groups)]
