"""What the coalitions of a shard's samples say of each: the numbers behind the causal metrics."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import pandas as pd

from tasks.analyses.contract import Measures, ShardTables
from tasks.analyses_config import BandRemovalConfig
from tasks.config import AuditConfig
from tasks.texture import Votes
from tasks.variables import Variable
from wam_core.agreement import rank_correlation
from wam_core.coalitions import (
    finest,
    full,
    only,
    pairs,
    shapley_interactions,
    shapley_values,
    without,
)
from wam_core.intervals import FloatArray

CLEAN, NOTHING = "clean", "nothing"
"""Kinds of the two ends: the sample as it is, and its baseline."""

_ROUNDING = 1e-6
"""Shapley values of float32 probabilities differ from zero by less than this for no reason."""

NORMALISATIONS = ("share", "mean_share", "relative_share")


@dataclass(frozen=True)
class LevelGame:
    """The coalitions of the samples of one shard.

    Attributes:
        level_names: Finest first, the approximation last.
        probability: Of the explained class, shape (sample, coalition); NaN where not evaluated.
        correct: 1 where the label is predicted, else 0.
        kept: 1 where the clean prediction is repeated, else 0.
    """

    config: AuditConfig
    tables: ShardTables
    level_names: tuple[str, ...]
    probability: FloatArray
    correct: FloatArray
    kept: FloatArray

    @classmethod
    def of(cls, config: AuditConfig, tables: ShardTables) -> LevelGame:
        """The game of the samples of one shard, from its table of coalitions."""
        levels = config.basis.levels
        names = (*(str(level) for level in range(1, levels + 1)), "approximation")
        size = (len(tables.index), 1 << len(names))
        rows = tables["coalitions"]
        place = tables.index.get_indexer(pd.Index(rows["sample_index"]))
        coalition = rows["coalition"].to_numpy(dtype=np.int64)

        def table_of(column: str) -> FloatArray:
            values = np.full(size, np.nan)
            numbers = rows[column].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
            values[place, coalition] = numbers
            return values

        return cls(
            config, tables, names, table_of("probability_target"), table_of("correct"),
            table_of("kept"),
        )  # fmt: skip

    @property
    def n_players(self) -> int:
        """Levels and the approximation."""
        return len(self.level_names)

    def measures(self) -> Measures:
        """Accuracy of coalitions with a name, Shapley values, agreement of profiles with them."""
        settings: BandRemovalConfig = self.config.analyses.band_removal
        values = self._named(full(self.n_players), kind=CLEAN) | self._named(0, kind=NOTHING)
        if settings.ablation or settings.shapley:
            for player, level in enumerate(self.level_names):
                values |= self._named(without(player, self.n_players), level=level, kind="without")
                values |= self._named(only(player), level=level, kind="only")
                drop = Variable.of("ablation/probability_drop", level=level)
                values[drop] = self._drop(player)
        if settings.pass_curves or settings.shapley:
            values |= self._pass_curves()
        if settings.shapley:
            values |= self._shapley
        return values | self._agreement()

    def _named(self, coalition: int, **labels: str) -> Measures:
        return {
            Variable.of("ablation/accuracy", **labels): self.correct[:, coalition],
            Variable.of("ablation/agreement", **labels): self.kept[:, coalition],
            Variable.of("ablation/probability", **labels): self.probability[:, coalition],
        }

    def _drop(self, player: int) -> FloatArray:
        whole = self.probability[:, full(self.n_players)]
        return np.asarray(whole - self.probability[:, without(player, self.n_players)])

    def _gain(self, player: int) -> FloatArray:
        return np.asarray(self.probability[:, only(player)] - self.probability[:, 0])

    def _pass_curves(self) -> Measures:
        everything = full(self.n_players)
        curves = {}
        for level in range(1, self.n_players):
            kept = finest(level)
            high = Variable.of("pass/accuracy", kind="high_pass", level=level)
            curves[high] = self.correct[:, kept]
            curves[high.relabelled(kind="low_pass")] = self.correct[:, everything & ~kept]
        return curves

    @cached_property
    def values(self) -> FloatArray:
        """Shapley values, shape (sample, player); NaN where not all coalitions were evaluated."""
        return shapley_values(self.probability, self.n_players)

    @cached_property
    def _shapley(self) -> Measures:
        settings: BandRemovalConfig = self.config.analyses.band_removal
        values = self.values
        known = np.isfinite(values).all(1)
        difference = self.probability[:, full(self.n_players)] - self.probability[:, 0]
        harmful = (values < settings.harmful_below).any(1)
        found: Measures = {
            Variable.of("shapley/harmful_share"): np.where(known, harmful, np.nan),
            Variable.of("shapley/efficiency_gap"): np.abs(values.sum(1) - difference),
        }
        for player, level in enumerate(self.level_names):
            value = Variable.of("shapley/value", level=level)
            found[value] = values[:, player]
            found[value.renamed("shapley/square")] = values[:, player] ** 2
            negative = values[:, player] < -_ROUNDING
            found[value.renamed("shapley/negative_share")] = np.where(known, negative, np.nan)
        interactions = shapley_interactions(self.probability, self.n_players)
        for column, (first, second) in enumerate(pairs(self.n_players)):
            labels = {"level": self.level_names[first], "other_level": self.level_names[second]}
            found[Variable.of("shapley/interaction", **labels)] = interactions[:, column]
        return found

    def votes(self) -> Votes:
        """What speaks for fine levels, for the comparison of texture indices."""
        settings: BandRemovalConfig = self.config.analyses.band_removal
        votes: Votes = {}
        if settings.pass_curves or settings.shapley:
            high = [finest(level) for level in range(1, self.n_players)]
            low = [full(self.n_players) & ~coalition for coalition in high]
            fine, coarse = self.correct[:, high].mean(1), self.correct[:, low].mean(1)
            votes["t_pass"] = (fine, fine + coarse)
        if settings.shapley:
            positive = np.clip(self.values, 0, None)
            fine_levels = self.config.analyses.reliance.fine_levels
            votes["shapley/fine_share"] = (positive[:, :fine_levels].sum(1), positive.sum(1))
        return votes

    def _agreement(self) -> Measures:
        """Rank correlation of each method's profile with what removing levels does, per sample."""
        causes = self._causes()
        found: Measures = {}
        for method, rows in self.tables["levels"].groupby("method", sort=True):
            for normalisation in NORMALISATIONS:
                wide = rows.pivot(index="sample_index", columns="level", values=normalisation)
                columns = [self.tables.aligned(wide[name]) for name in self.level_names]
                profile = np.stack(columns, axis=1)
                labels = {"method": method, "normalisation": normalisation}
                for cause, values in causes.items():
                    variable = Variable.of("causality/spearman", measure=cause, **labels)
                    found[variable] = rank_correlation(profile, values)
                for level, column in zip(self.level_names, columns, strict=True):
                    # Of the samples that were examined alone, for the correlation of means.
                    examined = np.isfinite(self.probability[:, 0])
                    mean = Variable.of("causality/profile", level=level, **labels)
                    found[mean] = np.where(examined, column, np.nan)
        for cause, values in causes.items():
            for player, level in enumerate(self.level_names):
                mean = Variable.of("causality/cause", measure=cause, level=level)
                found[mean] = values[:, player]
        return found

    def _causes(self) -> dict[str, FloatArray]:
        settings: BandRemovalConfig = self.config.analyses.band_removal
        players = range(self.n_players)
        causes = {}
        if settings.shapley:
            causes["shapley"] = self.values
        if settings.shapley or settings.ablation:
            causes["ablation"] = np.stack([self._drop(player) for player in players], axis=1)
            causes["only"] = np.stack([self._gain(player) for player in players], axis=1)
        return causes


def orientation_measures(tables: ShardTables) -> Measures:
    """Accuracy and agreement without each band, and with it alone."""
    found: Measures = {}
    groups = tables["orientations"].groupby(["level", "filters", "kind"], sort=True)
    for key, rows in groups:
        level, filters, kind = cast("tuple[str, str, str]", key)
        by_sample = rows.set_index("sample_index")
        for column, name in (("correct", "accuracy"), ("kept", "agreement")):
            labels = {"level": level, "filters": filters, "kind": kind}
            variable = Variable.of(f"ablation/{name}", **labels)
            found[variable] = tables.aligned(by_sample[column])
    return found
