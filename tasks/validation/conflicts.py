"""Answers to cues in conflict: hybrids of two samples, and probabilities that are planted."""

from __future__ import annotations

import json

import numpy as np

from tasks.validation.causal import Unit, planted_units
from tasks.validation.experiments import Experiment
from tasks.validation.signals import Array, haar_grid
from tasks.validation.truths import Tolerance, Truth

_COUNTS = Tolerance(1e-9, "exact; counts of samples")

_LEADING, _SECOND, _SPIKE, _REST = 0.2, 0.15, 0.25, 0.05
"""Probabilities of an image: two classes of the category that is to win have `_LEADING` each, the
largest of all stands alone in its category, whose other class has next to nothing."""


def hybrids(dimension: int, place: int) -> Experiment:
    """The class is written in every level and read in one: hybrids are taken for its giver.

    Args:
        place: Of the level that is read: 0 is the finest, -1 the approximation.
    """
    grid = haar_grid(dimension)
    names = grid.level_names
    read = names[place]
    truths = [Truth("texture/hybrid_eligible", {}, 1.0, _COUNTS)]
    for cut in range(1, grid.levels + 1):
        coarse = float(names.index(read) >= cut)
        for statistic, value in (
            ("texture/hybrid_coarse_bias", coarse),
            ("texture/hybrid_coarse_match", coarse),
            ("texture/hybrid_fine_match", 1 - coarse),
            ("texture/hybrid_coverage", 1.0),
        ):
            truths.append(Truth(statistic, {"cut": cut}, value, _COUNTS))
    labels = np.arange(8) % 2
    return planted_units(
        f"hybrids read in {'level ' + read if read.isdigit() else 'the ' + read}",
        grid,
        [Unit(level) for level in names],
        np.outer(labels * 2.0 - 1.0, np.ones(len(names))),
        alone=np.array([float(level == read) for level in names]),
        truths=truths,
        analyses={
            "hybrid": {
                "enabled": True,
                "cuts": list(range(1, grid.levels + 1)),
                "examples": 0,
            }
        },
    )


def decisions(dimension: int) -> Experiment:
    """Probabilities for which the category with the largest mean is known, and is never the argmax.

    Of 24 images 18 are true conflicts: 9 are answered by shape, 6 by texture, 3 by neither.
    """
    grid = haar_grid(dimension)
    categories = {"cat": [0, 1], "car": [2, 3], "cup": [4, 5]}
    names = list(categories)
    images = [
        *((("cat", "car", "cat"),) * 9),
        *((("cat", "car", "car"),) * 6),
        *((("car", "cat", "cup"),) * 3),
        *((("cup", "cup", "cup"),) * 4),
        *((("cat", "zebra", "cat"),) * 2),
    ]
    answers = [names.index(answer) for _, _, answer in images]
    shape_bias, n_conflicts = 9 / 15, 18
    truths = [
        Truth(statistic, {}, value, _COUNTS)
        for statistic, value in (
            ("texture/shape_bias", shape_bias),
            ("texture/coverage", 15 / n_conflicts),
            ("texture/shape_match", 9 / n_conflicts),
            ("texture/texture_match", 6 / n_conflicts),
            ("texture/neither", 3 / n_conflicts),
            ("texture/eligible", n_conflicts / len(images)),
        )
    ]
    return planted_units(
        "planted probabilities",
        grid,
        [Unit(level, filters) for level, filters in grid.bands[:6]],
        np.log(np.stack([_probabilities(answer) for answer in answers])),
        alone=np.eye(6),
        bias=np.zeros(6),
        labels=np.array([2 * answer for answer in answers]),
        truths=truths,
        columns={
            "shape": np.array([shape for shape, _, _ in images]),
            "texture": np.array([texture for _, texture, _ in images]),
        },
        files={"categories.json": json.dumps(categories)},
        analyses={"cue_conflict": {"enabled": True, "categories": "categories.json"}},
    )


def _probabilities(answer: int) -> Array:
    """Of three categories with two classes each; the largest mean is that of `answer`."""
    spiked, last = (answer + 1) % 3, (answer + 2) % 3
    probabilities = np.zeros(6)
    probabilities[2 * answer : 2 * answer + 2] = _LEADING
    probabilities[2 * spiked : 2 * spiked + 2] = _SPIKE, _REST
    probabilities[2 * last : 2 * last + 2] = _SECOND
    return probabilities
