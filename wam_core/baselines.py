"""Where a path of integrated gradients starts, and what stands for removed coefficients.

Baselines are named in data space. A zero tensor after normalisation is the mean colour, not black;
so the baseline is chosen before the model normalises.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

BaselineKind = Literal["zero", "mean", "blur"]
AbsentKind = Literal["sample_mean", "zero"]

BLUR_FRACTION = 1 / 20
"""Standard deviation of the blurred baseline over the length of each axis."""


def baseline(
    kind: BaselineKind,
    signal: Float[Tensor, "batch channel *space"],
    data_mean: Sequence[float] = (),
) -> Float[Tensor, "batch channel *space"]:
    """The baseline for each signal.

    Args:
        kind: `zero` is black, silence or an empty volume, and has zero coefficients; `mean` is the
            value the model normalises to zero, as in the published code; `blur` is the signal
            under a Gaussian of a twentieth of each axis.
        data_mean: The value per channel for `mean`; empty means zero.

    Raises:
        ValueError: If the kind is unknown, or `data_mean` does not have one value per channel.
    """
    if kind == "zero":
        return torch.zeros_like(signal)
    if kind == "mean":
        channels = signal.shape[1]
        values = tuple(data_mean) or (0.0,) * channels
        if len(values) != channels:
            raise ValueError(f"expected {channels} mean values, one per channel; got {len(values)}")
        mean = signal.new_tensor(values).reshape(1, channels, *[1] * (signal.ndim - 2))
        return mean.expand_as(signal).clone()
    if kind == "blur":
        return gaussian_blur(signal, [BLUR_FRACTION * size for size in signal.shape[2:]])
    raise ValueError(f"baseline must be zero, mean or blur; got '{kind}'")


def absent_signal(
    kind: AbsentKind, signal: Float[Tensor, "batch channel *space"], support: Tensor | None = None
) -> Float[Tensor, "batch channel *space"]:
    """What is left of a signal whose coefficients are all removed; zero in the padding.

    Args:
        kind: `sample_mean` (see there), or `zero`.
        support: 1 before the padding and 0 in it, shape (batch, 1, sample).
    """
    return torch.zeros_like(signal) if kind == "zero" else sample_mean(signal, support)


def sample_mean(
    signal: Float[Tensor, "batch channel *space"], support: Tensor | None = None
) -> Float[Tensor, "batch channel *space"]:
    """The mean of every channel of a sample, everywhere: its brightness and nothing else.

    Args:
        support: 1 before the padding and 0 in it, shape (batch, 1, sample); the mean is taken
            before the padding, and the padding stays zero.
    """
    axes = tuple(range(2, signal.ndim))
    if support is None:
        return signal.mean(axes, keepdim=True).expand_as(signal)
    mean = (signal * support).sum(axes, keepdim=True) / support.sum(axes, keepdim=True)
    return mean * support


def gaussian_blur(
    signal: Float[Tensor, "batch channel *space"], deviations: Sequence[float]
) -> Float[Tensor, "batch channel *space"]:
    """Gaussian blur along every spatial axis, borders repeated; deviations in samples."""
    for axis, deviation in enumerate(deviations, start=2):
        radius = max(1, round(3 * deviation))
        offsets = torch.arange(-radius, radius + 1, device=signal.device, dtype=signal.dtype)
        kernel = torch.exp(-0.5 * (offsets / max(deviation, 1e-6)) ** 2)
        kernel = (kernel / kernel.sum()).reshape(1, 1, -1)
        lines = signal.movedim(axis, -1)
        rows = lines.reshape(-1, 1, lines.shape[-1])
        rows = functional.pad(rows, (radius, radius), mode="replicate")
        signal = functional.conv1d(rows, kernel).reshape(lines.shape).movedim(-1, axis)
    return signal
