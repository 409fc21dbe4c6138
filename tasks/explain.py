"""Explain one batch: predictions, coefficient maps and profiles, with the model in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import Tensor

from tasks.config import AuditConfig, SmoothGradConfig
from tasks.models import LoadedModel
from wam_core import attribution
from wam_core.baselines import baseline
from wam_core.basis import CoefficientLayout
from wam_core.coalition_gradients import CoalitionGradient, coalition_gradients
from wam_core.padding import UnpaddedScore, support_of
from wam_core.reliance import (
    BandProfile,
    band_profile,
    energy_profile,
    share_standard_error,
)
from wam_core.scores import ClassScore, ScoreFn, class_logits, class_probabilities
from wam_core.sums import Border
from wam_core.transform import WaveletCoefficients, decompose

_Result = TypeVar("_Result")

AGGREGATES = ("signed", "absolute", "squared")


@dataclass(frozen=True)
class Prediction:
    """The clean pass of a batch; every tensor on the CPU, one row per sample."""

    logits: Tensor
    probabilities: Tensor

    @property
    def predicted(self) -> Tensor:
        """Class with the largest logit."""
        return self.logits.argmax(dim=1)

    @property
    def finite(self) -> Tensor:
        """Whether every logit of a sample is finite."""
        return self.logits.isfinite().all(dim=1)


@dataclass(frozen=True)
class MethodProfile:
    """What one method says about a batch.

    Attributes:
        bands: Importance of every band.
        standard_error: Monte-Carlo error of the level shares, shape (batch, level), if known.
        columns: Further numbers per sample, by column of the table of attributions.
        n_passes: Passes forward and backward of each sample.
        judges_sample: Whether a profile that does not exist tells against the sample; the energy,
            which may come out negative from few draws, does not.
    """

    bands: BandProfile
    n_passes: Tensor
    standard_error: Tensor | None = None
    columns: dict[str, Tensor] = field(default_factory=dict)
    judges_sample: bool = True


@dataclass(frozen=True)
class Explanation:
    """All methods over one batch.

    Attributes:
        profiles: By method as tables name it; the three aggregates of smoothing are three methods.
        maps: By method as arrays name it, shape (batch, channel, coefficient), on the CPU.
        n_forward: Rows passed forward only.
        n_backward: Rows passed forward and backward.
        draw_groups: Signed means of disjoint groups of draws, shape (group, batch, channel,
            coefficient), on the CPU; where the faithfulness of maps is measured, else None.
        rankings: Importance of coefficients by methods that do not rank by the size of their map.
    """

    profiles: dict[str, MethodProfile]
    maps: dict[str, WaveletCoefficients]
    n_forward: int
    n_backward: int
    draw_groups: WaveletCoefficients | None = None
    rankings: dict[str, Tensor] = field(default_factory=dict)

    def take(self, index: Tensor) -> Explanation:
        """The maps and rankings of some of the samples."""
        maps = {name: values.replace(values.flat[index]) for name, values in self.maps.items()}
        rankings = {name: rank[index] for name, rank in self.rankings.items()}
        groups = self.draw_groups
        taken = None if groups is None else groups.replace(groups.flat[:, index])
        return replace(self, maps=maps, draw_groups=taken, rankings=rankings)

    def ranking(self, method: str) -> Tensor:
        """How important each coefficient is by a method, shape (batch, coefficient).

        That is |attribution| summed over channels, unless the method has a ranking of its own.
        """
        if method in self.rankings:
            return self.rankings[method]
        return self.maps[method].flat.nan_to_num(0.0, 0.0, 0.0).abs().sum(1)


def predict(model: LoadedModel, signal: Tensor, max_batch: int | None = None) -> Prediction:
    """Pass a batch through the model once, without gradients, in parts of `max_batch` rows."""
    with torch.no_grad():
        parts = [model.module(rows).float() for rows in signal.split(max_batch or len(signal))]
    output = torch.cat(parts)
    return Prediction(
        logits=class_logits(output, model.head).cpu(),
        probabilities=class_probabilities(output, model.head).cpu(),
    )


def explain(
    config: AuditConfig,
    model: LoadedModel,
    layout: CoefficientLayout,
    signal: Tensor,
    targets: Tensor,
    sample_ids: Sequence[str],
    max_batch: int,
    n_valid: Tensor | None = None,
) -> Explanation:
    """Attribute the targets' scores to the coefficients, by every enabled method.

    Args:
        signal: Shape (batch, channel, *space), in data space, on the model's device.
        targets: Class explained, shape (batch,).
        max_batch: Most rows in one pass.
        n_valid: Length of each series before its padding, which is no part of what is explained.
    """
    settings = config.attribution
    score = target_score(config, model, signal, targets, n_valid)
    coefficients = decompose(signal, layout.basis)
    border = config.analyses.reliance.border
    profiles: dict[str, MethodProfile] = {}
    maps: dict[str, WaveletCoefficients] = {}
    groups: WaveletCoefficients | None = None
    n_forward = n_backward = 0
    if settings.gradient.enabled:
        maps["gradient"] = attribution.gradient(score, signal, layout.basis, max_batch=max_batch)
        bands = band_profile(maps["gradient"], coefficients, border)
        profiles["gradient"] = MethodProfile(bands, torch.ones(len(signal), dtype=torch.long))
        n_backward += len(signal)
    if settings.smoothgrad.enabled:
        smoothed = _smoothgrad(config, score, signal, layout, sample_ids, max_batch)
        maps["smoothgrad"] = getattr(smoothed, settings.smoothgrad.aggregate)
        profiles |= _smoothgrad_profiles(smoothed, coefficients)
        n_backward += int(smoothed.n_draws.sum())
        if config.analyses.faithfulness.enabled:
            groups = smoothed.group_means.replace(smoothed.group_means.flat.cpu())
    if settings.integrated_gradients.enabled:
        path = settings.integrated_gradients
        integrated = attribution.integrated_gradients(
            score,
            signal,
            layout.basis,
            baseline=baseline(path.baseline, signal, model.preprocessing.data_mean()),
            n_steps=path.n_steps,
            rule=path.rule,
            max_batch=max_batch,
        )
        maps["integrated_gradients"] = integrated.attribution
        profiles["integrated_gradients"] = _integrated_profile(integrated, coefficients, border)
        n_backward += len(signal) * integrated.n_passes
        n_forward += 2 * len(signal)
    rankings: dict[str, Tensor] = {}
    if settings.coalition_gradients.enabled:
        data_mean = model.preprocessing.data_mean()
        found = coalitions_of(config, score, signal, layout, sample_ids, data_mean, max_batch)
        maps["coalition_gradients"] = found.attribution
        profiles["coalition_gradients"] = MethodProfile(
            band_profile(found.attribution, coefficients, border),
            torch.full((len(signal),), found.n_passes),
        )
        rankings["coalition_gradients"] = rank_coalitions(config, found).cpu()
        n_backward += len(signal) * found.n_passes
    on_cpu = {method: values.replace(values.flat.cpu()) for method, values in maps.items()}
    return Explanation(profiles, on_cpu, n_forward, n_backward, groups, rankings)


def coalitions_of(
    config: AuditConfig,
    score: ScoreFn,
    signal: Tensor,
    layout: CoefficientLayout,
    sample_ids: Sequence[str],
    data_mean: Sequence[float],
    max_batch: int,
) -> CoalitionGradient:
    """WAM_CG as the configuration has it."""
    settings = config.attribution.coalition_gradients
    return coalition_gradients(
        score,
        signal,
        layout.basis,
        baseline=baseline(settings.baseline, signal, data_mean),
        sample_ids=sample_ids,
        seed=config.attribution.seed,
        n_samples=settings.n_samples,
        lowest_presence=settings.lowest_presence,
        keep_approximation=settings.keep_approximation,
        max_batch=max_batch,
    )


def rank_coalitions(config: AuditConfig, found: CoalitionGradient) -> Tensor:
    """The order in which WAM_CG says that coefficients matter, shape (batch, coefficient)."""
    settings = config.attribution.coalition_gradients
    ranking = found.importance(settings.benefit_of_doubt, settings.approximation_first)
    return ranking.nan_to_num(0.0, 0.0, 0.0)


def target_score(
    config: AuditConfig,
    model: LoadedModel,
    signal: Tensor,
    targets: Tensor,
    n_valid: Tensor | None = None,
) -> ScoreFn:
    """The score that an audit explains, as a function of what precedes the padding.

    Args:
        signal: Shape (batch, channel, *space); only its device and length matter.
        targets: Class explained, shape (batch,).
        n_valid: Length of each series before its padding.
    """
    score: ScoreFn = ClassScore(
        model.module,
        targets.to(signal.device),
        kind=config.attribution.score,
        head=model.head,
    )
    if n_valid is None:
        return score
    return UnpaddedScore(score, support_of(n_valid.to(signal.device), signal.shape[-1]))


def halve_on_out_of_memory(
    compute: Callable[[int], _Result], max_batch: int
) -> tuple[_Result, int]:
    """Compute with at most `max_batch` rows a pass, halving it while memory runs out.

    Returns:
        The result, which does not depend on the batch, and the batch that worked.
    """
    while True:
        try:
            return compute(max_batch), max_batch
        except torch.OutOfMemoryError:
            if max_batch == 1:
                raise
            torch.cuda.empty_cache()
            max_batch = max(1, max_batch // 2)


def _smoothgrad(
    config: AuditConfig,
    score: ScoreFn,
    signal: Tensor,
    layout: CoefficientLayout,
    sample_ids: Sequence[str],
    max_batch: int,
) -> attribution.SmoothedGradient:
    smoothing: SmoothGradConfig = config.attribution.smoothgrad
    return attribution.smoothgrad(
        score,
        signal,
        layout.basis,
        sample_ids=sample_ids,
        seed=config.attribution.seed,
        n_samples=smoothing.n_samples,
        noise_fraction=smoothing.noise_fraction,
        antithetic=smoothing.antithetic,
        first_draw_clean=smoothing.first_draw_clean,
        tolerance=smoothing.tolerance,
        min_samples=smoothing.min_samples,
        border=config.analyses.reliance.border,
        max_batch=max_batch,
    )


def _smoothgrad_profiles(
    smoothed: attribution.SmoothedGradient, coefficients: WaveletCoefficients
) -> dict[str, MethodProfile]:
    bands = {
        aggregate: band_profile(getattr(smoothed, aggregate), coefficients, smoothed.border)
        for aggregate in AGGREGATES
    }
    energy = energy_profile(smoothed, coefficients)
    if energy is not None:
        bands["energy"] = energy
    return {
        f"smoothgrad_{name}": MethodProfile(
            profile,
            n_passes=smoothed.n_draws,
            standard_error=share_standard_error(smoothed, name),
            judges_sample=name != "energy",
        )
        for name, profile in bands.items()
    }


def _integrated_profile(
    integrated: attribution.IntegratedGradient, coefficients: WaveletCoefficients, border: Border
) -> MethodProfile:
    return MethodProfile(
        band_profile(integrated.attribution, coefficients, border),
        n_passes=torch.full((len(integrated.score_input),), integrated.n_passes),
        columns={
            "score_input": integrated.score_input.double().cpu(),
            "score_baseline": integrated.score_baseline.double().cpu(),
            "completeness_gap": integrated.completeness_gap.double().cpu(),
        },
    )
