"""Minimal signals: the fewest wavelet coefficients that still carry a model's decision.

Kasmi, Brunetto, Fel, Parekh ("One Wave To Explain Them All", ICML 2025) call them minimal images.
Here coefficients are ranked by a given importance, and what is searched is how many are needed,
also among those of some levels only. `mask_optimisation` looks for the set itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from wam_core.basis import CoefficientLayout
from wam_core.masked_signals import MaskedSignal, read_masked
from wam_core.readings import ClassReader, ClassReading

Spacing = Literal["log", "linear"]


@dataclass(frozen=True)
class MinimalSelection:
    """The fewest most important coefficients with which the class is kept, as bisection finds them.

    All tensors are on the CPU.

    Attributes:
        count: Coefficients kept per channel, k*; 0 where the class is kept without any, NaN where
            it is not kept even with all that are available.
        next_smaller: The largest candidate below `count`, which was tried and loses the class; NaN
            where the count is 0 or NaN.
        probability: Of the class, with `count` coefficients; NaN where there is no count.
        mask: The coefficients kept; none where there is no count.
        layout: Names the bands on the last axis of the mask.
        n_forward: Rows passed through the model.
    """

    count: Float64[Tensor, " batch"]
    next_smaller: Float64[Tensor, " batch"]
    probability: Float64[Tensor, " batch"]
    mask: Bool[Tensor, "batch coefficient"]
    layout: CoefficientLayout
    n_forward: int

    @property
    def succeeds(self) -> Bool[Tensor, " batch"]:
        """Whether the class is kept with all coefficients that are available."""
        return ~self.count.isnan()

    @property
    def fraction(self) -> Float64[Tensor, " batch"]:
        """Coefficients kept over all coefficients of a channel, available or not; may be NaN."""
        return self.count / self.layout.size


def minimal_selection(
    read: ClassReader,
    masked: MaskedSignal,
    importance: Float[Tensor, "batch coefficient"],
    *,
    available: Sequence[str] | None = None,
    spacing: Spacing = "log",
    resolution: float = 0.05,
    max_batch: int | None = None,
) -> MinimalSelection:
    """Search by bisection how many of the most important coefficients keep the class.

    Candidates are the numbers of `candidate_counts`. The class is kept at the number found and lost
    at the candidate next below. More coefficients need not mean more of the class: where its curve
    goes up and down, a smaller number than the one found may keep it too, and a sample that is lost
    with everything available may be kept with less. Every step is one pass of the samples that are
    still searched; a sample's result does not depend on the others.

    Args:
        read: What the model says about each sample's class.
        masked: The samples, with the baseline that stands in for absent coefficients.
        importance: Its order decides: the largest first, among equals the first in the layout.
        available: Names of the levels whose coefficients may be kept; all without it.
        spacing: Of the candidates.
        resolution: Of the candidates; see `candidate_counts`.
        max_batch: Most rows in one pass; None for all at once.

    Raises:
        ValueError: If shapes do not fit, importance is not finite, or an argument is out of range.
    """
    _check_importance(importance, masked)
    allowed = available_coefficients(masked.layout, available)
    counts = candidate_counts(int(allowed.sum()), spacing, resolution)
    rank = _ranks(importance.to(masked.baseline.device), allowed)
    return _Bisection(read, masked, rank, torch.tensor(counts), max_batch).run()


def candidate_counts(n_available: int, spacing: Spacing, resolution: float) -> list[int]:
    """The numbers of coefficients that are tried, from none to all that are available.

    Args:
        spacing: `log`: each number is the one before times 1 + resolution at most; `linear`: plus
            resolution times all at most. Both rounded to whole coefficients.
        resolution: In (0, 1].

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> candidate_counts(100, "linear", 0.25)
        [0, 25, 50, 75, 100]
        >>> candidate_counts(16, "log", 1.0)
        [0, 1, 2, 4, 8, 16]
    """
    if n_available < 1:
        raise ValueError(f"there must be at least one coefficient to keep, got {n_available}")
    if not 0 < resolution <= 1:
        raise ValueError(f"resolution must be in (0, 1], got {resolution}")
    if spacing == "linear":
        steps = math.ceil(1 / resolution)
        return sorted({round(n_available * step / steps) for step in range(steps + 1)})
    if spacing != "log":
        raise ValueError(f"spacing must be log or linear, got '{spacing}'")
    steps = max(1, math.ceil(math.log(n_available) / math.log1p(resolution)))
    return sorted({0, *(round(n_available ** (step / steps)) for step in range(steps + 1))})


def bisection_passes(n_available: int, spacing: Spacing, resolution: float) -> int:
    """Most forward passes that one search needs per sample: both ends, then halvings."""
    intervals = len(candidate_counts(n_available, spacing, resolution)) - 1
    return 2 + math.ceil(math.log2(intervals))


def available_coefficients(
    layout: CoefficientLayout, level_names: Sequence[str] | None
) -> Bool[Tensor, " coefficient"]:
    """Which coefficients belong to the named levels; all without names.

    Raises:
        ValueError: If no level or an unknown one is named.
    """
    names = layout.level_names if level_names is None else level_names
    if not names or not set(names) <= set(layout.level_names):
        raise ValueError(
            f"available levels must be some of {', '.join(layout.level_names)}; got "
            f"{', '.join(names) or 'none'}"
        )
    allowed = torch.zeros(layout.size, dtype=torch.bool)
    for name in names:
        for band in layout.bands_of(name):
            allowed[layout.slices[band]] = True
    return allowed


def fine_preference(
    fine: Bool[Tensor, " batch"], coarse: Bool[Tensor, " batch"]
) -> Float64[Tensor, " batch"]:
    """Which of two restricted searches alone succeeds: 1 the fine one, 0 the coarse one, else NaN.

    The mean over samples is T_min = fine only / (fine only + coarse only); the part of the samples
    that is not NaN is its coverage, to be reported beside it.
    """
    return torch.where(fine == coarse, torch.nan, fine.double())


@dataclass
class _Bisection:
    """The search of all samples of a batch, over places in the list of candidates."""

    read: ClassReader
    masked: MaskedSignal
    rank: Tensor
    counts: Tensor
    max_batch: int | None
    n_forward: int = 0

    def __post_init__(self) -> None:
        n = len(self.masked)
        self.kept_at = torch.full((n,), len(self.counts) - 1)
        self.lost_at = torch.zeros(n, dtype=torch.long)
        self.probability = torch.full((n,), torch.nan, dtype=torch.float64)

    def run(self) -> MinimalSelection:
        everyone = torch.arange(len(self.masked))
        found = self._try(everyone, self.kept_at)
        self._try(everyone[found], self.lost_at)
        while len(searched := everyone[found & (self.kept_at - self.lost_at > 1)]):
            self._try(searched, (self.kept_at + self.lost_at) // 2)
        count = self.counts[self.kept_at]
        return MinimalSelection(
            count=_where(found, count),
            next_smaller=_where(found & (count > 0), self.counts[self.lost_at]),
            probability=self.probability,
            mask=(self.rank.cpu() < count[:, None]) & found[:, None],
            layout=self.masked.layout,
            n_forward=self.n_forward,
        )

    def _try(self, rows: Tensor, places: Tensor) -> Bool[Tensor, " row"]:
        """Try a candidate for each of `rows`, which becomes an end of its search.

        Returns:
            Which of them keep it.
        """
        if not len(rows):
            return torch.zeros(0, dtype=torch.bool)
        count = self.counts[places[rows]].to(self.rank.device)
        mask = self.rank[rows.to(self.rank.device)] < count[:, None]
        reading: ClassReading = read_masked(self.read, self.masked, mask, rows, self.max_batch)
        self.n_forward += len(rows)
        kept, places = reading.kept, places[rows]
        self.kept_at[rows[kept]] = places[kept]
        self.lost_at[rows[~kept]] = places[~kept]
        self.probability[rows[kept]] = reading.probability[kept].double()
        return kept


def _where(condition: Tensor, count: Tensor) -> Tensor:
    return torch.where(condition, count.double(), torch.nan)


def _ranks(importance: Tensor, allowed: Tensor) -> Tensor:
    """Place of every coefficient when the most important comes first; those not allowed last."""
    filled = importance.masked_fill(~allowed.to(importance.device), -torch.inf)
    order = filled.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def _check_importance(importance: Tensor, masked: MaskedSignal) -> None:
    expected = (len(masked), masked.layout.size)
    if tuple(importance.shape) != expected:
        raise ValueError(
            f"importance must have one value per sample and coefficient, shape {expected}; got "
            f"{tuple(importance.shape)}. Channels are added first."
        )
    finite = importance.isfinite().all(dim=1)
    if not bool(finite.all()):
        raise ValueError(
            f"importance is not finite for the samples at {(~finite).nonzero()[:, 0].tolist()}; "
            "leave them out"
        )
