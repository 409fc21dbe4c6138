"""The residual block that the reference networks share, in two and three dimensions."""

from __future__ import annotations

from torch import Tensor, nn

_LAYERS: dict[int, tuple[type[nn.Module], type[nn.Module], type[nn.Module]]] = {
    2: (nn.Conv2d, nn.BatchNorm2d, nn.AvgPool2d),
    3: (nn.Conv3d, nn.BatchNorm3d, nn.AvgPool3d),
}


class ResidualBlock(nn.Module):
    """Two convolutions of size 3 beside a shortcut.

    Args:
        ndim: Number of axes that are convolved, 2 or 3.
        stride: Of the first convolution and of the shortcut.
    """

    def __init__(self, ndim: int, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        convolution, normalisation, pooling = _LAYERS[ndim]
        self.first = convolution(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.first_norm = normalisation(channels_out)
        self.second = convolution(channels_out, channels_out, 3, padding=1, bias=False)
        self.second_norm = normalisation(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            # A 1x1 convolution of stride 2 would skip points; with four channels in channels-last
            # format its backward pass also corrupts memory (2D, PyTorch 2.14 on CPUs).
            self.shortcut = nn.Sequential(
                pooling(stride, ceil_mode=True) if stride > 1 else nn.Identity(),
                convolution(channels_in, channels_out, 1, bias=False),
                normalisation(channels_out),
            )
        self.activation = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """From (batch, channel, *space) to the same with the block's channels and stride."""
        inner = self.activation(self.first_norm(self.first(features)))
        inner = self.second_norm(self.second(inner))
        output: Tensor = self.activation(inner + self.shortcut(features))
        return output
