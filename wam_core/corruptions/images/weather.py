"""Snow, frost, fog and sunshine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wam_core.corruptions.contract import Corruption, Parameters, Surroundings
from wam_core.corruptions.filters import convolve, normal, plasma, size_factor, streaks, zoomed

_LUMINANCE = (0.299, 0.587, 0.114)


def _snow(
    image: Tensor, at: Parameters, generators: Sequence[np.random.Generator], _: Surroundings
) -> Tensor:
    """Flakes that fall in streaks, twice, over an image that is paler."""
    factor, space = size_factor(image), image.shape[-2:]
    flakes = at["mean"] + at["deviation"] * normal(generators, space, image)
    flakes = zoomed(flakes[:, None], float(at["zoom"]))
    flakes = torch.where(flakes < at["threshold"], torch.zeros_like(flakes), flakes).clamp(0, 1)
    kernels = streaks(
        generators, at["radius"] * factor, at["sigma"] * factor, (-135.0, -45.0), image
    )
    fallen = convolve(flakes, kernels, edge="replicate")
    pale = torch.maximum(image, _luminance(image) * 1.5 + 0.5)
    whitened = at["kept"] * image + (1 - at["kept"]) * pale
    return (whitened + fallen + fallen.rot90(2, (-2, -1))).clamp(0, 1)


def _luminance(image: Tensor) -> Tensor:
    if image.shape[1] != 3:
        return image.mean(1, keepdim=True)
    return (image * image.new_tensor(_LUMINANCE)[:, None, None]).sum(1, keepdim=True)


def _frost(
    image: Tensor, at: Parameters, generators: Sequence[np.random.Generator], _: Surroundings
) -> Tensor:
    """Ice over a dimmed image.

    The published corruption pastes photographs of frost, which do not ship: these crystals are
    ridges of clouds, bluish.
    """
    space = image.shape[-2:]
    fine, coarse = (plasma(generators, space, decay, image) for decay in (1.6, 2.2))
    ridges = 1 - (2 * fine - 1).abs()
    ice = (0.25 + 0.75 * ridges**3) * (0.4 + 0.9 * coarse)
    tint = (0.86, 0.95, 1.0) if image.shape[1] == 3 else (1.0,) * image.shape[1]
    layer = ice[:, None] * image.new_tensor(tint)[:, None, None]
    return (at["kept"] * image + at["ice"] * layer.clamp(0, 1)).clamp(0, 1)


def _fog(
    image: Tensor, at: Parameters, generators: Sequence[np.random.Generator], _: Surroundings
) -> Tensor:
    """Clouds are added, and the sum is scaled back to the image's own maximum."""
    clouds = plasma(generators, image.shape[-2:], float(at["decay"]), image)[:, None]
    brightest = image.amax((1, 2, 3), keepdim=True)
    foggy = (image + at["amount"] * clouds) * brightest / (brightest + at["amount"])
    return foggy.clamp(0, 1)


def _brightness(
    image: Tensor, at: Parameters, _: Sequence[np.random.Generator], __: Surroundings
) -> Tensor:
    """The value of hue, saturation and value goes up; the other two stay."""
    value = image.amax(1, keepdim=True)
    brighter = (value + at["added"]).clamp(0, 1)
    scaled = image * brighter / value.clamp(min=1e-12)
    return torch.where(value > 0, scaled, brighter.expand_as(image)).clamp(0, 1)


WEATHER = (
    Corruption(
        "snow",
        "weather",
        tuple(
            dict(
                zip(
                    ("mean", "deviation", "zoom", "threshold", "radius", "sigma", "kept"),
                    values,
                    strict=True,
                )
            )
            for values in (
                (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
                (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
                (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
                (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
                (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
            )
        ),
        _snow,
        # Sparser but larger flakes at the third severity, as published.
        monotone=False,
    ),
    Corruption(
        "frost",
        "weather",
        tuple(
            {"kept": kept, "ice": ice}
            for kept, ice in ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
        ),
        _frost,
    ),
    Corruption(
        "fog",
        "weather",
        tuple(
            {"amount": amount, "decay": decay}
            for amount, decay in ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))
        ),
        _fog,
    ),
    Corruption(
        "brightness",
        "weather",
        tuple({"added": value} for value in (0.1, 0.2, 0.3, 0.4, 0.5)),
        _brightness,
    ),
)
