"""What a feature of a signal is, and what a signal looks like from which some are removed.

A measure of faithfulness removes features in the order of a ranking. What it then says depends on
what counts as a feature and on what takes the place of one that is removed; a domain fixes both, so
that methods are compared under the same removals. Removed features take the values that they have
in another signal, the replacement: the baseline, another sample, or the sample with its
coefficients resampled (`replacements`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wam_core.basis import CoefficientLayout, WaveletBasis
from wam_core.masked_signals import MaskedSignal
from wam_core.selection import keep_level
from wam_core.transform import decompose, reconstruct


class Domain(ABC):
    """Signals as functions of which of their features are present.

    Attributes:
        signal: With all features, shape (batch, channel, *space).
        energy: Of each feature, that by which the energy axis and the energy ranking go.
        removable: Features that are ranked and removed; the others are always present.
    """

    signal: Float[Tensor, "batch channel *space"]
    energy: Float[Tensor, "batch feature"]
    removable: Bool[Tensor, " feature"]

    def __len__(self) -> int:
        return len(self.signal)

    @property
    def n_features(self) -> int:
        """Features, removable or not."""
        return self.energy.shape[1]

    @property
    def n_removable(self) -> int:
        """Features that can be removed."""
        return int(self.removable.sum())

    @property
    @abstractmethod
    def emptied(self) -> Float[Tensor, "batch channel *space"]:
        """The signals without any removable feature, made without masks."""

    @abstractmethod
    def present(
        self, mask: Bool[Tensor, "row feature"], rows: Int[Tensor, " row"]
    ) -> Float[Tensor, "row channel *space"]:
        """The signals with the features of a mask.

        Args:
            mask: True where a feature is present; features that cannot be removed are so anyway.
            rows: Position in the batch of the sample that each mask is for.
        """


@dataclass(frozen=True, eq=False)
class CoefficientDomain(Domain):
    """Features are wavelet coefficients, in all channels together or in each apart.

    Coefficients are addressed by band, level and place (`CoefficientLayout`). Apart, the features
    of the first channel come first.
    """

    signal: Float[Tensor, "batch channel *space"]
    energy: Float[Tensor, "batch feature"]
    removable: Bool[Tensor, " feature"]
    masked: MaskedSignal
    channels_apart: bool

    @classmethod
    def of(
        cls,
        signal: Float[Tensor, "batch channel *space"],
        basis: WaveletBasis,
        absent: Float[Tensor, "batch channel *space"],
        *,
        replacement: Float[Tensor, "batch channel *space"] | None = None,
        details_only: bool = False,
        channels_apart: bool = False,
    ) -> CoefficientDomain:
        """Take signals apart.

        Args:
            absent: The baseline about which energy counts: squares of the coefficients of the
                signal minus it, summed over channels that are together.
            replacement: Whose coefficients take the place of removed ones; the baseline's by
                default.
            details_only: The approximation is always present.

        Raises:
            ValueError: If shapes differ, or the levels do not fit.
        """
        masked = MaskedSignal.of(signal, absent if replacement is None else replacement, basis)
        own = masked.coefficients if replacement is None else decompose(signal - absent, basis)
        layout, channels = masked.layout, signal.shape[1]
        removable = torch.ones(layout.size, dtype=torch.bool, device=signal.device)
        if details_only:
            for band in layout.bands_of("approximation"):
                removable[layout.slices[band]] = False
        energy = own.flat.square()
        return cls(
            signal,
            energy.flatten(1) if channels_apart else energy.sum(1),
            removable.repeat(channels) if channels_apart else removable,
            masked,
            channels_apart,
        )

    @property
    def layout(self) -> CoefficientLayout:
        """Names the bands of the coefficients."""
        return self.masked.layout

    @property
    def emptied(self) -> Float[Tensor, "batch channel *space"]:
        """The replacement, with the signal's approximation where that cannot be removed."""
        if bool(self.removable.all()):
            return self.masked.baseline
        kept = reconstruct(keep_level(self.masked.coefficients, "approximation"))
        return self.masked.baseline + kept.to(self.masked.baseline)

    def present(
        self, mask: Bool[Tensor, "row feature"], rows: Int[Tensor, " row"]
    ) -> Float[Tensor, "row channel *space"]:
        """See `Domain.present`."""
        mask = mask | ~self.removable
        if self.channels_apart:
            mask = mask.unflatten(1, (self.signal.shape[1], -1))
        return self.masked.present(mask, rows)


@dataclass(frozen=True, eq=False)
class InputDomain(Domain):
    """Features are the points of the signal: pixels, samples or voxels, in all channels together.

    The "signal" may be what a front end makes of one, such as a mel spectrogram, read by the rest
    of the model (`front_end`).
    """

    signal: Float[Tensor, "batch channel *space"]
    energy: Float[Tensor, "batch feature"]
    removable: Bool[Tensor, " feature"]
    replacement: Float[Tensor, "batch channel *space"]

    @classmethod
    def of(
        cls,
        signal: Float[Tensor, "batch channel *space"],
        absent: Float[Tensor, "batch channel *space"],
        *,
        replacement: Float[Tensor, "batch channel *space"] | None = None,
    ) -> InputDomain:
        """See `CoefficientDomain.of`.

        Raises:
            ValueError: If shapes differ.
        """
        replacement = absent if replacement is None else replacement
        if not signal.shape == absent.shape == replacement.shape:
            raise ValueError(
                f"baseline and replacement must have the signal's shape {tuple(signal.shape)}; got "
                f"{tuple(absent.shape)} and {tuple(replacement.shape)}"
            )
        energy = (signal - absent).square().sum(1).flatten(1)
        removable = torch.ones(energy.shape[1], dtype=torch.bool, device=signal.device)
        return cls(signal, energy, removable, replacement)

    @property
    def emptied(self) -> Float[Tensor, "batch channel *space"]:
        """The replacement."""
        return self.replacement

    def present(
        self, mask: Bool[Tensor, "row feature"], rows: Int[Tensor, " row"]
    ) -> Float[Tensor, "row channel *space"]:
        """See `Domain.present`."""
        space = tuple(self.signal.shape[2:])
        return torch.where(
            mask.unflatten(1, (1, *space)), self.signal[rows], self.replacement[rows]
        )


