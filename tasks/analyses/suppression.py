"""Which cues a model needs: suppress one, keep the others, and see what is lost.

Every sample is passed through the model again with one cue taken away, by the operators and at the
strengths of `wam_core.suppression`. What a cue is worth is the accuracy above chance that goes
with it (Burgert et al., 2025); how often the prediction stays the same needs no label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
import pandas as pd

from tasks.analyses.contract import (
    Analysis,
    AuditParts,
    Batch,
    Findings,
    Measures,
    Metrics,
    Passes,
    ShardTables,
)
from tasks.config import AuditConfig
from tasks.datasets import Manifest
from tasks.errors import ConfigError
from tasks.explain import predict
from tasks.models import resolve_preprocessing
from tasks.robustness_config import SuppressionConfig
from tasks.sentences import find_metric, with_interval
from tasks.texture import Votes
from tasks.variables import MeansOfSamples, Variable
from wam_core.basis import CoefficientLayout
from wam_core.intervals import FloatArray
from wam_core.suppression import SUPPRESSIONS, Suppression, suppressions_for

CLEAN = "texture/clean_accuracy"
ACCURACY = "texture/suppressed_accuracy"
CONSISTENCY = "texture/suppression_consistency"
LOSS = "texture/relative_loss"

_CLEAN_OF_THE_SAME = "suppression/clean"
"""Whether the clean sample is classified correctly, of the samples that a suppression has."""

_ARRANGEMENT = frozenset({"global shape", "temporal order"})
_TEXTURE = frozenset({"texture", "fine structure"})
"""Cues that stand for coarse and fine structure where indices of texture reliance are compared."""


@dataclass(frozen=True)
class Step:
    """One suppression at one strength: one pass of every sample."""

    suppression: Suppression
    strength: float
    cue: str

    @property
    def labels(self) -> dict[str, str]:
        """Labels of its metrics."""
        return step_labels(self.cue, self.suppression.name, self.strength)


def step_labels(cue: str, suppression: str, strength: float) -> dict[str, str]:
    """Labels of the metrics of a suppression.

    Example:
        >>> step_labels("global shape", "patch_shuffle", 8.0)
        {'cue': 'global shape', 'suppression': 'patch_shuffle', 'strength': '8'}
    """
    return {"cue": cue, "suppression": suppression, "strength": f"{strength:g}"}


class CueSuppression(Analysis):
    """Accuracy and predictions with one cue suppressed."""

    section = "suppression"
    tables = ("suppression",)
    units: ClassVar = {
        CLEAN: ("fraction", "higher"),
        ACCURACY: ("fraction", "none"),
        CONSISTENCY: ("fraction", "none"),
        LOSS: ("fraction", "none"),
    }
    proportions = frozenset({CLEAN, ACCURACY, CONSISTENCY})
    settings: SuppressionConfig

    def check(self, manifest: Manifest) -> None:
        """Every suppression asked for must exist for the model's input, at that strength."""
        n_channels, *space = self._input_shape
        existing = suppressions_for(len(space), n_channels)
        for name, strengths in self.settings.suppressions.items():
            if name not in existing:
                raise ConfigError(
                    f"analyses.suppression.suppressions has {name}, which does not exist for "
                    f"inputs of {len(space)} dimensions and {n_channels} channel(s); choose from "
                    f"{', '.join(existing)}"
                )
            known = existing[name].strengths
            fitting = [strength for strength in known if existing[name].fits(space, strength)]
            for strength in strengths:
                if strength not in fitting:
                    raise ConfigError(
                        f"analyses.suppression.suppressions.{name} has the strength {strength:g}; "
                        f"for inputs of {' x '.join(map(str, space))} choose from "
                        f"{', '.join(f'{strength:g}' for strength in fitting) or 'no strength'}"
                    )
        if not self.steps:
            raise ConfigError("analyses.suppression suppresses nothing; name a suppression")

    def passes(self, layout: CoefficientLayout) -> Passes:
        """One pass forward for each suppression and strength."""
        return Passes(forward=len(self.steps))

    def open(self, parts: AuditParts) -> SuppressionAnalysis:
        """The analysis with the model in memory."""
        return SuppressionAnalysis(parts, self.steps)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """What is done, cue by cue, weakest strength first."""
        n_channels, *space = self._input_shape
        wanted = self.settings.suppressions
        return tuple(
            Step(suppression, strength, suppression.cues[len(space)])
            for name, suppression in suppressions_for(len(space), n_channels).items()
            if not wanted or name in wanted
            for strength in suppression.strengths
            if strength in self._asked(suppression) and suppression.fits(space, strength)
        )

    def _asked(self, suppression: Suppression) -> Sequence[float]:
        """Strengths as the configuration has them, whether or not the input has room for them."""
        asked: Mapping[str, Sequence[float]] = self.settings.suppressions
        if not asked:
            return suppression.usual_for(len(self._input_shape) - 1)
        return asked[suppression.name] or suppression.strengths

    def measure(self, tables: ShardTables) -> Measures:
        """Right or not and changed or not, by suppression and strength; right or not before."""
        table = tables["suppression"]
        clean = tables["samples"]["correct"]
        values: Measures = {}
        if len(table):
            taken = clean[clean.index.isin(table["sample_index"])]
            values[Variable.of(CLEAN)] = tables.aligned(taken)
        for key, rows in table.groupby(["cue", "suppression", "strength"], sort=True):
            by_sample = rows.set_index("sample_index")
            labels = step_labels(*cast("tuple[str, str, float]", key))
            values[Variable.of(ACCURACY, **labels)] = tables.aligned(by_sample["correct"])
            values[Variable.of(CONSISTENCY, **labels)] = tables.aligned(by_sample["kept"])
            before = tables.aligned(clean[clean.index.isin(by_sample.index)])
            values[Variable.of(_CLEAN_OF_THE_SAME, **labels)] = before
        return values

    def conclude(self, means: MeansOfSamples) -> Metrics:
        """1 - (accuracy - chance) / (clean accuracy - chance), of the same samples."""
        chance = means.chance
        if chance is None:
            return []

        def loss(accuracies: FloatArray) -> FloatArray:
            suppressed, clean = accuracies.T
            lost = 1 - (suppressed - chance) / (clean - chance)
            return np.where(clean > chance, lost, np.nan)

        return [
            (
                variable.renamed(LOSS),
                means.derive([variable, variable.renamed(_CLEAN_OF_THE_SAME)], loss),
            )
            for variable in means.named(ACCURACY)
        ]

    def votes(self, tables: ShardTables) -> Votes:
        """Right answers without the arrangement, against right answers without the texture."""
        table = tables["suppression"]
        correct = table["correct"].astype("Float64").groupby([table["cue"], table["sample_index"]])
        by_cue = correct.mean().groupby(level="cue")

        def without(cues: frozenset[str]) -> FloatArray:
            means = [rows.droplevel("cue") for cue, rows in by_cue if cue in cues]
            return tables.aligned(pd.concat(means) if means else pd.Series(dtype="Float64"))

        fine, coarse = without(_ARRANGEMENT), without(_TEXTURE)
        return {"suppression": (fine, fine + coarse)}

    def sentences(self, metrics: Sequence[Mapping[str, Any]], element: str) -> list[str]:
        """Accuracy without each cue, by its first suppression at its greatest strength."""
        clean = find_metric(metrics, CLEAN)
        strongest: dict[str, str] = {}
        for suppression in SUPPRESSIONS.values():
            for strength in reversed(suppression.strengths):
                for cue in dict.fromkeys(suppression.cues.values()):
                    labels = step_labels(cue, suppression.name, strength)
                    accuracy = find_metric(metrics, ACCURACY, labels)
                    if accuracy is not None:
                        how = f"{suppression.name.replace('_', ' ')}, {strength:g}"
                        strongest.setdefault(
                            cue, f"{with_interval(accuracy, 2)} without {cue} ({how})"
                        )
        if clean is None or not strongest:
            return []
        return [
            f"With one cue suppressed, accuracy {with_interval(clean, 2)} becomes "
            f"{'; '.join(strongest.values())} (n = {clean['n']})."
        ]

    @cached_property
    def _input_shape(self) -> tuple[int, ...]:
        return resolve_preprocessing(self.config.model).input_shape


