"""From means over samples to means over corruptions, errors over a reference, and footprints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tasks.analyses.contract import Metrics
from tasks.analyses.corrupted_samples import (
    ACCURACY,
    BRIER,
    CONFIDENCE_GAP,
    DAMAGE,
    FLIP_RATE,
    LEVEL_DAMAGE,
    LEVEL_SIGNAL,
    NLL,
    step_labels,
)
from tasks.analyses.corruption_choice import CLEAN, CorruptionChoice
from tasks.analyses.corruption_footprints import (
    FOOTPRINT_UNITS,
    damage_by_frequency,
    footprint_metrics,
)
from tasks.variables import MeansOfSamples, Variable
from wam_core.calibration import N_BINS
from wam_core.corruption_error import REFERENCES, ReferenceErrors
from wam_core.corruptions import SEVERITIES
from wam_core.intervals import FloatArray

RETENTION = "robustness/retention"
RELATIVE_ERROR = "robustness/relative_error"
CORRUPTION_ERROR = "robustness/corruption_error"
MEAN_CORRUPTION_ERROR = "robustness/mean_corruption_error"
RELATIVE_CORRUPTION_ERROR = "robustness/relative_corruption_error"
ECE = "robustness/ece"

UNITS = {
    ACCURACY: ("fraction", "higher"),
    FLIP_RATE: ("fraction", "lower"),
    RETENTION: ("fraction", "higher"),
    RELATIVE_ERROR: ("fraction", "lower"),
    CORRUPTION_ERROR: ("ratio", "lower"),
    MEAN_CORRUPTION_ERROR: ("ratio", "lower"),
    RELATIVE_CORRUPTION_ERROR: ("ratio", "lower"),
    NLL: ("nats", "lower"),
    BRIER: ("ratio", "lower"),
    ECE: ("fraction", "lower"),
} | FOOTPRINT_UNITS
PROPORTIONS = frozenset({ACCURACY, FLIP_RATE})
MANY = frozenset({FLIP_RATE, NLL, BRIER, CONFIDENCE_GAP, DAMAGE, LEVEL_DAMAGE, LEVEL_SIGNAL})

NO_REFERENCE = "none"
REFERENCE_TALLY = ("corruptions", "reference")
"""Of rows by the reference that they name; the name follows."""

Groups = list[tuple[dict[str, object], list[Variable]]]
"""Labels of a metric, and the variables that it is made of."""


def robustness_metrics(choice: CorruptionChoice, means: MeansOfSamples) -> Metrics:
    """Everything but the link to reliance."""
    made = _Conclusions(choice, means)
    return [
        *made.pooled(ACCURACY),
        *made.pooled(FLIP_RATE),
        *made.pooled(NLL),
        *made.pooled(BRIER),
        *made.against_clean(),
        *made.errors(),
        *made.calibration(),
        *footprint_metrics(choice, means),
    ]


@dataclass(frozen=True)
class _Conclusions:
    choice: CorruptionChoice
    means: MeansOfSamples

    def pooled(self, metric: str) -> Metrics:
        """Means over severities, over corruptions, over both, and over classes of frequency."""
        groups: Groups = self._by_corruption(metric)
        groups += [
            ({"severity": severity}, self._averaged(metric, severity))
            for severity in self.choice.settings.severities
        ]
        groups += [
            ({"frequency": name}, [variable for each in own for variable in self._of(metric, each)])
            for name, own in self._frequencies.items()
        ]
        known = [(labels, self._known(variables)) for labels, variables in groups]
        return [
            (Variable.of(metric, **labels), self.means.derive(variables, _mean))
            for labels, variables in known
            if variables
        ]

    def against_clean(self) -> Metrics:
        """Accuracy kept of that of the same samples undamaged, and errors beyond theirs."""
        clean = Variable.of(ACCURACY, **step_labels(CLEAN))
        metrics: Metrics = []
        for labels, variables in self._by_corruption(ACCURACY):
            every = self._known([clean, *variables])
            if clean in every and len(every) > 1:
                metrics += [
                    (Variable.of(RETENTION, **labels), self.means.derive(every, _retained)),
                    (Variable.of(RELATIVE_ERROR, **labels), self.means.derive(every, _lost)),
                ]
        return metrics

    def errors(self) -> Metrics:
        """Mean error over corruptions; over the reference's where the rows name one."""
        variables = self._known(self._averaged(ACCURACY))
        if not variables:
            return []
        plain = Variable.of(MEAN_CORRUPTION_ERROR, reference=NO_REFERENCE)
        metrics: Metrics = [(plain, self.means.derive(variables, lambda rows: 1 - rows.mean(1)))]
        named = [key[2] for key in self.means.tallies if key[:2] == REFERENCE_TALLY]
        if self.choice.settings.severities == SEVERITIES:
            for name in REFERENCES.keys() & set(named):
                metrics += self._over(REFERENCES[name])
        return metrics

    def _over(self, reference: ReferenceErrors) -> Metrics:
        """Errors over the reference's, by corruption, and their mean where all are made."""
        clean = Variable.of(ACCURACY, **step_labels(CLEAN))
        known = {
            name: variables
            for name in reference.corrupted
            for variables in [self._of(ACCURACY, name)]
            if self._have(variables)
        }
        metrics: Metrics = []
        for name, variables in known.items():
            labels = {"corruption": name, "reference": reference.name}
            each, relative = _error_over(reference, name), _relative_error_over(reference, name)
            metrics += [
                (Variable.of(CORRUPTION_ERROR, **labels), self.means.derive(variables, each)),
                (
                    Variable.of(RELATIVE_CORRUPTION_ERROR, **labels),
                    self.means.derive([clean, *variables], relative),
                ),
            ]
        if known.keys() == reference.corrupted.keys():
            every = [variable for variables in known.values() for variable in variables]
            mean = self.means.derive(every, _mean_error_over(reference, list(known)))
            metrics.append((Variable.of(MEAN_CORRUPTION_ERROR, reference=reference.name), mean))
        return metrics

    def calibration(self) -> Metrics:
        """Expected calibration error of the samples as they are, and of each severity's."""
        severities = (0, *self.choice.settings.severities)
        metrics: Metrics = []
        for severity in severities:
            bins = [
                Variable.of(CONFIDENCE_GAP, severity=severity, bin=place) for place in range(N_BINS)
            ]
            present = [variable for variable in bins if variable in self.means]
            labels = {"severity": severity} if severity else step_labels(CLEAN)
            if present:
                interval = self.means.derive(present, lambda gaps: np.abs(gaps).sum(1))
                metrics.append((Variable.of(ECE, **labels), interval))
        return metrics

    @cached_property
    def _frequencies(self) -> dict[str, list[str]]:
        return damage_by_frequency(self.choice, self.means)

    def _by_corruption(self, metric: str) -> Groups:
        """All severities of all corruptions that means are of, and of each corruption."""
        each: Groups = [
            ({"corruption": corruption.name}, self._of(metric, corruption.name))
            for corruption in self.choice.corruptions
        ]
        return [({}, self._averaged(metric)), *each]

    def _of(self, metric: str, name: str) -> list[Variable]:
        severities = self.choice.settings.severities
        return [Variable.of(metric, **step_labels(name, severity)) for severity in severities]

    def _averaged(self, metric: str, severity: int | None = None) -> list[Variable]:
        return [
            variable
            for corruption in self.choice.averaged
            for variable in self._of(metric, corruption.name)
            if severity is None or variable.get("severity") == str(severity)
        ]

    def _known(self, variables: Sequence[Variable]) -> list[Variable]:
        return [variable for variable in variables if variable in self.means]

    def _have(self, variables: Sequence[Variable]) -> bool:
        return bool(variables) and all(variable in self.means for variable in variables)


def _mean(rows: FloatArray) -> FloatArray:
    return np.asarray(rows.mean(1))


def _retained(rows: FloatArray) -> FloatArray:
    return np.asarray(rows[:, 1:].mean(1) / rows[:, 0])


def _lost(rows: FloatArray) -> FloatArray:
    return np.asarray(rows[:, 0] - rows[:, 1:].mean(1))


def _error_over(reference: ReferenceErrors, name: str) -> Callable[[FloatArray], FloatArray]:
    return lambda rows: reference.corruption_error(name, 1 - rows.mean(1))


def _relative_error_over(
    reference: ReferenceErrors, name: str
) -> Callable[[FloatArray], FloatArray]:
    return lambda rows: reference.relative_corruption_error(
        name, 1 - rows[:, 1:].mean(1), 1 - rows[:, 0]
    )


def _mean_error_over(
    reference: ReferenceErrors, names: list[str]
) -> Callable[[FloatArray], FloatArray]:
    def mean(rows: FloatArray) -> FloatArray:
        errors = 1 - rows.reshape(len(rows), len(names), -1).mean(2)
        each = [
            reference.corruption_error(name, errors[:, place]) for place, name in enumerate(names)
        ]
        return np.asarray(np.mean(each, axis=0))

    return mean
