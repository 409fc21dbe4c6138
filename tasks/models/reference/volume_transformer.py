"""A small transformer for volumes: a convolutional stem makes tokens, attention relates them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class TransformerBlock(nn.Module):
    """Self-attention and a two-layer perceptron, each after a layer norm and beside a shortcut."""

    def __init__(self, width: int, n_heads: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, expansion * width),
            nn.GELU(),
            nn.Linear(expansion * width, width),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """From (batch, token, width) to the same shape."""
        tokens = tokens + self.dropout(self._attend(self.attention_norm(tokens)))
        return tokens + self.dropout(self.perceptron(tokens))

    def _attend(self, tokens: Tensor) -> Tensor:
        batch, count, width = tokens.shape
        heads = self.query_key_value(tokens).reshape(batch, count, 3, self.n_heads, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = scaled_dot_product_attention(query, key, value)
        return self.projection(mixed.transpose(1, 2).reshape(batch, count, width))


class VolumeTransformer(nn.Module):
    """Overlapping convolutions of stride 2, tokens with learned positions, attention, mean, head.

    Args:
        size: Voxels per axis; positions are learned for it, so other sizes do not pass.
        stem: Channels after each convolution; the last becomes the tokens' width.
        depth: Blocks of attention.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int,
        size: Sequence[int],
        stem: Sequence[int],
        width: int,
        depth: int,
        n_heads: int,
        expansion: int,
        dropout: float,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        current, grid = channels, torch.tensor(list(size))
        for channels_out in (*stem, width):
            layers += [
                nn.Conv3d(current, channels_out, 3, 2, padding=1, bias=False),
                nn.BatchNorm3d(channels_out),
                nn.GELU(),
            ]
            current, grid = channels_out, (grid + 1) // 2
        self.stem = nn.Sequential(*layers)
        self.positions = nn.Parameter(0.02 * torch.randn(1, int(grid.prod()), width))
        self.blocks = nn.Sequential(
            *(TransformerBlock(width, n_heads, expansion, dropout) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, volume: Tensor) -> Tensor:
        """Logits of shape (batch, class) for volumes (batch, channel, depth, height, width)."""
        tokens = self.stem(volume).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.blocks(tokens)).mean(1))


def volume_transformer(
    num_classes: int = 2,
    channels: int = 1,
    size: Sequence[int] = (64, 64, 64),
    stem: Sequence[int] = (8, 16, 24),
    width: int = 96,
    depth: int = 4,
    n_heads: int = 4,
    expansion: int = 2,
    dropout: float = 0.1,
) -> VolumeTransformer:
    """The reference network for 64 x 64 x 64 voxels, to be named as a factory in a configuration.

    Example:
        >>> sum(weight.numel() for weight in volume_transformer().parameters())
        382202
    """
    return VolumeTransformer(
        num_classes, channels, size, stem, width, depth, n_heads, expansion, dropout
    )
