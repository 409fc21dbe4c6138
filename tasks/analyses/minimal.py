"""How little of a sample keeps its class: minimal signals among its wavelet coefficients.

Coefficients are ranked by every attribution, and by magnitude and at random for comparison; how
many of the first are needed is found by bisection. The same is asked of the fine levels alone and
of all others alone: where only one of them suffices, the sample has a preference, and the part of
these samples that fine levels suffice for is the texture index T_min.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from tasks.analyses.contract import (
    Analysis,
    AuditParts,
    Batch,
    Findings,
    Measures,
    Passes,
    Row,
    ShardTables,
)
from tasks.analyses.minimal_measures import LEVEL_METRICS, Searches, minimal_sentences
from tasks.analyses.minimal_selections import (
    WHOLE,
    absent_values,
    example_file,
    example_rows,
    fine_levels,
    mask_bytes,
    ranking_methods,
    restrictions,
    selections,
)
from tasks.analyses.mixtures import EVIDENCE
from tasks.analyses_config import MinimalConfig
from tasks.datasets import Manifest
from tasks.errors import ConfigError
from tasks.texture import Votes
from wam_core.basis import CoefficientLayout
from wam_core.masked_signals import MaskedSignal, composition
from wam_core.minimal import (
    MinimalSelection,
    available_coefficients,
    bisection_passes,
    minimal_selection,
)
from wam_core.noise import generator
from wam_core.readings import ClassReader


class Minimal(Analysis):
    """The fewest ranked coefficients that keep the explained class."""

    section = "minimal"
    tables = ("minimal", "minimal_levels")
    units: ClassVar = {
        "minimal/applicable": ("fraction", "none"),
        "minimal/fraction": ("fraction", "lower"),
        "minimal/within": ("fraction", "higher"),
        "minimal/gain_over_magnitude": ("halvings", "higher"),
        "minimal/gain_over_random": ("halvings", "higher"),
        "minimal/kept_share": ("fraction", "none"),
        "minimal/kept_energy_share": ("fraction", "none"),
        "minimal/kept_of_level": ("fraction", "none"),
        "minimal/kept_by_nothing": ("fraction", "none"),
        "minimal/success": ("fraction", "none"),
        "texture/t_min": ("fraction", "none"),
        "texture/t_min_coverage": ("fraction", "higher"),
    }
    proportions = frozenset(
        {
            "minimal/applicable",
            "minimal/within",
            "minimal/kept_by_nothing",
            "minimal/success",
            "texture/t_min",
            "texture/t_min_coverage",
        }
    )
    settings: MinimalConfig

    def check(self, manifest: Manifest) -> None:
        """Rankings are by methods that are switched on, and fine levels leave some that are not."""
        enabled = self.config.attribution.methods
        unknown = [method for method in ranking_methods(self.config) if method not in enabled]
        if unknown:
            raise ConfigError(
                f"analyses.minimal.methods names {', '.join(unknown)}, but the methods switched on "
                f"under attribution are {', '.join(enabled)}; name some of these"
            )
        n_fine, levels = fine_levels(self.config), self.config.basis.levels
        if n_fine > levels:
            raise ConfigError(
                f"analyses.minimal counts {n_fine} levels as fine, but basis.levels is {levels}; "
                "set analyses.minimal.fine_levels to at most that"
            )

    def passes(self, layout: CoefficientLayout) -> Passes:
        """At most: a search that ends early, or whose sample loses its class, needs fewer."""
        settings = self.settings
        each = sum(
            bisection_passes(
                int(available_coefficients(layout, names).sum()),
                settings.spacing,
                settings.resolution,
            )
            for names in restrictions(self.config).values()
        )
        return Passes(forward=each * len(selections(self.config)))

    def open(self, parts: AuditParts) -> MinimalSearches:
        """The analysis with the model in memory."""
        return MinimalSearches(parts)

    def measure(self, tables: ShardTables) -> Measures:
        """Fractions by ranking, preferences of samples, and scales of what is kept."""
        return Searches(tables, self.settings).measures()

    def votes(self, tables: ShardTables) -> Votes:
        """Samples that fine levels alone keep, among those that have a preference."""
        preference = Searches(tables, self.settings).preference
        if preference is None:
            return {}
        return {"t_min": (preference, np.where(np.isnan(preference), np.nan, 1.0))}

    def sentences(self, metrics: Sequence[Mapping[str, Any]], element: str) -> list[str]:
        """How little keeps the class, and whether fine or coarse levels do it alone."""
        return minimal_sentences(self.config, metrics, element)


@dataclass(frozen=True)
class MinimalSearches:
    """The analysis with the model in memory."""

    parts: AuditParts

    def run(self, batch: Batch, max_batch: int) -> Findings:
        """Search every ranking of every sample, without and with restrictions."""
        findings = Findings()
        config, layout = self.parts.config, self.parts.layout
        settings: MinimalConfig = config.analyses.minimal
        baseline = absent_values(config, "minimal", batch.signal, batch.support)
        masked = MaskedSignal.of(batch.signal, baseline, layout.basis)
        read = class_reader(self.parts, batch)
        masks: dict[int, dict[str, np.ndarray[Any, Any]]] = {}
        for selection, importance in self._importances(batch, masked):
            for restriction, names in restrictions(config).items():
                found = minimal_selection(
                    read,
                    masked,
                    importance,
                    available=names,
                    spacing=settings.spacing,
                    resolution=settings.resolution,
                    max_batch=max_batch,
                )
                findings.n_forward += found.n_forward
                _add_rows(findings, selection, restriction, found)
                if restriction == WHOLE:
                    _add_levels(findings, selection, found, masked)
                    for place, row in enumerate(batch.rows):
                        if row in self.examples and bool(found.succeeds[place]):
                            masks.setdefault(row, {})[selection] = found.mask[place].numpy()
        findings.files = {
            example_file("minimal", row): mask_bytes(by_name) for row, by_name in masks.items()
        }
        return findings

    def _importances(self, batch: Batch, masked: MaskedSignal) -> Iterator[tuple[str, Tensor]]:
        """Every ranking by name; a map that is not finite ranks nothing, and is not counted."""
        config = self.parts.config
        for method in ranking_methods(config):
            explanation = batch.explanation
            yield config.attribution.profile_of_map(method), explanation.ranking(method)
            if method == "integrated_gradients":
                # With its sign: what speaks against the class comes last.
                values = explanation.maps[method].flat.nan_to_num(0.0, 0.0, 0.0)
                yield EVIDENCE, values.sum(1)
        yield "magnitude", masked.coefficients.flat.abs().sum(1).cpu()
        yield "random", torch.stack([self._random(name) for name in batch.sample_ids])

    def _random(self, sample_id: str) -> Tensor:
        draw = generator(self.parts.config.attribution.seed, f"{sample_id}\0minimal", 0)
        return torch.from_numpy(draw.random(self.parts.layout.size, dtype=np.float32))

    @cached_property
    def examples(self) -> frozenset[int]:
        """Manifest rows whose masks are kept."""
        return frozenset(example_rows(self.parts.config, self.parts.manifest, "minimal"))


def class_reader(parts: AuditParts, batch: Batch, kind: str = "log_probability") -> ClassReader:
    """Reads the explained class of a batch's samples, without what pads them."""
    module = parts.model.module
    return ClassReader(
        lambda rows: module(rows).float(),
        batch.targets,
        kind=cast("Any", kind),
        head=parts.model.head,
        support=batch.support,
    )


def _add_rows(
    findings: Findings, selection: str, restriction: str, found: MinimalSelection
) -> None:
    smaller = found.next_smaller / found.layout.size
    for place, succeeds in enumerate(found.succeeds.tolist()):
        findings.add(
            "minimal",
            place,
            {
                "selection": selection,
                "restriction": restriction,
                "kept": succeeds,
                "n_kept": int(found.count[place]) if succeeds else None,
                "fraction": float(found.fraction[place]),
                "next_smaller_fraction": float(smaller[place]),
                "probability_target": float(found.probability[place]),
            },
        )


def _add_levels(
    findings: Findings, selection: str, found: MinimalSelection, masked: MaskedSignal
) -> None:
    scales = composition(found.mask.to(masked.baseline.device), masked.coefficients)
    for place, succeeds in enumerate(found.succeeds.tolist()):
        if not succeeds:
            continue
        for column, level in enumerate(masked.layout.level_names):
            address: Row = {"selection": selection, "level": level}
            numbers = {name: float(getattr(scales, name)[place, column]) for name in LEVEL_METRICS}
            findings.add("minimal_levels", place, address | numbers)
