"""Similarity of the structure of two maps: SSIM in any dimension, and HOG of images.

Maps of different models have different scales: each is divided by its largest magnitude.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

SSIM_WINDOW = 11
"""Samples along each axis of the Gaussian window of structural similarity."""

_SSIM_DEVIATION, _K1, _K2 = 1.5, 0.01, 0.03
_ORIENTATIONS, _CELL, _BLOCK = 9, 8, 3
_CLIP, _HOG_EPSILON = 0.2, 1e-5

HOG_SIZE = _CELL * _BLOCK
"""Pixels along each axis that a map needs for one block of histograms."""


def ssim(
    left: Float[Tensor, "*batch_and_space"], right: Float[Tensor, "*batch_and_space"]
) -> Float[Tensor, " batch"]:
    """Structural similarity of maps with one, two or three axes (Wang et al. 2004), float64.

    Each map is divided by its largest magnitude. Gaussian window of 11 samples and standard
    deviation 1.5 along every axis, k1 = 0.01, k2 = 0.03, mean over the windows that fit. The
    dynamic range is that of both maps; where it is zero, 1 stands for it.

    Raises:
        ValueError: If an axis is shorter than the window.
    """
    if min(left.shape[1:]) < SSIM_WINDOW:
        raise ValueError(f"expected {SSIM_WINDOW} samples along every axis; got {left.shape[1:]}")
    first, second = _to_unit(left), _to_unit(right)
    both = torch.cat([first.flatten(1), second.flatten(1)], dim=1)
    spread = both.amax(1) - both.amin(1)
    spread = torch.where(spread == 0, 1.0, spread).reshape(-1, *[1] * (left.ndim - 1))
    c1, c2 = (_K1 * spread).square(), (_K2 * spread).square()
    mean_first, mean_second = _smoothed(first), _smoothed(second)
    variance = _smoothed(first.square()) - mean_first.square()
    variance = variance + _smoothed(second.square()) - mean_second.square()
    covariance = _smoothed(first * second) - mean_first * mean_second
    luminance = (2 * mean_first * mean_second + c1) / (
        mean_first.square() + mean_second.square() + c1
    )
    contrast = (2 * covariance + c2) / (variance + c2)
    return (luminance * contrast).flatten(1).mean(1).cpu().double()


def hog_similarity(
    left: Float[Tensor, "batch row column"], right: Float[Tensor, "batch row column"]
) -> Float[Tensor, " batch"]:
    """Pearson's correlation of the histograms of oriented gradients of two maps, float64.

    Returns:
        NaN where a map has no gradient anywhere.
    """
    first, second = (
        features - features.mean(1, keepdim=True)
        for features in (hog(_to_unit(left)), hog(_to_unit(right)))
    )
    spread = first.square().sum(1).sqrt() * second.square().sum(1).sqrt()
    return torch.where(spread > 0, (first * second).sum(1) / spread, torch.nan)


def hog(image: Float[Tensor, "batch row column"]) -> Float[Tensor, "batch feature"]:
    """Histograms of oriented gradients (Dalal and Triggs 2005), float64 on the CPU.

    Nine unsigned orientations, cells of 8 x 8 pixels, blocks of 3 x 3 cells one cell apart,
    clipped L2 norm; central differences, zero at the border.

    Raises:
        ValueError: If the image holds no block.
    """
    if min(image.shape[1:]) < HOG_SIZE:
        raise ValueError(f"expected {HOG_SIZE} pixels along each axis; got {image.shape[1:]}")
    image = image.cpu().double()
    down, across = torch.zeros_like(image), torch.zeros_like(image)
    down[:, 1:-1] = image[:, 2:] - image[:, :-2]
    across[:, :, 1:-1] = image[:, :, 2:] - image[:, :, :-2]
    angle = torch.rad2deg(torch.atan2(down, across)) % 180
    place = (angle / (180 / _ORIENTATIONS)).long().clamp(max=_ORIENTATIONS - 1)
    votes = functional.one_hot(place, _ORIENTATIONS) * torch.hypot(down, across)[..., None]
    cells = functional.avg_pool2d(votes.movedim(-1, 1), _CELL)
    blocks = cells.unfold(2, _BLOCK, 1).unfold(3, _BLOCK, 1).movedim(1, -1)
    blocks = blocks.flatten(3)
    blocks = (blocks / _norm(blocks)).clamp(max=_CLIP)
    return (blocks / _norm(blocks)).flatten(1)


def _norm(blocks: Tensor) -> Tensor:
    return (blocks.square().sum(-1, keepdim=True) + _HOG_EPSILON**2).sqrt()


def _to_unit(maps: Tensor) -> Tensor:
    """Each map over its largest magnitude; a map of zeros stays."""
    largest = maps.flatten(1).abs().amax(1).reshape(-1, *[1] * (maps.ndim - 1))
    return maps / torch.where(largest == 0, 1.0, largest)


def _smoothed(maps: Tensor) -> Tensor:
    """Gaussian means over the windows that fit, axis by axis."""
    offsets = torch.arange(SSIM_WINDOW, device=maps.device, dtype=maps.dtype) - SSIM_WINDOW // 2
    kernel = torch.exp(-0.5 * (offsets / _SSIM_DEVIATION).square())
    kernel = (kernel / kernel.sum()).reshape(1, 1, -1)
    for axis in range(1, maps.ndim):
        lines = maps.movedim(axis, -1)
        rows = functional.conv1d(lines.reshape(-1, 1, lines.shape[-1]), kernel)
        maps = rows.reshape(*lines.shape[:-1], -1).movedim(-1, axis)
    return maps
