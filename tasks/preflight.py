"""One batch through everything before the first shard, so that failures come early.

It says what the model returns, whether the labels look like the model's, whether the basis is
lossless at this size, whether a gradient reaches the input, and what the audit will cost.
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tasks.config import AuditConfig
from tasks.errors import DatasetError, ModelError
from tasks.explain import Prediction, explain, predict, target_score
from tasks.planning import total_passes
from tasks.session import AuditSession
from wam_core.input_gradients import input_gradient, positions
from wam_core.sums import band_counts, interior_counts, level_sums
from wam_core.transform import decompose, reconstruct

_HANDFUL = 16
_LOSSLESS, _TOO_LOSSY = 1e-5, 0.02
"""Of a signal's range. One wavelet, dmey, loses 0.5 % by design: its filters are truncated."""

_SAME_GRADIENT = 0.02
"""Norm of the difference of a sample's gradients, alone and in a batch, over their own: rounding in
half precision stays below; a layer that mixes samples, or misreads a batch of one, does not."""

_FEW_INSIDE = 0.25
"""Part of a level's coefficients below which statistics without the border deserve a warning."""

_BACKWARD_COST = 3
"""Time of a pass forward and backward over that of a pass forward alone, roughly."""


@dataclass(frozen=True)
class Preflight:
    """What one batch showed.

    Attributes:
        output_shape: Shape of the model's output for the batch.
        n_classes: Number of classes.
        n_tried: Samples passed through the model.
        accuracy: Share of them predicted as labelled; None without labels.
        chance: Accuracy of guessing.
        reconstruction_error: Largest error of transform and inverse over the signal's range.
        seconds_per_sample: Time of everything that is done with one sample, on average.
        estimated_seconds: For all samples, on one worker.
        bytes_per_sample: Memory of the process or device per sample of a batch, roughly.
        warnings: What a person should look at.
    """

    output_shape: tuple[int, ...]
    n_classes: int
    n_tried: int
    accuracy: float | None
    chance: float
    reconstruction_error: float
    seconds_per_sample: float
    estimated_seconds: float
    bytes_per_sample: int
    warnings: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """As plain JSON data."""
        return asdict(self)


def preflight(session: AuditSession) -> Preflight:
    """Run one batch of samples spread over the manifest through every step.

    Raises:
        DatasetError: If none of the samples can be read.
        ModelError: If the model fails, its output or the labels do not fit, or no gradient reaches
            the input.
    """
    rows, signal = _read_handful(session)
    try:
        prediction = predict(session.model, signal)
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"the model cannot take a batch of shape {tuple(signal.shape)}: {error}"
        ) from error
    _check_labels(session, prediction)
    loss = _reconstruction_error(session, signal)
    per_pass, n_bytes = _time_pass(session, rows, signal, prediction)
    accuracy, chance = _accuracy(session, rows, prediction)
    passes = total_passes(session, session.shards)
    seconds = per_pass * (passes.backward + passes.forward / _BACKWARD_COST)
    return Preflight(
        output_shape=tuple(prediction.logits.shape),
        n_classes=prediction.logits.shape[1],
        n_tried=len(rows),
        accuracy=accuracy,
        chance=chance,
        reconstruction_error=loss,
        seconds_per_sample=seconds / len(session.manifest.table),
        estimated_seconds=seconds / session.config.execution.workers,
        bytes_per_sample=n_bytes,
        warnings=(
            *_warnings(prediction, accuracy, chance, len(rows), loss),
            *_batch_warnings(session, signal, prediction),
            *_border_warnings(session),
        ),
    )


def _read_handful(session: AuditSession) -> tuple[list[int], Tensor]:
    n_samples = len(session.manifest.table)
    wanted = np.unique(np.linspace(0, n_samples - 1, min(_HANDFUL, n_samples)).astype(int))
    rows, signals, failures = [], [], []
    for row in wanted.tolist():
        sample = session.reader.read(row)
        if sample.signal is None:
            failures.append(sample.detail)
        else:
            rows.append(row)
            signals.append(sample.signal)
    if not signals:
        raise DatasetError(
            f"none of {len(wanted)} samples tried can be read; the first says: {failures[0]}"
        )
    return rows, torch.from_numpy(np.stack(signals)).to(session.device)


def _check_labels(session: AuditSession, prediction: Prediction) -> None:
    n_classes = prediction.logits.shape[1]
    labels = session.manifest.table["label"].dropna()
    chosen = session.config.attribution.target_class
    if chosen is not None and chosen >= n_classes:
        raise ModelError(
            f"attribution.target_class is {chosen}, but the model has {n_classes} classes"
        )
    targets = session.manifest.table["target"].dropna()
    largest = max([int(values.max()) for values in (labels, targets) if len(values)], default=0)
    if largest >= n_classes:
        raise ModelError(
            f"labels go up to {largest}, but the model's output has shape "
            f"{tuple(prediction.logits.shape)}: {n_classes} classes, 0 to {n_classes - 1}. Give "
            "dataset.class_map the model's class indices, or choose the model these labels "
            "belong to."
        )


