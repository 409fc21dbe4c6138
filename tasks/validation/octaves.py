"""Experiments with planted octaves: scores that see a set of frequencies and nothing else.

The signals are white noise, so the gradient is noise within the planted frequencies, faded out
towards the borders. How the energy of any gradient falls on the bands of a wavelet follows from its
spectrum and the transfer functions of the wavelet's filters alone; how its magnitude does, from the
energies, as far as it is Gaussian.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from tasks.validation.experiments import Experiment
from tasks.validation.profiles import level_label
from tasks.validation.signals import (
    Array,
    band_responses,
    hann_window,
    level_mask,
    octave_mask,
)
from tasks.validation.truths import NOTHING, Labels, Tolerance, Truth

_SIZES = {1: ((2048,), 4), 2: ((128, 128), 3), 3: ((32, 32, 32), 2)}
"""Space and levels; in three dimensions sym8 does not fit twice, db4 does."""


def planted_octaves(
    dimension: int, wavelet: str, *, windowed: bool = True, repeats: int = 4
) -> Experiment:
    """One class per level, one per orientation of a level, and one for the approximation.

    Args:
        windowed: The scores see less and less of the signal towards its borders. Without it the
            gradient ends there as a step, and statistics have to leave the border out; what is
            left of a level is then known per coefficient only.
    """
    space, levels = _SIZES[dimension]
    masks = _planted(space, levels)
    n_classes = len(masks)
    labels = np.arange(n_classes * repeats) % n_classes
    rng = np.random.default_rng(71 + dimension)
    signals = np.clip(0.5 + 0.1 * rng.standard_normal((len(labels), *space)), 0, 1)
    responses = band_responses(space, wavelet, levels)
    window = hann_window(space) if windowed else np.ones(space)
    truths: list[Truth] = []
    which: Labels
    for label, (planted, mask) in enumerate(masks.items()):
        powers = np.stack(
            [_gradient_power(signal, mask, window) for signal in signals[labels == label]]
        )
        energy = {
            band: float((powers * taken).reshape(repeats, -1).sum(1).mean())
            for band, taken in responses.items()
        }
        magnitude = {
            band: math.sqrt(share * math.prod(space) / 2 ** (_scale(band[0], levels) * dimension))
            for band, share in energy.items()
        }
        if not windowed:
            truths += _expected_densities(label, energy, levels, dimension)
            continue
        truths += _expected_bands("smoothgrad_squared", label, energy, _TRANSFER)
        truths += _expected_bands("gradient", label, magnitude, _GAUSSIAN)
        if wavelet == "sym8" and planted[0] != "approximation":
            which = {"method": "smoothgrad_squared", "class": label, "level": planted[0]}
            truths += [Truth("mean/levels/share", which, 0.7, NOTHING, "at_least")]
    return Experiment(
        name=f"planted octaves, {wavelet}{'' if windowed else ', border excluded'}",
        signals=signals,
        labels=labels,
        model="spectral_energies",
        arguments={"space": list(space), "classes": n_classes},
        weights={"masks": np.stack(list(masks.values())), "window": window},
        truths=tuple(truths),
        settings={
            "basis": {"wavelet": wavelet, "levels": levels},
            "attribution": {
                # One draw without noise: the squared gradient itself.
                "smoothgrad": {"n_samples": 1, "first_draw_clean": True},
                "integrated_gradients": {"enabled": False},
            },
            "analyses": {"reliance": {"border": "include" if windowed else "exclude"}},
        },
    )


def _gradient_power(signal: Array, mask: Array, window: Array) -> Array:
    """Power spectrum of the gradient of the logarithm of the energy in a mask; adds up to 1."""
    seen = np.fft.ifftn(mask * np.fft.fftn(window * (signal - 0.5))).real
    power: Array = np.abs(np.fft.fftn(window * seen)) ** 2
    return power / power.sum()


def _planted(space: tuple[int, ...], levels: int) -> dict[tuple[str, str], Array]:
    ndim = len(space)
    masks = {(str(level), "all"): level_mask(space, level) for level in range(1, levels + 1)}
    if ndim > 1:
        level = levels - 1
        for letters in itertools.product("ad", repeat=ndim):
            name = "".join(letters)
            if "d" in name:
                masks[str(level), name] = octave_mask(space, name, level)
    masks["approximation", "a" * ndim] = octave_mask(space, "a" * ndim, levels)
    return masks


def _expected_bands(
    method: str, label: int, importance: dict[tuple[str, str], float], tolerance: Tolerance
) -> list[Truth]:
    total = sum(importance.values())
    by_level: dict[str, float] = {}
    truths = []
    which: Labels
    for (level, filters), value in importance.items():
        by_level[level] = by_level.get(level, 0.0) + value / total
        which = {"method": method, "class": label, "level": level, "filters": filters}
        truths.append(Truth("mean/bands/share", which, value / total, tolerance))
    for level, share in by_level.items():
        which = {"method": method, "class": label, "level": level}
        truths.append(Truth("mean/levels/share", which, share, tolerance))
        if method == "gradient":
            which = {"method": method, "class": str(label), "level": level_label(level)}
            truths.append(Truth("reliance/share", which, share, tolerance))
    return truths


def _expected_densities(
    label: int, energy: dict[tuple[str, str], float], levels: int, dimension: int
) -> list[Truth]:
    """What is left inside stands for the whole: shares, and importance per coefficient."""
    by_level: dict[str, float] = {}
    for (level, _), value in energy.items():
        by_level[level] = by_level.get(level, 0.0) + value
    density = {}
    for level, value in by_level.items():
        octaves = 2.0 ** (_scale(level, levels) * dimension)
        density[level] = value * octaves / (1 if level == "approximation" else 2**dimension - 1)
    profiles = {"mean/levels/mean_share": density, "mean/levels/share": by_level}
    return [
        Truth(
            statistic,
            {"method": "smoothgrad_squared", "class": label, "level": level},
            value / sum(profile.values()),
            _INTERIOR,
        )
        for statistic, profile in profiles.items()
        for level, value in profile.items()
    ]


def _scale(level: str, levels: int) -> int:
    return levels if level == "approximation" else int(level)


_TRANSFER = Tolerance(0.025, "the transform keeps every second position of a few noises")
_GAUSSIAN = Tolerance(0.05, "sampling error of a few noises, whose energy varies over the window")
_INTERIOR = Tolerance(0.1, "sampling error of a few noises, in the few coarse places left inside")
