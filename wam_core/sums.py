"""Sums of coefficients over bands and levels, and shares of them.

Coefficients whose filters reach over the border of the signal hold what the boundary rule made of
it; `border="exclude"` leaves them out of every sum. Coarse bands lose more of their coefficients
than fine ones, so what is left stands for the whole: sums are scaled to the number of coefficients
that the band would have if the signal had no border, size / 2^level along every axis.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from wam_core.basis import Band, CoefficientLayout

Border = Literal["include", "exclude"]

DEGENERATE_TOTAL = 1e-20
"""A map whose total importance is below this says nothing: a saturated or constant score."""


def band_sums(
    values: Float[Tensor, "*batch channel coefficient"],
    layout: CoefficientLayout,
    border: Border = "include",
) -> Float[Tensor, "*batch band"]:
    """Sum over channels and over the coefficients of each band, in float64 on the CPU.

    The float32 sums run over one band of one channel at a time, so that rounding stays small; some
    accelerators have no float64.
    """
    parts = [_band_sum(values[..., layout.slices[band]], layout, band, border)
             for band in layout.bands]  # fmt: skip
    return torch.stack(parts, dim=-1).cpu().double().sum(-2)


def band_counts(layout: CoefficientLayout, border: Border = "include") -> Float[Tensor, " band"]:
    """Number of coefficients of one channel that `band_sums` stands for."""
    counts = [
        _borderless_count(layout, band)
        if border == "exclude"
        else math.prod(layout.band_shape(band))
        for band in layout.bands
    ]
    return torch.tensor(counts, dtype=torch.float64)


def interior_counts(layout: CoefficientLayout) -> Float[Tensor, " band"]:
    """Number of coefficients of one channel whose filters stay inside the signal."""
    counts = [math.prod(layout.interior_shape(band)) for band in layout.bands]
    return torch.tensor(counts, dtype=torch.float64)


def level_sums(
    values: Float[Tensor, "*batch band"], layout: CoefficientLayout
) -> Float[Tensor, "*batch level"]:
    """Add the bands of each level: finest first, the approximation last."""
    names = [band.level_name for band in layout.bands]
    columns = [
        values[..., [index for index, name in enumerate(names) if name == level]].sum(-1)
        for level in layout.level_names
    ]
    return torch.stack(columns, dim=-1)


def shares(importance: Float[Tensor, "*batch group"]) -> Float[Tensor, "*batch group"]:
    """Fractions of the sum over groups; NaN where there is nothing to divide."""
    total = importance.sum(-1, keepdim=True)
    return torch.where(total > DEGENERATE_TOTAL, importance / total, torch.nan)


def _band_sum(values: Tensor, layout: CoefficientLayout, band: Band, border: Border) -> Tensor:
    if border == "include":
        return values.sum(-1)
    spatial = values.unflatten(-1, layout.band_shape(band))
    inside = spatial[(..., *layout.interior(band))]
    return inside.mean(tuple(range(-layout.ndim, 0))) * _borderless_count(layout, band)


def _borderless_count(layout: CoefficientLayout, band: Band) -> float:
    return math.prod(size / 2**band.level for size in layout.space)
