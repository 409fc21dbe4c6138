"""Do explanations show what the model learned? Sanity checks by randomisation.

Every sample taken is explained again by models that forgot part of what they learned: layers drawn
anew from the top, stage by stage, or one stage at a time, or a network trained on permuted
labels (Adebayo et al. 2018). An explanation that stays the same does not depend on what was
forgotten. Controls need no randomised model: the similarity to the magnitudes of the coefficients,
to a map shuffled within its bands, and of WAM_SG and WAM_CG to themselves from other draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from io import BytesIO
from typing import Any, ClassVar, cast

import numpy as np
import pandas as pd

from tasks.analyses.contract import (
    Analysis,
    AuditParts,
    Measures,
    Metrics,
    Passes,
    ShardTables,
)
from tasks.analyses.sanity_comparisons import (
    CASCADING,
    OVERLAP,
    RISE,
    SHARE,
    SPEARMAN,
    largest_rise,
    metric_units,
    metrics_of,
)
from tasks.analyses.sanity_maps import ABSOLUTE, COALITIONS, GRADIENT, INTEGRATED, Explainer
from tasks.analyses.sanity_run import SanityAnalysis
from tasks.datasets import Manifest
from tasks.models.files import open_model_file
from tasks.sentences import find_metric, with_interval
from tasks.trust_config import SanityConfig
from tasks.variables import MeansOfSamples, Variable
from wam_core.basis import CoefficientLayout

_PROFILES = {
    GRADIENT: "the plain gradient",
    ABSOLUTE: "WAM_SG",
    INTEGRATED: "WAM_IG",
    COALITIONS: "WAM_CG",
}
"""Explanations whose profiles the headline states, in words."""


class Sanity(Analysis):
    """Similarity of explanations with those of randomised models."""

    section = "sanity"
    tables = ("sanity",)
    units: ClassVar = metric_units()
    settings: SanityConfig

    def check(self, manifest: Manifest) -> None:
        """The weights trained on permuted labels must be there."""
        self.inputs()

    def inputs(self) -> dict[str, str]:
        """The weights trained on permuted labels decide what is compared."""
        location = self.settings.random_label_checkpoint
        if location is None:
            return {}
        file = open_model_file(location, "analyses.sanity.random_label_checkpoint")
        content = file.getvalue() if isinstance(file, BytesIO) else file.read_bytes()
        return {"random_label_checkpoint": sha256(content).hexdigest()}

    def passes(self, layout: CoefficientLayout) -> Passes:
        """One explanation by every model, and those that draw once more; fewer for few layers."""
        settings, explainer = self.settings, Explainer.of(self.config, layout)
        models = 1 + settings.stages + (settings.random_label_checkpoint is not None)
        # The first stage alone is the first of the cascade, too.
        models += (settings.stages - 1) * settings.independent
        return Passes(
            models * explainer.passes.forward,
            models * explainer.passes.backward + explainer.redrawn_passes,
        )

    def open(self, parts: AuditParts) -> SanityAnalysis:
        """The analysis with the model in memory."""
        return SanityAnalysis(parts, Explainer.of(self.config, parts.layout))

    def measure(self, tables: ShardTables) -> Measures:
        """Every similarity by method and stage."""
        values: Measures = {}
        keys = ["comparison", "method", "stage"]
        for key, rows in tables["sanity"].groupby(keys, sort=True, dropna=False):
            comparison, method, stage = cast("tuple[str, str, Any]", key)
            number = None if pd.isna(stage) else int(stage)
            by_sample = rows.set_index("sample_index")
            for column, metric in metrics_of(comparison).items():
                numbers = tables.aligned(by_sample[column])
                if not np.isnan(numbers).all():
                    values[Variable.of(metric, method=method, stage=number)] = numbers
            if comparison == CASCADING:
                layers = str(rows["layers"].iloc[0])
                share = Variable.of(SHARE, stage=number, layers=layers)
                values[share] = tables.aligned(by_sample["randomised_share"])
        return values

    def conclude(self, means: MeansOfSamples) -> Metrics:
        """By how much the similarity rises again at most while more layers are randomised."""
        by_method: dict[str, list[Variable]] = {}
        for variable in means.named(SPEARMAN):
            by_method.setdefault(variable.get("method"), []).append(variable)
        return [
            (
                Variable.of(RISE, method=method),
                means.derive(sorted(variables, key=_stage_of), largest_rise),
            )
            for method, variables in by_method.items()
        ]

    def sentences(self, metrics: Sequence[Mapping[str, Any]], element: str) -> list[str]:
        """How much of the profiles over levels is owed to the architecture and the data."""
        stages = [entry["labels"]["stage"] for entry in metrics if entry["name"] == OVERLAP]
        found = {
            words: find_metric(metrics, OVERLAP, {"method": method, "stage": max(stages)})
            for method, words in _PROFILES.items()
            if stages
        }
        listed = [
            f"{with_interval(entry, 2)} of that of {words}"
            for words, entry in found.items()
            if entry
        ]
        if not listed:
            return []
        n = max(entry["n"] for entry in found.values() if entry)
        return [
            "A profile over levels shows more than what was learned: with every layer randomised, "
            f"{', '.join(listed)} stays as it is (n = {n})."
        ]


def _stage_of(variable: Variable) -> int:
    return int(variable.get("stage"))
