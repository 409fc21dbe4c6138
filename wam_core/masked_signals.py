"""A signal as a function of which of its wavelet coefficients are present.

Coefficients that are absent take the values of a baseline, such as the sample's mean: nothing is
rescaled, so contrast stays what it was, and a signal without any is the baseline itself. A
coefficient is absent from every channel alike, unless a mask names the channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from wam_core.basis import CoefficientLayout, WaveletBasis
from wam_core.readings import ClassReader, ClassReading
from wam_core.sums import band_sums, level_sums
from wam_core.transform import WaveletCoefficients, decompose, reconstruct


@dataclass(frozen=True)
class MaskedSignal:
    """Signals that can be rebuilt from some of their coefficients.

    Attributes:
        baseline: The signal without any, shape (batch, channel, *space).
        coefficients: What each adds to it: the signal's coefficients minus the baseline's.
    """

    baseline: Float[Tensor, "batch channel *space"]
    coefficients: WaveletCoefficients

    @classmethod
    def of(
        cls,
        signal: Float[Tensor, "batch channel *space"],
        baseline: Float[Tensor, "batch channel *space"],
        basis: WaveletBasis,
    ) -> MaskedSignal:
        """Take signals apart.

        Raises:
            ValueError: If signal and baseline differ in shape, or the levels do not fit.
        """
        if baseline.shape != signal.shape:
            raise ValueError(
                f"the baseline must have the signal's shape {tuple(signal.shape)}; got "
                f"{tuple(baseline.shape)}"
            )
        return cls(baseline, decompose(signal - baseline, basis))

    def __len__(self) -> int:
        return len(self.baseline)

    @property
    def layout(self) -> CoefficientLayout:
        """Names the bands of the coefficients and of masks."""
        return self.coefficients.layout

    def present(
        self, mask: Tensor, rows: Tensor | slice = slice(None)
    ) -> Float[Tensor, "row channel *space"]:
        """Baseline plus mask times what the coefficients add: 0 is absent, 1 present.

        Args:
            mask: Shape (row, coefficient), one value for all channels, or (row, channel,
                coefficient); boolean or in [0, 1].
            rows: Positions in the batch that the mask is for; all without it.
        """
        weight = mask[:, None] if mask.ndim == 2 else mask
        kept = self.coefficients.replace(self.coefficients.flat[rows] * weight)
        return self.baseline[rows] + reconstruct(kept).to(self.baseline.dtype)


def read_masked(
    read: ClassReader,
    masked: MaskedSignal,
    mask: Tensor,
    rows: Tensor | None = None,
    max_batch: int | None = None,
) -> ClassReading:
    """What the model says, without gradients, about samples under a mask each; on the CPU.

    Args:
        mask: Shape (row, coefficient).
        rows: Positions in the batch that the mask is for; all without it.
        max_batch: Most rows in one pass; None for all at once.
    """
    device = masked.baseline.device
    rows = torch.arange(len(masked)) if rows is None else rows
    rows, mask = rows.to(device), mask.to(device)
    size = max_batch or max(1, len(rows))
    with torch.no_grad():
        parts = [
            read(masked.present(part_mask, part), part).cpu()
            for part, part_mask in zip(rows.split(size), mask.split(size), strict=True)
        ]
    return ClassReading.join(parts)


@dataclass(frozen=True)
class Composition:
    """Where the kept part of a signal lies, finest level first; on the CPU.

    Attributes:
        coefficient_share: Share of the kept coefficients (of the mask) in each level; NaN where
            nothing is kept.
        energy_share: Share of their energy, in all channels; NaN where they have none.
        kept_of_level: Kept part of each level's own coefficients.
    """

    coefficient_share: Float64[Tensor, "batch level"]
    energy_share: Float64[Tensor, "batch level"]
    kept_of_level: Float64[Tensor, "batch level"]


def composition(mask: Tensor, coefficients: WaveletCoefficients) -> Composition:
    """Scales of a set of coefficients.

    Args:
        mask: Shape (batch, coefficient); boolean or in [0, 1].
        coefficients: What each adds to the signal, shape (batch, channel, coefficient); energy is
            that of mask times coefficients.
    """
    layout, flat = coefficients.layout, coefficients.flat
    weight = mask.to(flat)[:, None]
    kept = level_sums(band_sums(weight, layout), layout)
    energy = level_sums(band_sums((weight * flat).square(), layout), layout)
    sizes = torch.tensor([layout.level_size(name) for name in layout.level_names])
    return Composition(_shares(kept), _shares(energy), kept / sizes)


def _shares(values: Tensor) -> Tensor:
    total = values.sum(-1, keepdim=True)
    return torch.where(total > 0, values / total, torch.nan)
