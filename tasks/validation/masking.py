"""A model with a known channel: what noise in each level it stands follows from its templates."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from tasks.validation.causal import Unit, planted_units
from tasks.validation.experiments import Experiment
from tasks.validation.profiles import level_label
from tasks.validation.signals import haar_grid
from tasks.validation.truths import Tolerance, Truth, absent

_N_SAMPLES = 240
_N_NOISES = 10
_CENTRE, _DEVIATION = 2.4, 1.2
_FEWEST_LEVELS = 4

_THRESHOLD = Tolerance(
    0.0, "four standard errors of an accuracy of 0.75 from 240 samples", relative=0.55
)
_PLACE = Tolerance(0.35, "four standard errors, from those of the thresholds; octaves")
_WIDTH = Tolerance(0.0, "four standard errors, from those of the thresholds", relative=0.35)


def known_channel(dimension: int) -> Experiment:
    """Sensitivity to noise that is a Gaussian over the levels of detail.

    Noise of one strength has the same energy in every level, so it moves the score by the length of
    the level's template over the square root of its number of coefficients. The class is lost
    halfway to chance where the score is 0.67 standard deviations of that. Three levels are too few
    for a channel, and none may be reported.
    """
    grid = haar_grid(dimension)
    names = grid.level_names
    counts = grid.by_level(grid.counts)
    places = np.arange(1, len(names))
    sensitivity = np.append(np.exp(-(((places - _CENTRE) / _DEVIATION) ** 2) / 2), 0.0)
    # All patterns have one magnitude: a template answers with one over the level's coefficients.
    votes = sensitivity * counts / float((sensitivity * counts).sum())
    units = [Unit(level) for level in names]
    labels = np.arange(_N_SAMPLES) % 2
    signs = np.outer(labels * 2.0 - 1.0, np.ones(len(names)))
    planted = planted_units(
        "known channel", grid, units, signs, alone=votes, labels=labels, truths=()
    )
    wave = planted.signals[1] - 0.5
    magnitude = float(np.abs(grid.analyse(wave)).max())
    spread = float(np.ptp(wave))
    moved = votes * spread * math.sqrt(counts.sum()) / (counts * magnitude)
    with np.errstate(divide="ignore"):
        thresholds = 1 / (stats.norm.ppf(0.75) * moved)
    known = thresholds[:-1]
    noises = np.geomspace(known.min() / 2, known.max() * 2, _N_NOISES)
    truths = [
        Truth("critical_band/criterion", {}, 0.75, _THRESHOLD),
        absent("critical_band/threshold", {"level": "approximation"}),
    ]
    for level, threshold in zip(names, known, strict=False):
        which = {"level": level_label(level)}
        truths.append(Truth("critical_band/threshold", which, float(threshold), _THRESHOLD))
    if len(known) < _FEWEST_LEVELS:
        truths += [absent("critical_band/centre"), absent("critical_band/width")]
    else:
        width = 2 * math.sqrt(math.log(4)) * _DEVIATION
        truths += [
            Truth("critical_band/centre", {}, _CENTRE, _PLACE),
            Truth("critical_band/width", {}, width, _WIDTH),
        ]
    return planted_units(
        "known channel",
        grid,
        units,
        signs,
        alone=votes,
        labels=labels,
        truths=truths,
        explained=False,
        analyses={
            "critical_bands": {
                "enabled": True,
                "samples": None,
                "noise_levels": [float(noise) for noise in noises],
            }
        },
    )
