"""What a model does without a level, with it alone, and with every combination of levels.

An attribution claims which levels a model relies on; taking levels away shows it. Removed levels
are replaced by those of the sample's own mean (or of zero), so that brightness alone is never the
cue. All that is asked for is computed from one set of coalitions, each passed through the model
once: with Shapley values switched on, ablation and pass curves cost nothing more.
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

from tasks.analyses.band_sentences import band_sentences
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
from tasks.analyses_config import BandRemovalConfig
from tasks.config import AuditConfig
from tasks.datasets import Manifest
from tasks.errors import ConfigError
from tasks.explain import predict
from tasks.texture import Votes
from tasks.variables import MeansOfSamples, Variable
from wam_core.agreement import crossing, rank_correlation
from wam_core.basis import Band, CoefficientLayout
from wam_core.coalitions import (
    MOST_PLAYERS,
    components,
    finest,
    full,
    only,
    pairs,
    sample_mean,
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
MEASURES = ("shapley", "ablation", "only")


class BandRemoval(Analysis):
    """Ablation, pass curves and the game of levels."""

    section = "band_removal"
    tables = ("coalitions", "orientations")
    units: ClassVar = {
        "ablation/accuracy": ("fraction", "higher"),
        "ablation/agreement": ("fraction", "higher"),
        "ablation/probability": ("fraction", "higher"),
        "ablation/probability_drop": ("fraction", "none"),
        "pass/accuracy": ("fraction", "higher"),
        "pass/half_accuracy_cutoff": ("octaves", "none"),
        "texture/t_pass": ("fraction", "none"),
        "shapley/value": ("fraction", "none"),
        "shapley/standard_deviation": ("fraction", "none"),
        "shapley/fine_share": ("fraction", "none"),
        "shapley/scale_centroid": ("octaves", "none"),
        "shapley/negative_share": ("fraction", "lower"),
        "shapley/harmful_share": ("fraction", "lower"),
        "shapley/interaction": ("fraction", "none"),
        "shapley/efficiency_gap": ("fraction", "lower"),
        "causality/spearman": ("correlation", "higher"),
        "causality/spearman_of_means": ("correlation", "higher"),
    }
    proportions = frozenset(
        {
            "ablation/accuracy",
            "ablation/agreement",
            "pass/accuracy",
            "shapley/negative_share",
            "shapley/harmful_share",
        }
    )
    settings: BandRemovalConfig

    def check(self, manifest: Manifest) -> None:
        """All coalitions of many levels are too many."""
        n_players = self.config.basis.levels + 1
        if self.settings.shapley and n_players > MOST_PLAYERS:
            raise ConfigError(
                f"analyses.band_removal.shapley counts all 2^{n_players} coalitions of "
                f"{n_players - 1} levels and the approximation; at most {MOST_PLAYERS - 1} levels "
                "are accepted. Lower basis.levels, or set analyses.band_removal.shapley to false."
            )

    def passes(self, layout: CoefficientLayout) -> Passes:
        """One pass per coalition, but for the whole sample, whose pass is made already."""
        n_coalitions = len(wanted_coalitions(self.config)) - 1
        return Passes(forward=n_coalitions + 2 * len(self._oriented(layout)))

    def open(self, parts: AuditParts) -> RemovedBands:
        """The analysis with the model in memory."""
        return RemovedBands(
            parts, wanted_coalitions(self.config), tuple(self._oriented(parts.layout))
        )

    def measure(self, tables: ShardTables) -> Measures:
        """Accuracy of every coalition with a name, Shapley values, and agreement with shares."""
        game = _Game.of(self.config, tables)
        return game.measures() | _orientation_measures(tables)

    def conclude(self, means: MeansOfSamples) -> Metrics:
        """Cut-offs, the texture index, spread of Shapley values, and correlation over levels."""
        metrics: Metrics = []
        if self.settings.pass_curves and means.chance is not None:
            metrics += _pass_metrics(self.config, means)
        if self.settings.shapley:
            metrics += _spreads(means)
            metrics += _scales_of_values(self.config, means)
        return metrics + _correlations_of_means(means)

    def votes(self, tables: ShardTables) -> Votes:
        """Right answers of fine levels against coarse ones; what fine levels are worth."""
        return _Game.of(self.config, tables).votes()

    def sentences(self, metrics: Sequence[Mapping[str, Any]], element: str) -> list[str]:
        """Whether the attributed profile is what the model uses, and what it uses."""
        return band_sentences(self.config, metrics, element)

    def _oriented(self, layout: CoefficientLayout) -> list[Band]:
        """Bands that are examined on their own: none in 1D, where a level is one band."""
        if not self.settings.orientations or layout.ndim == 1:
            return []
        return [band for band in layout.bands if not band.is_approximation]


def wanted_coalitions(config: AuditConfig) -> list[int]:
    """Coalitions that are evaluated; the last is the whole sample."""
    settings = config.analyses.band_removal
    n_players = config.basis.levels + 1
    if settings.shapley:
        return list(range(1 << n_players))
    wanted = {0, full(n_players)}
    if settings.ablation:
        wanted |= {only(player) for player in range(n_players)}
        wanted |= {without(player, n_players) for player in range(n_players)}
    if settings.pass_curves:
        for n_levels in range(1, n_players):
            wanted |= {finest(n_levels), full(n_players) & ~finest(n_levels)}
    return sorted(wanted)


@dataclass(frozen=True)
class RemovedBands:
    """The analysis with the model in memory.

    Attributes:
        coalitions: Those that are evaluated.
        oriented: Bands that are removed and kept on their own.
    """

    parts: AuditParts
    coalitions: list[int]
    oriented: tuple[Band, ...]

    def run(self, batch: Batch, max_batch: int) -> Findings:
        """Predict every coalition of every sample."""
        findings = Findings()
        baseline = self._baseline(batch)
        deviation = batch.signal - baseline
        layout = self.parts.layout
        levels = [layout.bands_of(name) for name in layout.level_names]
        parts = components(deviation, layout.basis, levels)
        everything = full(len(levels))
        for place in range(len(batch)):
            verdict = batch.verdicts(batch.prediction, place)
            findings.add("coalitions", place, {"coalition": everything} | verdict)
        for coalition in self.coalitions:
            if coalition != everything:
                members = [player for player in range(len(levels)) if coalition >> player & 1]
                signal = baseline + parts[:, members].sum(1)
                for place, verdict in self._verdicts(batch, signal, max_batch, findings):
                    findings.add("coalitions", place, {"coalition": coalition} | verdict)
        for band in self.oriented:
            (part,) = components(deviation, layout.basis, [[band]]).unbind(1)
            for kind, signal in (("without", batch.signal - part), ("only", baseline + part)):
                address = {"level": band.level_name, "filters": band.filters, "kind": kind}
                for place, verdict in self._verdicts(batch, signal, max_batch, findings):
                    findings.add("orientations", place, address | verdict)
        return findings

    def _verdicts(
        self, batch: Batch, signal: Tensor, max_batch: int, findings: Findings
    ) -> Iterator[tuple[int, dict[str, object]]]:
        if batch.support is not None:
            signal = signal * batch.support
        prediction = predict(self.parts.model, signal, max_batch)
        findings.n_forward += len(signal)
        for place in range(len(batch)):
            yield place, batch.verdicts(prediction, place)

    def _baseline(self, batch: Batch) -> Tensor:
        if self.parts.config.analyses.band_removal.baseline == "zero":
            return torch.zeros_like(batch.signal)
        return sample_mean(batch.signal, batch.support)


@dataclass(frozen=True)
class _Game:
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
    def of(cls, config: AuditConfig, tables: ShardTables) -> _Game:
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
        return len(self.level_names)

    def measures(self) -> Measures:
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
    def _values(self) -> FloatArray:
        return shapley_values(self.probability, self.n_players)

    @cached_property
    def _shapley(self) -> Measures:
        settings: BandRemovalConfig = self.config.analyses.band_removal
        values = self._values
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
        settings: BandRemovalConfig = self.config.analyses.band_removal
        votes: Votes = {}
        if settings.pass_curves or settings.shapley:
            high = [finest(level) for level in range(1, self.n_players)]
            low = [full(self.n_players) & ~coalition for coalition in high]
            fine, coarse = self.correct[:, high].mean(1), self.correct[:, low].mean(1)
            votes["t_pass"] = (fine, fine + coarse)
        if settings.shapley:
            positive = np.clip(self._values, 0, None)
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
            causes["shapley"] = self._values
        if settings.shapley or settings.ablation:
            causes["ablation"] = np.stack([self._drop(player) for player in players], axis=1)
            causes["only"] = np.stack([self._gain(player) for player in players], axis=1)
        return causes


def _orientation_measures(tables: ShardTables) -> Measures:
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


def _pass_metrics(config: AuditConfig, means: MeansOfSamples) -> Metrics:
    """Half-accuracy cut-offs in octaves, and the texture index of the two curves.

    The cut-off of low-pass filtering is the number of finest octaves without which accuracy is
    halfway between clean and chance; that of high-pass filtering the number that suffice for it.
    The approximation counts as one octave more.
    """
    levels = range(1, config.basis.levels + 1)
    curves = {
        kind: [Variable.of("pass/accuracy", kind=kind, level=level) for level in levels]
        for kind in ("low_pass", "high_pass")
    }
    ends = [Variable.of("ablation/accuracy", kind=kind) for kind in (CLEAN, NOTHING)]
    variables = [*ends, *curves["low_pass"], *curves["high_pass"]]
    if any(variable not in means for variable in variables) or means.chance is None:
        return []
    chance, n_levels = means.chance, config.basis.levels

    def low_cutoff(values: FloatArray) -> FloatArray:
        clean, nothing, low = values[:, :1], values[:, 1:2], values[:, 2 : 2 + n_levels]
        return crossing(np.hstack([clean, low, nothing]), (values[:, 0] + chance) / 2)

    def high_cutoff(values: FloatArray) -> FloatArray:
        clean, nothing, high = values[:, :1], values[:, 1:2], values[:, 2 + n_levels :]
        return crossing(np.hstack([nothing, high, clean]), (values[:, 0] + chance) / 2)

    def t_pass(values: FloatArray) -> FloatArray:
        with np.errstate(invalid="ignore", divide="ignore"):
            above = (values[:, 2:] - chance) / (values[:, :1] - chance)
            low = np.clip(above[:, :n_levels].mean(1), 0, None)
            high = np.clip(above[:, n_levels:].mean(1), 0, None)
            index = high / (high + low)
        # A model no better than chance on whole samples has no texture index.
        return np.where(values[:, 0] > chance, index, np.nan)

    cutoff = "pass/half_accuracy_cutoff"
    return [
        (Variable.of(cutoff, kind="low_pass"), means.derive(variables, low_cutoff)),
        (Variable.of(cutoff, kind="high_pass"), means.derive(variables, high_cutoff)),
        (Variable.of("texture/t_pass"), means.derive(variables, t_pass)),
    ]


def _spreads(means: MeansOfSamples) -> Metrics:
    """How much Shapley values differ between samples."""

    def deviation(values: FloatArray) -> FloatArray:
        return np.sqrt(np.clip(values[:, 1] - values[:, 0] ** 2, 0, None))

    metrics: Metrics = []
    for variable in means.named("shapley/value"):
        both = [variable, variable.renamed("shapley/square")]
        spread = variable.renamed("shapley/standard_deviation")
        metrics.append((spread, means.derive(both, deviation)))
    return metrics


def _scales_of_values(config: AuditConfig, means: MeansOfSamples) -> Metrics:
    """Fine share and scale centroid of the mean Shapley values, as of a profile.

    Levels whose mean value is negative count as zero.
    """
    levels = [*range(1, config.basis.levels + 1), "approximation"]
    variables = [Variable.of("shapley/value", level=level) for level in levels]
    if any(variable not in means for variable in variables):
        return []
    octaves, fine_levels = np.arange(1, len(levels) + 1), config.analyses.reliance.fine_levels

    def shares(values: FloatArray) -> FloatArray:
        positive = np.clip(values, 0, None)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(positive / positive.sum(1, keepdims=True))

    def centroid(values: FloatArray) -> FloatArray:
        return np.asarray((shares(values) * octaves).sum(1))

    def fine_share(values: FloatArray) -> FloatArray:
        return np.asarray(shares(values)[:, :fine_levels].sum(1))

    return [
        (Variable.of("shapley/scale_centroid"), means.derive(variables, centroid)),
        (Variable.of("shapley/fine_share"), means.derive(variables, fine_share)),
    ]


def _correlations_of_means(means: MeansOfSamples) -> Metrics:
    """Rank correlation over levels between the mean profile and the mean causal measure."""
    causes = _by_level(means.named("causality/cause"))
    metrics: Metrics = []
    for profile in _by_level(means.named("causality/profile")):
        for cause in causes:
            if len(profile) != len(cause):
                continue
            address = profile[0].relabelled(level=None, measure=cause[0].get("measure"))
            interval = means.derive([*profile, *cause], _halves_correlated)
            metrics.append((address.renamed("causality/spearman_of_means"), interval))
    return metrics


def _halves_correlated(values: FloatArray) -> FloatArray:
    half = values.shape[1] // 2
    return rank_correlation(values[:, :half], values[:, half:])


def _by_level(variables: Sequence[Variable]) -> list[list[Variable]]:
    """Variables that differ in their level alone, in groups, levels in one order."""
    groups: dict[Variable, list[Variable]] = {}
    for variable in variables:
        groups.setdefault(variable.relabelled(level=None), []).append(variable)
    return [sorted(group, key=lambda variable: variable.get("level")) for group in groups.values()]
