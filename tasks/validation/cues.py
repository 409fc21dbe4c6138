"""A texture model and a shape model on the same signals, and what suppressing a cue must cost them.

The signals hold the class twice: in fine stripes, and in which half is brighter. One model measures
stripes wherever they are, the other compares the halves.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.validation.exact import votes
from tasks.validation.experiments import Experiment
from tasks.validation.signals import Array, haar_grid
from tasks.validation.truths import Tolerance, Truth

_COUNTS = Tolerance(1e-9, "exact; counts of samples")
_CHANCE = Tolerance(0.3, "a shuffled layout is guessed: four standard errors of 160 samples")
_N_SAMPLES = 160

_ORDER = {1: ("temporal order", "segment_shuffle"), 2: ("global shape", "patch_shuffle")}
_BLUR = {1: "high frequencies", 2: "texture", 3: "texture"}


def texture_model(dimension: int) -> Experiment:
    """Measures stripes anywhere: order does not matter to it, blur takes all it knows."""
    return _suppressed(dimension, "texture model", order=(0.0, _COUNTS), blur=(1.0, _COUNTS))


def shape_model(dimension: int) -> Experiment:
    """Compares the halves: order is all it knows, blur does not matter to it."""
    return _suppressed(dimension, "shape model", order=(1.0, _CHANCE), blur=(0.0, _COUNTS))


def _suppressed(
    dimension: int, name: str, *, order: tuple[float, Tolerance], blur: tuple[float, Tolerance]
) -> Experiment:
    space = haar_grid(dimension).space
    labels = np.arange(_N_SAMPLES) % 2
    signals = np.stack([_signal(space, int(label)) for label in labels])
    order_cue, shuffle = _ORDER.get(dimension, _ORDER[2])
    truths = [Truth("texture/clean_accuracy", {}, 1.0, _COUNTS)]
    for cue, suppression, strength, (loss, tolerance) in (
        (order_cue, shuffle, 4, order),
        (_BLUR[dimension], "gaussian_blur", 15, blur),
    ):
        labels_of = {"cue": cue, "suppression": suppression, "strength": str(strength)}
        truths.append(Truth("texture/relative_loss", labels_of, loss, tolerance))
        for statistic in ("texture/suppressed_accuracy", "texture/suppression_consistency"):
            half = Tolerance(tolerance.absolute / 2, tolerance.reason)
            truths.append(Truth(statistic, labels_of, 1 - loss / 2, half))
    arguments: dict[str, Any]
    if name == "texture model":
        model, arguments, weights = "stripe_contrasts", {"gain": 1 / _STRIPES**2}, {}
    else:
        layout = _halves(space)
        model, arguments = "template_votes", {"space": list(space), "units": 1}
        weights = votes(layout[np.newaxis] / layout.size, np.array([[-10.0], [10.0]]))
        # Where both halves are equal after shuffling, rounding must not decide.
        weights |= {"bias": np.array([0.01, 0.0])}
    return Experiment(
        name=name,
        signals=signals,
        labels=labels,
        model=model,
        arguments=arguments,
        weights=weights or {"tie": np.array([0.01, 0.0])},
        truths=tuple(truths),
        settings={
            "basis": {"wavelet": "haar", "levels": 2},
            "attribution": {
                "smoothgrad": {"enabled": False},
                "integrated_gradients": {"enabled": False},
            },
            "analyses": {
                "suppression": {
                    "enabled": True,
                    "suppressions": {shuffle: [4], "gaussian_blur": [15]},
                }
            },
        },
    )


_STRIPES, _LAYOUT = 0.1, 0.2


def _signal(space: tuple[int, ...], label: int) -> Array:
    """Stripes of period 2 and a brighter second half for class 1, of period 4 and a darker one."""
    along = np.arange(space[0])
    stripes = 1.0 - 2.0 * ((along if label else along // 2) % 2)
    stripes = stripes.reshape(-1, *[1] * (len(space) - 1))
    signal: Array = 0.5 + _STRIPES * stripes + (2 * label - 1) * _LAYOUT * _halves(space)
    return signal


def _halves(space: tuple[int, ...]) -> Array:
    """Minus one in the first half along the last axis, plus one in the second."""
    layout = np.ones(space)
    layout[..., : space[-1] // 2] = -1.0
    return layout
