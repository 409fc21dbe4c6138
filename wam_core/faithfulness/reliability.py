"""How far a map would be the same with other draws of noise."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from wam_core.agreement import rank_correlation
from wam_core.transform import WaveletCoefficients


def split_half_reliability(group_means: WaveletCoefficients) -> Float64[Tensor, " batch"] | None:
    """Reliability of the signed map of WAM_SG, by halves of its draws.

    The draws stand in disjoint groups. The groups are split into two parts, the absolute sums over
    channels of the parts' means are compared by Spearman's correlation r over coefficients, and
    Spearman and Brown's 2 r / (1 + r) stands for a map of all draws. The mean over all splits into
    parts that differ by one group at most is returned; NaN where a map is constant.

    Args:
        group_means: See `SmoothedGradient`; shape (group, batch, channel, coefficient).

    Returns:
        None with fewer than two groups.
    """
    groups = group_means.flat
    if len(groups) < 2:
        return None
    found = []
    for first in _splits(len(groups)):
        chosen = torch.tensor([place in first for place in range(len(groups))])
        halves = [
            groups[part.to(groups.device)].mean(0).abs().sum(1).cpu().double().numpy()
            for part in (chosen, ~chosen)
        ]
        correlation = rank_correlation(*halves)
        # A correlation below zero says that there is nothing to rely on.
        found.append(2 * np.maximum(correlation, 0) / (1 + np.maximum(correlation, 0)))
    return torch.from_numpy(np.mean(found, axis=0))


def _splits(n_groups: int) -> list[tuple[int, ...]]:
    """Every way to choose half of the groups, rounded down, once per pair of halves."""
    size = n_groups // 2
    chosen = list(itertools.combinations(range(n_groups), size))
    return [part for part in chosen if n_groups % 2 or 0 in part]
