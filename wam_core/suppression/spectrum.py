"""Phases scrambled at kept amplitudes, and amplitudes made alike at kept phases.

Both act on the Fourier spectrum over all axes of space and leave the mean and the energy of each
channel as they are, but for values out of the data's range, which are clipped.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

_SILENT = 1e-6
"""Amplitudes below this part of the largest are rounding errors: their phase says nothing."""

_SERIES = 2
"""Axes of a series: channel and sample."""


def scramble_phase(
    signal: Float[Tensor, "batch channel *space"],
    width: int | float,
    generators: Sequence[np.random.Generator],
    *,
    clip: bool = True,
) -> Float[Tensor, "batch channel *space"]:
    """Add a random angle to the phase of every frequency; amplitudes stay.

    The angle is uniform in [-width, width] and the same in all channels, so that colours stay
    together (the "phase scrambling" of Geirhos et al., "Partial success in closing the gap between
    human and machine vision", 2021).

    Args:
        width: In degrees; at 180 nothing is left of the phases.
        generators: One per sample.
        clip: Whether to clip to the range of the data.
    """
    rows = []
    for sample, generator in zip(signal, generators, strict=True):
        # The phases of real noise have the symmetry that makes the result real.
        noise = generator.standard_normal(tuple(sample.shape[1:]), dtype=np.float32)
        spectrum = torch.fft.fftn(torch.from_numpy(noise).to(sample))
        # A frequency that is its own mirror image is real, and turned by a part of 180 degrees it
        # would not be: the mean among them.
        angle = torch.where(_own_mirror(spectrum), 0.0, spectrum.angle() * (width / 180))
        turned = _spectrum(sample) * torch.polar(torch.ones_like(angle), angle)
        rows.append(_signal(turned, sample, clip=clip))
    return torch.stack(rows)


def equalise_power(
    signal: Float[Tensor, "batch channel *space"], mixing: int | float, *, clip: bool = True
) -> Float[Tensor, "batch channel *space"]:
    """Give every octave the same energy; phases stay.

    Amplitudes become |X|^(1 - mixing) R^mixing, brought to the channel's energy, with R = f^(-d/2)
    in d dimensions: the 1 / f of natural images, and pink noise for series. Geirhos et al. (2021)
    take the mean amplitudes of a dataset instead, which would make a sample's numbers depend on
    its neighbours.

    Args:
        mixing: From 0, the signal itself, to 1, amplitudes that say nothing about it.
        clip: Whether to clip to the range of the data.
    """
    rows = []
    for sample in signal:
        spectrum = _spectrum(sample)
        frequency = _frequency(sample)
        varying = torch.where(frequency > 0, spectrum, 0.0)
        amplitude = varying.abs()
        heard = amplitude > _SILENT * amplitude.amax(_axes(sample), keepdim=True)
        reference = torch.where(frequency > 0, frequency ** (-frequency.ndim / 2), 0.0)
        mixed = torch.where(heard, amplitude ** (1 - mixing) * reference**mixing, 0.0)
        gain = (_energy(amplitude) / _energy(mixed)).sqrt()
        equalised = torch.where(heard, varying / amplitude * mixed * gain, 0.0)
        rows.append(_signal(spectrum - varying + equalised, sample, clip=clip))
    return torch.stack(rows)


def within_range(
    values: Float[Tensor, " channel *space"], sample: Float[Tensor, " channel *space"]
) -> Float[Tensor, " channel *space"]:
    """Clipped to the data's range, and no closer than the sample's own values.

    The range is [-1, 1] for series, full scale of sound, and [0, 1] for images and volumes.
    """
    lowest = torch.tensor(-1.0 if sample.ndim == _SERIES else 0.0).to(sample)
    highest = torch.ones_like(lowest)
    return values.clamp(torch.minimum(sample.amin(), lowest), torch.maximum(sample.amax(), highest))


def _spectrum(sample: Tensor) -> Complex[Tensor, " channel *space"]:
    return torch.fft.fftn(sample, dim=_axes(sample))


def _signal(spectrum: Tensor, sample: Tensor, *, clip: bool) -> Tensor:
    values = torch.fft.ifftn(spectrum, dim=_axes(sample)).real
    return within_range(values, sample) if clip else values


def _axes(sample: Tensor) -> tuple[int, ...]:
    return tuple(range(1, sample.ndim))


def _energy(amplitude: Tensor) -> Tensor:
    return amplitude.square().sum(_axes(amplitude), keepdim=True)


def _own_mirror(spectrum: Tensor) -> Tensor:
    """Whether k and -k are one frequency: on every axis 0 or, of an even size, the highest."""
    own = torch.ones(spectrum.shape, dtype=torch.bool, device=spectrum.device)
    for axis, points in enumerate(spectrum.shape):
        places = torch.arange(points, device=spectrum.device)
        on_axis = (2 * places) % points == 0
        own &= on_axis.reshape(-1, *[1] * (spectrum.ndim - 1 - axis))
    return own


def _frequency(sample: Tensor) -> Float[Tensor, " *space"]:
    """Distance of each frequency from 0, in cycles per point."""
    squared = torch.zeros(sample.shape[1:], dtype=sample.dtype, device=sample.device)
    for axis, points in enumerate(sample.shape[1:]):
        along = torch.fft.fftfreq(points, dtype=sample.dtype, device=sample.device)
        squared = squared + along.square().reshape(-1, *[1] * (sample.ndim - 2 - axis))
    return squared.sqrt()
