"""Models that need a known number of coefficients: minimal signals that can be counted."""

from __future__ import annotations

import math

import numpy as np

from tasks.validation.causal import Unit, planted_units
from tasks.validation.experiments import Experiment
from tasks.validation.profiles import level_label
from tasks.validation.signals import haar_grid
from tasks.validation.truths import NOTHING, Tolerance, Truth

_THRESHOLD = 0.3
"""Answer of a unit above which its class wins over a third one, which nothing speaks for."""

_COUNTED = Tolerance(1e-9, "exact; a number of coefficients")


def countable(dimension: int, place: int) -> Experiment:
    """The class is written in one level, where every coefficient says the same part of it.

    Just above three tenths of the level's coefficients are needed. The patterns of all other levels
    are stronger, so that magnitude takes them first.

    Args:
        place: Of the level: 0 is the finest, -1 the approximation.
    """
    grid = haar_grid(dimension)
    names = grid.level_names
    used = names[place]
    counts = grid.by_level(grid.counts)
    total, own = float(counts.sum()), float(counts[names.index(used)])
    needed = math.floor(_THRESHOLD * own) + 1
    by_magnitude = total - own + needed
    fine = names.index(used) < 2
    methods = ("gradient", "smoothgrad_signed", "integrated_gradients")
    truths = [
        Truth("minimal/fraction", {"method": method}, needed / total, _COUNTED)
        for method in methods
    ]
    truths += [
        Truth("minimal/fraction", {"method": "magnitude"}, by_magnitude / total, _COUNTED),
        Truth(
            "minimal/gain_over_magnitude",
            {"method": "gradient"},
            math.log2(by_magnitude / needed),
            _COUNTED,
        ),
        Truth("minimal/applicable", {}, 1.0, _COUNTED),
        Truth("minimal/kept_by_nothing", {}, 0.0, _COUNTED),
        Truth("minimal/success", {"restriction": "fine"}, float(fine), _COUNTED),
        Truth("minimal/success", {"restriction": "coarse"}, float(not fine), _COUNTED),
        Truth("texture/t_min", {}, float(fine), _COUNTED),
        Truth("texture/t_min_coverage", {}, 1.0, _COUNTED),
    ]
    for level in names:
        which = {"method": "gradient", "level": level_label(level)}
        share = float(level == used)
        truths += [
            Truth("minimal/kept_share", which, share, _COUNTED),
            Truth("minimal/kept_energy_share", which, share, _COUNTED),
            Truth("minimal/kept_of_level", which, share * needed / own, _COUNTED),
        ]
    which = {"alpha": "1", "objective": "preserve"}
    truths += [
        Truth("minimal/mask_success", which, 1.0, _COUNTED),
        Truth("minimal/binary_mask_success", which, 1.0, _COUNTED),
        Truth(
            "minimal/mask_share", {**which, "level": level_label(used)}, 0.99, NOTHING, "at_least"
        ),
    ]
    votes = np.zeros((3, len(names)))
    votes[:2, names.index(used)] = -1.0, 1.0
    signs = np.outer(np.tile([-1.0, 1.0], 4), np.ones(len(names)))
    return planted_units(
        f"countable in {'level ' + used if used.isdigit() else 'the ' + used}",
        grid,
        [Unit(level, magnitude=1.0 if level == used else 1.5) for level in names],
        signs,
        alone=votes,
        bias=np.array([0.0, 0.0, _THRESHOLD]),
        truths=truths,
        analyses={
            "minimal": {
                "enabled": True,
                "spacing": "linear",
                "resolution": 1 / total,
                "examples": 0,
            },
            "minimal_masks": {
                "enabled": True,
                "alphas": [1.0],
                "n_steps": 100,
                "examples": 0,
            },
        },
    )
