"""AdamW and the learning rate over the steps of a run."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from tasks.training.config import OptimisationConfig


def make_optimiser(module: nn.Module, settings: OptimisationConfig) -> torch.optim.Optimizer:
    """AdamW; biases and the parameters of normalisation layers do not decay."""
    decaying = [weight for weight in module.parameters() if weight.ndim > 1]
    others = [weight for weight in module.parameters() if weight.ndim <= 1]
    groups = [
        {"params": decaying, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return AdamW([group for group in groups if group["params"]], lr=settings.learning_rate)


def make_schedule(
    optimiser: torch.optim.Optimizer, settings: OptimisationConfig, n_steps: int
) -> LRScheduler:
    """The learning rate of each step, up to `n_steps`."""
    if settings.schedule == "one_cycle":
        return OneCycleLR(
            optimiser,
            max_lr=settings.learning_rate,
            total_steps=n_steps + 1,
            pct_start=max(settings.warmup_fraction, 1 / (n_steps + 1)),
        )
    warmup = settings.warmup_fraction * n_steps if settings.schedule == "cosine" else 0

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if settings.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / (n_steps - warmup))))

    return LambdaLR(optimiser, factor)