@dataclass(frozen=True, eq=False)
class SpectrogramDomain(Domain):
    """Features are the cells of a waveform's short-time Fourier transform, channels together.

    The window is Hann's, and frames overlap by three quarters: with all cells the transform is
    inverted exactly. Energy is the squared magnitude of a cell; cells between the zeroth and the
    Nyquist frequency stand for their mirror image too.
    """

    signal: Float[Tensor, "batch channel sample"]
    energy: Float[Tensor, "batch feature"]
    removable: Bool[Tensor, " feature"]
    replacement: Float[Tensor, "batch channel sample"]
    cells: Tensor
    n_fft: int

    @classmethod
    def of(
        cls,
        signal: Float[Tensor, "batch channel sample"],
        absent: Float[Tensor, "batch channel sample"],
        *,
        n_fft: int = 1024,
        replacement: Float[Tensor, "batch channel sample"] | None = None,
    ) -> SpectrogramDomain:
        """See `CoefficientDomain.of`.

        Args:
            n_fft: Length of a frame, a multiple of 4.

        Raises:
            ValueError: If shapes differ, or frames do not fit the signal.
        """
        replacement = absent if replacement is None else replacement
        if n_fft % 4 or not 4 <= n_fft <= signal.shape[-1]:
            raise ValueError(
                f"n_fft must be a multiple of 4 and at most the signal's {signal.shape[-1]} "
                f"samples; got {n_fft}"
            )
        cells = _cells(signal - replacement, n_fft)
        energy = _cells(signal - absent, n_fft).abs().square()
        mirrored = torch.full_like(energy[0, 0, :, :1], 2.0)
        mirrored[[0, -1]] = 1.0
        energy = (energy * mirrored).sum(1).flatten(1)
        removable = torch.ones(energy.shape[1], dtype=torch.bool, device=signal.device)
        return cls(signal, energy, removable, replacement, cells, n_fft)

    @property
    def shape(self) -> tuple[int, int]:
        """Frequencies and frames: features are in this order, frames fastest."""
        return self.cells.shape[-2], self.cells.shape[-1]

    @property
    def emptied(self) -> Float[Tensor, "batch channel sample"]:
        """The replacement."""
        return self.replacement

    def present(
        self, mask: Bool[Tensor, "row feature"], rows: Int[Tensor, " row"]
    ) -> Float[Tensor, "row channel sample"]:
        """See `Domain.present`."""
        kept = self.cells[rows] * mask.unflatten(1, (1, *self.shape))
        waveform = torch.istft(
            kept.flatten(0, 1),
            self.n_fft,
            self.n_fft // 4,
            window=torch.hann_window(self.n_fft, device=kept.device, dtype=self.signal.dtype),
            length=self.signal.shape[-1],
        )
        return self.replacement[rows] + waveform.unflatten(0, kept.shape[:2])


def _cells(signal: Tensor, n_fft: int) -> Tensor:
    """Complex cells, shape (batch, channel, frequency, frame)."""
    cells = torch.stft(
        signal.flatten(0, 1),
        n_fft,
        n_fft // 4,
        window=torch.hann_window(n_fft, device=signal.device, dtype=signal.dtype),
        pad_mode="constant",
        return_complex=True,
    )
    return cells.unflatten(0, signal.shape[:2])


def coefficient_blocks(
    layout: CoefficientLayout, cells: int | None = None
) -> Int[Tensor, " coefficient"]:
    """Block of each coefficient: every band, an orientation of a level, is cut into a grid.

    Args:
        cells: Along each axis; 16 in one dimension, 4 in two and 2 in three by default. Bands that
            are smaller are cut into single coefficients.
    """
    along = cells or DEFAULT_CELLS[layout.ndim]
    parts, start = [], 0
    for band in layout.bands:
        part = grid_blocks(layout.band_shape(band), along)
        parts.append(part + start)
        start += int(part.max()) + 1
    return torch.cat(parts)


def grid_blocks(space: tuple[int, ...], cells: int) -> Int[Tensor, " point"]:
    """Block of each point when every axis is cut into this many parts, or its points if fewer.

    Example:
        >>> grid_blocks((4, 2), 2).tolist()
        [0, 1, 0, 1, 2, 3, 2, 3]
    """
    index = torch.zeros(space, dtype=torch.long)
    for axis, size in enumerate(space):
        count = min(cells, size)
        part = torch.arange(size) * count // size
        index = index * count + part.reshape([-1 if a == axis else 1 for a in range(len(space))])
    return index.flatten()


DEFAULT_CELLS = {1: 16, 2: 4, 3: 2}
"""Parts of a band along each axis, by dimension."""

DEFAULT_GRID = {1: 128, 2: 12, 3: 5}
"""Parts of a signal along each axis, by dimension: about as many blocks as its bands have."""


def input_blocks(space: tuple[int, ...], cells: int | None = None) -> Int[Tensor, " point"]:
    """Block of each point of a signal; 128, 12 x 12 or 5 x 5 x 5 blocks by default."""
    return grid_blocks(space, cells or DEFAULT_GRID[len(space)])


def n_blocks(blocks: Int[Tensor, " feature"]) -> int:
    """How many blocks there are."""
    return int(blocks.max()) + 1 if math.prod(blocks.shape) else 0
