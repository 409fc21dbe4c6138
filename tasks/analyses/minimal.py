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
import pandas as pd
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
from tasks.analyses.minimal_selections import (
    COARSE,
    FINE,
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
from tasks.analyses.mixtures import EVIDENCE, MODEL_FREE
from tasks.analyses_config import MinimalConfig
from tasks.datasets import Manifest
from tasks.errors import ConfigError
from tasks.sentences import Metric, find_metric, fine_place, with_interval
from tasks.variables import Variable
from wam_core.basis import CoefficientLayout
from wam_core.intervals import FloatArray
from wam_core.masked_signals import MaskedSignal, composition
from wam_core.minimal import (
    MinimalSelection,
    available_coefficients,
    bisection_passes,
    fine_preference,
    minimal_selection,
)
from wam_core.noise import generator
from wam_core.readings import ClassReader

_LEVEL_METRICS = {
    "coefficient_share": "minimal/kept_share",
    "energy_share": "minimal/kept_energy_share",
    "kept_of_level": "minimal/kept_of_level",
}
_GAINS = {control: f"minimal/gain_over_{control}" for control in MODEL_FREE}

_RANKINGS = {
    "gradient": "by the gradient",
    "smoothgrad_signed": "by WAM_SG",
    "smoothgrad_absolute": "by WAM_SG",
    "smoothgrad_squared": "by WAM_SG",
    "integrated_gradients": "by WAM_IG",
    EVIDENCE: "by WAM_IG's evidence for the class",
    "magnitude": "by magnitude alone",
    "random": "at random",
}


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
        return _Searches(tables, self.settings).measures()

    def sentences(self, metrics: Sequence[Mapping[str, Any]], element: str) -> list[str]:
        """How little keeps the class, and whether fine or coarse levels do it alone."""
        found = [
            (words, find_metric(metrics, "minimal/fraction", {"method": selection}))
            for selection, words in _RANKINGS.items()
        ]
        known = [(words, metric) for words, metric in found if metric is not None]
        sentences = []
        if known:
            parts = [f"{_percent(metric)} chosen {words}" for words, metric in known]
            sentences.append(
                f"To keep the explained class it takes, on average, of a sample's coefficients: "
                f"{', '.join(parts)} (n = {known[0][1]['n']})."
            )
        index = find_metric(metrics, "texture/t_min")
        coverage = find_metric(metrics, "texture/t_min_coverage")
        if index is not None and coverage is not None:
            place = fine_place(self.config, element)
            if self.settings.fine_levels not in (None, self.config.analyses.reliance.fine_levels):
                place = f"in levels 1 to {fine_levels(self.config)}"
            sentences.append(
                f"Where either what lies {place} or everything else, but not both, keeps the class "
                f"alone ({_percent(coverage)} of the samples), it is the fine part in "
                f"{_percent(index)} (T_min, n = {index['n']})."
            )
        return sentences


def _percent(metric: Metric) -> str:
    scaled = {key: None if metric[key] is None else 100 * metric[key] for key in _BOUNDS}
    return f"{with_interval(scaled, 1)} %"


_BOUNDS = ("estimate", "low", "high")


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
            values = batch.explanation.maps[method].flat.nan_to_num(0.0, 0.0, 0.0)
            yield config.attribution.profile_of_map(method), values.abs().sum(1)
            if method == "integrated_gradients":
                # With its sign: what speaks against the class comes last.
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
            numbers = {name: float(getattr(scales, name)[place, column]) for name in _LEVEL_METRICS}
            findings.add("minimal_levels", place, address | numbers)


@dataclass(frozen=True)
class _Searches:
    """The searches of one shard."""

    tables: ShardTables
    settings: MinimalConfig

    def measures(self) -> Measures:
        found: Measures = {}
        for selection, rows in self._rows.groupby("selection", sort=True):
            found |= self._of_selection(str(selection), rows)
        return found | self._gains() | self._of_samples() | self._scales()

    @cached_property
    def _rows(self) -> pd.DataFrame:
        """Searches of samples whose class is kept with everything."""
        rows = self.tables["minimal"]
        whole = rows[(rows["restriction"] == WHOLE) & rows["kept"]]
        return rows[rows["sample_index"].isin(whole["sample_index"])]

    def _any_ranking(self, restriction: str) -> pd.DataFrame:
        """One row per sample, for what is the same whatever ranks the coefficients."""
        rows = self._rows[self._rows["restriction"] == restriction]
        return rows.drop_duplicates("sample_index")

    def _of_selection(self, selection: str, rows: pd.DataFrame) -> Measures:
        found: Measures = {}
        for name, part in rows.groupby("restriction", sort=True):
            restriction = "" if name == WHOLE else str(name)
            fraction = self._column(part, "fraction")
            variable = Variable.of("minimal/fraction", method=selection, restriction=restriction)
            found[variable] = fraction
            if name == WHOLE:
                for most in self.settings.fractions:
                    within = Variable.of("minimal/within", method=selection, fraction=f"{most:g}")
                    found[within] = np.where(np.isnan(fraction), np.nan, fraction <= most)
        return found

    def _gains(self) -> Measures:
        """How many times the number of coefficients halves against those that need no model."""
        whole = self._rows[self._rows["restriction"] == WHOLE]
        # One coefficient stands for none: both are next to nothing, and none has no logarithm.
        octaves = {
            str(selection): np.log2(np.maximum(self._column(rows, "n_kept"), 1))
            for selection, rows in whole.groupby("selection", sort=True)
        }
        return {
            Variable.of(name, method=selection): octaves[control] - values
            for selection, values in octaves.items()
            if selection not in MODEL_FREE
            for control, name in _GAINS.items()
            if control in octaves
        }

    def _of_samples(self) -> Measures:
        rows = self.tables["minimal"]
        everyone = rows[rows["restriction"] == WHOLE].drop_duplicates("sample_index")
        applicable = self._column(everyone, "kept")
        n_kept = self._column(self._any_ranking(WHOLE), "n_kept")
        by_nothing = np.where(np.isnan(n_kept), np.nan, n_kept == 0)
        return {
            Variable.of("minimal/applicable"): applicable,
            Variable.of("minimal/kept_by_nothing"): by_nothing,
        } | self._preferences()

    def _preferences(self) -> Measures:
        success = {name: self._column(self._any_ranking(name), "kept") for name in (FINE, COARSE)}
        known = ~np.isnan(success[FINE]) & ~np.isnan(success[COARSE])
        if not known.any():
            return {}
        fine, coarse = (torch.from_numpy(success[name] == 1) for name in (FINE, COARSE))
        preference = np.where(known, fine_preference(fine, coarse).numpy(), np.nan)
        decided = np.where(known, ~np.isnan(preference), np.nan)
        return {
            Variable.of("minimal/success", restriction=FINE): success[FINE],
            Variable.of("minimal/success", restriction=COARSE): success[COARSE],
            Variable.of("texture/t_min"): preference,
            Variable.of("texture/t_min_coverage"): decided,
        }

    def _scales(self) -> Measures:
        found: Measures = {}
        rows = self.tables["minimal_levels"]
        for key, part in rows.groupby(["selection", "level"], sort=True):
            selection, level = cast("tuple[str, str]", key)
            for column, name in _LEVEL_METRICS.items():
                values = self._column(part, column)
                if not np.isnan(values).all():
                    found[Variable.of(name, method=selection, level=level)] = values
        return found

    def _column(self, rows: pd.DataFrame, name: str) -> FloatArray:
        return self.tables.aligned(rows.set_index("sample_index")[name])
