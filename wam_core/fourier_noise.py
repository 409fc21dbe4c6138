"""Waves of one frequency and noise of one octave of frequencies, in any number of dimensions.

Yin, Lopes, Shlens, Cubuk and Gilmer ("A Fourier perspective on model robustness in computer
vision", NeurIPS 2019) add to an image a real wave whose transform is not zero at one frequency and
its mirror image alone, with a sign by chance in every channel, and ask at which frequencies a model
errs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

Frequency = tuple[int, ...]
"""Cycles over the signal along each axis; it and its negative are the same wave but for phase."""

FREQUENCIES_PER_AXIS = {1: 32, 2: 15, 3: 5}
"""Of a lattice, by number of dimensions: 32, 112 and 62 waves."""


def frequency_lattice(space: Sequence[int], per_axis: int | None = None) -> list[Frequency]:
    """One of every two opposite frequencies, evenly spread below Nyquist's; not the constant.

    In one dimension they are spread evenly in octaves instead, from one cycle over the signal up.

    Args:
        per_axis: How many along every axis, an odd number in two and three dimensions; at most as
            many as there are.

    Example:
        >>> frequency_lattice((8, 8), 3)
        [(0, 3), (3, -3), (3, 0), (3, 3)]
    """
    n = per_axis or FREQUENCIES_PER_AXIS[len(space)]
    if len(space) == 1:
        highest = (space[0] - 1) // 2
        steps = torch.logspace(0, math.log2(highest), n, base=2.0, dtype=torch.float64)
        return [(value,) for value in sorted({round(float(step)) for step in steps})]
    axes = [_symmetric((size - 1) // 2, n) for size in space]
    return [place for place in itertools.product(*axes) if place > tuple(0 for _ in space)]


def _symmetric(highest: int, n: int) -> list[int]:
    half = min(highest, n // 2)
    positive = [round(highest * (step + 1) / half) for step in range(half)]
    return [-value for value in reversed(positive)] + [0, *positive]


def octave(frequency: Sequence[int], space: Sequence[int], n_octaves: int) -> int:
    """Octave of a frequency by its distance from zero: 1 above 1/4 cycle per sample, and so on.

    The last octave, n_octaves + 1, holds all that is lower.

    Example:
        >>> [octave((f,), (64,), 3) for f in (31, 16, 8, 4, 1)]
        [1, 2, 3, 4, 4]
    """
    radius = math.hypot(*(cycles / size for cycles, size in zip(frequency, space, strict=True)))
    return _octave(radius, n_octaves)


def _octave(radius: float, n_octaves: int) -> int:
    for place in range(1, n_octaves + 1):
        if radius > 2.0 ** -(place + 1):
            return place
    return n_octaves + 1


def wave(space: Sequence[int], frequency: Sequence[int]) -> Float[Tensor, "*space"]:
    """A cosine of root mean square 1 over whole periods, in float32."""
    angle = torch.zeros(*space, dtype=torch.float64)
    for axis, (size, cycles) in enumerate(zip(space, frequency, strict=True)):
        along = torch.arange(size, dtype=torch.float64) * (2 * math.pi * cycles / size)
        angle += along.reshape([-1 if place == axis else 1 for place in range(len(space))])
    return (math.sqrt(2) * angle.cos()).float()


def ring_noise(
    draws: Float[Tensor, "batch channel *space"],
    place: int,
    n_octaves: int,
    support: Float[Tensor, "batch 1 sample"] | None = None,
) -> Float[Tensor, "batch channel *space"]:
    """Noise of one octave of frequencies alone, of root mean square 1 over each sample.

    Args:
        draws: Standard normal.
        place: Octave, as `octave` counts them.
        support: 1 before the padding and 0 in it; there is no noise in the padding, whose edge
            spreads what lies before it over other frequencies.

    Raises:
        ValueError: If there is no such octave.
    """
    if not 1 <= place <= n_octaves + 1:
        raise ValueError(f"octaves are 1 to {n_octaves + 1}, got {place}")
    space = tuple(draws.shape[2:])
    axes = tuple(range(2, draws.ndim))
    radius = torch.zeros(space, dtype=torch.float64)
    for axis, size in enumerate(space):
        frequency = torch.fft.fftfreq(size, dtype=torch.float64)
        shape = [-1 if at == axis else 1 for at in range(len(space))]
        radius = radius + frequency.reshape(shape).square()
    radius = radius.sqrt()
    low = 0.0 if place == n_octaves + 1 else 2.0 ** -(place + 1)
    high = math.inf if place == 1 else 2.0**-place
    inside = (radius > low) & (radius <= high)
    kept = torch.fft.fftn(draws, dim=axes) * inside.to(draws.device)
    noise = torch.fft.ifftn(kept, dim=axes).real.to(draws.dtype)
    if support is None:
        power = noise.square().mean(dim=tuple(range(1, noise.ndim)), keepdim=True)
    else:
        noise = noise * support
        counted = support.expand_as(noise).sum(dim=tuple(range(1, noise.ndim)), keepdim=True)
        power = noise.square().sum(dim=tuple(range(1, noise.ndim)), keepdim=True) / counted
    return noise / power.clamp(min=torch.finfo(noise.dtype).tiny).sqrt()
