"""The audited module: normalisation, the model as it is, and the choice of its output."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from tasks.models.gradient_layout import align_gradients
from tasks.models.outputs import Head, check_scores, select_output
from tasks.preprocessing import Preprocessing


class Normalisation(nn.Module):
    """From data space to what the model was trained on; differentiable.

    Channels are put in the model's order, values are scaled, the mean is subtracted and the result
    divided by the standard deviation. The output is always a new tensor, so in-place operations of
    the model never reach the signal.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.reverses_channels = preprocessing.channel_order == "bgr"
        self.scale = preprocessing.scale
        self.register_buffer("mean", _per_channel(preprocessing.mean or (0.0,), preprocessing))
        self.register_buffer("std", _per_channel(preprocessing.std or (1.0,), preprocessing))

    def forward(self, signal: Tensor) -> Tensor:
        """Normalise signals of shape (batch, channel, *space)."""
        ordered = signal.flip(1) if self.reverses_channels else signal
        scaled = ordered if self.scale == 1 else ordered * self.scale
        return (scaled - self.mean) / self.std


class AuditedModel(nn.Module):
    """Maps signals in data space to class scores; always in evaluation mode.

    Attributes:
        model: The user's model; its numbers are its own (see `align_gradients`).
        output: Which of its outputs holds the class scores; see `select_output`.
        channels_last: Hand 2D signals over in that memory format.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocessing: Preprocessing,
        *,
        output: int | str | None,
        head: Head,
        channels_last: bool,
    ) -> None:
        super().__init__()
        self.normalisation = Normalisation(preprocessing)
        self.model = model
        self.output = output
        self.head: Head = head
        self.channels_last = channels_last
        for module in self.modules():
            module.training = False
        align_gradients(model)

    def forward(self, signal: Tensor) -> Tensor:
        """Class scores of signals with shape (batch, channel, *space)."""
        normalised = self.normalisation(signal)
        if self.channels_last and normalised.ndim == 4:
            normalised = normalised.contiguous(memory_format=torch.channels_last)
        scores = select_output(self.model(normalised), self.output)
        check_scores(scores, self.head, len(signal))
        return scores

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: an audit never trains, and exported programs cannot switch."""
        return self


def _per_channel(values: tuple[float, ...], preprocessing: Preprocessing) -> Tensor:
    n_space = len(preprocessing.spatial_shape)
    return torch.tensor(values, dtype=torch.float32).reshape(1, -1, *[1] * n_space)