def _reconstruction_error(session: AuditSession, signal: Tensor) -> float:
    rebuilt = reconstruct(decompose(signal, session.layout.basis))
    spread = float(signal.max() - signal.min()) or 1.0
    error = float((rebuilt - signal).abs().max()) / spread
    if error > _TOO_LOSSY:
        raise ModelError(
            f"basis: transform and inverse of '{session.layout.basis.wavelet}' lose {error:.1e} of "
            f"the range at size {session.layout.space}; at most {_TOO_LOSSY:.0e} is accepted. "
            "Choose another wavelet."
        )
    return error


def _time_pass(
    session: AuditSession, rows: list[int], signal: Tensor, prediction: Prediction
) -> tuple[float, int]:
    """Seconds of one pass forward and backward, and bytes per sample, of a short probe."""
    config = session.config
    batch = signal[: config.execution.max_batch]
    # Which class is explained does not change the cost.
    targets = prediction.predicted[: len(batch)]
    ids = [f"preflight-{row}" for row in rows][: len(batch)]
    probe = config.with_passes(2)
    before = _memory(session.device)
    try:
        elapsed = min(_timed_explanation(session, probe, batch, targets, ids) for _ in range(2))
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"attribution fails on the first batch: {error}") from error
    cost = probe.attribution.n_backward + probe.attribution.n_forward / _BACKWARD_COST
    per_pass = elapsed / (len(batch) * cost)
    n_bytes = max(0, _memory(session.device) - before) // len(batch)
    return per_pass, n_bytes


def _timed_explanation(
    session: AuditSession, probe: AuditConfig, batch: Tensor, targets: Tensor, ids: list[str]
) -> float:
    size = session.config.execution.max_batch
    begin = time.perf_counter()
    explain(probe, session.model, session.layout, batch, targets, ids, size)
    return time.perf_counter() - begin


def _accuracy(
    session: AuditSession, rows: list[int], prediction: Prediction
) -> tuple[float | None, float]:
    n_classes = prediction.logits.shape[1]
    labels = session.manifest.table["label"].iloc[rows]
    known = labels.notna().to_numpy(dtype=bool)
    if not known.any():
        return None, 1 / n_classes
    predicted = prediction.predicted.numpy()[known]
    return float((predicted == labels[known].to_numpy(dtype="int64")).mean()), 1 / n_classes


def _warnings(
    prediction: Prediction, accuracy: float | None, chance: float, n_tried: int, error: float
) -> list[str]:
    warnings = []
    if not bool(prediction.finite.all()):
        warnings.append("the model's output is not finite for some samples")
    if accuracy is not None and n_tried >= 8 and accuracy <= chance + min(chance, 0.1):
        warnings.append(
            f"accuracy on {n_tried} samples is {accuracy:.2f}, near chance ({chance:.3f}): are the "
            "labels the model's class indices, and is the preprocessing the model's?"
        )
    if error > _LOSSLESS:
        warnings.append(
            f"transform and inverse lose {error:.1e} of the range: sums over coefficients are not "
            "exactly those over the signal"
        )
    return warnings


def _batch_warnings(session: AuditSession, signal: Tensor, prediction: Prediction) -> list[str]:
    """A sample whose gradient depends on the samples beside it cannot be explained repeatably."""
    pair = signal[:2]
    finite = bool(prediction.finite[:2].all())
    if len(pair) < 2 or session.config.execution.max_batch < 2 or not finite:
        return []
    # Two classes: a mixture of scores of one class may have the gradient of its parts.
    targets = (prediction.predicted[0] + torch.arange(2)) % prediction.logits.shape[1]
    try:
        together = _gradient(session, pair, targets)
    except torch.OutOfMemoryError:  # then every sample is passed alone
        return []
    alone = torch.cat(
        [_gradient(session, pair[:1], targets[:1]), _gradient(session, pair[1:], targets[1:])]
    )
    size = float(together.norm())
    difference = float((alone - together).norm())
    if difference <= _SAME_GRADIENT * size:
        return []
    return [
        "the gradients of a sample alone and in a batch of two differ by "
        f"{difference / size:.2g} of their norm, so attributions depend on how samples are "
        "batched: does the model mix the samples of a batch, or normalise them by functions "
        "instead of layers (on CPUs, PyTorch's functional.batch_norm can misread the gradient of "
        "a batch of one)?"
    ]


def _gradient(session: AuditSession, signal: Tensor, targets: Tensor) -> Tensor:
    score = target_score(session.config, session.model, signal, targets)
    sample = positions(slice(0, len(signal)), signal)
    return input_gradient(score, signal, sample).float()


def _border_warnings(session: AuditSession) -> list[str]:
    """Levels of which hardly anything is left without the coefficients at the border."""
    if session.config.analyses.reliance.border == "include":
        return []
    layout = session.layout
    counts = (band_counts(layout), interior_counts(layout))
    sizes, left = (level_sums(each, layout).tolist() for each in counts)
    few = [
        f"{int(inside)} of {int(size)} in {level if level == 'approximation' else f'level {level}'}"
        for level, size, inside in zip(layout.level_names, sizes, left, strict=True)
        if inside < _FEW_INSIDE * size
    ]
    if not few:
        return []
    return [
        f"analyses.reliance.border: exclude leaves few coefficients: {', '.join(few)}; use a "
        "shorter wavelet or fewer levels, or read these levels as the middle of the signal alone"
    ]


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
