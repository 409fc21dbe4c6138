"""A small residual network for volumes.

Every convolution of stride 2 is odd-sized and overlapping, so that the finest wavelet level reaches
the scores; a network that pooled 64 voxels to 32 by averaging would be blind to it by construction.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from tasks.models.reference.residual import ResidualBlock


class VolumeResNet(nn.Module):
    """Stem of stride 2, residual stages of stride 2, mean over space, dropout, linear head.

    Any size passes, cubic or not, from 9 voxels per axis with three stages.

    Args:
        channels: Channels of the volume.
        stem: Channels after the stem.
        widths: Channels of each stage.
        depths: Blocks of each stage.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int,
        stem: int,
        widths: Sequence[int],
        depths: Sequence[int],
        dropout: float,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(channels, stem, 3, 2, padding=1, bias=False),
            nn.BatchNorm3d(stem),
            nn.ReLU(),
        )
        blocks: list[nn.Module] = []
        current = stem
        for width, depth in zip(widths, depths, strict=True):
            for index in range(depth):
                blocks.append(ResidualBlock(3, current, width, 2 if index == 0 else 1))
                current = width
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(current, num_classes)

    def forward(self, volume: Tensor) -> Tensor:
        """Logits of shape (batch, class) for volumes (batch, channel, depth, height, width)."""
        features = self.blocks(self.stem(volume))
        return self.head(self.dropout(features.mean((2, 3, 4))))


def volume_resnet(
    num_classes: int = 2,
    channels: int = 1,
    stem: int = 8,
    widths: Sequence[int] = (16, 32, 64),
    depths: Sequence[int] = (1, 1, 2),
    dropout: float = 0.2,
) -> VolumeResNet:
    """The reference network for 64 x 64 x 64 voxels, to be named as a factory in a configuration.

    Example:
        >>> sum(weight.numel() for weight in volume_resnet().parameters())
        442890
    """
    return VolumeResNet(num_classes, channels, stem, widths, depths, dropout)
