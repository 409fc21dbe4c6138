"""WAM_CG: gradients at random coalitions of wavelet coefficients.

A score is a game whose players are the coefficients: a coalition m keeps its members and gives all
others the values of a baseline, f(z0 + m (z - z0)). What a player adds, averaged over coalitions
that hold every other player with a probability t, and over t, is its semivalue; for t uniform in
[0, 1] that is the Shapley value (Owen, "Multilinear extensions of games", 1972). To first order

    gamma_k = (z_k - z0_k) E_t E_m [df/dz_k (z0 + m (z - z0))],    m_k ~ Bernoulli(t) independently,

which one pass forward and backward estimates for all coefficients at once, exactly where the
score is linear in each coefficient. Path integration (WAM_IG) is the same formula with every m_k
replaced by its mean t: it visits faded copies of the signal, coalitions visit copies that miss
parts, which is what insertion, deletion and masks ask the model about.

Two choices stand beside the Shapley value's own. Coalitions are at least half full by default
(t in [1/2, 1]), because emptier ones look like no signal the model knows. And the approximation is
always present: without it there is no signal to add details to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wam_core.basis import CoefficientLayout, WaveletBasis
from wam_core.input_gradients import (
    input_gradient,
    positions,
    sample_chunks,
    sum_dtype,
    versions_per_pass,
)
from wam_core.masked_signals import MaskedSignal
from wam_core.noise import generator
from wam_core.scores import ScoreFn
from wam_core.transform import WaveletCoefficients, coefficient_gradient


@dataclass(frozen=True)
class CoalitionGradient:
    """What WAM_CG says of a batch.

    Attributes:
        attribution: gamma, signed; shape (batch, channel, coefficient).
        magnitude: |z - z0| times the mean of |df/dz|: what a coefficient may be worth at most, if
            the sign of its gradient were always in its favour.
        mean_gradient: The gradient averaged over coalitions, without the factor z - z0.
        n_passes: Passes forward and backward per sample.
    """

    attribution: WaveletCoefficients
    magnitude: WaveletCoefficients
    mean_gradient: WaveletCoefficients
    n_passes: int

    def importance(
        self, benefit_of_doubt: float = 0.5, approximation_first: bool = False
    ) -> Float[Tensor, "batch coefficient"]:
        """The order in which coefficients matter, summed over channels: larger first.

        gamma + b * magnitude. With b = 0 this is the signed attribution: what speaks against the
        class comes last. Few passes know the sign of most coefficients badly; with b > 0 a
        coefficient whose gradients disagree is not put last for a sign that is chance, and b = 1
        puts those that always speak against the class next to those that say nothing.

        Args:
            benefit_of_doubt: b, at least 0.
            approximation_first: Approximation coefficients come before all details, by their
                magnitude: details say nothing without what they are details of.

        Raises:
            ValueError: If b is negative.
        """
        if benefit_of_doubt < 0:
            raise ValueError(f"benefit_of_doubt must be at least 0, got {benefit_of_doubt}")
        score = (self.attribution.flat + benefit_of_doubt * self.magnitude.flat).sum(1)
        if not approximation_first:
            return score
        coarse = ~_details(self.attribution.layout).to(score.device)
        size = self.magnitude.flat.sum(1)
        top = 2 * score.abs().amax(1, keepdim=True)
        return torch.where(coarse, top + size, score)


def coalition_gradients(
    score_fn: ScoreFn,
    signal: Float[Tensor, "batch channel *space"],
    basis: WaveletBasis,
    *,
    baseline: Float[Tensor, "batch channel *space"],
    sample_ids: Sequence[str],
    seed: int,
    n_samples: int = 24,
    lowest_presence: float = 0.5,
    keep_approximation: bool = True,
    max_batch: int | None = None,
) -> CoalitionGradient:
    """WAM_CG: attributions from gradients at random coalitions of coefficients.

    Coalitions come in pairs: the second draws its members from the opposite end of the same
    uniform numbers, so that for a presence of 1/2 it is the complement of the first.

    Args:
        score_fn: One score per row.
        baseline: What absent coefficients are those of, in the space of the signal.
        sample_ids: Key of each sample's coalitions, with `seed`; a coefficient is a member in all
            channels or in none.
        n_samples: Coalitions, an even number.
        lowest_presence: Coefficients are members with probabilities spread evenly from this to 1;
            0 estimates Shapley values.
        keep_approximation: The approximation belongs to every coalition.
        max_batch: Most rows in one pass; several coalitions share a pass when the batch is smaller.

    Raises:
        ValueError: If ids and signals differ in number, shapes differ, or an argument is out of
            range.
    """
    _check(signal, sample_ids, n_samples, lowest_presence)
    layout = CoefficientLayout(tuple(signal.shape[2:]), basis)
    masked = MaskedSignal.of(signal, baseline, basis)
    members = _Members(layout, sample_ids, seed, n_samples, lowest_presence, keep_approximation)
    sums = signal.new_zeros(signal.shape, dtype=sum_dtype(signal))
    absolute = signal.new_zeros((*signal.shape[:2], layout.size), dtype=sum_dtype(signal))
    for rows in sample_chunks(signal, max_batch):
        sample = positions(rows, signal)
        for draws in versions_per_pass(range(n_samples), len(sample), max_batch):
            mask = torch.cat([members.of(draw, rows) for draw in draws]).to(
                masked.coefficients.flat
            )
            versions = sample.repeat(len(draws))
            gradients = input_gradient(score_fn, masked.present(mask, versions), versions)
            # One after another: sums do not depend on what shares a pass.
            for gradient in gradients.unflatten(0, (len(draws), len(sample))):
                sums[rows] += gradient
                absolute[rows] += coefficient_gradient(gradient, layout).flat.abs()
    difference = masked.coefficients.flat
    mean = coefficient_gradient(sums / n_samples, layout)
    return CoalitionGradient(
        attribution=WaveletCoefficients(difference * mean.flat, layout),
        magnitude=WaveletCoefficients(difference.abs() * absolute / n_samples, layout),
        mean_gradient=mean,
        n_passes=n_samples,
    )


class _Members:
    """Which coefficients belong to each coalition of each sample."""

    def __init__(
        self,
        layout: CoefficientLayout,
        sample_ids: Sequence[str],
        seed: int,
        n_samples: int,
        lowest_presence: float,
        keep_approximation: bool,
    ) -> None:
        self.sample_ids, self.seed, self.size = sample_ids, seed, layout.size
        pairs = n_samples // 2
        steps = (torch.arange(pairs, dtype=torch.float64) + 0.5) / pairs
        self.presence = lowest_presence + (1 - lowest_presence) * steps
        kept = ~_details(layout) if keep_approximation else torch.zeros(layout.size)
        self.always = kept.bool()

    def of(self, draw: int, rows: slice) -> Tensor:
        """Members of one coalition of each sample of a chunk, shape (row, coefficient)."""
        uniform = torch.stack([self._uniform(key, draw // 2) for key in self.sample_ids[rows]])
        if draw % 2:
            uniform = 1 - uniform
        return (uniform < self.presence[draw // 2]) | self.always

    def _uniform(self, key: str, pair: int) -> Tensor:
        stream = generator(self.seed, f"{key}\0coalition", pair)
        return torch.from_numpy(stream.random(self.size, dtype=np.float32))


def _details(layout: CoefficientLayout) -> Tensor:
    """Whether each coefficient is one of a detail band."""
    details = torch.ones(layout.size, dtype=torch.bool)
    for band, place in layout.slices.items():
        if band.is_approximation:
            details[place] = False
    return details


def _check(
    signal: Tensor, sample_ids: Sequence[str], n_samples: int, lowest_presence: float
) -> None:
    if len(sample_ids) != len(signal):
        raise ValueError(
            f"coalitions are keyed by sample id: expected {len(signal)} ids, got {len(sample_ids)}"
        )
    if n_samples < 2 or n_samples % 2:
        raise ValueError(f"coalitions come in pairs: n_samples must be even, got {n_samples}")
    if not 0 <= lowest_presence < 1:
        raise ValueError(f"lowest_presence must be in [0, 1), got {lowest_presence}")
