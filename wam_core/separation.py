"""Sounds within sounds: mix a target with an interference, and measure what a rebuilt mix holds.

Both figures are in decibels and compare an estimate with a reference, over all channels and points
of each signal of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """Two signals that are heard as one.

    Attributes:
        target: What is to be recovered, as it stands in the mixture.
        interference: All else in it.
    """

    target: Float[Tensor, "batch channel *space"]
    interference: Float[Tensor, "batch channel *space"]

    @property
    def signal(self) -> Float[Tensor, "batch channel *space"]:
        """The sum, which the model receives."""
        return self.target + self.interference


def mix_at_snr(
    target: Float[Tensor, "batch channel *space"],
    noise: Float[Tensor, "batch channel *space"],
    snr_db: float,
) -> Mixture:
    """Scale the noise to a signal-to-noise ratio, n <- n rms(x) / rms(n) 10^(-SNR / 20).

    The target is left as it is. A noise of zeros stays one.
    """
    ratio = _energy(target) / _energy(noise)
    gain = torch.where(ratio.isfinite(), ratio.sqrt(), 0.0) * 10 ** (-snr_db / 20)
    return Mixture(target, _per_signal(gain, noise) * noise)


def mix_overlap(
    target: Float[Tensor, "batch channel *space"],
    other: Float[Tensor, "batch channel *space"],
    level: float,
) -> Mixture:
    """Two signals at equal peaks, the second times `level`: x1 / max|x1| + level x2 / max|x2|.

    The mixture that "Listen to interpret" (Parekh et al., 2022) and WAM's experiments use. It is
    brought back to the target's amplitude, so that the target is left as it is.
    """
    ratio = _peak(target) / _peak(other)
    gain = level * torch.where(ratio.isfinite(), ratio, 0.0)
    return Mixture(target, _per_signal(gain, other) * other)


def signal_to_distortion(
    estimate: Float[Tensor, "batch channel *space"],
    reference: Float[Tensor, "batch channel *space"],
) -> Float[Tensor, " batch"]:
    """Scale-invariant signal-to-distortion ratio (SI-SDR), in dB, float64.

    With a = <estimate, reference> / |reference|^2, it is 10 log10(|a reference|^2 / |a reference -
    estimate|^2) (Le Roux et al., "SDR - half-baked or well done?", 2019, equation 5; no mean is
    removed). Minus infinity for an estimate without any of the reference, infinity for a scaled
    copy, NaN where either is zero.
    """
    estimate, reference = _flat(estimate), _flat(reference)
    scale = (estimate * reference).sum(1) / reference.square().sum(1)
    projection = scale[:, None] * reference
    return _decibel(projection.square().sum(1), (projection - estimate).square().sum(1))


def signal_to_noise(
    estimate: Float[Tensor, "batch channel *space"],
    reference: Float[Tensor, "batch channel *space"],
) -> Float[Tensor, " batch"]:
    """Signal-to-noise ratio 10 log10(|reference|^2 / |reference - estimate|^2), in dB, float64.

    Unlike SI-SDR it counts a wrong loudness as an error: an estimate of zeros has 0 dB. NaN where
    the reference is zero.
    """
    estimate, reference = _flat(estimate), _flat(reference)
    energy = reference.square().sum(1)
    ratio = _decibel(energy, (reference - estimate).square().sum(1))
    return torch.where(energy > 0, ratio, torch.nan)


def _decibel(signal: Tensor, noise: Tensor) -> Tensor:
    return 10 * torch.log10(signal / noise)


def _flat(signal: Tensor) -> Tensor:
    return signal.detach().cpu().double().flatten(1)


def _energy(signal: Tensor) -> Tensor:
    return signal.flatten(1).square().sum(1)


def _peak(signal: Tensor) -> Tensor:
    return signal.flatten(1).abs().amax(1)


def _per_signal(values: Tensor, signal: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (signal.ndim - 1))
