"""Optimised masks: a weight per wavelet coefficient that keeps, or destroys, a class with least.

Minimal images in the sense of "meaningful perturbations" (Fong and Vedaldi, 2017), in the wavelet
domain (Kasmi et al., "One Wave To Explain Them All", ICML 2025). Two objectives, both minimised,
with m the mask and s the score (a log probability or a logit):

* preserving: -s + alpha mean(m), the sparsest mask that keeps the class;
* destroying: +s + alpha mean(1 - m), the fewest coefficients without which the class is gone.

The objective as WAM's authors print it, s + alpha |m|_1, lowers the score and the mask at once,
which m = 0 does best; the text around it describes the preserving one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from wam_core.basis import CoefficientLayout
from wam_core.masked_signals import MaskedSignal, read_masked
from wam_core.readings import ClassReader, ClassReading

Objective = Literal["preserve", "destroy"]
Parametrisation = Literal["sigmoid", "clamp"]
Optimiser = Literal["adam", "nadam"]

START_LOGIT = 5.0
"""A sigmoid never reaches 1: masks start at sigmoid(5) = 0.9933; clamped ones at 1 exactly."""

LEARNING_RATE = {"sigmoid": 0.2, "clamp": 0.05}
"""In logits, or mask values, a step: either leads from 1 to 0 within twenty to fifty steps."""


@dataclass(frozen=True)
class MaskSettings:
    """How masks are optimised.

    Attributes:
        alpha: Price of the mask, in units of the score for all coefficients.
        n_steps: Most steps of the optimiser.
        learning_rate: None for that of the parametrisation, `LEARNING_RATE`.
        patience: Steps without an objective lower by `tolerance` after which a sample is done; None
            for all steps.

    Raises:
        ValueError: If a value is unknown or out of range.
    """

    alpha: float
    objective: Objective = "preserve"
    parametrisation: Parametrisation = "clamp"
    optimiser: Optimiser = "nadam"
    n_steps: int = 500
    learning_rate: float | None = None
    patience: int | None = None
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        for name, allowed in (
            ("objective", get_args(Objective)),
            ("parametrisation", get_args(Parametrisation)),
            ("optimiser", get_args(Optimiser)),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be {' or '.join(allowed)}; got '{getattr(self, name)}'"
                )
        if self.alpha < 0 or self.n_steps < 1:
            raise ValueError(
                f"alpha must not be negative and n_steps at least 1; got {self.alpha} and "
                f"{self.n_steps}"
            )

    @property
    def rate(self) -> float:
        """Learning rate."""
        return self.learning_rate or LEARNING_RATE[self.parametrisation]


@dataclass(frozen=True)
class OptimisedMask:
    """The mask of lowest objective of each sample; on the CPU.

    Attributes:
        mask: In [0, 1].
        probability: Of the class under the mask; NaN if the model's output never was finite.
        kept: Whether the model decides for the class under the mask.
        binary_probability: Of the class with the coefficients whose mask is 1/2 or more.
        binary_kept: Whether it decides for the class with these.
        sparsity_path: 1 - mean(mask) before each step and after the last; NaN after a sample's end.
        probability_path: Of the class, along the same steps.
        n_steps: Steps taken until the sample was done.
        layout: Names the bands on the last axis of the mask.
        n_forward: Rows passed forward only.
        n_backward: Rows passed forward and backward.
    """

    mask: Float[Tensor, "batch coefficient"]
    probability: Float64[Tensor, " batch"]
    kept: Bool[Tensor, " batch"]
    binary_probability: Float64[Tensor, " batch"]
    binary_kept: Bool[Tensor, " batch"]
    sparsity_path: Float64[Tensor, "step batch"]
    probability_path: Float64[Tensor, "step batch"]
    n_steps: Int64[Tensor, " batch"]
    layout: CoefficientLayout
    n_forward: int
    n_backward: int

    @property
    def sparsity(self) -> Float64[Tensor, " batch"]:
        """1 - mean(mask)."""
        return 1 - self.mask.double().mean(dim=1)

    @property
    def binary_mask(self) -> Bool[Tensor, "batch coefficient"]:
        """Coefficients whose mask is 1/2 or more."""
        return self.mask >= 0.5


def optimise_mask(
    read: ClassReader,
    masked: MaskedSignal,
    settings: MaskSettings,
    *,
    max_batch: int | None = None,
) -> OptimisedMask:
    """Optimise one mask per sample, shared by its channels, from all coefficients present.

    Objectives are summed over samples, and the optimisers treat every mask value by itself: a
    sample's mask does not depend on the others. Gradients reach the mask only.

    Args:
        read: What the model says about each sample's class; its score enters the objective.
        masked: The samples, with the baseline that stands in for absent coefficients.
        max_batch: Most samples optimised at once; None for all.

    Raises:
        ValueError: If the score does not depend on the signal.
    """
    device = masked.baseline.device
    rows = torch.arange(len(masked), device=device)
    runs = [
        _Optimisation(read, masked, settings, part).run()
        for part in rows.split(max_batch or max(1, len(rows)))
    ]
    mask = torch.cat([run.best_mask for run in runs])
    best = [run.best_reading for run in runs]
    binary = read_masked(read, masked, mask >= 0.5, max_batch=max_batch)
    return OptimisedMask(
        mask=mask.cpu(),
        probability=torch.cat([reading.probability for reading in best]).double().cpu(),
        kept=torch.cat([reading.kept for reading in best]).cpu(),
        binary_probability=binary.probability.double(),
        binary_kept=binary.kept,
        sparsity_path=torch.cat([run.sparsity for run in runs], dim=1).cpu(),
        probability_path=torch.cat([run.probability for run in runs], dim=1).cpu(),
        n_steps=torch.cat([run.last_step for run in runs]).cpu(),
        layout=masked.layout,
        n_forward=len(masked) + sum(run.n_forward for run in runs),
        n_backward=sum(run.n_backward for run in runs),
    )


class _Optimisation:
    """The masks of a few samples, at `rows` of the batch.

    Attributes:
        theta: Logits of the masks, or the masks themselves where they are clamped.
        active: Places among `rows` of the samples that are not done.
    """

    def __init__(
        self, read: ClassReader, masked: MaskedSignal, settings: MaskSettings, rows: Tensor
    ) -> None:
        self.read, self.masked, self.settings, self.rows = read, masked, settings, rows
        n, like = len(rows), masked.coefficients.flat
        start = START_LOGIT if settings.parametrisation == "sigmoid" else 1.0
        self.theta = like.new_full((n, masked.layout.size), start)
        self.moments = _Moments(self.theta, settings.optimiser, settings.rate)
        self.active = torch.arange(n, device=rows.device)
        self.best_mask = self._mask(self.theta).clone()
        self.best = like.new_full((n,), torch.inf)
        nothing = like.new_full((n,), torch.nan)
        self.best_reading = ClassReading(nothing, nothing.clone(), nothing.clone())
        # Beside the lowest objective, the last one that was lower by the tolerance, and when.
        self.reference = self.best.clone()
        self.improved_at = rows.new_zeros(n)
        self.last_step = rows.new_zeros(n)
        paths = (settings.n_steps + 1, n)
        self.sparsity = torch.full(paths, torch.nan, dtype=torch.float64)
        self.probability = torch.full(paths, torch.nan, dtype=torch.float64)
        self.n_forward = self.n_backward = 0

    def run(self) -> _Optimisation:
        for step in range(self.settings.n_steps):
            active = self.active
            theta = self.theta[active].requires_grad_()
            with torch.enable_grad():
                objective = self._look(step, theta)
            going_on = self._going_on(step, objective.detach())
            self.active = active[going_on]
            if not len(self.active):
                self.n_forward += len(active)
                return self
            self._descend(objective, theta, active)
        with torch.no_grad():
            self._look(self.settings.n_steps, self.theta[self.active])
        self.n_forward += len(self.active)
        return self

    def _look(self, step: int, theta: Tensor) -> Tensor:
        """Note what the model says to the active masks, and return their objectives."""
        active, rows = self.active, self.rows[self.active]
        mask = self._mask(theta)
        reading = self.read(self.masked.present(mask, rows), rows)
        if theta.requires_grad and not reading.score.requires_grad:
            raise ValueError(_NO_GRADIENT)
        objective = self._objective(mask, reading.score)
        mask = mask.detach()
        self.last_step[active] = step
        places = active.cpu()
        self.sparsity[step, places] = (1 - mask.mean(dim=1)).cpu().double()
        self.probability[step, places] = reading.probability.cpu().double()
        lower = objective.detach() < self.best[active]
        self._take_best(active[lower], lower, mask, reading, objective.detach())
        return objective

    def _take_best(
        self, places: Tensor, lower: Tensor, mask: Tensor, reading: ClassReading, objective: Tensor
    ) -> None:
        self.best[places] = objective[lower].to(self.best)
        self.best_mask[places] = mask[lower]
        best = self.best_reading
        best.probability[places] = reading.probability[lower].to(best.probability)
        best.margin[places] = reading.margin[lower].to(best.margin)

    def _mask(self, theta: Tensor) -> Tensor:
        return theta.sigmoid() if self.settings.parametrisation == "sigmoid" else theta

    def _objective(self, mask: Tensor, score: Tensor) -> Tensor:
        if self.settings.objective == "preserve":
            return -score + self.settings.alpha * mask.mean(dim=1)
        return score + self.settings.alpha * (1 - mask).mean(dim=1)

    def _descend(self, objective: Tensor, theta: Tensor, active: Tensor) -> None:
        # Times the number of coefficients: steps do not depend on the scale of gradients but for
        # an epsilon, beside which one coefficient's part of a mean is not large.
        total = objective.sum() * self.masked.layout.size
        (gradient,) = torch.autograd.grad(total, theta)
        self.n_backward += len(active)
        theta = theta.detach() - self.moments.step(gradient, active)
        clamped = self.settings.parametrisation == "clamp"
        self.theta[active] = theta.clamp(0.0, 1.0) if clamped else theta

    def _going_on(self, step: int, objective: Tensor) -> Tensor:
        """Which of the active samples are not done."""
        settings, active = self.settings, self.active
        if settings.patience is None:
            return torch.ones_like(active, dtype=torch.bool)
        lower = objective < self.reference[active] - settings.tolerance
        self.reference[active[lower]] = objective[lower].to(self.reference)
        self.improved_at[active[lower]] = step
        return step - self.improved_at[active] < settings.patience


class _Moments:
    """Steps of Adam (Kingma and Ba, 2015) or NAdam (Dozat, 2016), each number by itself.

    `torch.optim` has them too, but makes a process load a compiler, and cannot leave rows out.
    """

    def __init__(self, theta: Tensor, kind: Optimiser, rate: float) -> None:
        self.mean, self.square = torch.zeros_like(theta), torch.zeros_like(theta)
        self.kind, self.rate, self.n = kind, rate, 0
        self.product = 1.0

    def step(self, gradient: Tensor, rows: Tensor) -> Tensor:
        """What to take away from `rows`; rows once left out must not come back."""
        self.n += 1
        mean = self.mean[rows].lerp_(gradient, 1 - _DECAY_MEAN)
        square = self.square[rows].lerp_(gradient.square(), 1 - _DECAY_SQUARE)
        self.mean[rows], self.square[rows] = mean, square
        spread = (square / (1 - _DECAY_SQUARE**self.n)).sqrt_().add_(_EPSILON)
        if self.kind == "adam":
            return self.rate * mean / (1 - _DECAY_MEAN**self.n) / spread
        now, following = self._momentum(self.n), self._momentum(self.n + 1)
        self.product *= now
        ahead = (1 - now) / (1 - self.product) * gradient
        ahead += following / (1 - self.product * following) * mean
        return self.rate * ahead / spread

    @staticmethod
    def _momentum(step: int) -> float:
        return _DECAY_MEAN * (1 - 0.5 * 0.96 ** (step * 0.004))


_DECAY_MEAN, _DECAY_SQUARE, _EPSILON = 0.9, 0.999, 1e-8

_NO_GRADIENT = (
    "the score does not depend on the input: no gradient reaches the mask. Is the model run under "
    "no_grad, on detached or integer data, or through a non-differentiable step?"
)
