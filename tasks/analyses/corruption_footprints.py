"""Where damage lies in the spectrum, from mean energies: footprints, gains, frequency classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.analyses.contract import Metrics
from tasks.analyses.corrupted_samples import DAMAGE, LEVEL_DAMAGE, LEVEL_SIGNAL, step_labels
from tasks.analyses.corruption_choice import CLEAN, CorruptionChoice
from tasks.variables import MeansOfSamples, Variable
from wam_core.footprints import footprint, footprint_centroid, frequency_class
from wam_core.intervals import FloatArray

FOOTPRINT = "robustness/footprint"
GAIN = "robustness/gain"
CENTROID = "robustness/footprint_centroid"
SIZE = "robustness/damage"

FOOTPRINT_UNITS = {
    FOOTPRINT: ("fraction", "none"),
    GAIN: ("ratio", "none"),
    CENTROID: ("octaves", "none"),
    SIZE: ("root mean square", "none"),
}


def footprint_metrics(choice: CorruptionChoice, means: MeansOfSamples) -> Metrics:
    """Where the energy of each damage lies, what it does to the levels, and how large it is."""
    return _Footprints(choice, means).metrics()


def damage_by_frequency(choice: CorruptionChoice, means: MeansOfSamples) -> dict[str, list[str]]:
    """Corruptions that means are of, by the class of frequency that their footprints show."""
    return _Footprints(choice, means).by_frequency()


@dataclass(frozen=True)
class _Footprints:
    choice: CorruptionChoice
    means: MeansOfSamples

    def metrics(self) -> Metrics:
        metrics: Metrics = []
        for corruption in self.choice.corruptions:
            centroids = []
            for severity in self.choice.settings.severities:
                labels = step_labels(corruption.name, severity)
                damage = self._levels(LEVEL_DAMAGE, labels)
                if self._have(damage):
                    centroids += damage
                    metrics += self._footprint(labels, damage)
            if centroids:
                every = Variable.of(CENTROID, corruption=corruption.name)
                n_levels = len(self.choice.level_names)
                metrics.append((every, self.means.derive(centroids, _mean_centroid(n_levels))))
        return metrics

    def _footprint(self, labels: dict[str, object], damage: list[Variable]) -> Metrics:
        metrics: Metrics = [
            (
                Variable.of(SIZE, **labels),
                self.means.derive([Variable.of(DAMAGE, **labels)], lambda rows: rows[:, 0] ** 0.5),
            ),
            (Variable.of(CENTROID, **labels), self.means.derive(damage, footprint_centroid)),
        ]
        clean = self._levels(LEVEL_SIGNAL, step_labels(CLEAN))
        signal = self._levels(LEVEL_SIGNAL, labels)
        for place, level in enumerate(self.choice.level_names):
            share = self.means.derive(damage, _share_of(place))
            metrics.append((Variable.of(FOOTPRINT, level=level, **labels), share))
            both = [signal[place], clean[place]]
            if self._have(both):
                gain = self.means.derive(both, _ratio)
                metrics.append((Variable.of(GAIN, level=level, **labels), gain))
        return metrics

    def by_frequency(self) -> dict[str, list[str]]:
        fine_levels = self.choice.config.analyses.reliance.fine_levels
        classes: dict[str, list[str]] = {}
        for corruption in self.choice.averaged:
            by_severity = [
                self._levels(LEVEL_DAMAGE, step_labels(corruption.name, severity))
                for severity in self.choice.settings.severities
            ]
            powers = [
                [self._mean_of(variable) for variable in variables]
                for variables in by_severity
                if self._have(variables)
            ]
            damaging = [power for power in powers if sum(power) > 0]
            if damaging:
                name = frequency_class(np.array(damaging), fine_levels)
                classes.setdefault(name, []).append(corruption.name)
        return classes

    def _levels(self, metric: str, labels: dict[str, object]) -> list[Variable]:
        return [Variable.of(metric, level=level, **labels) for level in self.choice.level_names]

    def _mean_of(self, variable: Variable) -> float:
        estimate = self.means.derive([variable], lambda rows: rows[:, 0]).estimate
        return 0.0 if estimate is None else estimate

    def _have(self, variables: Sequence[Variable]) -> bool:
        return all(variable in self.means for variable in variables)


def _ratio(rows: FloatArray) -> FloatArray:
    return np.asarray(rows[:, 0] / rows[:, 1])


def _share_of(place: int) -> Callable[[FloatArray], FloatArray]:
    return lambda rows: footprint(rows)[:, place]


def _mean_centroid(n_levels: int) -> Callable[[FloatArray], FloatArray]:
    def mean(rows: FloatArray) -> FloatArray:
        by_severity = rows.reshape(len(rows), -1, n_levels)
        return np.asarray(footprint_centroid(by_severity).mean(1))

    return mean
