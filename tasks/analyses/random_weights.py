"""Orders by maps of the same network with random weights: what the weights themselves add."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from tasks.analyses.contract import AuditParts, Batch
from tasks.config import AuditConfig
from tasks.explain import Explanation, explain
from wam_core.noise import generator
from wam_core.randomisation import randomised

NETWORKS = 4
"""Random networks of an audit; every sample meets one, chosen by its id."""


def orders_with_random_weights(
    parts: AuditParts,
    config: AuditConfig,
    batch: Batch,
    max_batch: int,
    orders: Callable[[Explanation], dict[str, Tensor]],
) -> tuple[dict[str, Tensor], int, int]:
    """Orders of the coefficients by maps of randomised networks, and the passes they cost.

    Args:
        config: With the methods that are wanted, and no others.
        orders: Reads them off an explanation.

    Returns:
        Importance of every coefficient, shape (batch, coefficient), by order; rows passed forward
        only; rows passed forward and backward.
    """
    seed = config.attribution.seed
    found: dict[str, Tensor] = {}
    n_forward = n_backward = 0
    for network, places in _networks(seed, batch).items():
        part = batch.take(places)
        module = randomised(parts.model.module, _layers(parts.model.module), seed, network)
        explanation = explain(
            config,
            replace(parts.model, module=module),
            parts.layout,
            part.signal,
            part.targets.cpu(),
            part.sample_ids,
            max_batch,
            part.n_valid,
        )
        n_forward += explanation.n_forward
        n_backward += explanation.n_backward
        for name, importance in orders(explanation).items():
            rows = found.setdefault(name, torch.zeros(len(batch), importance.shape[1]))
            rows[places] = importance.float()
    return found, n_forward, n_backward


def _layers(module: nn.Module) -> list[str]:
    return [name for name, layer in module.named_modules() if list(layer.parameters(recurse=False))]


def _networks(seed: int, batch: Batch) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for place, name in enumerate(batch.sample_ids):
        draw = generator(seed, f"random weights\0{name}", 0)
        groups.setdefault(int(draw.integers(NETWORKS)), []).append(place)
    return groups
