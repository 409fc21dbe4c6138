"""Models whose use of the input is known: every weight is set by hand, nothing is learned.

All take one channel, `(batch, 1, *space)` in one to three dimensions, minus 0.5 (the audits'
normalisation), and return two or more logits. Weights arrive as a checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class TemplateVotes(nn.Module):
    """Matched filters that vote, alone and in pairs.

    With the agreement `m_u` of the input with template u, the logit of class c is
    `bias_c + sum_u alone_cu m_u + sum_uv pairs_cuv m_u m_v`; with `tanh`, the hyperbolic tangent of
    that. Without pairs its gradient is the same everywhere.
    """

    templates: Tensor
    alone: Tensor
    pairs: Tensor
    bias: Tensor

    def __init__(self, space: Sequence[int], units: int, classes: int, *, tanh: bool) -> None:
        super().__init__()
        self.tanh = tanh
        self.register_buffer("templates", torch.zeros(units, *space))
        self.register_buffer("alone", torch.zeros(classes, units))
        self.register_buffer("pairs", torch.zeros(classes, units, units))
        self.register_buffer("bias", torch.zeros(classes))

    def forward(self, signal: Tensor) -> Tensor:
        """Logits of shape (batch, class)."""
        agreement = signal.flatten(1) @ self.templates.flatten(1).T
        votes = self.bias + agreement @ self.alone.T
        votes = votes + torch.einsum("nu,cuv,nv->nc", agreement, self.pairs, agreement)
        return votes.tanh() if self.tanh else votes


class HaarEnergies(nn.Module):
    """Half the weighted energy of every band of the Haar transform; one row of weights a class.

    Its gradient with respect to a coefficient is the coefficient times its band's weight, so it
    depends on the input, and on noise added to it, in a known way.
    """

    weights: Tensor

    def __init__(self, levels: int, bands: int, classes: int) -> None:
        super().__init__()
        self.levels = levels
        self.register_buffer("weights", torch.zeros(classes, bands))

    def forward(self, signal: Tensor) -> Tensor:
        """Logits of shape (batch, class)."""
        bands = haar_bands(signal[:, 0], self.levels)
        energies = torch.stack([band.square().flatten(1).sum(1) for band in bands], dim=1)
        return energies @ self.weights.T / 2


class SpectralEnergies(nn.Module):
    """Logarithm of the energy of the windowed signal in a set of frequencies, one set a class.

    The window lets its gradient fall to nothing at the borders.
    """

    masks: Tensor
    window: Tensor

    def __init__(self, space: Sequence[int], classes: int, floor: float = 1e-6) -> None:
        super().__init__()
        self.floor = floor
        self.register_buffer("masks", torch.zeros(classes, *space))
        self.register_buffer("window", torch.ones(*space))

    def forward(self, signal: Tensor) -> Tensor:
        """Logits of shape (batch, class)."""
        axes = tuple(range(1, signal.ndim - 1))
        spectrum = torch.fft.fftn(self.window * signal[:, 0], dim=axes, norm="ortho")
        power = spectrum.real.square() + spectrum.imag.square()
        return (self.floor + power.flatten(1) @ self.masks.flatten(1).T).log()


class StripeContrasts(nn.Module):
    """Mean squared difference of neighbours along the first axis, less that of next neighbours.

    Positive for stripes of period 2, negative for those of period 4, wherever they are: blocks of
    the signal may change places.
    """

    tie: Tensor

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain
        self.register_buffer("tie", torch.zeros(2))

    def forward(self, signal: Tensor) -> Tensor:
        """Logits of two classes, shape (batch, 2)."""
        near = (signal[:, :, 1:] - signal[:, :, :-1]).square().flatten(1).mean(1)
        far = (signal[:, :, 2:] - signal[:, :, :-2]).square().flatten(1).mean(1)
        contrast = self.gain * (near - far)
        return torch.stack([-contrast, contrast], dim=1) + self.tie


def haar_bands(signal: Tensor, levels: int) -> list[Tensor]:
    """Orthonormal Haar transform of (batch, *space): details from fine to coarse, then the rest.

    Within a level bands are in the order of their names ("ad", "da", "dd"; "a" low-pass, "d"
    high-pass, a letter an axis).
    """
    bands, rest = [], signal
    for _ in range(levels):
        parts = [rest]
        for axis in range(1, signal.ndim):
            parts = [half for part in parts for half in _halves(part, axis)]
        rest = parts[0]
        bands += parts[1:]
    return [*bands, rest]


def _halves(values: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    even, odd = values.unflatten(axis, (-1, 2)).unbind(axis + 1)
    return (even + odd) / math.sqrt(2), (even - odd) / math.sqrt(2)


def template_votes(
    space: Sequence[int], units: int, classes: int = 2, *, tanh: bool = False
) -> nn.Module:
    """See `TemplateVotes`."""
    return TemplateVotes(space, units, classes, tanh=tanh)


def haar_energies(levels: int, bands: int, classes: int = 2) -> nn.Module:
    """See `HaarEnergies`."""
    return HaarEnergies(levels, bands, classes)


def spectral_energies(space: Sequence[int], classes: int = 2) -> nn.Module:
    """See `SpectralEnergies`."""
    return SpectralEnergies(space, classes)


def stripe_contrasts(gain: float) -> nn.Module:
    """See `StripeContrasts`."""
    return StripeContrasts(gain)
