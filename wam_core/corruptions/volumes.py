"""Corruptions of volumes: what scanners, patients and reconstructions do (TorchIO's vocabulary).

Intensities are in [0, 1]. Lengths are parts of the volume or points of a volume of 64, and scale
with it. What happens in k-space happens to the discrete Fourier transform of the volume.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from wam_core.corruptions.contract import Corruption, Operator, Parameters, Surroundings
from wam_core.corruptions.filters import draw, gaussian_filter, normal

Volume = Float[Tensor, "batch channel depth height width"]
Generators = Sequence[np.random.Generator]

_SPACE = (-3, -2, -1)


def _factor(volume: Tensor) -> float:
    return min(volume.shape[-3:]) / 64


def _gaussian(volume: Tensor, at: Parameters, draws: Generators, _: Surroundings) -> Tensor:
    return (volume + at["deviation"] * normal(draws, volume.shape[1:], volume)).clamp(0, 1)


def _rician(volume: Tensor, at: Parameters, draws: Generators, _: Surroundings) -> Tensor:
    """Magnitude of a complex signal with noise in both parts, as magnetic resonance has it."""
    real, imaginary = normal(draws, (2, *volume.shape[1:]), volume).unbind(1)
    deviation = at["deviation"]
    return torch.hypot(volume + deviation * real, deviation * imaginary).clamp(0, 1)


def _blur(volume: Tensor, at: Parameters, _: Generators, __: Surroundings) -> Tensor:
    return gaussian_filter(volume, at["sigma"] * _factor(volume), 3).clamp(0, 1)


def _axes(draws: Generators) -> list[int]:
    return [int(generator.integers(0, 3)) for generator in draws]


def _anisotropy(volume: Tensor, at: Parameters, draws: Generators, _: Surroundings) -> Tensor:
    """Thick slices: every sample loses resolution along one axis, drawn at random."""
    parts = []
    for sample, axis in zip(volume, _axes(draws), strict=True):
        moved = sample.movedim(axis + 1, -1)
        size = moved.shape[-1]
        fewer = max(1, round(size / at["factor"]))
        flat = moved.reshape(1, -1, size)
        coarse = functional.interpolate(flat, size=fewer, mode="area")
        back = functional.interpolate(coarse, size=size, mode="linear")
        parts.append(back.reshape(moved.shape).movedim(-1, axis + 1))
    return torch.stack(parts)


def _motion(volume: Tensor, at: Parameters, draws: Generators, _: Surroundings) -> Tensor:
    """The patient moves twice while k-space is read: its parts come from different poses.

    Rotations are by up to some degrees about every axis, shifts by up to some points along it.
    """
    moves = draw(draws, lambda each: each.uniform(-1, 1, (2, 6)), volume)
    spectrum = torch.fft.fftn(volume, dim=_SPACE)
    lines = torch.fft.fftfreq(volume.shape[-3], device=volume.device).argsort().argsort()
    late = lines.reshape(-1, 1, 1) / max(1, volume.shape[-3])
    for place, (begin, end) in enumerate(((0.3, 0.5), (0.75, 1.0))):
        posed = torch.fft.fftn(_posed(volume, moves[:, place], at), dim=_SPACE)
        read = (late >= begin) & (late < end)
        spectrum = torch.where(read, posed, spectrum)
    return torch.fft.ifftn(spectrum, dim=_SPACE).abs().clamp(0, 1)


def _posed(volume: Tensor, moves: Tensor, at: Parameters) -> Tensor:
    """Turned about the middle and shifted; linear between points, empty outside."""
    angles = moves[:, :3] * math.radians(at["degrees"])
    turn = torch.eye(3, device=volume.device, dtype=volume.dtype).expand(len(volume), 3, 3)
    for axis in range(3):
        cosine, sine = angles[:, axis].cos(), angles[:, axis].sin()
        first, second = (place for place in range(3) if place != axis)
        about = torch.zeros_like(turn)
        about[:, axis, axis] = 1
        about[:, first, first] = about[:, second, second] = cosine
        about[:, first, second], about[:, second, first] = -sine, sine
        turn = turn @ about
    sides = volume.new_tensor(volume.shape[-3:]).flip(0)
    shift = 2 * moves[:, 3:] * at["shift"] * _factor(volume) / sides
    grid = functional.affine_grid(
        torch.cat([turn, shift[..., None]], 2), list(volume.shape), align_corners=False
    )
    return functional.grid_sample(volume, grid, mode="bilinear", align_corners=False)


def _ghosting(volume: Tensor, at: Parameters, draws: Generators, _: Surroundings) -> Tensor:
    """Every n-th plane of k-space is weaker along one axis: fainter copies along it, as magnitude.

    The planes of the lowest frequencies stay, as TorchIO keeps the centre.
    """
    spectrum = torch.fft.fftn(volume, dim=_SPACE)
    parts = []
    for sample, axis in zip(spectrum, _axes(draws), strict=True):
        size = sample.shape[axis + 1]
        planes = torch.arange(size, device=volume.device)
        weak = planes % round(at["every"]) == 0
        frequency = torch.fft.fftfreq(size, device=volume.device).abs()
        weak &= frequency > 0.02
        gain = torch.where(weak, 1 - at["strength"], 1.0).to(volume.dtype)
        parts.append(sample * gain.reshape([-1 if d == axis + 1 else 1 for d in range(4)]))
    return torch.fft.ifftn(torch.stack(parts), dim=_SPACE).abs().clamp(0, 1)


def _spike(volume: Tensor, at: Parameters, draws: Generators, _: Surroundings) -> Tensor:
    """One point of k-space is struck: a wave all over the volume (herringbone)."""
    where = draw(draws, lambda each: each.uniform(0.1, 0.4, 3), volume)
    phase = draw(draws, lambda each: each.uniform(0, 2 * math.pi, 1), volume)
    angle = phase[:, :, None, None]
    for axis, size in enumerate(volume.shape[-3:]):
        waves = torch.round(where[:, axis] * size)
        points = torch.arange(size, device=volume.device, dtype=volume.dtype) / size
        along = 2 * math.pi * waves[:, None] * points
        angle = angle + along.reshape(len(volume), *[size if d == axis else 1 for d in range(3)])
    return (volume + at["amplitude"] * angle.cos()[:, None]).clamp(0, 1)


def _bias_field(volume: Tensor, at: Parameters, draws: Generators, _: Surroundings) -> Tensor:
    """Sensitivity of the coil: times the exponential of a polynomial of the third degree."""
    powers = [each for each in product(range(4), repeat=3) if 0 < sum(each) <= 3]
    weights = draw(draws, lambda each: each.uniform(-1, 1, len(powers)), volume)
    axes = [
        torch.linspace(-1, 1, size, device=volume.device, dtype=volume.dtype)
        for size in volume.shape[-3:]
    ]
    field = volume.new_zeros(len(volume), *volume.shape[-3:])
    for place, (first, second, third) in enumerate(powers):
        term = axes[0].pow(first)[:, None, None] * axes[1].pow(second)[:, None] * axes[2].pow(third)
        field += weights[:, place, None, None, None] * term
    return (volume * torch.exp(at["coefficient"] * field)[:, None]).clamp(0, 1)


def _gamma(volume: Tensor, at: Parameters, _: Generators, __: Surroundings) -> Tensor:
    return volume.clamp(0, 1) ** at["exponent"]


def _gibbs(volume: Tensor, at: Parameters, _: Generators, __: Surroundings) -> Tensor:
    """High frequencies were never read: ringing at edges."""
    spectrum = torch.fft.fftn(volume, dim=_SPACE)
    radius = volume.new_zeros(())
    for axis, size in enumerate(volume.shape[-3:]):
        frequency = torch.fft.fftfreq(size, device=volume.device, dtype=volume.dtype)
        radius = radius + frequency.reshape([-1 if d == axis else 1 for d in range(3)]).square()
    kept = radius.sqrt() <= at["kept"] / 2
    return torch.fft.ifftn(spectrum * kept, dim=_SPACE).real.clamp(0, 1)


def _contrast(volume: Tensor, at: Parameters, _: Generators, __: Surroundings) -> Tensor:
    mean = volume.mean(_SPACE, keepdim=True)
    return ((volume - mean) * at["factor"] + mean).clamp(0, 1)


def _brightness(volume: Tensor, at: Parameters, _: Generators, __: Surroundings) -> Tensor:
    return (volume + at["added"]).clamp(0, 1)


def _corruption(
    name: str, family: str, parameter: str, values: Sequence[float], operator: Operator
) -> Corruption:
    return Corruption(name, family, tuple({parameter: value} for value in values), operator)


_NOISE = (0.02, 0.05, 0.1, 0.15, 0.2)

VOLUME_CORRUPTIONS: tuple[Corruption, ...] = (
    _corruption("gaussian_noise", "noise", "deviation", _NOISE, _gaussian),
    _corruption("rician_noise", "noise", "deviation", _NOISE, _rician),
    _corruption("gaussian_blur", "blur", "sigma", (0.5, 1.0, 1.5, 2.0, 3.0), _blur),
    _corruption("anisotropy", "resolution", "factor", (1.5, 2.0, 3.0, 4.0, 6.0), _anisotropy),
    Corruption(
        "motion",
        "patient",
        tuple(
            {"degrees": degrees, "shift": shift}
            for degrees, shift in ((2.0, 1.0), (4.0, 2.0), (6.0, 3.0), (8.0, 4.0), (10.0, 5.0))
        ),
        _motion,
    ),
    Corruption(
        "ghosting",
        "patient",
        tuple({"every": 2.0, "strength": value} for value in (0.2, 0.35, 0.5, 0.7, 0.9)),
        _ghosting,
    ),
    _corruption("spike", "scanner", "amplitude", (0.05, 0.1, 0.2, 0.3, 0.4), _spike),
    _corruption("bias_field", "scanner", "coefficient", (0.1, 0.2, 0.3, 0.45, 0.6), _bias_field),
    _corruption("gamma", "scanner", "exponent", (1.3, 1.6, 2.0, 2.5, 3.0), _gamma),
    _corruption("gibbs", "reconstruction", "kept", (0.8, 0.6, 0.45, 0.3, 0.2), _gibbs),
    _corruption("contrast", "scanner", "factor", (0.8, 0.6, 0.45, 0.3, 0.2), _contrast),
    _corruption("brightness", "scanner", "added", (0.05, 0.1, 0.15, 0.2, 0.3), _brightness),
)
"""Severities 1 to 5 of every corruption; `docs/corruptions.md` says what each does."""
