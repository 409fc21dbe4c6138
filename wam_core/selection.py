"""The most important coefficients of a signal, and where their importance lies in it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from wam_core.basis import CoefficientLayout
from wam_core.transform import WaveletCoefficients


def keep_most_important(
    coefficients: WaveletCoefficients,
    importance: Float[Tensor, "batch coefficient"],
    fraction: float,
) -> WaveletCoefficients:
    """Zero all but the most important coefficients, the same ones in every channel.

    Args:
        coefficients: Shape (batch, channel, coefficient).
        importance: Non-negative; its order decides.
        fraction: Fraction kept, in [0, 1].

    Raises:
        ValueError: If the fraction is out of range.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must be in [0, 1], got {fraction}")
    kept = round(fraction * importance.shape[-1])
    mask = torch.zeros_like(importance)
    mask.scatter_(-1, importance.topk(kept, dim=-1).indices, 1.0)
    return coefficients.replace(coefficients.flat * mask[:, None])


def importance_maps(attribution: WaveletCoefficients) -> Float[Tensor, "batch level *space"]:
    """Importance of each level at each point of the signal, finest level first.

    Every point gets the importance of the coefficient whose filter is centred nearest to it, spread
    over the points of that coefficient: a map sums to about the level's importance. Channels and
    orientations are added after the absolute value.
    """
    layout = attribution.layout
    magnitude = attribution.replace(attribution.flat.abs().sum(1))
    maps = []
    for level_name in layout.level_names:
        bands = layout.bands_of(level_name)
        total = torch.stack([magnitude[band] for band in bands]).sum(0)
        level = bands[0].level
        for axis, size in enumerate(layout.space, start=1):
            positions = nearest_coefficients(layout, level, size, total.shape[axis])
            total = total.index_select(axis, positions.to(total.device))
        maps.append(total / 2 ** (level * layout.ndim))
    return torch.stack(maps, dim=1)


def nearest_coefficients(
    layout: CoefficientLayout, level: int, size: int, band_size: int
) -> Tensor:
    """For each point of an axis, the index of the coefficient centred nearest to it.

    Coefficient k of one analysis step of a filter with L taps is centred on 2k + 1 - (L - 1) / 2;
    deeper levels repeat the step.
    """
    shift = 1 - (layout.basis.taps - 1) / 2
    centre_of_first = shift * (2**level - 1)
    points = torch.arange(size, dtype=torch.float64)
    nearest = torch.round((points - centre_of_first) / 2**level - 1e-9).long()
    return nearest.clamp(0, band_size - 1)
