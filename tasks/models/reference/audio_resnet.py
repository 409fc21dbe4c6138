"""A small residual network on log-mel spectrograms, trained on ESC-10 by a recipe of ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from tasks.models.reference.mel import LogMel, Resampler
from tasks.models.reference.residual import ResidualBlock

Pooling = Literal["mean", "mean_and_maximum"]


class SpectrogramFrontEnd(nn.Module):
    """Resampling, log-mel spectrogram, and a normalisation learned in training.

    Args:
        sample_rate: Of the waveform.
        rate: At which the spectrogram is taken.
    """

    def __init__(
        self, sample_rate: int, rate: int, n_fft: int, hop: int, n_mels: int, offset: float
    ) -> None:
        super().__init__()
        self.resampler = Resampler(sample_rate, rate)
        self.log_mel = LogMel(rate, n_fft, n_fft, hop, n_mels, offset=offset)
        self.norm = nn.BatchNorm1d(n_mels)

    def forward(self, waveform: Tensor) -> Tensor:
        """From (batch, 1, sample) to (batch, 1, mel, frame)."""
        bands = self.norm(self.log_mel(self.resampler(waveform[:, 0])))
        return bands[:, None]


class AudioResNet(nn.Module):
    """Front end, stem, residual stages, pooling over frequency and time, dropout, linear head.

    Frequency is pooled by its mean; time by its mean, or by the sum of mean and maximum, in which a
    short sound in a long clip does not drown (Kong et al. 2020).

    Attributes:
        sample_rate: Of the waveforms it takes, in Hz; an audit compares it with the dataset's.
    """

    def __init__(
        self,
        front_end: SpectrogramFrontEnd,
        sample_rate: int,
        num_classes: int,
        widths: Sequence[int],
        blocks_per_stage: int,
        dropout: float,
        pooling: Pooling,
    ) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.pooling = pooling
        self.front_end = front_end
        self.stem = nn.Sequential(
            nn.Conv2d(1, widths[0], 3, 2, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        )
        blocks: list[nn.Module] = []
        current = widths[0]
        for stage, width in enumerate(widths):
            for index in range(blocks_per_stage):
                blocks.append(ResidualBlock(2, current, width, 2 if stage and not index else 1))
                current = width
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(current, num_classes)
        # Half the time of a pass on a CPU.
        self.to(memory_format=torch.channels_last)

    def forward(self, waveform: Tensor) -> Tensor:
        """Logits of shape (batch, class) for waveforms (batch, 1, sample)."""
        bands = self.front_end(waveform).contiguous(memory_format=torch.channels_last)
        maps = self.blocks(self.stem(bands))
        features = maps.mean((2, 3))
        if self.pooling == "mean_and_maximum":
            features = features + maps.mean(2).amax(2)
        return self.head(self.dropout(features))


def audio_resnet(
    num_classes: int = 10,
    sample_rate: int = 44_100,
    rate: int = 22_050,
    n_fft: int = 2048,
    hop: int = 1024,
    n_mels: int = 64,
    offset: float = 1e-5,
    widths: Sequence[int] = (24, 48, 96, 128),
    blocks_per_stage: int = 1,
    dropout: float = 0.2,
    pooling: Pooling = "mean_and_maximum",
) -> AudioResNet:
    """The reference network, to be named as a factory in a configuration.

    Args:
        sample_rate: Of the waveforms; they are resampled to `rate` within the model.
        widths: Channels of each stage; every stage but the first halves mel bands and frames.
        pooling: Over time.

    Example:
        >>> sum(weight.numel() for weight in audio_resnet().parameters())
        445394
    """
    front_end = SpectrogramFrontEnd(sample_rate, rate, n_fft, hop, n_mels, offset)
    return AudioResNet(
        front_end, sample_rate, num_classes, widths, blocks_per_stage, dropout, pooling
    )
