"""Whether the maps of an audit rank what the model uses, held against orders without a model.

Insertion and deletion to a baseline reward energy: the coefficients' own magnitude scores as high
as any map. So every measure stands beside the same of the orders by magnitude and by chance, and
those under which energy alone cannot win come first (`wam_core.faithfulness.contrast`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tasks.analyses.contract import (
    Analysis,
    AuditParts,
    Measures,
    Median,
    Passes,
    ShardTables,
)
from tasks.analyses.faithfulness_measures import (
    PROPORTIONS,
    SPECTRA,
    UNITS,
    faithfulness_measures,
    faithfulness_sentences,
)
from tasks.analyses.faithfulness_removals import effort, judged_methods, wants
from tasks.analyses.faithfulness_run import FaithfulnessCurves
from tasks.datasets import Manifest
from tasks.errors import ConfigError
from tasks.trust_config import FaithfulnessConfig
from wam_core.basis import CoefficientLayout


class Faithfulness(Analysis):
    """Curves of insertion and deletion, random subsets, and what maps are by themselves."""

    section = "faithfulness"
    tables = ("faithfulness", "curves")
    units: ClassVar = UNITS
    proportions = PROPORTIONS
    medians = (Median(SPECTRA, "faithfulness", "spectra", ("method",)),)
    settings: FaithfulnessConfig

    def check(self, manifest: Manifest) -> None:
        """Judged are methods that are switched on; other samples must be of another class."""
        enabled = self.config.attribution.methods
        unknown = [method for method in judged_methods(self.config) if method not in enabled]
        if unknown:
            raise ConfigError(
                f"analyses.faithfulness.methods names {', '.join(unknown)}, but the methods "
                f"switched on under attribution are {', '.join(enabled)}; name some of these"
            )
        others = self.settings.replacement == "other_samples" and wants(self.config, "replacement")
        if others and manifest.table["label"].dropna().nunique() < 2:
            raise ConfigError(
                "analyses.faithfulness replaces coefficients by those of samples of another class, "
                "but the dataset does not have two labelled classes; set "
                "analyses.faithfulness.replacement: resampled, or leave the measure replacement out"
            )

    def passes(self, layout: CoefficientLayout) -> Passes:
        """Removals pass forward; runner-up and random weights are explained as the class was."""
        forward, backward = effort(self.config, layout).passes, 0
        again = sum(wants(self.config, each) for each in ("class_contrast", "random_weights"))
        if again:
            attribution, methods = self.config.attribution, judged_methods(self.config)
            backward = again * sum(attribution.passes_of(method) for method in methods)
            forward += 2 * again * ("integrated_gradients" in methods)
        return Passes(forward=forward, backward=backward)

    def open(self, parts: AuditParts) -> FaithfulnessCurves:
        """The analysis with the model in memory."""
        return FaithfulnessCurves(parts)

    def measure(self, tables: ShardTables) -> Measures:
        """Every measure by ranking, and gains over the orders without a model, paired."""
        return faithfulness_measures(tables)

    def sentences(self, metrics: Sequence[Mapping[str, Any]], element: str) -> list[str]:
        """What energy alone cannot win first; the published measure beside its control."""
        return faithfulness_sentences(metrics)
