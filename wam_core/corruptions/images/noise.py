"""Noise of sensors and of transmission; it has no length, so it is the same at every size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wam_core.corruptions.contract import Corruption, Parameters, Surroundings
from wam_core.corruptions.filters import draw, normal


def _gaussian(
    image: Tensor, at: Parameters, generators: Sequence[np.random.Generator], _: Surroundings
) -> Tensor:
    return (image + at["deviation"] * normal(generators, image.shape[1:], image)).clamp(0, 1)


def _shot(
    image: Tensor, at: Parameters, generators: Sequence[np.random.Generator], _: Surroundings
) -> Tensor:
    """Photons counted at every point: Poisson with a mean of `photons` at full brightness."""
    means = image.clamp(min=0).double().cpu().numpy() * at["photons"]
    counts = [generator.poisson(mean) for generator, mean in zip(generators, means, strict=True)]
    photons = torch.from_numpy(np.stack(counts).astype(np.float64)).to(image)
    return (photons / at["photons"]).clamp(0, 1)


def _impulse(
    image: Tensor, at: Parameters, generators: Sequence[np.random.Generator], _: Surroundings
) -> Tensor:
    """Values that are lost, in every channel by itself: as many become 1 as 0."""
    shape = image.shape[1:]
    chance = draw(generators, lambda generator: generator.random(shape), image)
    half = at["amount"] / 2
    salted = torch.where(chance < half, torch.ones_like(image), image)
    return torch.where(chance > 1 - half, torch.zeros_like(image), salted)


def _speckle(
    image: Tensor, at: Parameters, generators: Sequence[np.random.Generator], _: Surroundings
) -> Tensor:
    noise = normal(generators, image.shape[1:], image)
    return (image + image * at["deviation"] * noise).clamp(0, 1)


NOISES = (
    Corruption(
        "gaussian_noise",
        "noise",
        tuple({"deviation": value} for value in (0.08, 0.12, 0.18, 0.26, 0.38)),
        _gaussian,
    ),
    Corruption(
        "shot_noise",
        "noise",
        tuple({"photons": value} for value in (60.0, 25.0, 12.0, 5.0, 3.0)),
        _shot,
    ),
    Corruption(
        "impulse_noise",
        "noise",
        tuple({"amount": value} for value in (0.03, 0.06, 0.09, 0.17, 0.27)),
        _impulse,
    ),
    Corruption(
        "speckle_noise",
        "noise",
        tuple({"deviation": value} for value in (0.15, 0.2, 0.35, 0.45, 0.6)),
        _speckle,
        extra=True,
    ),
)
