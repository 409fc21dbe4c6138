"""The most important coefficients of a signal, and where their importance lies in it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pywt
import torch
from jaxtyping import Float
from torch import Tensor

from wam_core.basis import Band, CoefficientLayout
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
    kept = _number_kept(importance, fraction)
    mask = torch.zeros_like(importance)
    mask.scatter_(-1, importance.topk(kept, dim=-1).indices, 1.0)
    return coefficients.replace(coefficients.flat * mask[:, None])


def weigh_by_importance(
    coefficients: WaveletCoefficients,
    importance: Float[Tensor, "batch coefficient"],
    fraction: float,
) -> WaveletCoefficients:
    """Soft selection: what `keep_most_important` keeps stays, the rest is weighed down.

    A coefficient's weight is its importance over the least importance that is kept, 1 at most, so
    nothing is cut off at once. Arguments and errors are those of `keep_most_important`.
    """
    kept = _number_kept(importance, fraction)
    if not kept:
        return coefficients.replace(torch.zeros_like(coefficients.flat))
    least = importance.topk(kept, dim=-1).values[..., -1:]
    # Where fewer coefficients than asked for have any importance, all those are kept.
    weight = torch.where(least > 0, importance / least, (importance > 0).to(importance))
    return coefficients.replace(coefficients.flat * weight.clamp(max=1.0)[:, None])


def keep_bands(coefficients: WaveletCoefficients, bands: Sequence[Band]) -> WaveletCoefficients:
    """Zero every band but these."""
    kept = torch.zeros_like(coefficients.flat)
    for band in bands:
        place = coefficients.layout.slices[band]
        kept[..., place] = coefficients.flat[..., place]
    return coefficients.replace(kept)


def keep_level(coefficients: WaveletCoefficients, level_name: str) -> WaveletCoefficients:
    """Zero every level but one."""
    return keep_bands(coefficients, coefficients.layout.bands_of(level_name))


def importance_maps(attribution: WaveletCoefficients) -> Float[Tensor, "batch level *space"]:
    """Importance of each level at each point of the signal, finest level first.

    Every point gets the importance of the coefficient whose wavelet is centred nearest to it,
    spread over the points of that coefficient: a map sums to about the level's importance. Channels
    and orientations are added after the absolute value.
    """
    return spread_over_points(attribution.replace(attribution.flat.abs().sum(1)))


def spread_over_points(importance: WaveletCoefficients) -> Float[Tensor, "batch level *space"]:
    """Importance of coefficients at each point of the signal, with its sign, finest level first.

    A coefficient's importance is spread over the points whose nearest wavelet of its band it is.

    Args:
        importance: Shape (batch, coefficient).
    """
    layout = importance.layout
    maps = []
    for level_name in layout.level_names:
        bands = layout.bands_of(level_name)
        total = torch.stack([_at_points(importance[band], band, layout) for band in bands]).sum(0)
        maps.append(total / 2 ** (bands[0].level * layout.ndim))
    return torch.stack(maps, dim=1)


def nearest_coefficients(layout: CoefficientLayout, band: Band, axis: int) -> Tensor:
    """For each point of a spatial axis, the index in `band` of the coefficient nearest to it."""
    first = _centre_of_first(layout.basis.wavelet, band.level, band.filters[axis])
    points = torch.arange(layout.space[axis], dtype=torch.float64)
    # Points halfway between two coefficients go to the lower one, whatever the rounding.
    nearest = torch.round((points - first) / 2**band.level - 1e-6).long()
    return nearest.clamp(0, layout.band_shape(band)[axis] - 1)


def _number_kept(importance: Tensor, fraction: float) -> int:
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must be in [0, 1], got {fraction}")
    return round(fraction * importance.shape[-1])


def _at_points(values: Tensor, band: Band, layout: CoefficientLayout) -> Tensor:
    for axis in range(layout.ndim):
        positions = nearest_coefficients(layout, band, axis).to(values.device)
        values = values.index_select(axis - layout.ndim, positions)
    return values


@lru_cache(maxsize=256)
def _centre_of_first(wavelet: str, level: int, letter: str) -> float:
    """Where on an axis the wavelet of coefficient 0 has its centre of energy.

    Filters such as db8 are far from symmetric: the middle of their support lies many points from
    where they are large. One synthesis step places coefficient k of a filter with L taps at points
    2k - (L - 2) to 2k + 1; deeper levels repeat the step with the low-pass filter.
    """
    filters = pywt.Wavelet(wavelet)
    low = np.asarray(filters.rec_lo)
    shape = np.asarray(filters.rec_hi) if letter == "d" else low
    for _ in range(level - 1):
        spaced = np.zeros(2 * len(shape) - 1)
        spaced[::2] = shape
        shape = np.convolve(spaced, low)
    energy = shape**2
    start = -(len(low) - 2) * (2**level - 1)
    return start + float(np.arange(len(shape)) @ energy / energy.sum())
