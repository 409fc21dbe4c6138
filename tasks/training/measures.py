"""What a trained model reaches on test samples."""

from __future__ import annotations

from typing import Any

import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from tasks.training.config import TrainingConfig
from tasks.training.losses import soft_loss, soft_targets
from tasks.training.samples import LabelledSignals
from wam_core.scores import class_probabilities


def test_measures(
    network: nn.Module, samples: LabelledSignals, config: TrainingConfig
) -> dict[str, Any]:
    """Accuracy, loss, accuracy by class, and the area under the ROC curve for two classes."""
    output = forward_all(network, samples.signals, config.optimisation.batch_size)
    target = soft_targets(samples.labels, samples.n_classes, 0.0)
    loss = soft_loss(output, target, torch.ones(len(samples)), config.model.head)
    probabilities = class_probabilities(output, config.model.head)
    correct = probabilities.argmax(1) == samples.labels
    measures: dict[str, Any] = {
        "n": len(samples),
        "n_unreadable": len(samples.bad),
        "accuracy": float(correct.double().mean()),
        "loss": float(loss),
        "accuracy_by_class": {
            str(index): float(correct[samples.labels == index].double().mean())
            for index in samples.labels.unique().tolist()
        },
    }
    if probabilities.shape[1] == 2 and len(samples.labels.unique()) == 2:
        measures["auc"] = area_under_curve(probabilities[:, 1].double(), samples.labels == 1)
    return measures


def forward_all(network: nn.Module, signals: Tensor, batch_size: int) -> Tensor:
    """Output for every signal, in evaluation mode and without gradients, on the CPU."""
    network.eval()
    device = next(
        (tensor.device for tensor in (*network.parameters(), *network.buffers())),
        torch.device("cpu"),
    )
    with torch.no_grad():
        parts = [network(chunk.to(device)).float().cpu() for chunk in signals.split(batch_size)]
    return torch.cat(parts)


def area_under_curve(scores: Tensor, positive: Tensor) -> float:
    """Probability that a positive sample scores above a negative one, ties counting half.

    Example:
        >>> area_under_curve(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]) == 1)
        0.75
    """
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    ranks = rankdata(scores.numpy())[positive.numpy()].sum()
    return float((ranks - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))
