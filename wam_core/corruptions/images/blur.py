"""Blur of lenses, glass, motion and zoom."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wam_core.corruptions.contract import Corruption, Parameters, Surroundings
from wam_core.corruptions.filters import (
    convolve,
    gaussian_filter,
    size_factor,
    streaks,
    zoomed,
)


def _gaussian(
    image: Tensor, at: Parameters, _: Sequence[np.random.Generator], __: Surroundings
) -> Tensor:
    return gaussian_filter(image, at["sigma"] * size_factor(image), 2).clamp(0, 1)


def disk(radius: float, alias_sigma: float) -> Tensor:
    """A lens out of focus: a disk whose rim is smoothed, shape (side, side), summing to 1.

    Args:
        radius: In points.
        alias_sigma: Of the Gaussian of 3 x 3 points (5 x 5 above a radius of 8) over the rim.
    """
    reach = max(8, math.ceil(radius)) if radius > 1 else 8
    places = torch.arange(-reach, reach + 1, dtype=torch.float64)
    inside = (places[:, None] ** 2 + places**2 <= radius**2).double()
    inside /= inside.sum()
    taps = torch.arange(-1, 2) if radius <= 8 else torch.arange(-2, 3)
    rim = torch.exp(-0.5 * (taps.double() / alias_sigma) ** 2)
    rim /= rim.sum()
    return convolve(inside[None, None], (rim[:, None] * rim)[None], edge="reflect")[0, 0]


def _defocus(
    image: Tensor, at: Parameters, _: Sequence[np.random.Generator], __: Surroundings
) -> Tensor:
    factor = size_factor(image)
    kernel = disk(at["radius"] * factor, max(at["alias_sigma"] * factor, 1e-3)).to(image)
    return convolve(image, kernel[None], edge="reflect").clamp(0, 1)


def _glass(
    image: Tensor, at: Parameters, generators: Sequence[np.random.Generator], _: Surroundings
) -> Tensor:
    """Points take the values of neighbours, one after another, between two smoothings."""
    factor = size_factor(image)
    reach = max(1, round(at["reach"] * factor))
    smooth = gaussian_filter(image, at["sigma"] * factor, 2)
    height, width = image.shape[-2:]
    moved = smooth.flatten(2)
    for _round in range(round(at["rounds"])):
        sources = [_scattered(generator, height, width, reach) for generator in generators]
        index = torch.from_numpy(np.stack(sources)).to(image.device)
        moved = moved.gather(2, index[:, None].expand_as(moved))
    return gaussian_filter(moved.unflatten(2, (height, width)), at["sigma"] * factor, 2).clamp(0, 1)


def _scattered(
    generator: np.random.Generator, height: int, width: int, reach: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Which point each point's value comes from, after one round over the image.

    From the lower right corner to the upper left, every point but those at the border takes the
    value that a neighbour at a random offset has at that moment. (The published code means to
    exchange the two, but writes the first over the second: so were the published images made.)
    A neighbour later in the order still has its old value, an earlier one has what it took: the
    chain of who took whose is followed for all points at once.
    """
    offsets = generator.integers(-reach, reach, (height, width, 2))
    rows, columns = np.mgrid[:height, :width]
    visited = np.zeros((height, width), dtype=bool)
    visited[reach + 1 : height - reach + 1, reach + 1 : width - reach + 1] = True
    from_rows = np.clip(rows + offsets[..., 0], 0, height - 1)
    from_columns = np.clip(columns + offsets[..., 1], 0, width - 1)
    source = from_rows * width + from_columns
    own = rows * width + columns
    # Nodes below n stand for values after the visit, those from n on for values before it.
    n = height * width
    earlier = visited[from_rows, from_columns] & (source > own)
    pointer = np.concatenate([np.where(visited, np.where(earlier, source, source + n), own + n)
                              .ravel(), np.arange(n, 2 * n)])  # fmt: skip
    while (pointer[:n] < n).any():
        pointer = pointer[pointer]
    return np.asarray(pointer[:n] - n)


def _motion(
    image: Tensor, at: Parameters, generators: Sequence[np.random.Generator], _: Surroundings
) -> Tensor:
    factor = size_factor(image)
    kernels = streaks(generators, at["radius"] * factor, at["sigma"] * factor, (-45.0, 45.0), image)
    return convolve(image, kernels, edge="replicate").clamp(0, 1)


def _zoom(
    image: Tensor, at: Parameters, _: Sequence[np.random.Generator], __: Surroundings
) -> Tensor:
    """The mean of the image and of itself enlarged by every factor from 1 to almost the last."""
    factors = np.arange(1, at["stop"], at["step"])
    total = image.clone()
    for factor in factors:
        total += zoomed(image, float(factor))
    return (total / (len(factors) + 1)).clamp(0, 1)


BLURS = (
    Corruption(
        "defocus_blur",
        "blur",
        tuple(
            {"radius": radius, "alias_sigma": sigma}
            for radius, sigma in ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
        ),
        _defocus,
    ),
    Corruption(
        "glass_blur",
        "blur",
        tuple(
            {"sigma": sigma, "reach": reach, "rounds": rounds}
            for sigma, reach, rounds in (
                (0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2),
            )
        ),
        _glass,
        # More rounds are fewer at the next severity, as published.
        monotone=False,
    ),
    Corruption(
        "motion_blur",
        "blur",
        tuple(
            {"radius": radius, "sigma": sigma}
            for radius, sigma in ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
        ),
        _motion,
    ),
    Corruption(
        "zoom_blur",
        "blur",
        tuple(
            {"stop": stop, "step": step}
            for stop, step in ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))
        ),
        _zoom,
    ),
    Corruption(
        "gaussian_blur",
        "blur",
        tuple({"sigma": sigma} for sigma in (1.0, 2.0, 3.0, 4.0, 6.0)),
        _gaussian,
        extra=True,
    ),
)  # fmt: skip
