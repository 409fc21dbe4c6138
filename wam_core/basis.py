"""Wavelet bases, their bands, and where each band lies among a signal's coefficients.

Level 1 is the finest octave: it holds structure of one to two samples per half-period, frequencies
of 1/4 to 1/2 cycles per sample. Each level further halves the frequency. What is below the
coarsest level is the approximation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal, get_args

import numpy as np
import pywt

BoundaryMode = Literal["zero", "reflect", "symmetric", "periodic", "constant"]


@dataclass(frozen=True, slots=True)
class Band:
    """One sub-band of a transform.

    Attributes:
        level: 1 is the finest.
        filters: One letter per axis, "a" low-pass and "d" high-pass; all "a" is the approximation.
    """

    level: int
    filters: str

    @property
    def is_approximation(self) -> bool:
        """Whether this is the low-pass rest below the coarsest level."""
        return "d" not in self.filters

    @property
    def level_name(self) -> str:
        """The level as tables and plots show it: a number, or "approximation"."""
        return "approximation" if self.is_approximation else str(self.level)


@dataclass(frozen=True, slots=True)
class WaveletBasis:
    """A discrete wavelet transform: which wavelet, how many octaves, which boundary rule.

    Attributes:
        wavelet: An orthogonal or biorthogonal wavelet of PyWavelets, such as "haar" or "db4".
        levels: Number of octaves, at least 1.
        mode: Boundary rule of the analysis. With "zero" an orthogonal transform keeps energies
            exactly; the others repeat border content in several coefficients.

    Raises:
        ValueError: If the wavelet is unknown or continuous, the level below 1, or the mode unknown.
    """

    wavelet: str
    levels: int
    mode: BoundaryMode = "zero"

    def __post_init__(self) -> None:
        if self.wavelet not in _discrete_wavelets():
            families = ", ".join(pywt.families(short=True)[:7])
            raise ValueError(
                f"'{self.wavelet}' is not a discrete wavelet of PyWavelets; expected an orthogonal "
                f"or biorthogonal one of the families {families}, such as haar, db4 or sym8"
            )
        if self.levels < 1:
            raise ValueError(f"levels must be at least 1, got {self.levels}")
        if self.mode not in get_args(BoundaryMode):
            modes = ", ".join(get_args(BoundaryMode))
            raise ValueError(f"boundary mode must be one of {modes}; got '{self.mode}'")

    @property
    def taps(self) -> int:
        """Length of the analysis filters."""
        return int(pywt.Wavelet(self.wavelet).dec_len)

    @property
    def is_orthogonal(self) -> bool:
        """Whether the synthesis is the transpose of the zero-padded analysis, to 1e-7.

        Tested on the filters themselves: PyWavelets calls "dmey" orthogonal, but its truncated
        filters are not.
        """
        return _is_orthogonal(self.wavelet)

    def max_levels(self, space: Sequence[int]) -> int:
        """Most levels at which size / 2^levels is, on every axis, at least `taps` - 1."""
        return min(int(pywt.dwt_max_level(size, self.taps)) for size in space)


@lru_cache(maxsize=1)
def _discrete_wavelets() -> frozenset[str]:
    return frozenset(pywt.wavelist(kind="discrete"))


@lru_cache(maxsize=128)
def _is_orthogonal(wavelet: str) -> bool:
    filters = pywt.Wavelet(wavelet)
    low, high = np.asarray(filters.dec_lo), np.asarray(filters.dec_hi)
    reversed_match = np.allclose(low[::-1], filters.rec_lo, atol=1e-9) and np.allclose(
        high[::-1], filters.rec_hi, atol=1e-9
    )
    autocorrelation = np.correlate(low, low, mode="full")[len(low) - 1 :: 2]
    expected = np.zeros_like(autocorrelation)
    expected[0] = 1.0
    return bool(reversed_match and np.allclose(autocorrelation, expected, atol=1e-7))


@dataclass(frozen=True)
class CoefficientLayout:
    """Where each band of a signal lies on the flat coefficient axis, coarse to fine.

    Attributes:
        space: Size of the signal along its one, two or three spatial axes.
        basis: The transform.

    Raises:
        ValueError: If there are not one to three axes, or an axis is too short for the levels.

    Example:
        >>> layout = CoefficientLayout((8, 8), WaveletBasis("haar", 2))
        >>> [(band.level, band.filters) for band in layout.bands]
        [(2, 'aa'), (2, 'da'), (2, 'ad'), (2, 'dd'), (1, 'da'), (1, 'ad'), (1, 'dd')]
        >>> layout.size
        64
    """

    space: tuple[int, ...]
    basis: WaveletBasis

    def __post_init__(self) -> None:
        if not 1 <= len(self.space) <= 3:
            raise ValueError(
                f"a signal has one, two or three spatial axes; got {len(self.space)}: {self.space}"
            )
        largest = self.basis.max_levels(self.space)
        if self.basis.levels > largest:
            wavelet, taps = self.basis.wavelet, self.basis.taps
            advice = (
                f"use at most {largest} levels"
                if largest
                else "use a wavelet with a shorter filter, or larger signals"
            )
            raise ValueError(
                f"{self.basis.levels} levels of '{wavelet}' (filter length {taps}) do not fit a "
                f"signal of size {'x'.join(map(str, self.space))}: the largest valid level is "
                f"{largest}; {advice}"
            )

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.space)

    @cached_property
    def bands(self) -> tuple[Band, ...]:
        """Approximation first, then the details from the coarsest level to the finest."""
        levels = self.basis.levels
        details = detail_filters(self.ndim)
        return (
            Band(levels, "a" * self.ndim),
            *(Band(level, filters) for level in range(levels, 0, -1) for filters in details),
        )

    @cached_property
    def _level_shapes(self) -> tuple[tuple[int, ...], ...]:
        shapes = [self.space]
        for _ in range(self.basis.levels):
            shapes.append(tuple((size + self.basis.taps - 1) // 2 for size in shapes[-1]))
        return tuple(shapes)

    def band_shape(self, band: Band) -> tuple[int, ...]:
        """Size of a band along each axis."""
        return self._level_shapes[band.level]

    def interior(self, band: Band) -> tuple[slice, ...]:
        """Along each axis, the coefficients of a band whose filters stay inside the signal.

        Coefficient k of level j of n samples is made of samples 2^j k - (2^j - 1)(taps - 2) to
        2^j k + 2^j - 1. The filters count at their full length: zeros at the ends of biorthogonal
        ones too. No band is without interior: the layout accepts only levels where n / 2^j is at
        least taps - 1.

        Example:
            >>> layout = CoefficientLayout((224,), WaveletBasis("db4", 5))
            >>> [(layout.interior(band), layout.band_shape(band)) for band in layout.bands[1:3]]
            [((slice(6, 7, None),), (13,)), ((slice(6, 14, None),), (20,))]
        """
        scale = 2**band.level
        first = math.ceil((scale - 1) * (self.basis.taps - 2) / scale)
        return tuple(slice(first, size // scale) for size in self.space)

    def interior_shape(self, band: Band) -> tuple[int, ...]:
        """Size of a band's interior along each axis."""
        return tuple(part.stop - part.start for part in self.interior(band))

    @cached_property
    def slices(self) -> dict[Band, slice]:
        """Place of each band on the flat coefficient axis."""
        ends = itertools.accumulate(math.prod(self.band_shape(band)) for band in self.bands)
        starts = itertools.chain([0], ends)
        sizes = (math.prod(self.band_shape(band)) for band in self.bands)
        return {
            band: slice(start, start + size)
            for band, start, size in zip(self.bands, starts, sizes, strict=False)
        }

    @property
    def size(self) -> int:
        """Number of coefficients of one channel."""
        return self.slices[self.bands[-1]].stop

    @cached_property
    def level_names(self) -> tuple[str, ...]:
        """Names of the levels, finest first, then "approximation"."""
        return (*(str(level) for level in range(1, self.basis.levels + 1)), "approximation")

    def bands_of(self, level_name: str) -> tuple[Band, ...]:
        """The bands that make up a level."""
        return tuple(band for band in self.bands if band.level_name == level_name)

    def level_size(self, level_name: str) -> int:
        """Number of coefficients of one channel in a level."""
        return sum(math.prod(self.band_shape(band)) for band in self.bands_of(level_name))

    def record(self) -> list[dict[str, Any]]:
        """The layout as plain JSON data, stored beside the coefficients."""
        return [
            {
                "level": band.level_name,
                "filters": band.filters,
                "shape": list(self.band_shape(band)),
                "start": self.slices[band].start,
                "stop": self.slices[band].stop,
            }
            for band in self.bands
        ]


@lru_cache(maxsize=3)
def detail_filters(ndim: int) -> tuple[str, ...]:
    """Filter names of the detail bands of one level, in the order of the layout.

    In 2D: "da" (horizontal in the wavelet literature: variation along the first axis), "ad"
    (vertical) and "dd" (diagonal).
    """
    names = ("".join(letters)[::-1] for letters in itertools.product("ad", repeat=ndim))
    return tuple(name for name in names if "d" in name)


def frequency_range(level_name: str, levels: int) -> tuple[float, float]:
    """Nominal octave of a level, in cycles per sample along one axis.

    Multiply by the sampling rate for Hz, divide by the voxel size for cycles per mm. Wavelets
    leak: with haar about half of an octave's energy lands in its own level, with sym8 about 0.8.
    """
    if level_name == "approximation":
        return 0.0, 2.0 ** -(levels + 1)
    return 2.0 ** -(int(level_name) + 1), 2.0 ** -int(level_name)
