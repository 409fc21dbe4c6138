"""Maps carried from one domain to another, so that methods of both meet the same removals."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from wam_core.basis import Band, CoefficientLayout
from wam_core.selection import nearest_coefficients, spread_over_points
from wam_core.transform import WaveletCoefficients


def to_points(
    importance: Float[Tensor, "batch coefficient"], layout: CoefficientLayout
) -> Float[Tensor, "batch point"]:
    """Importance of the points of a signal, from that of its coefficients, with its sign.

    A coefficient's importance is spread evenly over the points that are nearest to the centre of
    its wavelet (`spread_over_points`); all levels are added.
    """
    maps = spread_over_points(WaveletCoefficients(importance, layout))
    return maps.sum(1).flatten(1)


def to_coefficients(
    importance: Float[Tensor, "batch point"], layout: CoefficientLayout
) -> Float[Tensor, "batch coefficient"]:
    """Importance of coefficients from a map over points: its mean where each coefficient lies.

    A map of the input says where, not at which scale: all levels and orientations get the same.
    Gradients with respect to the input have a counterpart of their own among the coefficients, see
    `coefficient_gradient`.
    """
    maps = importance.unflatten(1, layout.space)
    parts = [_mean_at(maps, band, layout).flatten(1) for band in layout.bands]
    return torch.cat(parts, dim=1)


def _mean_at(maps: Tensor, band: Band, layout: CoefficientLayout) -> Tensor:
    for axis, size in enumerate(layout.band_shape(band)):
        positions = nearest_coefficients(layout, band, axis).to(maps.device)
        moved = maps.movedim(axis + 1, 0)
        sums = torch.zeros(size, *moved.shape[1:], dtype=maps.dtype, device=maps.device)
        sums.index_add_(0, positions, moved)
        counts = torch.bincount(positions, minlength=size).clamp(min=1).to(sums)
        means = sums / counts.reshape(-1, *[1] * (sums.ndim - 1))
        # Coefficients beyond the border are nearest to no point and take what the last one has.
        first, last = int(positions.min()), int(positions.max())
        means = means[torch.arange(size, device=maps.device).clamp(first, last)]
        maps = means.movedim(0, axis + 1)
    return maps
