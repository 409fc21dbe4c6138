"""In which order features are removed; also the two orders that know nothing of the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from wam_core.faithfulness.domains import Domain
from wam_core.noise import generator

_RANDOM, _TIES = "ranking", "ties"


def random_importance(
    n_features: int, sample_ids: Sequence[str], seed: int
) -> Float[Tensor, "batch feature"]:
    """A random order, keyed by seed and sample."""
    return torch.stack([_uniform(n_features, name, seed, _RANDOM) for name in sample_ids])


def energy_importance(domain: Domain) -> Float[Tensor, "batch feature"]:
    """The features' own energy: the order of their magnitudes |z|."""
    return domain.energy


def places(
    importance: Float[Tensor, "batch feature"],
    domain: Domain,
    sample_ids: Sequence[str],
    seed: int,
) -> Int[Tensor, "batch feature"]:
    """Place of every feature, the most important first; those not removable come last.

    Among equals chance decides, keyed by seed and sample: the order of the layout would run from
    coarse to fine, or from the top of an image to its bottom, and rank what the map does not.

    Raises:
        ValueError: If the importance is not finite, or not one number per sample and feature.
    """
    _check_importance(importance, domain)
    values = importance.to(domain.energy.device).masked_fill(~domain.removable, -torch.inf)
    ties = torch.stack([_uniform(domain.n_features, name, seed, _TIES) for name in sample_ids])
    shuffled = ties.argsort(dim=1).to(values.device)
    order = values.gather(1, shuffled).argsort(dim=1, descending=True, stable=True)
    order = shuffled.gather(1, order)
    rank = torch.arange(domain.n_features, device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, rank)


def _uniform(n_features: int, sample_id: str, seed: int, purpose: str) -> Tensor:
    draw = generator(seed, f"{sample_id}\0faithfulness\0{purpose}", 0)
    return torch.from_numpy(draw.random(n_features, dtype=np.float32))


def _check_importance(importance: Tensor, domain: Domain) -> None:
    expected = (len(domain), domain.n_features)
    if tuple(importance.shape) != expected:
        raise ValueError(
            f"importance must have one value per sample and feature, shape {expected}; got "
            f"{tuple(importance.shape)}"
        )
    finite = importance.isfinite().all(dim=1)
    if not bool(finite.all()):
        raise ValueError(
            f"importance is not finite for the samples at {(~finite).nonzero()[:, 0].tolist()}; "
            "leave them out"
        )
