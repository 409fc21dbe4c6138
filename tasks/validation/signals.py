"""Signals built from their coefficients or frequencies, with libraries other than our own core.

PyWavelets builds and takes apart; nothing here is shared with the transform that is put to the
test.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pywt
from numpy.typing import NDArray

Array = NDArray[np.float64]

SPACES = {1: (256,), 2: (32, 32), 3: (16, 16, 16)}
LEVELS = {1: 5, 2: 4, 3: 3}
"""Of the exact experiments, by dimension. Dyadic: the Haar transform has no borders there."""


@dataclass(frozen=True)
class HaarGrid:
    """The bands of the Haar transform of a dyadic signal.

    Attributes:
        space: Size along every axis, a multiple of 2^levels.
    """

    space: tuple[int, ...]
    levels: int

    @cached_property
    def bands(self) -> tuple[tuple[str, str], ...]:
        """(level, filters): details from fine to coarse, by name within a level, then the rest."""
        ndim = len(self.space)
        details = ["".join(letters) for letters in itertools.product("ad", repeat=ndim)][1:]
        named = [(str(level + 1), name) for level in range(self.levels) for name in details]
        return (*named, ("approximation", "a" * ndim))

    @property
    def level_names(self) -> tuple[str, ...]:
        """Finest first, the approximation last."""
        return (*(str(level + 1) for level in range(self.levels)), "approximation")

    @cached_property
    def counts(self) -> Array:
        """Coefficients in each band."""
        return np.array([math.prod(self._shape(level)) for level, _ in self.bands], dtype=float)

    def by_level(self, values: Array) -> Array:
        """Add the bands of each level, over the last axis."""
        levels = [level for level, _ in self.bands]
        return np.stack(
            [
                values[..., [place for place, name in enumerate(levels) if name == level]].sum(-1)
                for level in self.level_names
            ],
            axis=-1,
        )

    def spread(self, per_band: Array) -> Array:
        """One value per band as one per coefficient, band after band."""
        return np.repeat(per_band, self.counts.astype(int), axis=-1)

    def synthesise(self, coefficients: Array) -> Array:
        """The signal of coefficients given band after band."""
        pieces = np.split(coefficients, np.cumsum(self.counts.astype(int))[:-1])
        blocks = {
            band: piece.reshape(self._shape(band[0]))
            for band, piece in zip(self.bands, pieces, strict=True)
        }
        rest = blocks[self.bands[-1]]
        details = [
            {name: block for (level, name), block in blocks.items() if level == str(number)}
            for number in range(self.levels, 0, -1)
        ]
        signal: Array = pywt.waverecn([rest, *details], "haar", mode="zero")
        return signal

    def analyse(self, signal: Array) -> Array:
        """Coefficients band after band."""
        rest, *details = pywt.wavedecn(signal, "haar", mode="zero", level=self.levels)
        blocks: Mapping[tuple[str, str], Array] = {
            (str(self.levels - place), name): block
            for place, level in enumerate(details)
            for name, block in level.items()
        }
        return np.concatenate(
            [rest.ravel() if level == "approximation" else blocks[level, name].ravel()
             for level, name in self.bands]
        )  # fmt: skip

    def _shape(self, level: str) -> tuple[int, ...]:
        scale = 2 ** (self.levels if level == "approximation" else int(level))
        return tuple(size // scale for size in self.space)


def haar_grid(dimension: int) -> HaarGrid:
    """The grid of the exact experiments."""
    return HaarGrid(SPACES[dimension], LEVELS[dimension])


def random_signs(rng: np.random.Generator, size: int) -> Array:
    """Plus and minus one."""
    signs: Array = rng.integers(0, 2, size).astype(np.float64) * 2 - 1
    return signs


def octave_mask(space: tuple[int, ...], filters: str, level: int) -> Array:
    """1 for the frequencies of a band: an octave where the filter is "d", all below it where "a".

    Level l is the octave from 2^-(l+1) to 2^-l cycles per sample. Symmetric about the origin.
    """
    mask = np.ones(space)
    for axis, (size, letter) in enumerate(zip(space, filters, strict=True)):
        frequency = np.abs(np.fft.fftfreq(size))
        low, high = 2.0 ** -(level + 1), 2.0**-level
        top = frequency <= high if level == 1 else frequency < high
        inside = (frequency >= low) & top if letter == "d" else frequency < low
        mask = mask * inside.reshape([-1 if other == axis else 1 for other in range(len(space))])
    return mask


def level_mask(space: tuple[int, ...], level: int) -> Array:
    """1 for the frequencies of all detail bands of a level."""
    names = ["".join(letters) for letters in itertools.product("ad", repeat=len(space))][1:]
    total: Array = sum((octave_mask(space, name, level) for name in names), np.zeros(space))
    return total


def hann_window(space: tuple[int, ...]) -> Array:
    """Falls to nothing at every border."""
    window = np.ones(space)
    for axis, size in enumerate(space):
        form = [-1 if other == axis else 1 for other in range(len(space))]
        window = window * np.hanning(size).reshape(form)
    return window


def band_responses(
    space: tuple[int, ...], wavelet: str, levels: int
) -> dict[tuple[str, str], Array]:
    """Energy that each band takes of every frequency: transfer functions of the filters.

    They add up to 1 at every frequency. Borders do not enter: they hold for signals that are long
    compared with the filters.
    """
    axes = [_axis_responses(size, wavelet, levels) for size in space]
    ndim = len(space)
    details = ["".join(letters) for letters in itertools.product("ad", repeat=ndim)][1:]
    bands = [(str(level + 1), name) for level in range(levels) for name in details]
    responses = {}
    for level, name in [*bands, (str(levels), "a" * ndim)]:
        total = np.ones(space)
        for axis, letter in enumerate(name):
            form = [-1 if other == axis else 1 for other in range(ndim)]
            total = total * axes[axis][int(level), letter].reshape(form)
        responses["approximation" if name == "a" * ndim else level, name] = total
    return responses


def _axis_responses(size: int, wavelet: str, levels: int) -> dict[tuple[int, str], Array]:
    """|transfer function|^2 over the decimation, per level and filter, along one axis."""
    filters = pywt.Wavelet(wavelet)
    frequency = np.fft.fftfreq(size)
    responses, below = {}, np.ones(size)
    for level in range(1, levels + 1):
        dilated = frequency * 2 ** (level - 1)
        for letter, taps in (("d", filters.dec_hi), ("a", filters.dec_lo)):
            phases = np.exp(-2j * np.pi * np.outer(dilated, np.arange(len(taps))))
            responses[level, letter] = below * np.abs(phases @ np.asarray(taps)) ** 2 / 2
        below = responses[level, "a"]
    return responses
