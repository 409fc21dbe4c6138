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
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Frequency = tuple[int, ...]
"""Cycles over the signal along each axis; it and its negative are the same wave but for phase."""

Spacing = Literal["octaves", "even"]

FREQUENCIES_PER_AXIS = {1: 32, 2: 15, 3: 5}
"""Of a lattice, by number of dimensions, zero and both signs among them."""


def frequency_lattice(
    space: Sequence[int],
    n_octaves: int,
    per_axis: int | None = None,
    spacing: Spacing = "octaves",
) -> list[Frequency]:
    """One of every two opposite frequencies, all below Nyquist's; not the constant.

    Args:
        n_octaves: Octaves told apart, as `octave` counts them.
        per_axis: How many along every axis, an odd number in two and three dimensions; at most as
            many as there are.
        spacing: octaves: along every axis evenly in the logarithm of the frequency, from one cycle
            over the signal to the highest; where that leaves an octave without a frequency that
            the signal holds, those nearest to its middle along every axis and diagonal are added.
            even: zero and its neighbours, one cycle apart, as published (63 per axis there).

    Example:
        >>> frequency_lattice((8, 8), 1, 3)
        [(0, 1), (0, 3), (1, -1), (1, 0), (1, 1), (3, -3), (3, 0), (3, 3)]
        >>> frequency_lattice((8, 8), 1, 3, "even")
        [(0, 1), (1, -1), (1, 0), (1, 1)]
    """
    n = per_axis or FREQUENCIES_PER_AXIS[len(space)]
    half = n if len(space) == 1 else n // 2
    axes = [_axis((size - 1) // 2, half, spacing) for size in space]
    lattice = {place for place in itertools.product(*axes) if place > (0,) * len(space)}
    if spacing == "octaves":
        present = {octave(place, space, n_octaves) for place in lattice}
        for lacking in set(range(1, n_octaves + 2)) - present:
            lattice |= _middle_of(lacking, space, n_octaves)
    return sorted(lattice)


def _axis(highest: int, half: int, spacing: Spacing) -> list[int]:
    """Zero and frequencies of both signs."""
    if highest < 1:
        return [0]
    if spacing == "even":
        positive = list(range(1, min(half, highest) + 1))
    else:
        steps = range(half - 1, -1, -1)  # from the highest down: one alone is the highest
        parts = [1 - step / max(half - 1, 1) for step in steps]
        positive = sorted({round(highest**part) for part in parts})
    return [*(-value for value in reversed(positive)), 0, *positive]


def _middle_of(place: int, space: Sequence[int], n_octaves: int) -> set[Frequency]:
    """Along every axis and diagonal, the frequency of an octave that is nearest to its middle."""
    found = set()
    directions = [
        direction
        for direction in itertools.product((-1, 0, 1), repeat=len(space))
        if direction > (0,) * len(space) and sum(map(abs, direction)) in (1, len(space))
    ]
    for direction in directions:
        length = math.sqrt(sum(map(abs, direction)))
        middle = 2.0 ** -(place + 0.5) / length
        for wanted in (middle, middle * 2**0.5, middle / 2**0.5):
            frequency = tuple(
                sign * round(min(wanted * size, (size - 1) // 2))
                for sign, size in zip(direction, space, strict=True)
            )
            if frequency > (0,) * len(space) and octave(frequency, space, n_octaves) == place:
                found.add(frequency)
                break
    return found or _nearest_zero(place, space, n_octaves)


def _nearest_zero(place: int, space: Sequence[int], n_octaves: int) -> set[Frequency]:
    """Where no axis or diagonal passes: the first frequencies of the octave, if it has any."""
    radius = _radius(space)
    for axis, size in enumerate(space):
        if size % 2 == 0:
            radius.select(axis, size // 2).fill_(math.nan)  # Nyquist's: no pair
    inside = _in_octave(radius, place, n_octaves)
    if not bool(inside.any()):
        return set()
    lowest = torch.where(inside, radius, math.inf)
    index = torch.nonzero(lowest == lowest.min())[0].tolist()
    signed = [at if at <= size // 2 else at - size for at, size in zip(index, space, strict=True)]
    first = tuple(signed)
    return {max(first, tuple(-cycles for cycles in first))}


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


def holds_octave(space: Sequence[int], place: int, n_octaves: int) -> bool:
    """Whether a signal of this size has a frequency in an octave; a small one lacks the lowest.

    Example:
        >>> [holds_octave((8,), place, 4) for place in (1, 2, 3, 4, 5)]
        [True, True, True, False, False]
    """
    return bool(_in_octave(_radius(space), place, n_octaves).any())


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
        ValueError: If there is no such octave, or the signal holds no frequency of it.
    """
    if not 1 <= place <= n_octaves + 1:
        raise ValueError(f"octaves are 1 to {n_octaves + 1}, got {place}")
    space = tuple(draws.shape[2:])
    axes = tuple(range(2, draws.ndim))
    inside = _in_octave(_radius(space), place, n_octaves)
    if not bool(inside.any()):
        raise ValueError(f"a signal of size {space} holds no frequency of octave {place}")
    kept = torch.fft.fftn(draws, dim=axes) * inside.to(draws.device)
    noise = torch.fft.ifftn(kept, dim=axes).real.to(draws.dtype)
    return unit_power(noise, support)


def unit_power(
    added: Float[Tensor, "batch channel *space"],
    support: Float[Tensor, "batch 1 sample"] | None = None,
) -> Float[Tensor, "batch channel *space"]:
    """The same without what lies in the padding, of root mean square 1 over each sample's own."""
    axes = tuple(range(1, added.ndim))
    weight = torch.ones_like(added) if support is None else support.to(added).expand_as(added)
    added = added * weight
    square = added.square().sum(axes, keepdim=True) / weight.sum(axes, keepdim=True)
    return added / square.clamp(min=torch.finfo(added.dtype).tiny).sqrt()


def _radius(space: Sequence[int]) -> Float[Tensor, "*space"]:
    """Distance of every frequency from zero, in cycles per sample."""
    square = torch.zeros(tuple(space), dtype=torch.float64)
    for axis, size in enumerate(space):
        shape = [-1 if at == axis else 1 for at in range(len(space))]
        square += torch.fft.fftfreq(size, dtype=torch.float64).reshape(shape).square()
    return square.sqrt()


def _in_octave(
    radius: Float[Tensor, "*space"], place: int, n_octaves: int
) -> Bool[Tensor, "*space"]:
    low = 0.0 if place == n_octaves + 1 else 2.0 ** -(place + 1)
    high = math.inf if place == 1 else 2.0**-place
    return (radius > low) & (radius <= high)
