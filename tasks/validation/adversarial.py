"""Models that tempt an audit into seeing structure: their profiles are known too."""

from __future__ import annotations

import math

import numpy as np

from tasks.validation.exact import votes
from tasks.validation.experiments import Experiment
from tasks.validation.profiles import KnownProfile, level_label
from tasks.validation.signals import Array, HaarGrid, haar_grid
from tasks.validation.truths import ROUNDING, Tolerance, Truth, absent

_METHODS = ("gradient", "smoothgrad_absolute", "smoothgrad_signed", "integrated_gradients")


def blind(dimension: int) -> Experiment:
    """A model that ignores its input: no sample has a profile, and none may be reported."""
    grid, rng = haar_grid(dimension), np.random.default_rng(41 + dimension)
    n_samples = 4
    truths = [
        Truth("counts/degenerate", {}, n_samples, ROUNDING),
        Truth("counts/ok", {}, 0, ROUNDING),
    ]
    for method in _METHODS:
        truths += [
            absent(statistic, {"method": method})
            for statistic in ("reliance/scale_centroid", "reliance/fine_share", "reliance/entropy")
        ]
        truths += [
            absent("reliance/share", {"method": method, "level": level_label(level)})
            for level in grid.level_names
        ]
    return Experiment(
        name="blind model",
        signals=rng.uniform(0.2, 0.8, (n_samples, *grid.space)),
        labels=np.arange(n_samples) % 2,
        model="template_votes",
        arguments={"space": list(grid.space), "units": 1},
        weights=votes(rng.standard_normal((1, *grid.space)), np.zeros((2, 1))),
        truths=tuple(truths),
        settings=_settings(grid),
    )


def white_gradient(dimension: int) -> Experiment:
    """Gradients of white noise: no scale is preferred, and the share only counts coefficients."""
    grid, rng = haar_grid(dimension), np.random.default_rng(51 + dimension)
    n_classes = 32
    templates = rng.standard_normal((n_classes, *grid.space)) / math.sqrt(grid.counts.sum())
    counts = grid.by_level(grid.counts)
    truths = []
    for method in ("gradient", "smoothgrad_absolute"):
        profile = KnownProfile(method, grid, grid.counts[np.newaxis], _FEW)
        truths += [*profile.shares(), *profile.scalars(), *profile.bands()]
        truths += [
            Truth(
                "reliance/mean_share",
                {"method": method, "level": level_label(level)},
                1 / len(counts),
                _FEW_PER_COEFFICIENT,
            )
            for level in grid.level_names
        ]
    return Experiment(
        name="white gradient",
        signals=rng.uniform(0.2, 0.8, (n_classes, *grid.space)),
        labels=np.arange(n_classes),
        model="template_votes",
        arguments={"space": list(grid.space), "units": n_classes, "classes": n_classes},
        weights=votes(templates, np.eye(n_classes)),
        truths=tuple(truths),
        settings=_settings(grid),
    )


def border(dimension: int) -> Experiment:
    """A model that reads nothing but the first row: a step at the border, in every scale.

    In two and three dimensions its importance must lie across the border only, none of it in
    bands that vary along it.
    """
    grid, rng = haar_grid(dimension), np.random.default_rng(61 + dimension)
    template = np.zeros((1, *grid.space))
    template[:, 0] = 1.0
    importance = _importance_of_first_row(grid)[np.newaxis]
    truths: list[Truth] = []
    for method in ("gradient", "smoothgrad_absolute", "smoothgrad_signed"):
        profile = KnownProfile(method, grid, importance, ROUNDING)
        truths += [*profile.shares(), *profile.scalars(), *profile.bands()]
    return Experiment(
        name="border artefact",
        signals=rng.uniform(0.2, 0.8, (4, *grid.space)),
        labels=np.arange(4) % 2,
        model="template_votes",
        arguments={"space": list(grid.space), "units": 1},
        weights=votes(template, np.array([[-1.0], [1.0]])),
        truths=tuple(truths),
        settings=_settings(grid),
    )


def _importance_of_first_row(grid: HaarGrid) -> Array:
    """Sum of |coefficient| of the indicator of the first row, per band.

    A coefficient across the border is 2^(-level / 2) along the first axis and 2^(level / 2) along
    every other; there is one for each position along the border.
    """
    ndim, others = len(grid.space), math.prod(grid.space[1:])
    importance = []
    for level, filters in grid.bands:
        scale = grid.levels if level == "approximation" else int(level)
        positions = others / 2 ** (scale * (ndim - 1))
        magnitude = 2 ** (scale * (ndim - 1) / 2 - scale / 2)
        importance.append(positions * magnitude if set(filters[1:]) <= {"a"} else 0.0)
    return np.array(importance)


_FEW = Tolerance(0.01, "sampling error of 32 gradients of noise, four times")
_FEW_PER_COEFFICIENT = Tolerance(0.04, "sampling error of the coarsest levels' few coefficients")


def _settings(grid: HaarGrid) -> dict[str, object]:
    return {
        "basis": {"wavelet": "haar", "levels": grid.levels},
        "attribution": {
            "smoothgrad": {"n_samples": 3},
            "integrated_gradients": {"n_steps": 2},
        },
    }
