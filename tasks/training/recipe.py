"""The training loop: a fixed schedule, the last epoch, the same weights from the same recipe.

The test samples are looked at once, after the weights are saved, with the weights read back from
the file: what is measured is what is shipped.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tasks.locations import expand
from tasks.models.audited import Normalisation
from tasks.models.rules import resolve_preprocessing
from tasks.models.sources import build_model
from tasks.session import choose_device
from tasks.training.augmentations import attach, signal_augmentation
from tasks.training.config import TrainingConfig
from tasks.training.distillation import Distillation, distil
from tasks.training.losses import mixed_pairs, soft_loss, soft_targets
from tasks.training.measures import test_measures
from tasks.training.probes import embedded, probe_parts
from tasks.training.samples import LabelledSignals, check_separate, read_signals
from tasks.training.schedules import make_optimiser, make_schedule
from tasks.training.weights import read_into, save_weights


@dataclass(frozen=True)
class EpochReport:
    """Progress after an epoch.

    Attributes:
        epoch: 1 to `n_epochs`.
        loss: Mean over the epoch's samples, with augmentations.
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


EpochListener = Callable[[EpochReport], None]


def train(config: TrainingConfig, on_epoch: EpochListener | None = None) -> TrainingResult:
    """Train, save the weights of the last epoch, and test what was saved.

    Args:
        on_epoch: Called after each epoch.

    Raises:
        DatasetError: If samples cannot be read, have no label, or are in training and test.
        ModelError: If the model cannot be built.
    """
    begin = time.perf_counter()
    with _reproducible(config):
        device = choose_device(config.device)
        preprocessing = resolve_preprocessing(config.model)
        training = read_signals(config.training_dataset(), preprocessing, "training")
        test = read_signals(config.test_dataset(), preprocessing, "test")
        check_separate(training, test)
        if config.permute_labels:
            training = training.with_permuted_labels(config.seed)
        model = build_model(config.model, device).module
        normalisation = Normalisation(preprocessing).to(device)
        if config.probe is None:
            network = nn.Sequential(normalisation, model)
            trained: nn.Module = model
        else:
            embedding, trained = probe_parts(model, config.probe)
            frozen = nn.Sequential(normalisation, embedding)
            training = embedded(training, frozen, config.optimisation.batch_size)
            test = embedded(test, frozen, config.optimisation.batch_size)
            network = nn.Sequential(trained)
        losses = _fit(config, network, trained, training, on_epoch)
        weights = save_weights(trained, config)
        read_into(trained, weights)
        measures = test_measures(network, test, config)
        learned = test_measures(network, training, config) if config.permute_labels else {}
    metrics = {
        "name": config.name,
        "config": config.model_dump(mode="json"),
        "training": {"n": len(training), "digest": training.digest, "loss_by_epoch": losses}
        | ({"accuracy_on_permuted_labels": learned["accuracy"]} if learned else {}),
        "test": {"digest": test.digest, **measures},
        "n_parameters": sum(parameter.numel() for parameter in trained.parameters()),
        "torch": torch.__version__,
        "seconds": round(time.perf_counter() - begin, 1),
    }
    path = Path(expand(config.metrics))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    return TrainingResult(weights, path, metrics)


def _fit(
    config: TrainingConfig,
    network: nn.Module,
    trained: nn.Module,
    samples: LabelledSignals,
    on_epoch: EpochListener | None,
) -> list[float]:
    settings = config.optimisation
    generator = torch.Generator().manual_seed(config.seed)
    distillation = (
        None
        if config.distillation is None
        else distil(config.distillation, samples, trained, network, settings.batch_size)
    )
    batches_per_epoch = len(_batches(samples, settings.batch_size, generator=None))
    learned = nn.ModuleList([trained] if distillation is None else [trained, distillation])
    optimiser = make_optimiser(learned, settings)
    schedule = make_schedule(optimiser, settings, settings.epochs * batches_per_epoch)
    change = signal_augmentation(config.augmentations)
    losses = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(attach(trained, config.augmentations, generator))
        if distillation is not None and config.distillation is not None:
            stack.enter_context(distillation.listening(trained, config.distillation.student))
        for epoch in range(1, settings.epochs + 1):
            network.train()
            total = 0.0
            for rows in _batches(samples, settings.batch_size, generator):
                signal = change(samples.batch(rows), generator)
                loss = _step(config, network, signal, rows, samples, distillation, generator)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
                total += float(loss.detach()) * len(rows)
            losses.append(total / len(samples))
            if on_epoch is not None:
                on_epoch(EpochReport(epoch, settings.epochs, losses[-1]))
    network.eval()
    return losses


def _step(
    config: TrainingConfig,
    network: nn.Module,
    signal: Tensor,
    rows: Tensor,
    samples: LabelledSignals,
    distillation: Distillation | None,
    generator: torch.Generator,
) -> Tensor:
    """Loss of one batch, mixed in pairs if the recipe says so."""
    settings = config.optimisation
    labels = samples.labels[rows]
    features = None if distillation is None else distillation.targets[rows]
    target = soft_targets(labels, samples.n_classes, settings.label_smoothing)
    weight = samples.class_weights[labels] if settings.balanced else torch.ones(len(labels))
    if settings.mixup:
        partner, share = mixed_pairs(len(labels), settings.mixup, generator)
        signal = share * signal + (1 - share) * signal[partner]
        target = share * target + (1 - share) * target[partner]
        weight = share * weight + (1 - share) * weight[partner]
        if features is not None:
            features = share * features + (1 - share) * features[partner]
    device = next(network.parameters()).device
    output = network(signal.to(device))
    loss = soft_loss(output, target.to(device), weight.to(device), config.model.head)
    if distillation is None or features is None:
        return loss
    return loss + distillation.loss(features)


def _batches(
    samples: LabelledSignals, size: int, generator: torch.Generator | None
) -> list[Tensor]:
    """Rows of every batch in random order; a last batch of one joins the one before it."""
    order = (
        torch.arange(len(samples))
        if generator is None
        else torch.randperm(len(samples), generator=generator)
    )
    batches = list(order.split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        last = batches.pop()
        batches[-1] = torch.cat([batches[-1], last])
    return batches


@contextlib.contextmanager
def _reproducible(config: TrainingConfig) -> Iterator[None]:
    """Seeds, threads and deterministic kernels for the run, and as they were afterwards."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            yield
    finally:
        torch.use_deterministic_algorithms(strict)
        torch.set_num_threads(threads)
