"""Draws of noise: which noise each has, when a sample has enough, and how their means scatter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wam_core.basis import CoefficientLayout
from wam_core.noise import standard_normal
from wam_core.sums import level_sums, shares

DRAW_GROUPS = 5
"""Groups of draws whose means are kept apart to estimate the Monte-Carlo error."""


class DrawSchedule:
    """Which noise each draw has, which group it belongs to, and which draws make a block.

    Draws join the groups in turn, so that the group of a draw does not depend on how many follow.
    An antithetic pair stays together and counts as one; a clean first draw joins the first group.
    """

    def __init__(self, n_draws: int, *, antithetic: bool, first_clean: bool) -> None:
        self.n_draws = n_draws
        self.antithetic = antithetic
        self.first_clean = first_clean
        self._unit = 2 if antithetic else 1
        self._offset = 1 if first_clean else 0
        units = [max(0, draw - self._offset) // self._unit for draw in range(n_draws)]
        self.n_groups = min(DRAW_GROUPS, units[-1] + 1)
        self.groups = [unit % self.n_groups for unit in units]

    def blocks(self, min_draws: int) -> Iterator[range]:
        """All draws in blocks: the first holds `min_draws`, and each gives every group its next.

        Example:
            >>> schedule = DrawSchedule(18, antithetic=False, first_clean=False)
            >>> [(block.start, block.stop) for block in schedule.blocks(6)]
            [(0, 10), (10, 15), (15, 18)]
        """
        size = self.n_groups * self._unit
        rounds = max(1, math.ceil((min_draws - self._offset) / size))
        start, stop = 0, self._offset + rounds * size
        while start < self.n_draws:
            yield range(start, min(stop, self.n_draws))
            start, stop = stop, stop + size

    def noise(self, draw: int, ids: Sequence[str], seed: int, signal: Tensor) -> Tensor:
        """Standard normal noise in the shape of `signal`, one stream per sample."""
        if self.first_clean:
            if draw == 0:
                return torch.zeros_like(signal)
            draw -= 1
        stream, sign = (draw // 2, -1.0 if draw % 2 else 1.0) if self.antithetic else (draw, 1.0)
        shape = tuple(signal.shape[1:])
        noise = torch.stack(
            [standard_normal(shape, seed=seed, sample_id=name, draw=stream) for name in ids]
        )
        noise = noise.to(device=signal.device, dtype=signal.dtype, non_blocking=True)
        return noise if sign > 0 else -noise


def draw_share_error(
    draws: Float[Tensor, "draw batch band"],
    n_draws: Int[Tensor, " batch"],
    layout: CoefficientLayout,
    *,
    antithetic: bool,
    first_clean: bool,
) -> Float[Tensor, "batch level"] | None:
    """Monte-Carlo standard error of each level's share of a sum over draws, by the jackknife.

    Pairs are left out as one; a clean first draw does not scatter and is never left out.

    Args:
        draws: Importance of every band in every draw, zero after a sample's last draw.
        n_draws: Number of draws of each sample.

    Returns:
        None if a sample has too few draws to tell.
    """
    levels = level_sums(draws, layout)
    random, n_random = levels[int(first_clean) :], n_draws - int(first_clean)
    if antithetic:
        random = random[: len(random) // 2 * 2].unflatten(0, (-1, 2)).sum(1)
        n_random = n_random // 2
    if int(n_random.min()) < 2:
        return None
    drawn = torch.arange(len(random))[:, None] < n_random
    return jackknife(shares(levels.sum(0) - random), drawn)


def jackknife(
    leave_one_out: Float[Tensor, "replicate batch level"],
    valid: Bool[Tensor, "replicate batch"] | None = None,
) -> Float[Tensor, "batch level"]:
    """Standard error from a statistic computed without each of its independent parts in turn.

    Args:
        valid: Which replicates a sample has; None for all.
    """
    if valid is None:
        valid = torch.ones(leave_one_out.shape[:2], dtype=torch.bool)
    n = valid.sum(0)[:, None]
    values = torch.where(valid[..., None], leave_one_out, 0)
    deviation = torch.where(valid[..., None], values - values.sum(0) / n, 0)
    return ((n - 1) / n * deviation.square().sum(0)).sqrt()
