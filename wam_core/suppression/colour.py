"""Colour taken away while every edge stays where it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luminance of ITU-R BT.601."""


def mix_with_grey(
    signal: Float[Tensor, "batch channel *space"], alpha: int | float
) -> Float[Tensor, "batch channel *space"]:
    """Fade into grey: (1 - alpha) x + alpha grey(x).

    Grey is the luminance of three channels, taken as red, green and blue, and the mean of any
    other number.

    Args:
        alpha: From 0, the signal itself, to 1, equal channels.

    Raises:
        ValueError: If alpha is out of range.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha}")
    if signal.shape[1] == len(_LUMA):
        luma = torch.tensor(_LUMA, dtype=signal.dtype, device=signal.device)
        grey = (signal * luma.reshape(-1, *[1] * (signal.ndim - 2))).sum(1, keepdim=True)
    else:
        grey = signal.mean(1, keepdim=True)
    return torch.lerp(signal, grey.expand_as(signal), alpha)


def shuffle_channels(
    signal: Float[Tensor, "batch channel *space"], generators: Sequence[np.random.Generator]
) -> Float[Tensor, "batch channel *space"]:
    """Put the channels into a random order, other than the one they have.

    Raises:
        ValueError: If there is one channel.
    """
    channels = signal.shape[1]
    if channels < 2:
        raise ValueError("channels are shuffled, and the signal has one: it has no colour")
    rows = []
    for sample, generator in zip(signal, generators, strict=True):
        order = np.arange(channels)
        while np.array_equal(order, np.arange(channels)):
            order = generator.permutation(channels)
        rows.append(sample[torch.from_numpy(order).to(signal.device)])
    return torch.stack(rows)
