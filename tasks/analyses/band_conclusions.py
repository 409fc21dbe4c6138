"""What follows from several means: cut-offs, texture index, spreads, correlations over levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.analyses.contract import Metrics
from tasks.analyses.level_game import CLEAN, NOTHING
from tasks.config import AuditConfig
from tasks.variables import MeansOfSamples, Variable
from wam_core.agreement import crossing, rank_correlation
from wam_core.intervals import FloatArray


def pass_metrics(config: AuditConfig, means: MeansOfSamples) -> Metrics:
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


def spreads(means: MeansOfSamples) -> Metrics:
    """How much Shapley values differ between samples."""

    def deviation(values: FloatArray) -> FloatArray:
        return np.sqrt(np.clip(values[:, 1] - values[:, 0] ** 2, 0, None))

    metrics: Metrics = []
    for variable in means.named("shapley/value"):
        both = [variable, variable.renamed("shapley/square")]
        spread = variable.renamed("shapley/standard_deviation")
        metrics.append((spread, means.derive(both, deviation)))
    return metrics


def scales_of_values(config: AuditConfig, means: MeansOfSamples) -> Metrics:
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


def correlations_of_means(means: MeansOfSamples) -> Metrics:
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
