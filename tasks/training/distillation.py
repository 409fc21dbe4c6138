"""Learn a teacher's features along with the labels (Hinton et al. 2015; Romero et al. 2015).

A few hundred labelled samples say little; the features of a model that has heard millions say more
about each. They are computed once per training sample, standardised, and predicted from the
student's own features by a linear map that is trained along and thrown away.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.errors import ConfigError
from tasks.models.audited import Normalisation
from tasks.models.rules import resolve_preprocessing
from tasks.models.sources import build_model
from tasks.training.config import DistillationConfig
from tasks.training.measures import forward_all
from tasks.training.samples import LabelledSignals

_FLAT = 1e-3  # features that hardly vary over the samples are not blown up


class Distillation(nn.Module):
    """The teacher's features of the training samples, and the map that predicts them.

    Args:
        targets: Standardised features, shape (sample, feature).
        n_features: Of the student.
        weight: Of the loss.
    """

    targets: Tensor

    def __init__(self, targets: Tensor, n_features: int, weight: float) -> None:
        super().__init__()
        self.register_buffer("targets", targets)
        self.linear = nn.Linear(n_features, targets.shape[1])
        self.weight = weight
        self._features: Tensor | None = None

    def loss(self, targets: Tensor) -> Tensor:
        """Weighted mean squared error for the batch that has just passed through the student."""
        assert self._features is not None, "the student has not been run"
        return self.weight * functional.mse_loss(self.linear(self._features), targets)

    @contextlib.contextmanager
    def listening(self, student: nn.Module, name: str) -> Iterator[None]:
        """Take the student's features, the input of one of its submodules, at every pass."""

        def take(features: Tensor) -> None:
            self._features = features

        with _tapped(student, name, take):
            yield


def distil(
    config: DistillationConfig,
    samples: LabelledSignals,
    student: nn.Module,
    network: nn.Module,
    batch_size: int,
) -> Distillation:
    """Run the teacher over the training samples.

    Args:
        student: What is trained.
        network: The student behind its normalisation, from the signals to the output.

    Raises:
        ConfigError: If the teacher or the student has no such submodule.
        ModelError: If the teacher cannot be built.
    """
    device = next(student.parameters()).device
    teacher = build_model(config.teacher, device).module.eval()
    normalisation = Normalisation(resolve_preprocessing(config.teacher)).to(device)
    embedding = _submodule(teacher, config.embedding, "teacher")
    features = forward_all(
        nn.Sequential(normalisation, embedding), samples.signals, batch_size
    ).flatten(1)
    deviation, mean = torch.std_mean(features, dim=0)
    targets = (features - mean) / (deviation + _FLAT)
    n_features = _n_features(student, config.student, network, samples.signals[:1])
    return Distillation(targets, n_features, config.weight).to(device)


def _n_features(student: nn.Module, name: str, network: nn.Module, signals: Tensor) -> int:
    found: list[int] = []
    with _tapped(student, name, lambda features: found.append(features.shape[1])):
        forward_all(network, signals, 1)
    return found[0]


@contextlib.contextmanager
def _tapped(student: nn.Module, name: str, take: Callable[[Tensor], None]) -> Iterator[None]:
    def hook(_module: nn.Module, inputs: Any) -> None:
        take(inputs[0].flatten(1))

    handle = _submodule(student, name, "student").register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _submodule(module: nn.Module, name: str, whose: str) -> nn.Module:
    known = dict(module.named_modules())
    if name not in known:
        children = ", ".join(child for child, _ in module.named_children())
        raise ConfigError(f"distillation: the {whose} has no submodule '{name}'; it has {children}")
    return known[name]
