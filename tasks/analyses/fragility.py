"""Whether what a model relies on explains which damage breaks it.

Over corruptions and severities, the sensitivity that a reliance profile and the footprints of the
damage predict is ranked against the accuracy that is lost. Two controls know nothing of the model:
the size of the damage alone, and a profile in which all coefficients are alike, so that a level
counts by how many it has. Intervals are over samples; the corruptions are what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tasks.analyses.contract import Metrics
from tasks.analyses.corrupted_samples import (
    ACCURACY,
    DAMAGE,
    FLIP_RATE,
    LEVEL_DAMAGE,
    step_labels,
)
from tasks.analyses.corruption_choice import CLEAN, CorruptionChoice
from tasks.variables import MeansOfSamples, Variable
from wam_core.agreement import partial_rank_correlation, rank_correlation
from wam_core.footprints import footprint
from wam_core.intervals import FloatArray, Interval
from wam_core.sensitivity import predicted_sensitivity

SPEARMAN = "link/spearman"
SPEARMAN_OVER = "link/spearman_over"
PARTIAL = "link/partial_spearman"
PREDICTED = "link/predicted_sensitivity"
OBSERVED = "link/observed_loss"

RANKING_UNITS = {
    SPEARMAN: ("correlation", "none"),
    SPEARMAN_OVER: ("correlation", "none"),
    PARTIAL: ("correlation", "none"),
    PREDICTED: ("root mean square", "none"),
    OBSERVED: ("fraction", "lower"),
}

DAMAGE_SIZE, ALIKE = "damage_size", "coefficients_alike"
"""Controls, where methods are named: the size of the damage, and a profile without a scale."""

RANKING_CONTROLS = (DAMAGE_SIZE, ALIKE)

SHAPLEY = "shapley"
METHODS = ("smoothgrad_absolute", "integrated_gradients", "gradient", "coalition_gradients")
"""Methods whose profiles are tried, the main one first; Shapley values follow where they are."""

_FEWEST_STEPS = 3

Labels = dict[str, object]


@dataclass(frozen=True)
class Fragility:
    """What is lost under each damage, and what is predicted of it; one row per replicate.

    Attributes:
        lost: Accuracy lost, or predictions changed where there are no labels; shape (row, step).
        size: Root mean square of the damage, shape (row, step).
        footprint: Share of its energy in each level, shape (row, step, level).
        share: Reliance on each level, shape (row, level); no level where no profile is meant.
        alike: Part of the coefficients that each level has, shape (1, level).
    """

    lost: FloatArray
    size: FloatArray
    footprint: FloatArray
    share: FloatArray
    alike: FloatArray

    @property
    def predicted(self) -> FloatArray:
        """Predicted sensitivity, shape (row, step)."""
        return predicted_sensitivity(self.share, self.footprint, self.size)

    def correlation(self) -> FloatArray:
        """Rank correlation of predicted and lost, shape (row,)."""
        return rank_correlation(self.predicted, self.lost)

    def control(self, name: str) -> FloatArray:
        """What a control predicts, shape (row, step)."""
        if name == DAMAGE_SIZE:
            return self.size
        return predicted_sensitivity(self.alike, self.footprint, self.size)


def ranking_metrics(choice: CorruptionChoice, means: MeansOfSamples) -> Metrics:
    """Rank correlations over corruptions and severities, and the points that they are of."""
    return _Ranking(choice, means).metrics()


@dataclass(frozen=True)
class _Ranking:
    choice: CorruptionChoice
    means: MeansOfSamples

    def metrics(self) -> Metrics:
        if len(self._steps) < _FEWEST_STEPS:
            return []
        metrics: Metrics = [
            (Variable.of(SPEARMAN, method=name), self._over_all([], _by_control(name)))
            for name in RANKING_CONTROLS
        ]
        for variable, profile in self._profiles.items():
            metrics.append((variable, self._over_all(profile, Fragility.correlation)))
            for name in RANKING_CONTROLS:
                over = variable.renamed(SPEARMAN_OVER).relabelled(over=name)
                partial = variable.renamed(PARTIAL).relabelled(given=name)
                metrics += [
                    (over, self._over_all(profile, _beyond(name))),
                    (partial, self._over_all(profile, _beside(name))),
                ]
        return metrics + self._points()

    def _points(self) -> Metrics:
        """Every step: what is lost, and what the main profile predicts."""
        metrics: Metrics = []
        for labels in self._steps:
            lost = self.means.derive(*self._of([labels], [], lambda seen: seen.lost[:, 0]))
            metrics.append((Variable.of(OBSERVED, **labels), lost))
            for method, profile in list(self._profiles.items())[:1]:
                arguments = self._of([labels], profile, lambda seen: seen.predicted[:, 0])
                variable = method.renamed(PREDICTED).relabelled(**labels)
                metrics.append((variable, self.means.derive(*arguments)))
        return metrics

    def _over_all(
        self, profile: list[Variable], function: Callable[[Fragility], FloatArray]
    ) -> Interval:
        return self.means.derive(*self._of(self._steps, profile, function))

    def _of(
        self,
        steps: Sequence[Labels],
        profile: list[Variable],
        function: Callable[[Fragility], FloatArray],
    ) -> tuple[list[Variable], Callable[[FloatArray], FloatArray]]:
        """Variables of some steps and a profile, and the function of their means."""
        n_steps, n_levels = len(steps), len(self._level_names)
        groups = [
            [self._clean] if self._has_labels else [],
            [self._outcome(labels) for labels in steps],
            [Variable.of(DAMAGE, **labels) for labels in steps],
            [variable for labels in steps for variable in self._levels_of(labels)],
            profile,
        ]
        ends = np.cumsum([len(group) for group in groups])[:-1]

        def of_rows(rows: FloatArray) -> FloatArray:
            clean, outcome, power, levels, share = np.split(rows, ends, axis=1)
            levels = levels.reshape(len(rows), n_steps, n_levels)
            positive = np.clip(share, 0, None)
            seen = Fragility(
                lost=clean - outcome if self._has_labels else outcome,
                size=np.sqrt(power),
                # Damage that changes nothing has no footprint, and no size.
                footprint=np.nan_to_num(footprint(levels)),
                share=positive / positive.sum(1, keepdims=True),
                alike=np.array([self.choice.coefficient_shares]),
            )
            return function(seen)

        return [variable for group in groups for variable in group], of_rows

    @cached_property
    def _profiles(self) -> dict[Variable, list[Variable]]:
        """Mean importance by level of every method, by its labels; Shapley values as a profile."""
        candidates: dict[Variable, str] = {}
        for method in METHODS:
            candidates[Variable.of(SPEARMAN, method=method)] = "reliance/share"
            mean = Variable.of(SPEARMAN, method=method, normalisation="mean_share")
            candidates[mean] = "reliance/mean_share"
        profiles = {
            variable: [
                Variable.of(metric, method=variable.get("method"), level=level)
                for level in self._level_names
            ]
            for variable, metric in candidates.items()
        }
        profiles[Variable.of(SPEARMAN, method=SHAPLEY)] = [
            Variable.of("shapley/value", level=level) for level in self._level_names
        ]
        return {name: own for name, own in profiles.items() if self._have(own)}

    @cached_property
    def _steps(self) -> list[Labels]:
        """Labels of the corruptions and severities that have all numbers."""
        return [
            step.labels
            for step in self.choice.steps
            if self._have(
                [
                    self._outcome(step.labels),
                    Variable.of(DAMAGE, **step.labels),
                    *self._levels_of(step.labels),
                ]
            )
        ]

    @cached_property
    def _has_labels(self) -> bool:
        return self._clean in self.means

    @property
    def _clean(self) -> Variable:
        return Variable.of(ACCURACY, **step_labels(CLEAN))

    def _outcome(self, labels: Labels) -> Variable:
        return Variable.of(ACCURACY if self._has_labels else FLIP_RATE, **labels)

    def _levels_of(self, labels: Labels) -> list[Variable]:
        return [Variable.of(LEVEL_DAMAGE, level=level, **labels) for level in self._level_names]

    @property
    def _level_names(self) -> tuple[str, ...]:
        return self.choice.level_names

    def _have(self, variables: Sequence[Variable]) -> bool:
        return all(variable in self.means for variable in variables)


def _by_control(name: str) -> Callable[[Fragility], FloatArray]:
    return lambda seen: rank_correlation(seen.control(name), seen.lost)


def _beyond(name: str) -> Callable[[Fragility], FloatArray]:
    return lambda seen: seen.correlation() - rank_correlation(seen.control(name), seen.lost)


def _beside(name: str) -> Callable[[Fragility], FloatArray]:
    return lambda seen: partial_rank_correlation(seen.predicted, seen.lost, seen.control(name))
