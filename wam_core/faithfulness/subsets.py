"""mu-Fidelity: do importances add up to what the removal of random subsets costs?

Bhatt, Weller, Moura (IJCAI 2020), definition 3, over blocks of features. For subsets u of exactly a
fifth of the blocks,

    mu-Fidelity = corr_u( sum_(i in u) g_i , f(x) - f(x without u) ),

with Spearman's rank correlation, and nothing but it. The subsets depend on seed and sample alone
and f(x without u) on no attribution: all methods are judged by the same passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from wam_core.agreement import rank_correlation
from wam_core.faithfulness.domains import Domain
from wam_core.faithfulness.outputs import Ends, OutputReader, repeated_rows
from wam_core.noise import generator
from wam_core.scores import ScoreKind

SUBSET_FRACTION = 0.2


@dataclass(frozen=True)
class SubsetEffects:
    """What the removal of each subset costs; on the CPU.

    Attributes:
        blocks: Block of each feature; -1 for features that cannot be removed.
        members: Blocks of each subset.
        drop: Score of the signal minus that without the subset.
    """

    blocks: Int[Tensor, " feature"]
    members: Bool[Tensor, "batch subset block"]
    drop: Float64[Tensor, "batch subset"]


def subset_effects(
    reader: OutputReader,
    domain: Domain,
    ends: Ends,
    blocks: Int[Tensor, " feature"],
    targets: Int[Tensor, " batch"],
    *,
    sample_ids: Sequence[str],
    seed: int,
    kind: ScoreKind = "logit",
    n_subsets: int = 128,
    fraction: float = SUBSET_FRACTION,
) -> SubsetEffects:
    """Remove random subsets of blocks; costs `n_subsets` passes per sample.

    Args:
        blocks: Block of each feature, see `coefficient_blocks` and `input_blocks`; with channels
            apart, of one channel, and a block then holds all of them.
        kind: The score f.
        fraction: Of the blocks that a subset has, rounded to a whole number.

    Raises:
        ValueError: If blocks do not fit the domain, or a subset would be empty or everything.
    """
    blocks = _removable_blocks(blocks, domain)
    n = int(blocks.max()) + 1
    size = round(fraction * n)
    if not 0 < size < n or n_subsets < 3:
        raise ValueError(
            f"a fraction of {fraction:g} of {n} blocks is {size}: a subset must have some and not "
            f"all, and there must be at least 3 subsets; got {n_subsets}"
        )
    members = torch.stack([_draw(n, size, n_subsets, name, seed) for name in sample_ids])
    device = domain.signal.device
    of_feature, removed = blocks.to(device), members.flatten(0, 1).to(device)

    def mask_of(_: Tensor, place: Tensor) -> Tensor:
        return ~removed[place][:, of_feature.clamp(min=0)] | (of_feature < 0)

    rows = repeated_rows(len(domain), n_subsets)
    outputs = reader.read_masks(domain, rows, mask_of)
    scores = outputs.score(targets.cpu()[rows], kind).unflatten(0, (len(domain), n_subsets))
    return SubsetEffects(blocks, members, ends.full.score(targets, kind)[:, None] - scores)


def mu_fidelity(
    effects: SubsetEffects, importance: Float[Tensor, "batch feature"]
) -> Float64[Tensor, " batch"]:
    """Rank correlation of importances and effects, in [-1, 1]; higher is better.

    NaN where either is the same for all subsets.

    Args:
        importance: With its sign where it has one.
    """
    sums = torch.zeros(len(importance), effects.members.shape[2], dtype=torch.float64)
    kept = effects.blocks >= 0
    sums.index_add_(1, effects.blocks[kept], importance.cpu().double()[:, kept])
    predicted = torch.einsum("nub,nb->nu", effects.members.double(), sums)
    found = [
        rank_correlation(left[None], right[None])[0]
        for left, right in zip(predicted.numpy(), effects.drop.numpy(), strict=True)
    ]
    return torch.from_numpy(np.array(found, dtype=np.float64))


def _removable_blocks(blocks: Tensor, domain: Domain) -> Tensor:
    """Blocks of removable features, numbered without gaps; -1 for the others."""
    if not len(blocks) or domain.n_features % len(blocks):
        raise ValueError(
            f"there must be a block for each of the {domain.n_features} features, or for those of "
            f"one channel; got {len(blocks)}"
        )
    removable = domain.removable.cpu()
    blocks = blocks.cpu().repeat(domain.n_features // len(blocks))
    numbered = torch.full_like(blocks, -1)
    numbered[removable] = blocks[removable].unique(return_inverse=True)[1]
    return numbered


def _draw(n_blocks: int, size: int, n_subsets: int, sample_id: str, seed: int) -> Tensor:
    draws = generator(seed, f"{sample_id}\0faithfulness\0subsets", 0).random((n_subsets, n_blocks))
    chosen = torch.from_numpy(draws).argsort(dim=1)[:, :size]
    return torch.zeros(n_subsets, n_blocks, dtype=torch.bool).scatter_(1, chosen, True)
