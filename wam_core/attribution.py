"""Attribution in the wavelet domain: gradient, WAM_SG and WAM_IG, for 1D, 2D and 3D alike.

Kasmi, Brunetto, Fel, Parekh: "One Wave To Explain Them All", ICML 2025; equations 5 to 7 there.

Every method needs gradients of a score with respect to wavelet coefficients. The signal is linear
in its coefficients, so that gradient is a linear function of the input gradient
(`transform.coefficient_gradient`): input gradients are accumulated and transformed once, at the
cost of the model's own passes. Gradients keep their sign and their channel; scores are summed over
the batch, so a sample's map does not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from wam_core.basis import CoefficientLayout, WaveletBasis
from wam_core.draws import DrawSchedule, draw_share_error
from wam_core.input_gradients import (
    input_gradient,
    per_version,
    positions,
    sample_chunks,
    score_without_gradient,
    sum_dtype,
    versions_per_pass,
)
from wam_core.scores import ScoreFn
from wam_core.sums import Border, band_sums
from wam_core.transform import WaveletCoefficients, coefficient_gradient, decompose, reconstruct

QuadratureRule = Literal["midpoint", "gauss_legendre"]

MIN_DRAWS = 10
"""Draws before the first look at the Monte-Carlo error, which fewer know too poorly."""


def gradient(
    score_fn: ScoreFn,
    signal: Float[Tensor, "batch channel *space"],
    basis: WaveletBasis,
    *,
    max_batch: int | None = None,
) -> WaveletCoefficients:
    """Gradient of the score with respect to the coefficients of `signal` (equation 5, signed).

    Args:
        score_fn: One score per row.
        max_batch: Most rows in one pass through the model; None for all at once.

    Raises:
        ValueError: If the levels do not fit, or the score does not depend on the signal.
    """
    layout = CoefficientLayout(tuple(signal.shape[2:]), basis)
    parts = [
        input_gradient(score_fn, signal[rows], positions(rows, signal))
        for rows in sample_chunks(signal, max_batch)
    ]
    return coefficient_gradient(torch.cat(parts), layout)


def gradient_through_coefficients(
    score_fn: ScoreFn, signal: Float[Tensor, "batch channel *space"], basis: WaveletBasis
) -> WaveletCoefficients:
    """As `gradient`, by automatic differentiation through the inverse transform and the model.

    The definition taken literally: decompose, reconstruct from the coefficients, score, derive.
    It costs one inverse transform and its backward pass more per draw, and is what the fast path is
    tested against.
    """
    coefficients = decompose(signal, basis)
    with torch.enable_grad():
        flat = coefficients.flat.detach().requires_grad_()
        rows = torch.arange(len(signal), device=signal.device)
        scores = score_fn(reconstruct(coefficients.replace(flat)), rows)
        (flat_gradient,) = torch.autograd.grad(scores.sum(), flat)
    return coefficients.replace(flat_gradient)


@dataclass(frozen=True)
class SmoothedGradient:
    """The aggregates of WAM_SG over the draws of each sample.

    Attributes:
        signed: Mean of the gradients (equation 6).
        absolute: Mean of their absolute values.
        squared: Mean of their squares.
        group_means: Signed mean of each group of draws, shape (group, batch, channel, coefficient);
            groups are disjoint, and antithetic pairs stay together.
        absolute_draws: Sum of |gradient| over channels and coefficients of each band in each draw,
            shape (draw, batch, band), float64; zero after a sample's last draw.
        squared_draws: As `absolute_draws`, of the squares.
        first_draw_clean: Whether the first draw had no noise.
        pairs: Whether consecutive draws, after a clean first one, are antithetic pairs.
        n_draws: Number of draws of each sample, each one pass forward and backward; on the CPU.
        border: Which coefficients the sums per band are over.
    """

    signed: WaveletCoefficients
    absolute: WaveletCoefficients
    squared: WaveletCoefficients
    group_means: WaveletCoefficients
    absolute_draws: Float[Tensor, "draw batch band"]
    squared_draws: Float[Tensor, "draw batch band"]
    first_draw_clean: bool
    pairs: bool
    n_draws: Int[Tensor, " batch"]
    border: Border = "include"


def smoothgrad(
    score_fn: ScoreFn,
    signal: Float[Tensor, "batch channel *space"],
    basis: WaveletBasis,
    *,
    sample_ids: Sequence[str],
    seed: int,
    n_samples: int,
    noise_fraction: float,
    antithetic: bool = False,
    first_draw_clean: bool = False,
    tolerance: float | None = None,
    min_samples: int = MIN_DRAWS,
    border: Border = "include",
    max_batch: int | None = None,
) -> SmoothedGradient:
    """WAM_SG: coefficient gradients averaged over noisy copies of the signal (equation 6).

    Args:
        score_fn: One score per row.
        sample_ids: Key of each sample's noise, with `seed` and the number of the draw.
        n_samples: Number of draws; with a tolerance, the most of one sample.
        noise_fraction: Noise standard deviation over each sample's own range (max - min), in
            [0, 1].
        antithetic: Draws come in pairs of opposite noise.
        first_draw_clean: The first draw has no noise; `n_samples=1` then is `gradient`.
        tolerance: A sample is drawn until the Monte-Carlo standard error of the absolute share of
            every level is at most this. It is asked after `min_samples` draws, and again after
            every further block of `DrawSchedule.blocks`, of each sample by itself.
        border: Which coefficients the sums per band, and so the errors, are over.
        max_batch: Most rows in one pass; several draws share a pass when the batch is smaller.

    Raises:
        ValueError: If ids and signals differ in number, or an argument is out of range.
    """
    _check_draws(signal, sample_ids, n_samples, noise_fraction)
    _check_tolerance(tolerance, min_samples)
    layout = CoefficientLayout(tuple(signal.shape[2:]), basis)
    deviation = noise_fraction * _range_per_sample(signal)
    schedule = DrawSchedule(n_samples, antithetic=antithetic, first_clean=first_draw_clean)
    accumulator = _DrawAccumulator(signal, layout, schedule, border)
    for chunk in sample_chunks(signal, max_batch):
        rows = torch.arange(chunk.start, chunk.stop)
        for block in schedule.blocks(n_samples if tolerance is None else min_samples):
            for draws in versions_per_pass(block, len(rows), max_batch):
                ids, copies = [sample_ids[row] for row in rows.tolist()], signal[rows]
                noise = torch.stack([schedule.noise(draw, ids, seed, copies) for draw in draws])
                noisy = noise.mul_(deviation[rows]).add_(copies).flatten(0, 1)
                sample = rows.to(signal.device).repeat(len(draws))
                gradients = input_gradient(score_fn, noisy, sample).unflatten(0, noise.shape[:2])
                accumulator.add(rows, draws, gradients)
            if tolerance is not None:
                rows = rows[~accumulator.settled(rows, tolerance)]
            if not len(rows):
                break
    return accumulator.result()


@dataclass(frozen=True)
class IntegratedGradient:
    """WAM_IG and how completely it accounts for the score.

    Attributes:
        attribution: Coefficients minus baseline, times the path-averaged gradient.
        path_gradient: The path-averaged gradient alone.
        score_input: Score at the input, shape (batch,).
        score_baseline: Score at the baseline, shape (batch,).
        completeness_gap: |sum of attributions - difference of scores| over |difference of scores|,
            float64 on the CPU; NaN where the scores do not differ.
        n_passes: Passes forward and backward per sample.
    """

    attribution: WaveletCoefficients
    path_gradient: WaveletCoefficients
    score_input: Float[Tensor, " batch"]
    score_baseline: Float[Tensor, " batch"]
    completeness_gap: Float[Tensor, " batch"]
    n_passes: int


def integrated_gradients(
    score_fn: ScoreFn,
    signal: Float[Tensor, "batch channel *space"],
    basis: WaveletBasis,
    *,
    baseline: Float[Tensor, "batch channel *space"],
    n_steps: int,
    rule: QuadratureRule = "midpoint",
    max_batch: int | None = None,
) -> IntegratedGradient:
    """WAM_IG: the path integral of gradients from a baseline, in the wavelet domain (equation 7).

    The straight path between coefficients is the straight path between signals.

    Args:
        score_fn: One score per row.
        baseline: Start of the path, in the space of the signal.
        n_steps: Points on the path.
        rule: `midpoint`, or `gauss_legendre`, exact for polynomials of degree 2 n_steps - 1.
        max_batch: Most rows in one pass; several points share a pass when the batch is smaller.

    Raises:
        ValueError: If the baseline has another shape than the signal, or `n_steps` is below 1.
    """
    if baseline.shape != signal.shape:
        raise ValueError(
            f"the baseline must have the signal's shape {tuple(signal.shape)}; got "
            f"{tuple(baseline.shape)}"
        )
    nodes, weights = quadrature(rule, n_steps)
    layout = CoefficientLayout(tuple(signal.shape[2:]), basis)
    difference = signal - baseline
    mean_gradient = torch.zeros_like(signal, dtype=sum_dtype(signal))
    scores = []
    for rows in sample_chunks(signal, max_batch):
        sample = positions(rows, signal)
        ends = (signal[rows], baseline[rows])
        scores.append(torch.stack([score_without_gradient(score_fn, end, sample) for end in ends]))
        for steps in versions_per_pass(range(n_steps), len(sample), max_batch):
            alpha = signal.new_tensor([nodes[step] for step in steps])
            weight = mean_gradient.new_tensor([weights[step] for step in steps])
            path = baseline[rows] + per_version(alpha, signal) * difference[rows]
            gradients = input_gradient(score_fn, path.flatten(0, 1), sample.repeat(len(steps)))
            gradients = gradients.unflatten(0, path.shape[:2])
            mean_gradient[rows] += (per_version(weight, signal) * gradients).sum(0)
    # The difference of the coefficients is the transform of the difference: one transform.
    path_gradient = coefficient_gradient(mean_gradient, layout)
    attribution = path_gradient.replace(path_gradient.flat * decompose(difference, basis).flat)
    score_input, score_baseline = torch.cat(scores, dim=1)
    return IntegratedGradient(
        attribution=attribution,
        path_gradient=path_gradient,
        score_input=score_input,
        score_baseline=score_baseline,
        completeness_gap=_completeness_gap(attribution, score_input - score_baseline),
        n_passes=n_steps,
    )


def quadrature(rule: QuadratureRule, n_steps: int) -> tuple[list[float], list[float]]:
    """Nodes in (0, 1) and weights that sum to 1.

    Raises:
        ValueError: If `n_steps` is below 1 or the rule unknown.

    Example:
        >>> quadrature("midpoint", 2)
        ([0.25, 0.75], [0.5, 0.5])
    """
    if n_steps < 1:
        raise ValueError(f"n_steps must be at least 1, got {n_steps}")
    if rule == "midpoint":
        return [(step + 0.5) / n_steps for step in range(n_steps)], [1.0 / n_steps] * n_steps
    if rule == "gauss_legendre":
        nodes, weights = np.polynomial.legendre.leggauss(n_steps)
        return ((nodes + 1) / 2).tolist(), (weights / 2).tolist()
    raise ValueError(f"rule must be midpoint or gauss_legendre, got '{rule}'")


class _DrawAccumulator:
    """Sums over draws, in memory that does not grow with their number."""

    def __init__(
        self, signal: Tensor, layout: CoefficientLayout, schedule: DrawSchedule, border: Border
    ) -> None:
        batch, channels = signal.shape[:2]
        self.layout, self.schedule, self.border = layout, schedule, border
        dtype = sum_dtype(signal)
        self.group_sums = signal.new_zeros((schedule.n_groups, *signal.shape), dtype=dtype)
        self.group_sizes = torch.zeros(schedule.n_groups, batch)
        coefficients = (batch, channels, layout.size)
        self.absolute = signal.new_zeros(coefficients, dtype=dtype)
        self.squared = signal.new_zeros(coefficients, dtype=dtype)
        band_draws = (schedule.n_draws, batch, len(layout.bands))
        self.absolute_draws = torch.zeros(band_draws, dtype=torch.float64)
        self.squared_draws = torch.zeros(band_draws, dtype=torch.float64)

    def add(self, rows: Tensor, draws: range, gradients: Tensor) -> None:
        """Take the input gradients of some draws, shape (draw, row, channel, *space)."""
        for draw, draw_gradient in zip(draws, gradients, strict=True):
            group = self.schedule.groups[draw]
            self.group_sums[group, rows] += draw_gradient
            self.group_sizes[group, rows] += 1
            magnitude = coefficient_gradient(draw_gradient, self.layout).flat.abs()
            self.absolute[rows] += magnitude
            self.absolute_draws[draw, rows] = band_sums(magnitude, self.layout, self.border)
            energy = magnitude.square_()
            self.squared[rows] += energy
            self.squared_draws[draw, rows] = band_sums(energy, self.layout, self.border)

    @property
    def n_draws(self) -> Int[Tensor, " batch"]:
        return self.group_sizes.sum(0).long()

    def settled(self, rows: Tensor, tolerance: float) -> Tensor:
        """Whether the shares of each of these samples are known well enough."""
        error = draw_share_error(
            self.absolute_draws[:, rows],
            self.n_draws[rows],
            self.layout,
            antithetic=self.schedule.antithetic,
            first_clean=self.schedule.first_clean,
        )
        if error is None:
            return torch.zeros(len(rows), dtype=torch.bool)
        return error.amax(-1) <= tolerance

    def result(self) -> SmoothedGradient:
        """Divide by the counts, and transform the signed sums."""
        layout, schedule = self.layout, self.schedule
        group_sums = coefficient_gradient(self.group_sums, layout)
        n_draws = self.n_draws
        most = int(n_draws.max()) if len(n_draws) else 0
        per_sample = n_draws.to(group_sums.flat)[:, None, None]
        per_group = self.group_sizes.to(group_sums.flat)[..., None, None]
        return SmoothedGradient(
            signed=WaveletCoefficients(group_sums.flat.sum(0) / per_sample, layout),
            absolute=WaveletCoefficients(self.absolute / per_sample, layout),
            squared=WaveletCoefficients(self.squared / per_sample, layout),
            group_means=group_sums.replace(group_sums.flat / per_group),
            absolute_draws=self.absolute_draws[:most],
            squared_draws=self.squared_draws[:most],
            first_draw_clean=schedule.first_clean,
            pairs=schedule.antithetic,
            n_draws=n_draws,
            border=self.border,
        )


def _check_draws(
    signal: Tensor, sample_ids: Sequence[str], n_samples: int, noise_fraction: float
) -> None:
    if len(sample_ids) != len(signal):
        raise ValueError(
            f"noise is keyed by sample id: expected {len(signal)} ids, got {len(sample_ids)}"
        )
    if n_samples < 1:
        raise ValueError(f"n_samples must be at least 1, got {n_samples}")
    if not 0 <= noise_fraction <= 1:
        raise ValueError(f"noise_fraction must be in [0, 1], got {noise_fraction}")


def _check_tolerance(tolerance: float | None, min_samples: int) -> None:
    if tolerance is not None and not tolerance > 0:
        raise ValueError(
            f"tolerance must be above 0, or None for a fixed number of draws; got {tolerance}"
        )
    if min_samples < 1:
        raise ValueError(f"min_samples must be at least 1, got {min_samples}")


def _completeness_gap(attribution: WaveletCoefficients, difference: Tensor) -> Tensor:
    difference = difference.cpu().double()
    total = band_sums(attribution.flat, attribution.layout).sum(-1)
    gap = (total - difference).abs() / difference.abs()
    return torch.where(difference == 0, torch.nan, gap)


def _range_per_sample(signal: Tensor) -> Tensor:
    flat = signal.flatten(1)
    spread = flat.max(dim=1).values - flat.min(dim=1).values
    return spread.reshape(-1, *[1] * (signal.ndim - 1))