@dataclass(frozen=True)
class SuppressionAnalysis:
    """The analysis with the model in memory."""

    parts: AuditParts
    steps: tuple[Step, ...]

    def run(self, batch: Batch, max_batch: int) -> Findings:
        """One pass of the batch for each suppression and strength."""
        result = Findings()
        for step in self.steps:
            places = [place for place in range(len(batch)) if self._fits(batch, place, step)]
            if places:
                self._take(step, batch, places, max_batch, result)
        return result

    def _fits(self, batch: Batch, place: int, step: Step) -> bool:
        """A recording may be too short for a strength that the model's input has room for."""
        if batch.n_valid is None:
            return True
        return step.suppression.fits([int(batch.n_valid[place])], step.strength)

    def _take(
        self, step: Step, batch: Batch, places: list[int], max_batch: int, result: Findings
    ) -> None:
        part = batch if len(places) == len(batch) else batch.take(places)
        changed = step.suppression.apply(
            part.signal,
            step.strength,
            sample_ids=part.sample_ids,
            seed=self._config.attribution.seed,
            n_valid=part.n_valid,
        )
        prediction = predict(self.parts.model, changed, max_batch)
        result.n_forward += len(part)
        for of, place in enumerate(places):
            if bool(prediction.finite[of]):
                result.add(
                    "suppression",
                    place,
                    {
                        "cue": step.cue,
                        "suppression": step.suppression.name,
                        "strength": float(step.strength),
                    }
                    | batch.verdicts(prediction, place, of),
                )

    @property
    def _config(self) -> AuditConfig:
        return self.parts.config
