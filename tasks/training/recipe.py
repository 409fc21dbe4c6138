"""Training by a recipe. (Under construction: the signatures are final.)"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.training.config import TrainingConfig


@dataclass(frozen=True)
class EpochReport:
    """Progress after an epoch.

    Attributes:
        epoch: 1 to `n_epochs`.
        loss: Mean over the epoch's batches, with augmentations.
    """

    epoch: int
    n_epochs: int
    loss: float


@dataclass(frozen=True)
class TrainingResult:
    """What a run left behind.

    Attributes:
        weights: The .safetensors file.
        metrics_file: The JSON file.
        metrics: Its content: accuracy, auc where there are two classes, loss, and n of the test.
    """

    weights: Path
    metrics_file: Path
    metrics: dict[str, Any]


def train(
    config: TrainingConfig, on_epoch: Callable[[EpochReport], None] | None = None
) -> TrainingResult:
    """Train, save the weights of the last epoch, and test what was saved.

    Args:
        on_epoch: Called after each epoch.
    """
    raise NotImplementedError
