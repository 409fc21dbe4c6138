"""Losses over soft targets, so that label smoothing and mixed samples need no case of their own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tasks.models.outputs import Head
from wam_core.scores import class_logits


def soft_targets(labels: Tensor, n_classes: int, smoothing: float) -> Tensor:
    """Probability of each class, shape (sample, class).

    Example:
        >>> soft_targets(torch.tensor([1]), 2, 0.2)
        tensor([[0.1000, 0.9000]])
    """
    hard = functional.one_hot(labels, n_classes).float()
    return (1 - smoothing) * hard + smoothing / n_classes


def mixed_pairs(n_samples: int, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A partner for every sample and the one share with which the batch is mixed (mixup).

    Zhang et al. 2018: the share is drawn from the beta distribution with both parameters alpha.
    """
    partner = torch.randperm(n_samples, generator=generator)
    seed = int(torch.randint(0, 2**62, (1,), generator=generator))
    share = float(np.random.default_rng(seed).beta(alpha, alpha))
    return partner, torch.tensor(share)


def soft_loss(output: Tensor, target: Tensor, weight: Tensor, head: Head) -> Tensor:
    """Weighted mean of the cross entropy.

    Args:
        target: Probability of each class, shape (sample, class).
        weight: Of each sample.
    """
    if head == "multiclass":
        losses = -(target * class_logits(output, head).log_softmax(1)).sum(1)
    else:
        logits = class_logits(output, head)
        wanted = target[:, 1] if head == "binary" else target
        chosen = logits[:, 1] if head == "binary" else logits
        losses = functional.binary_cross_entropy_with_logits(chosen, wanted, reduction="none")
        losses = losses.flatten(1).sum(1) if losses.ndim > 1 else losses
    return (weight * losses).sum() / weight.sum()
