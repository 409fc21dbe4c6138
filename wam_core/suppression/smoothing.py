"""Filters that remove texture and keep contours, for images, volumes and series alike.

All of them see the signal continued by its mirror image about the outermost point (d c b | a b c
d | c b a), as OpenCV does by default, and none leaves the range of the signal's own values.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

_LEVELS = 255
"""Widths in colour are stated for values from 0 to 255; ours are from 0 to 1."""

_CHUNK = 2**24
"""Most values that the median gathers at once."""


def gaussian_blur(
    signal: Float[Tensor, "batch channel *space"], kernel: int, sigma: int | float
) -> Float[Tensor, "batch channel *space"]:
    """Gaussian smoothing along every axis.

    Args:
        kernel: Points of the kernel along each axis, odd.
        sigma: Standard deviation in points.

    Raises:
        ValueError: If the kernel is even or the standard deviation is not positive.
    """
    radius = _radius_of(kernel)
    if sigma <= 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    weights = [math.exp(-((place - radius) ** 2) / (2 * sigma**2)) for place in range(kernel)]
    total = sum(weights)
    for axis in range(2, signal.ndim):
        padded = _mirrored(signal, radius, [axis])
        points = signal.shape[axis]
        blurred = torch.zeros_like(signal)
        for place, weight in enumerate(weights):
            blurred.add_(padded.narrow(axis, place, points), alpha=weight / total)
        signal = blurred
    return signal


def bilateral_filter(
    signal: Float[Tensor, "batch channel *space"],
    diameter: int,
    sigma_colour: int | float,
    sigma_space: int | float = 75.0,
) -> Float[Tensor, "batch channel *space"]:
    """Average over near points of like colour (Tomasi and Manduchi, 1998), as OpenCV defines it.

    A neighbour at the distance r whose channels differ by D in all, summed over their absolute
    differences, has the weight exp(-r^2 / 2 sigma_space^2) exp(-D^2 / 2 sigma_colour^2).

    Args:
        signal: Values in [0, 1].
        diameter: Neighbours are the points within diameter // 2.
        sigma_colour: Stated for values from 0 to 255.
        sigma_space: In points.
    """
    radius = diameter // 2
    axes = range(2, signal.ndim)
    padded = _mirrored(signal, radius, axes)
    total, weights = torch.zeros_like(signal), torch.zeros_like(signal[:, :1])
    in_colour = -0.5 * (_LEVELS / sigma_colour) ** 2
    for offset in _offsets(signal.ndim - 2, radius):
        squared = sum((place - radius) ** 2 for place in offset)
        if squared > radius**2:
            continue
        neighbour = _shifted(padded, offset, signal.shape[2:])
        difference = (neighbour - signal).abs_().sum(1, keepdim=True)
        weight = difference.square_().mul_(in_colour).sub_(squared / (2 * sigma_space**2)).exp_()
        total.addcmul_(neighbour, weight)
        weights.add_(weight)
    return total.div_(weights)


def non_local_means(
    signal: Float[Tensor, "batch channel *space"],
    strength: int | float,
    template: int = 14,
    search: int = 21,
) -> Float[Tensor, "batch channel *space"]:
    """Average over points with like surroundings (Buades, Coll and Morel, 2005).

    The weight of a point within the search window is exp(-d^2 / h^2), with d^2 the mean squared
    difference of the two points' templates over template and channels, as OpenCV defines it; all
    channels have the same weights.

    Args:
        signal: Values in [0, 1].
        strength: h, stated for values from 0 to 255.
        template: Points along each axis of the window compared; an even number counts as the next
            odd one.
        search: Points along each axis of the window averaged over, likewise.
    """
    inner, outer = template // 2, search // 2
    axes, space = range(2, signal.ndim), signal.shape[2:]
    padded = _mirrored(signal, inner + outer, axes)
    framed = [points + 2 * inner for points in space]
    centre = _shifted(padded, [outer] * len(space), framed)
    total, weights = torch.zeros_like(signal), torch.zeros_like(signal[:, :1])
    for offset in _offsets(len(space), outer):
        around = _shifted(padded, offset, framed)
        distance = _box_mean((around - centre).square_().mean(1, keepdim=True), 2 * inner + 1)
        weight = distance.mul_(-((_LEVELS / strength) ** 2)).exp_()
        total.addcmul_(_shifted(around, [inner] * len(space), space), weight)
        weights.add_(weight)
    return total.div_(weights)


def median_filter(
    signal: Float[Tensor, "batch channel *space"], width: int
) -> Float[Tensor, "batch channel *space"]:
    """Median over a window of `width` points, odd, along every axis, of each channel by itself.

    Raises:
        ValueError: If the width is even.
    """
    radius = _radius_of(width)
    space = signal.shape[2:]
    padded = _mirrored(signal, radius, range(2, signal.ndim))
    across = signal[:, :, :1].numel() * width ** len(space)
    thickness = max(1, _CHUNK // across)
    slabs = []
    for start in range(0, space[0], thickness):
        slab = (min(thickness, space[0] - start), *space[1:])
        below = padded.narrow(2, start, slab[0] + 2 * radius)
        windows = [_shifted(below, offset, slab) for offset in _offsets(len(space), radius)]
        slabs.append(torch.stack(windows).median(0).values)
    return torch.cat(slabs, dim=2)


def _radius_of(width: int) -> int:
    if width < 1 or width % 2 == 0:
        raise ValueError(f"the width of a window must be odd, got {width}; use {width + 1}")
    return width // 2


def _mirrored(signal: Tensor, radius: int, axes: Sequence[int]) -> Tensor:
    """Continued by `radius` points at both ends; short axes are mirrored again and again."""
    for axis in axes:
        period = max(1, 2 * signal.shape[axis] - 2)
        places = torch.arange(-radius, signal.shape[axis] + radius, device=signal.device) % period
        signal = signal.index_select(axis, torch.minimum(places, period - places))
    return signal


def _offsets(ndim: int, radius: int) -> Iterator[tuple[int, ...]]:
    yield from itertools.product(range(2 * radius + 1), repeat=ndim)


def _shifted(padded: Tensor, offset: Sequence[int], space: Sequence[int]) -> Tensor:
    for axis, (start, points) in enumerate(zip(offset, space, strict=True), start=2):
        padded = padded.narrow(axis, start, points)
    return padded


def _box_mean(values: Tensor, width: int) -> Tensor:
    """Mean over every window of `width` points along each axis that lies within the signal."""
    for axis in range(2, values.ndim):
        values = values.unfold(axis, width, 1).mean(-1)
    return values
