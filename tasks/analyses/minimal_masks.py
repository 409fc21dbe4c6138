"""Masks over the coefficients of a sample, optimised to keep its class with least, or to end it.

Where `minimal` asks how far a ranking carries, this looks for the set itself, at several prices of
a coefficient: together they make the curve of probability against sparsity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np

from tasks.analyses.contract import (
    Analysis,
    AuditParts,
    Batch,
    Findings,
    Measures,
    Passes,
    ShardTables,
)
from tasks.analyses.minimal import class_reader
from tasks.analyses.minimal_selections import (
    absent_values,
    example_file,
    example_rows,
    mask_bytes,
)
from tasks.analyses_config import MinimalMasksConfig
from tasks.sentences import find_metric, with_interval
from tasks.variables import Variable
from wam_core.basis import CoefficientLayout
from wam_core.mask_optimisation import MaskSettings, OptimisedMask, optimise_mask
from wam_core.masked_signals import MaskedSignal, composition

_MEASURED = {
    "sparsity": "minimal/mask_sparsity",
    "probability_target": "minimal/mask_probability",
    "kept": "minimal/mask_success",
    "binary_fraction": "minimal/binary_mask_fraction",
    "binary_probability_target": "minimal/binary_mask_probability",
    "binary_kept": "minimal/binary_mask_success",
}
_SCALES = {
    "coefficient_share": "minimal/mask_share",
    "energy_share": "minimal/mask_energy_share",
    "kept_of_level": "minimal/mask_of_level",
}


class MinimalMasks(Analysis):
    """Optimised masks, one per sample and price."""

    section = "minimal_masks"
    tables = ("minimal_masks", "minimal_mask_levels")
    units: ClassVar = {
        "minimal/mask_sparsity": ("fraction", "higher"),
        "minimal/mask_probability": ("fraction", "none"),
        "minimal/mask_success": ("fraction", "none"),
        "minimal/binary_mask_fraction": ("fraction", "none"),
        "minimal/binary_mask_probability": ("fraction", "none"),
        "minimal/binary_mask_success": ("fraction", "none"),
        "minimal/mask_share": ("fraction", "none"),
        "minimal/mask_energy_share": ("fraction", "none"),
        "minimal/mask_of_level": ("fraction", "none"),
    }
    proportions = frozenset({"minimal/mask_success", "minimal/binary_mask_success"})
    settings: MinimalMasksConfig

    def passes(self, layout: CoefficientLayout) -> Passes:
        """At most: with `patience`, samples end earlier."""
        n_alphas = len(self.settings.alphas)
        return Passes(forward=2 * n_alphas, backward=n_alphas * self.settings.n_steps)

    def open(self, parts: AuditParts) -> MaskOptimisation:
        """The analysis with the model in memory."""
        return MaskOptimisation(parts)

    def measure(self, tables: ShardTables) -> Measures:
        """Everything by price, and what is kept by price and level."""
        found: Measures = {}
        objective = self.settings.objective
        for alpha, rows in tables["minimal_masks"].groupby("alpha", sort=True):
            by_sample = rows.set_index("sample_index")
            labels = {"alpha": f"{cast('float', alpha):g}", "objective": objective}
            for column, name in _MEASURED.items():
                found[Variable.of(name, **labels)] = tables.aligned(by_sample[column])
        for key, rows in tables["minimal_mask_levels"].groupby(["alpha", "level"], sort=True):
            alpha, level = cast("tuple[float, str]", key)
            by_sample = rows.set_index("sample_index")
            labels = {"alpha": f"{alpha:g}", "objective": objective, "level": level}
            for column, name in _SCALES.items():
                values = tables.aligned(by_sample[column])
                if not np.isnan(values).all():
                    found[Variable.of(name, **labels)] = values
        return found

    def sentences(self, metrics: Sequence[Mapping[str, Any]], element: str) -> list[str]:
        """What masks remove and what is left of the class, at every price."""
        does = "keep" if self.settings.objective == "preserve" else "destroy"
        parts, n = [], 0
        for alpha in self.settings.alphas:
            labels = {"alpha": f"{alpha:g}", "objective": self.settings.objective}
            sparsity = find_metric(metrics, "minimal/mask_sparsity", labels)
            probability = find_metric(metrics, "minimal/mask_probability", labels)
            if sparsity is not None and probability is not None:
                n = sparsity["n"]
                parts.append(
                    f"{with_interval(sparsity, 3)} leaves {with_interval(probability, 2)} "
                    f"(alpha {alpha:g})"
                )
        if not parts:
            return []
        return [
            f"Masks optimised to {does} the class: a sparsity of {'; of '.join(parts)} of the "
            f"class's probability (n = {n})."
        ]


@dataclass(frozen=True)
class MaskOptimisation:
    """The analysis with the model in memory."""

    parts: AuditParts

    def run(self, batch: Batch, max_batch: int) -> Findings:
        """Optimise a mask for every sample and price."""
        findings = Findings()
        config = self.parts.config
        settings: MinimalMasksConfig = config.analyses.minimal_masks
        baseline = absent_values(config, "minimal_masks", batch.signal, batch.support)
        masked = MaskedSignal.of(batch.signal, baseline, self.parts.layout.basis)
        read = class_reader(self.parts, batch, settings.score)
        masks: dict[int, dict[str, np.ndarray[Any, Any]]] = {}
        for alpha in settings.alphas:
            found = optimise_mask(read, masked, mask_settings(settings, alpha), max_batch=max_batch)
            findings.n_forward += found.n_forward
            findings.n_backward += found.n_backward
            self._add(findings, alpha, found, masked)
            for place, row in enumerate(batch.rows):
                if row in self.examples:
                    masks.setdefault(row, {})[f"{alpha:g}"] = found.mask[place].numpy()
        findings.files = {
            example_file("minimal_masks", row): mask_bytes(by_name)
            for row, by_name in masks.items()
        }
        return findings

    def _add(
        self, findings: Findings, alpha: float, found: OptimisedMask, masked: MaskedSignal
    ) -> None:
        binary_fraction = found.binary_mask.double().mean(dim=1)
        preserves = self.parts.config.analyses.minimal_masks.objective == "preserve"
        essential = found.mask if preserves else 1 - found.mask
        scales = composition(essential.to(masked.baseline.device), masked.coefficients)
        for place in range(len(masked)):
            findings.add(
                "minimal_masks",
                place,
                {
                    "alpha": alpha,
                    "n_steps": int(found.n_steps[place]),
                    "sparsity": float(found.sparsity[place]),
                    "probability_target": float(found.probability[place]),
                    "kept": bool(found.kept[place]),
                    "binary_fraction": float(binary_fraction[place]),
                    "binary_probability_target": float(found.binary_probability[place]),
                    "binary_kept": bool(found.binary_kept[place]),
                },
            )
            for column, level in enumerate(masked.layout.level_names):
                numbers = {name: float(getattr(scales, name)[place, column]) for name in _SCALES}
                findings.add(
                    "minimal_mask_levels", place, {"alpha": alpha, "level": level} | numbers
                )

    @cached_property
    def examples(self) -> frozenset[int]:
        """Manifest rows whose masks are kept."""
        return frozenset(example_rows(self.parts.config, self.parts.manifest, "minimal_masks"))


def mask_settings(settings: MinimalMasksConfig, alpha: float) -> MaskSettings:
    """How masks are optimised at one price."""
    return MaskSettings(
        alpha,
        objective=settings.objective,
        parametrisation=settings.parametrisation,
        optimiser=settings.optimiser,
        n_steps=settings.n_steps,
        learning_rate=settings.learning_rate,
        patience=settings.patience,
    )
