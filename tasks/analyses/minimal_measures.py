"""What the searches of minimal signals came to: numbers per sample, and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import pandas as pd
import torch

from tasks.analyses.contract import Measures, ShardTables
from tasks.analyses.minimal_selections import COARSE, FINE, WHOLE, fine_levels
from tasks.analyses.mixtures import EVIDENCE, MODEL_FREE
from tasks.analyses_config import MinimalConfig
from tasks.config import AuditConfig
from tasks.sentences import Metric, find_metric, fine_place, with_interval
from tasks.variables import Variable
from wam_core.intervals import FloatArray
from wam_core.minimal import fine_preference

LEVEL_METRICS = {
    "coefficient_share": "minimal/kept_share",
    "energy_share": "minimal/kept_energy_share",
    "kept_of_level": "minimal/kept_of_level",
}
"""Columns of the table of levels, and the metrics that they become."""

_GAINS = {control: f"minimal/gain_over_{control}" for control in MODEL_FREE}

_RANKINGS = {
    "gradient": "by the gradient",
    "smoothgrad_signed": "by WAM_SG",
    "smoothgrad_absolute": "by WAM_SG",
    "smoothgrad_squared": "by WAM_SG",
    "integrated_gradients": "by WAM_IG",
    "coalition_gradients": "by WAM_CG",
    EVIDENCE: "by WAM_IG's evidence for the class",
    "magnitude": "by magnitude alone",
    "random": "at random",
}


@dataclass(frozen=True)
class Searches:
    """The searches of one shard."""

    tables: ShardTables
    settings: MinimalConfig

    def measures(self) -> Measures:
        """Numbers per sample by metric and labels."""
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

    @cached_property
    def preference(self) -> FloatArray | None:
        """1 where fine levels alone keep the class, 0 where all others alone do, else NaN.

        None where no restricted search was made.
        """
        fine, coarse = self._success(FINE), self._success(COARSE)
        known = ~np.isnan(fine) & ~np.isnan(coarse)
        if not known.any():
            return None
        kept = (torch.from_numpy(values == 1) for values in (fine, coarse))
        return np.where(known, fine_preference(*kept).numpy(), np.nan)

    def _preferences(self) -> Measures:
        if self.preference is None:
            return {}
        success = {name: self._success(name) for name in (FINE, COARSE)}
        decided = np.where(np.isnan(success[FINE]), np.nan, ~np.isnan(self.preference))
        return {
            Variable.of("texture/t_min"): self.preference,
            Variable.of("texture/t_min_coverage"): decided,
        } | {
            Variable.of("minimal/success", restriction=name): values
            for name, values in success.items()
        }

    def _success(self, restriction: str) -> FloatArray:
        return self._column(self._any_ranking(restriction), "kept")

    def _scales(self) -> Measures:
        found: Measures = {}
        rows = self.tables["minimal_levels"]
        for key, part in rows.groupby(["selection", "level"], sort=True):
            selection, level = cast("tuple[str, str]", key)
            for column, name in LEVEL_METRICS.items():
                values = self._column(part, column)
                if not np.isnan(values).all():
                    found[Variable.of(name, method=selection, level=level)] = values
        return found

    def _column(self, rows: pd.DataFrame, name: str) -> FloatArray:
        return self.tables.aligned(rows.set_index("sample_index")[name])


def minimal_sentences(config: AuditConfig, metrics: Sequence[Metric], element: str) -> list[str]:
    """How little keeps the class, and whether fine or coarse levels do it alone."""
    return [*_fractions(metrics), *_preference(config, metrics, element)]


def _fractions(metrics: Sequence[Metric]) -> list[str]:
    found = [
        (words, find_metric(metrics, "minimal/fraction", {"method": selection}))
        for selection, words in _RANKINGS.items()
    ]
    known = [(words, metric) for words, metric in found if metric is not None]
    if not known:
        return []
    parts = ", ".join(f"{_percent(metric)} chosen {words}" for words, metric in known)
    return [
        f"Of a sample's coefficients it takes, on average, {parts} to keep the explained class "
        f"(n = {known[0][1]['n']})."
    ]


def _preference(config: AuditConfig, metrics: Sequence[Metric], element: str) -> list[str]:
    index = find_metric(metrics, "texture/t_min")
    coverage = find_metric(metrics, "texture/t_min_coverage")
    if index is None or coverage is None:
        return []
    n_fine = fine_levels(config)
    place = f"in levels 1 to {n_fine}"
    if n_fine == config.analyses.reliance.fine_levels:
        place = fine_place(config, element)
    return [
        f"Where either what lies {place} or all the rest, but not both, keeps the class alone "
        f"({_percent(coverage)} of the samples), it is the fine part in {_percent(index)} "
        f"(T_min, n = {index['n']})."
    ]


def _percent(metric: Metric) -> str:
    bounds = ("estimate", "low", "high")
    scaled = {key: None if metric[key] is None else 100 * metric[key] for key in bounds}
    return f"{with_interval(scaled, 1)} %"
