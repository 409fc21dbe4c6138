"""A model that reads one weak level: every curve of insertion and deletion can be written down.

All coefficients of the level say the same part of the class; those of all other levels are stronger
and say nothing. An order by the model puts the level first, an order by magnitude last.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tasks.analyses.mixtures import EVIDENCE
from tasks.validation.causal import Unit, planted_units
from tasks.validation.experiments import Experiment
from tasks.validation.signals import Array, HaarGrid, haar_grid
from tasks.validation.truths import Tolerance, Truth

_STEPS = 16
_STRONG = 1.5
"""Magnitude of the idle levels' coefficients over those of the level that is read."""

_AREA = Tolerance(1e-3, "exact, but for the small bias that settles ties")
_COUNTED = Tolerance(1e-9, "exact; counts of samples")

Answer = Callable[[Array], Array]
"""Probability of the class with this part of the level present."""


def weak_evidence(dimension: int) -> Experiment:
    """The class is written in level 2, whose coefficients are the weakest."""
    grid = haar_grid(dimension)
    names, used = grid.level_names, "2"
    truths = [
        *_removals(grid, used, "integrated_gradients", is_first=True),
        *_removals(grid, used, EVIDENCE, is_first=True),
        *_removals(grid, used, "gradient", is_first=True),
        *_removals(grid, used, "magnitude", is_first=False),
        *_gains(grid, used),
        *_contrasts(grid, used),
        *_halves(),
        Truth("faithfulness/end_point_gap", {}, 1e-5, _COUNTED, "at_most"),
    ]
    return planted_units(
        "evidence in the weakest level",
        grid,
        [Unit(level, magnitude=1.0 if level == used else _STRONG) for level in names],
        np.outer(np.tile([-1.0, 1.0], 4), np.ones(len(names))),
        alone=np.array([float(level == used) for level in names]),
        truths=truths,
        analyses={"faithfulness": {"enabled": True, "n_steps": _STEPS, "n_subsets": 8}},
    )


def _present(grid: HaarGrid, used: str, removal: str, *, is_first: bool) -> tuple[Array, Array]:
    """Points of the axis, and the part of the level that an order has inserted there."""
    counts = grid.by_level(grid.counts)
    place = grid.level_names.index(used)
    ranked = counts if removal == "count" else counts[:-1]
    own, total = float(counts[place]), float(ranked.sum())
    weight = _STRONG**2
    if removal == "energy":
        # Steps are whole coefficients, those nearest to their part of the energy.
        energies = np.full(int(total), weight)
        energies[: int(own)] = 1.0
        energies = energies if is_first else energies[::-1]
        reached = np.concatenate([[0.0], energies.cumsum()]) / energies.sum()
        wanted = np.arange(_STEPS + 1) / _STEPS
        inserted = np.abs(reached[:, None] - wanted).argmin(0)
        axis = reached[inserted]
    else:
        inserted = np.round(np.arange(_STEPS + 1) / _STEPS * total)
        axis = inserted / total
    before = 0.0 if is_first else total - own
    return axis, np.clip((inserted - before) / own, 0.0, 1.0)


def _areas(grid: HaarGrid, used: str, removal: str, *, is_first: bool) -> tuple[float, float]:
    """Areas of insertion and deletion."""
    axis, present = _present(grid, used, removal, is_first=is_first)
    answer = _against_another if removal == "replacement" else _alone
    return (
        float(np.trapezoid(answer(present), axis)),
        float(np.trapezoid(answer(1 - present), axis)),
    )


def _alone(present: Array) -> Array:
    """The answer is the part that is present; its logits are plus and minus it."""
    found: Array = 1 / (1 + np.exp(-2 * present))
    return found


def _against_another(present: Array) -> Array:
    """What is absent speaks for the other class as loudly."""
    return _alone(2 * present - 1)


def _removals(grid: HaarGrid, used: str, method: str, *, is_first: bool) -> list[Truth]:
    truths = []
    for removal, prefix in (("count", ""), ("energy", "energy_"), ("replacement", "replacement_")):
        insertion, deletion = _areas(grid, used, removal, is_first=is_first)
        values = {"insertion": insertion, "deletion": deletion, "faith": insertion - deletion}
        truths += [
            Truth(f"faithfulness/{prefix}{name}", {"method": method}, value, _AREA)
            for name, value in values.items()
        ]
    return truths


def _faith(grid: HaarGrid, used: str, removal: str, *, is_first: bool) -> float:
    insertion, deletion = _areas(grid, used, removal, is_first=is_first)
    return insertion - deletion


def _gains(grid: HaarGrid, used: str) -> list[Truth]:
    """Over the order by magnitude, paired."""
    truths = []
    for removal in ("count", "energy", "replacement"):
        first, last = (_faith(grid, used, removal, is_first=place) for place in (True, False))
        labels = {"method": "integrated_gradients"}
        if removal != "count":
            labels["removal"] = removal
        truths.append(Truth("faithfulness/faith_gain_over_energy", labels, first - last, _AREA))
    return truths


def _contrasts(grid: HaarGrid, used: str) -> list[Truth]:
    """The other class's evidence is this class's in reverse; magnitudes are the same for both."""
    own, reverse = (_faith(grid, used, "replacement", is_first=place) for place in (True, False))
    values = {EVIDENCE: own - reverse, "integrated_gradients": 0.0, "magnitude": 0.0, "random": 0.0}
    return [
        Truth("faithfulness/class_contrast", {"method": method}, value, _AREA)
        for method, value in values.items()
    ]


def _halves() -> list[Truth]:
    """The level is in the first half of the order by the model, and in the last by magnitude.

    Without it nothing decides, and the small bias answers for class 0: half of the samples.
    """
    whole, nothing = float(_alone(np.array(1.0))), 0.5
    values = {
        "integrated_gradients": (whole - nothing, 1.0, 0.0),
        "magnitude": (0.0, 0.5, (whole - nothing) / whole),
    }
    truths = []
    for method, (spectra, fidelity, drop) in values.items():
        labels = {"method": method}
        truths += [
            Truth("faithfulness/spectra", labels, spectra, _AREA),
            Truth("faithfulness/input_fidelity", labels, fidelity, _COUNTED),
            Truth("faithfulness/drop", labels, drop, _AREA),
        ]
    return truths
