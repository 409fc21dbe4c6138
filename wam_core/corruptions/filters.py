"""Filters that several corruptions share: Gaussian smoothing, convolution, zoom, random fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

Edge = Literal["nearest", "reflect"]
"""What lies beyond the border: the last point again, or the signal mirrored about its edge."""


def draw(
    generators: Sequence[np.random.Generator],
    sample: Callable[[np.random.Generator], np.ndarray[tuple[int, ...], np.dtype[np.float64]]],
    like: Tensor,
) -> Tensor:
    """One random array per sample, in the data type and on the device of a tensor."""
    arrays = [np.asarray(sample(generator), dtype=np.float64) for generator in generators]
    return torch.from_numpy(np.stack(arrays)).to(like)


def normal(generators: Sequence[np.random.Generator], shape: Sequence[int], like: Tensor) -> Tensor:
    """Standard normal numbers, shape (batch, *shape)."""
    arrays = [generator.standard_normal(tuple(shape), np.float32) for generator in generators]
    return torch.from_numpy(np.stack(arrays)).to(like)


def gaussian_filter(
    signal: Float[Tensor, ...],
    sigma: float,
    n_axes: int,
    *,
    edge: Edge = "nearest",
    truncate: float = 4.0,
) -> Float[Tensor, ...]:
    """Gaussian smoothing along the last axes, as `scipy.ndimage.gaussian_filter`.

    Args:
        sigma: Standard deviation in points.
        n_axes: How many of the last axes are smoothed.
        truncate: Where the kernel ends, in standard deviations.
    """
    if sigma <= 0:
        return signal
    for axis in range(signal.ndim - n_axes, signal.ndim):
        weights = _smoothing(signal.shape[axis], sigma, edge, truncate).to(signal)
        signal = torch.tensordot(signal, weights, dims=([axis], [1])).movedim(-1, axis)
    return signal


def _smoothing(size: int, sigma: float, edge: Edge, truncate: float) -> Tensor:
    """Weights of each point of an axis (row) in the smoothed one, beyond the border folded back."""
    radius = int(truncate * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    kernel /= kernel.sum()
    places = torch.arange(size)[:, None] + offsets
    if edge == "nearest":
        places = places.clamp(0, size - 1)
    else:
        places = places.remainder(2 * size)
        places = torch.minimum(places, 2 * size - 1 - places)
    weights = torch.zeros(size, size, dtype=torch.float64)
    return weights.scatter_add_(1, places, kernel.expand(size, -1).contiguous())


def convolve(
    image: Float[Tensor, "batch channel height width"],
    kernel: Float[Tensor, "kernels rows columns"],
    *,
    edge: Literal["reflect", "replicate"],
) -> Float[Tensor, "batch channel height width"]:
    """Correlation with a kernel whose centre is its middle point; one kernel, or one per sample.

    Args:
        edge: `reflect` mirrors about the last point, `replicate` repeats it.
    """
    rows, columns = kernel.shape[-2:]
    pads = (columns // 2, (columns - 1) // 2, rows // 2, (rows - 1) // 2)
    limits = (image.shape[-1], image.shape[-1], image.shape[-2], image.shape[-2])
    mode = (
        edge if all(pad < limit for pad, limit in zip(pads, limits, strict=True)) else "replicate"
    )
    padded = functional.pad(image, pads, mode=mode)
    size = (padded.shape[-2], padded.shape[-1])
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernel[:, None], s=size).conj()
    full = torch.fft.irfft2(spectrum, s=size)
    return full[..., : image.shape[-2], : image.shape[-1]].to(image.dtype)


def zoomed(
    image: Float[Tensor, "batch channel height width"], factor: float
) -> Float[Tensor, "batch channel height width"]:
    """The middle of an image, enlarged to its size; linear between points, corners kept."""
    height, width = image.shape[-2:]
    rows, columns = math.ceil(height / factor), math.ceil(width / factor)
    top, left = (height - rows) // 2, (width - columns) // 2
    part = image[..., top : top + rows, left : left + columns]
    size = (max(height, round(rows * factor)), max(width, round(columns * factor)))
    large = functional.interpolate(part, size=size, mode="bilinear", align_corners=True)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return large[..., top : top + height, left : left + width]


def plasma(
    generators: Sequence[np.random.Generator], space: Sequence[int], decay: float, like: Tensor
) -> Float[Tensor, "batch height width"]:
    """Clouds by the diamond-square algorithm on a torus, from 0 to 1 over the whole torus.

    Args:
        space: Height and width; the torus is the next power of two.
        decay: By which the random part falls from one scale to the next.
    """
    size = 1 << max(1, math.ceil(math.log2(max(space))))
    field = np.zeros((len(generators), size, size))
    step, wobble = size, 100.0
    while step >= 2:
        half = step // 2

        def mean(total: np.ndarray, wobble: float = wobble) -> np.ndarray:
            noise = [draws.uniform(-wobble, wobble, total.shape[1:]) for draws in generators]
            return np.asarray(total / 4 + wobble * np.stack(noise))

        corners = field[:, ::step, ::step]
        squares = corners + np.roll(corners, -1, 1)
        field[:, half::step, half::step] = mean(squares + np.roll(squares, -1, 2))
        middles = field[:, half::step, half::step]
        above = middles + np.roll(middles, 1, 1) + corners + np.roll(corners, -1, 2)
        field[:, ::step, half::step] = mean(above)
        beside = middles + np.roll(middles, 1, 2) + corners + np.roll(corners, -1, 1)
        field[:, half::step, ::step] = mean(beside)
        step, wobble = half, wobble / decay
    field -= field.min(axis=(1, 2), keepdims=True)
    field /= field.max(axis=(1, 2), keepdims=True)
    return torch.from_numpy(field[:, : space[0], : space[1]]).to(like)


def streaks(
    generators: Sequence[np.random.Generator],
    radius: float,
    sigma: float,
    angles: tuple[float, float],
    like: Tensor,
) -> Float[Tensor, "batch rows columns"]:
    """Kernels of one-sided motion at a random angle: half a Gaussian along a line.

    That is ImageMagick's motion blur: weight exp(-i^2 / 2 sigma^2) at the i-th point of the line.

    Args:
        radius: The line has 2 radius + 1 points.
        angles: Range of the angle in degrees.
    """
    n = 2 * math.ceil(radius) + 1
    weights = np.exp(-0.5 * (np.arange(n) / sigma) ** 2)
    weights /= weights.sum()
    kernels = np.zeros((len(generators), 2 * n - 1, 2 * n - 1))
    for kernel, generator in zip(kernels, generators, strict=True):
        angle = math.radians(generator.uniform(*angles))
        rows = np.ceil(np.arange(n) * math.sin(angle) - 0.5).astype(int)
        columns = np.ceil(np.arange(n) * math.cos(angle) - 0.5).astype(int)
        np.add.at(kernel, (n - 1 + rows, n - 1 + columns), weights)
    return torch.from_numpy(kernels).to(like)


def size_factor(image: Tensor) -> float:
    """The shorter side over the 224 points that published parameters are for."""
    return min(image.shape[-2:]) / 224
