"""Models that read known levels, and what must happen when levels are taken away.

Every unit is a pattern in one level (or one orientation of it) that the signal holds with sign plus
or minus, and a template that answers with exactly that sign. Removing the unit's level leaves an
answer of zero, so every accuracy, probability and Shapley value can be written down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.validation.exact import votes
from tasks.validation.experiments import Experiment
from tasks.validation.profiles import level_label
from tasks.validation.signals import Array, HaarGrid, haar_grid
from tasks.validation.truths import Tolerance, Truth

Integers = np.ndarray[Any, np.dtype[np.int64]]

_N_SAMPLES = 8
_TIE = 1e-4
"""Added to the logit of class 0, which so wins where the model sees nothing."""

_PROBABILITY = Tolerance(2e-4, "exact, but for the small bias that settles ties")
_NEARLY = Tolerance(1e-3, "exact, but for the small bias that settles ties")
_RANKS = Tolerance(1e-9, "exact; ranks")
_COUNTS = Tolerance(1e-9, "exact; counts of samples")


@dataclass(frozen=True)
class Unit:
    """A pattern in the signals and the template that answers to it.

    Attributes:
        filters: One orientation of the level; None for all of them.
        magnitude: Of each of the pattern's coefficients, relative to the other units'.
    """

    level: str
    filters: str | None = None
    magnitude: float = 1.0


def one_level(dimension: int, place: int) -> Experiment:
    """The class is written in one level only: 0 is the finest, -1 the approximation."""
    grid = haar_grid(dimension)
    names = grid.level_names
    used = names[place]
    labels = _labels()
    gain = _sigmoid(2.0) - 0.5
    truths = list(_ablation(names, {used}))
    for level in names:
        value = gain if level == used else 0.0
        truths += [
            Truth("shapley/value", {"level": level_label(level)}, value, _PROBABILITY),
            Truth("ablation/probability_drop", {"level": level_label(level)}, value, _PROBABILITY),
            Truth(
                "reliance/share",
                {"method": "gradient", "level": level_label(level)},
                float(level == used),
                _PROBABILITY,
            ),
        ]
    truths += _pass_truths(names, names.index(used))
    truths += _scales(names.index(used))
    return planted_units(
        f"class in {_spoken(used)}",
        grid,
        [Unit(level) for level in names],
        np.outer(_as_signs(labels), np.ones(len(names))),
        alone=np.array([float(level == used) for level in names]),
        truths=truths,
    )


def one_orientation(dimension: int) -> Experiment:
    """The class is written in one orientation of level 2; the others of that level are idle."""
    grid = haar_grid(dimension)
    used = "d" + "a" * (dimension - 1)
    truths = []
    bands = [band for band in grid.bands if band[0] != "approximation"]
    for level, filters in bands:
        here = (level, filters) == ("2", used)
        for kind, accuracy in (("without", 0.5 if here else 1.0), ("only", 1.0 if here else 0.5)):
            labels = {"level": level_label(level), "filters": filters, "kind": kind}
            truths.append(Truth("ablation/accuracy", labels, accuracy, _COUNTS))
        which = {"method": "gradient", "level": level, "filters": filters}
        truths.append(Truth("mean/bands/share", which, float(here), _PROBABILITY))
    return planted_units(
        f"class in orientation {used}",
        grid,
        [Unit(level, filters) for level, filters in bands],
        np.outer(_as_signs(_labels()), np.ones(len(bands))),
        alone=np.array([float(band == ("2", used)) for band in bands]),
        truths=truths,
    )


def harmful_level(dimension: int) -> Experiment:
    """Level 2 speaks for the class, level 1 half as loudly against it, in every sample."""
    grid = haar_grid(dimension)
    names = grid.level_names
    nothing, good, bad, both = 0.5, _sigmoid(2.0), _sigmoid(-1.0), _sigmoid(1.0)
    values = {
        "1": ((bad - nothing) + (both - good)) / 2,
        "2": ((good - nothing) + (both - bad)) / 2,
    }
    truths = [
        Truth("shapley/harmful_share", {}, 1.0, _COUNTS),
        Truth("ablation/accuracy", {"level": 1, "kind": "only"}, 0.0, _COUNTS),
        Truth("ablation/accuracy", {"level": 1, "kind": "without"}, 1.0, _COUNTS),
        Truth(
            "shapley/interaction",
            {"level": 1, "other_level": 2},
            both - good - bad + nothing,
            _PROBABILITY,
        ),
        Truth("shapley/efficiency_gap", {}, 0.0, _PROBABILITY, "at_most"),
    ]
    for level in names:
        which = {"level": level_label(level)}
        value = values.get(level, 0.0)
        truths.append(Truth("shapley/value", which, value, _PROBABILITY))
        truths.append(Truth("shapley/standard_deviation", which, 0.0, _PROBABILITY, "at_most"))
    truths += _scales(1)  # levels that harm count as nothing
    for level in ("1", "2"):
        which = {"level": int(level)}
        truths.append(Truth("shapley/negative_share", which, float(level == "1"), _COUNTS))
    signs = np.outer(_as_signs(_labels()), np.ones(len(names)))
    signs[:, 0] *= -1
    return planted_units(
        "harmful level",
        grid,
        [Unit(level) for level in names],
        signs,
        alone=np.array([0.5, 1.0] + [0.0] * (len(names) - 2)),
        truths=truths,
    )


def levels_together(dimension: int) -> Experiment:
    """The class is whether two levels agree: neither says anything without the other."""
    grid = haar_grid(dimension)
    names = grid.level_names
    gain = _sigmoid(2.0) - 0.5
    pair = ("1", names[-2])
    truths = list(_ablation(names, set(pair), alone_suffices=False))
    for level in names:
        value = gain / 2 if level in pair else 0.0
        which = {"level": level_label(level)}
        truths.append(Truth("shapley/value", which, value, _PROBABILITY))
    for place, level in enumerate(names):
        for other in names[place + 1 :]:
            which = {"level": level_label(level), "other_level": level_label(other)}
            value = gain if {level, other} == set(pair) else 0.0
            truths.append(Truth("shapley/interaction", which, value, _PROBABILITY))
    first = np.array([1, 1, -1, -1, 1, 1, -1, -1.0])
    signs = np.outer(_as_signs(_labels()), np.ones(len(names)))
    places = [names.index(level) for level in pair]
    signs[:, places[0]], signs[:, places[1]] = first, first * _as_signs(_labels())
    products = np.zeros((len(names), len(names)))
    products[places[0], places[1]] = 1.0
    return planted_units(
        "class in two levels together",
        grid,
        [Unit(level) for level in names],
        signs,
        alone=np.zeros(len(names)),
        pairs=products,
        truths=truths,
    )


def shortcut(dimension: int) -> Experiment:
    """Three classes: the first is whatever has level 1 and nothing else that is known.

    The second has level 1 as well, and level 2, which speaks louder; the third has level 3, and is
    the answer where nothing is left. So level 1 alone shows every sample of the first class as it,
    and all of the second with them: half of the others. The second has no such levels, and the
    third is a default, no shortcut.
    """
    grid = haar_grid(dimension)
    present = np.array([[1.0, 0, 0], [1.0, 1, 0], [0, 0, 1.0]])
    labels = np.arange(30) % 3
    truths = [Truth("shortcut/classes", {}, 1 / 3, _COUNTS)]
    for name, levels, hits, false_hits, default in (
        ("0", "1", 1.0, 0.5, 0.0),
        ("1", "2", 1.0, 0.0, 0.0),
        ("2", "3", 1.0, 1.0, 1.0),
    ):
        which = {"class": name, "levels": levels}
        truths += [
            Truth("shortcut/true_positive_rate", which, hits, _COUNTS),
            Truth("shortcut/false_positive_rate", which, false_hits, _COUNTS),
            Truth("shortcut/default_rate", {"class": name}, default, _COUNTS),
            Truth("shortcut/true_positive_rate", {**which, "levels": "all"}, 1.0, _COUNTS),
            Truth("shortcut/false_positive_rate", {**which, "levels": "all"}, 0.0, _COUNTS),
        ]
    return planted_units(
        "shortcut in level 1",
        grid,
        [Unit(level) for level in ("1", "2", "3")],
        present[labels],
        alone=np.array([[4.0, 0, 0], [0, 8.0, 0], [0, 0, 8.0]], dtype=np.float64),
        labels=labels,
        bias=np.array([0.0, 0.0, 0.01]),
        truths=truths,
        explained=False,
        analyses={
            "band_removal": {"enabled": True, "orientations": False},
            "shortcuts": {"enabled": True, "minimum_n": 10},
        },
    )


def sensitivity_against_content(dimension: int) -> Experiment:
    """A model most sensitive where the signals hold least.

    What a level contributes grows from fine to coarse; the gradient falls, because the patterns
    grow faster still. Gradients must order the levels against what their removal does, and WAM_IG,
    which weighs with the content, must order them as it does.
    """
    grid = haar_grid(dimension)
    names = grid.level_names
    contribution = np.linspace(0.1, 0.1 * len(names), len(names))
    magnitude = contribution * 2.0 ** np.arange(len(names))
    gradient = contribution / magnitude
    truths = []
    for method, importance, correlation in (
        ("gradient", gradient, -1.0),
        ("smoothgrad_absolute", gradient, -1.0),
        ("integrated_gradients", contribution, 1.0),
    ):
        share = importance / importance.sum()
        for level, value in zip(names, share, strict=True):
            which = {"method": method, "level": level_label(level)}
            truths.append(Truth("reliance/share", which, float(value), _PROBABILITY))
        for measure in ("shapley", "ablation", "only"):
            for statistic in ("causality/spearman", "causality/spearman_of_means"):
                labels = {"method": method, "normalisation": "share", "measure": measure}
                truths.append(Truth(statistic, labels, correlation, _RANKS))
    return planted_units(
        "sensitivity against content",
        grid,
        [Unit(level, magnitude=size) for level, size in zip(names, magnitude, strict=True)],
        np.outer(_as_signs(_labels()), np.ones(len(names))),
        alone=contribution,
        truths=truths,
    )


def planted_units(
    name: str,
    grid: HaarGrid,
    units: Sequence[Unit],
    signs: Array,
    *,
    alone: Array,
    truths: Sequence[Truth],
    pairs: Array | None = None,
    labels: Integers | None = None,
    bias: Array | None = None,
    analyses: Mapping[str, Any] | None = None,
    columns: Mapping[str, np.ndarray[Any, Any]] | None = None,
    files: Mapping[str, str] | None = None,
    explained: bool = True,
) -> Experiment:
    """Signals that hold every unit with its sign, and the model that answers to it.

    Args:
        signs: Of every unit in every sample, shape (sample, unit); other numbers than signs are
            answered to as well.
        alone: Weight of every unit's answer in the score, whose logits are minus and plus it; or
            in the logits themselves, shape (class, unit).
        pairs: Weight of the products of answers in the score.
        labels: Class of every sample; alternating without it.
        bias: Of every logit; one that settles ties for class 0 without it.
        analyses: Those that are made; removal of levels without it.
        columns: Further columns of the dataset.
        files: Content of files beside it, by name.
        explained: Whether there are maps beside the gradient.
    """
    rng = np.random.default_rng(81 + len(grid.space))
    patterns = [_pattern(rng, grid, unit) for unit in units]
    waves = signs @ (np.stack(patterns).reshape(len(units), -1))
    scale = 0.3 / np.abs(waves).max()
    norms = [float((pattern**2).sum()) for pattern in patterns]
    templates = [p / (norm * scale) for p, norm in zip(patterns, norms, strict=True)]
    n_units = len(units)
    products = np.zeros((n_units, n_units)) if pairs is None else pairs
    weights = votes(np.stack(templates), np.stack([-alone, alone]) if alone.ndim == 1 else alone)
    n_classes = len(weights["alone"])
    return Experiment(
        name=name,
        signals=0.5 + scale * waves.reshape(-1, *grid.space),
        labels=_labels() if labels is None else labels,
        model="template_votes",
        arguments={"space": list(grid.space), "units": n_units, "classes": n_classes},
        weights=weights | ({"bias": bias} if bias is not None else {
            "pairs": np.stack([-products, products]),
            "bias": np.array([_TIE, 0.0]),
        }),
        truths=tuple(truths),
        settings={
            "basis": {"wavelet": "haar", "levels": grid.levels},
            "attribution": {
                "smoothgrad": {"n_samples": 2, "enabled": explained},
                "integrated_gradients": {"n_steps": 2, "enabled": explained},
            },
            "analyses": analyses or {"band_removal": {"enabled": True}},
        },
        columns=columns or {},
        files=files or {},
    )  # fmt: skip


def _pattern(rng: np.random.Generator, grid: HaarGrid, unit: Unit) -> Array:
    """Coefficients of one magnitude, as many positive as negative, in the unit's bands."""
    per_band = [
        float(level == unit.level and unit.filters in (None, filters))
        for level, filters in grid.bands
    ]
    inside = grid.spread(np.array(per_band)) > 0
    balanced = rng.permutation(np.repeat([1.0, -1.0], int(inside.sum()) // 2))
    coefficients = np.zeros(len(inside))
    coefficients[inside] = unit.magnitude * balanced
    return grid.synthesise(coefficients)


def _ablation(
    names: Sequence[str], used: set[str], *, alone_suffices: bool = True
) -> Iterator[Truth]:
    """Accuracy without each level and with it alone."""
    for level in names:
        which = {"level": level_label(level)}
        without = 0.5 if level in used else 1.0
        only = 1.0 if level in used and alone_suffices else 0.5
        yield Truth("ablation/accuracy", {**which, "kind": "without"}, without, _COUNTS)
        yield Truth("ablation/accuracy", {**which, "kind": "only"}, only, _COUNTS)
    yield Truth("ablation/accuracy", {"kind": "clean"}, 1.0, _COUNTS)
    yield Truth("ablation/accuracy", {"kind": "nothing"}, 0.5, _COUNTS)


def _pass_truths(names: Sequence[str], place: int) -> Iterator[Truth]:
    """Pass curves of a model that reads one level: steps, halfway between two octaves."""
    n_levels = len(names) - 1
    for level in range(1, n_levels + 1):
        removed = level > place
        for kind, accuracy in (
            ("low_pass", 0.5 if removed else 1.0),
            ("high_pass", 1.0 if removed else 0.5),
        ):
            yield Truth("pass/accuracy", {"kind": kind, "level": level}, accuracy, _COUNTS)
    for kind in ("low_pass", "high_pass"):
        yield Truth("pass/half_accuracy_cutoff", {"kind": kind}, place + 0.5, _COUNTS)
    yield Truth("texture/t_pass", {}, (n_levels - place) / n_levels, _COUNTS)


def _scales(place: int) -> Iterator[Truth]:
    """Centroid and fine share of Shapley values that speak for one level only."""
    yield Truth("shapley/scale_centroid", {}, place + 1.0, _NEARLY)
    yield Truth("shapley/fine_share", {}, float(place < 2), _NEARLY)


def _labels() -> Integers:
    return np.arange(_N_SAMPLES) % 2


def _as_signs(labels: Integers) -> Array:
    return labels.astype(np.float64) * 2 - 1


def _sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


def _spoken(level: str) -> str:
    return f"level {level}" if level.isdigit() else "the approximation"
