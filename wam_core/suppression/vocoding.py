"""Series without their fine structure, or without their envelopes.

A series is cut into bands of equal width in octaves; within a band it is a slow envelope times a
fast oscillation of constant amplitude, the magnitude and the cosine of the phase of its analytic
signal (Hilbert). A noise vocoder (Shannon et al., 1995) keeps the envelopes and replaces what
oscillates by noise; the opposite (Smith, Delgutte and Oxenham, 2002) keeps what oscillates and
levels the envelopes. Both keep the mean and the energy of every band, but for values out of the
data's range, which are clipped. Frequencies are in cycles per sample: nothing depends on the rate.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wam_core.suppression.spectrum import within_range

OCTAVES = 10
"""Octaves below the highest frequency that are cut into bands; the lowest band reaches to 0."""

_SILENT = 1e-6
"""Envelopes below this part of a band's largest are rounding errors: their phase says nothing."""


def vocode_with_noise(
    signal: Float[Tensor, "batch channel sample"],
    n_bands: int,
    generators: Sequence[np.random.Generator],
) -> Float[Tensor, "batch channel sample"]:
    """Keep the envelope of each band and replace its fine structure by noise.

    The fewer the bands, the less is left of the spectrum.

    Args:
        n_bands: Bands that the ten octaves below the highest frequency are cut into.
        generators: One per sample; all channels get the same noise.
    """
    rows = []
    for sample, generator in zip(signal, generators, strict=True):
        noise = generator.standard_normal(sample.shape[-1], dtype=np.float32)
        carrier = torch.fft.rfft(torch.from_numpy(noise).to(sample))
        spectrum = torch.fft.rfft(sample)
        vocoded = torch.zeros_like(spectrum)
        vocoded[:, 0] = spectrum[:, 0]
        for band in _bands(sample.shape[-1], n_bands):
            envelope = _analytic(spectrum, band, sample.shape[-1]).abs()
            in_band = torch.zeros_like(carrier)
            in_band[band] = carrier[band]
            oscillation = torch.fft.irfft(in_band, n=sample.shape[-1])
            # The product reaches beyond the band; what does is removed.
            product = torch.fft.rfft(envelope * oscillation)[:, band]
            vocoded[:, band] = product * _gain(spectrum[:, band], product)
        rows.append(_series(vocoded, sample))
    return torch.stack(rows)


def level_envelopes(
    signal: Float[Tensor, "batch channel sample"], n_bands: int
) -> Float[Tensor, "batch channel sample"]:
    """Keep the fine structure of each band and level its envelope.

    What lies beside each other in one band is levelled together: the fewer the bands, the more of
    the spectrum goes with the envelopes, and soft passages are raised to the loudness of loud ones.

    Args:
        n_bands: Bands that the ten octaves below the highest frequency are cut into.
    """
    rows = []
    for sample in signal:
        spectrum = torch.fft.rfft(sample)
        levelled = torch.zeros_like(spectrum)
        for band in _bands(sample.shape[-1], n_bands):
            analytic = _analytic(spectrum, band, sample.shape[-1])
            envelope = analytic.abs()
            heard = envelope > _SILENT * envelope.amax(-1, keepdim=True)
            oscillation = torch.fft.rfft(torch.where(heard, analytic.real / envelope, 0.0))
            oscillation[:, 0] = 0.0
            levelled += oscillation * _gain(spectrum[:, band], oscillation)
        levelled[:, 0] = spectrum[:, 0]
        rows.append(_series(levelled, sample))
    return torch.stack(rows)


def _bands(length: int, n_bands: int) -> Iterator[slice]:
    """Places of each band among the frequencies of `rfft`, the lowest first; 0 is in none."""
    if n_bands < 1:
        raise ValueError(f"a series is cut into one band or more, got {n_bands}")
    steps = np.arange(n_bands - 1, 0, -1) / n_bands
    inner = np.ceil(length / 2 * 2.0 ** (-OCTAVES * steps)).astype(int).clip(min=1)
    edges = [1, *inner.tolist(), length // 2 + 1]
    for start, stop in itertools.pairwise(edges):
        if start < stop:
            yield slice(start, stop)


def _analytic(spectrum: Tensor, band: slice, length: int) -> Tensor:
    """Analytic signal of one band."""
    one_sided = torch.zeros(
        (*spectrum.shape[:-1], length), dtype=spectrum.dtype, device=spectrum.device
    )
    one_sided[..., band] = 2 * spectrum[..., band]
    if length % 2 == 0:
        one_sided[..., length // 2] /= 2  # the highest frequency is its own mirror image
    return torch.fft.ifft(one_sided)


def _gain(wanted: Tensor, found: Tensor) -> Tensor:
    """Brings what was found to the energy that is wanted; 0 where there is nothing."""
    energies = [values.abs().square().sum(-1, keepdim=True) for values in (wanted, found)]
    return torch.where(energies[1] > 0, energies[0] / energies[1], 0.0).sqrt()


def _series(spectrum: Tensor, sample: Tensor) -> Tensor:
    return within_range(torch.fft.irfft(spectrum, n=sample.shape[-1]), sample)
