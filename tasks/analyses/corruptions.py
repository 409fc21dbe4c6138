"""How a model stands damage, where damage lies in the spectrum, and whether reliance explains it.

Every sample is damaged in every way and severity asked for, and classified again; of each damage
the energy in every level is measured, not assumed. A row depends on (sample, model, corruption,
severity, seed) alone: each corruption at each severity is passed through the model on its own, so
that not even rounding depends on what else is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from tasks.analyses.contract import (
    Analysis,
    AuditParts,
    Measures,
    Metrics,
    Passes,
    ShardTables,
)
from tasks.analyses.corrupted_samples import CorruptedSamples
from tasks.analyses.corruption_choice import CorruptionChoice
from tasks.analyses.corruption_conclusions import (
    MANY,
    PROPORTIONS,
    REFERENCE_TALLY,
    UNITS,
    robustness_metrics,
)
from tasks.analyses.corruption_sentences import corruption_sentences
from tasks.analyses.damage import DamagedSamples
from tasks.analyses.flips import FLIP_UNITS, FLIPS, flip_measures, flip_metrics
from tasks.analyses.fragility import RANKING_UNITS, ranking_metrics
from tasks.datasets import Manifest
from tasks.robustness_config import CorruptionsConfig
from tasks.variables import MeansOfSamples, Tallies
from wam_core.basis import CoefficientLayout


class Corruptions(Analysis):
    """Damaged samples: verdicts, footprints, and the link to reliance."""

    section = "corruptions"
    tables = ("corruptions", "corruption_levels")
    units: ClassVar = UNITS | RANKING_UNITS | FLIP_UNITS
    proportions = PROPORTIONS
    many = MANY | {FLIPS}
    settings: CorruptionsConfig

    def check(self, manifest: Manifest) -> None:
        """Every corruption asked for must exist for the model's input."""
        self.choice.check(manifest)

    def passes(self, layout: CoefficientLayout) -> Passes:
        """One pass forward for each corruption and severity."""
        return Passes(forward=len(self.choice.steps))

    def open(self, parts: AuditParts) -> DamagedSamples:
        """The analysis with the model in memory."""
        return DamagedSamples(parts, self.choice)

    def measure(self, tables: ShardTables) -> Measures:
        """Verdicts and energies of every corruption and severity, and what the link is made of."""
        samples = CorruptedSamples.of(self.choice, tables)
        if samples is None:
            return {}
        return samples.measures() | flip_measures(samples)

    def tally(self, tables: ShardTables) -> Tallies:
        """Which reference the rows name."""
        names = tables["corruptions"]["reference"].dropna().value_counts()
        return {(*REFERENCE_TALLY, str(name)): np.array([float(n)]) for name, n in names.items()}

    def conclude(self, means: MeansOfSamples) -> Metrics:
        """Means over corruptions, errors, footprints, and the link to reliance."""
        return [
            *robustness_metrics(self.choice, means),
            *ranking_metrics(self.choice, means),
            *flip_metrics(means),
        ]

    def sentences(self, metrics: Sequence[Mapping[str, Any]], element: str) -> list[str]:
        """How much accuracy is left, where the model breaks, and whether reliance explains it."""
        return corruption_sentences(metrics)

    @cached_property
    def choice(self) -> CorruptionChoice:
        """What is made."""
        return CorruptionChoice(self.config)
