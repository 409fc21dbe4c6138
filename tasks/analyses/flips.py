"""Whether samples of finer reliance flip more often: which samples damage breaks.

Of every sample, the part of its answers under a family of damage that differ from the clean one is
set against a predictor that is known without any damage: the fine share of its reliance. Two
controls know nothing of reliance: the size of the damage, and how unsure the clean answer was.

Samples are sorted into bins of the predictor, and only the mean and the number of every bin are
kept, with replicates: they add up over shards, and area and logistic fit follow from them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tasks.analyses.contract import Measures, Metrics
from tasks.analyses.corrupted_samples import CorruptedSamples
from tasks.analyses.fragility import DAMAGE_SIZE, METHODS, SHAPLEY
from tasks.analyses.level_game import LevelGame
from tasks.variables import MeansOfSamples, Variable
from wam_core.binned_outcomes import (
    area_under_curve,
    bin_numbers,
    log_odds,
    logistic_slope,
)
from wam_core.intervals import FloatArray

FLIP_AUC = "link/flip_auc"
FLIP_SLOPE = "link/flip_log_odds"
FLIP_AUC_OVER = "link/flip_auc_over"

FLIP_UNITS = {
    FLIP_AUC: ("fraction", "none"),
    FLIP_SLOPE: ("log odds per standard deviation", "none"),
    FLIP_AUC_OVER: ("fraction", "none"),
}

FLIPS = "link/flips"
"""Part of a sample's answers under a family of damage that differ from the clean one, by bin."""

DOUBT = "clean_doubt"
"""A control: one less the confidence of the clean prediction."""

CONTROLS = (DAMAGE_SIZE, DOUBT)
ALL_FAMILIES = "all"

_WIDTHS = {DAMAGE_SIZE: 0.1, DOUBT: 0.1}
_WIDTH = 0.05
"""Of a bin, on the scale of logarithms (size of damage) or of log odds (everything else)."""


def flip_measures(samples: CorruptedSamples) -> Measures:
    """Flips under each family of damage, by bin of each predictor."""
    choice = samples.choice
    families = choice.families
    if len(families) > 1:
        families = families | {ALL_FAMILIES: choice.corruptions}
    shares = _fine_shares(samples)
    doubt = log_odds(1 - samples.verdicts["confidence"][:, 0])
    found: Measures = {}
    for family, members in families.items():
        steps = samples.steps_of({corruption.name for corruption in members})
        flips = _mean_of_known(1 - samples.verdicts["kept"][:, steps])
        size = _mean_of_known(samples.verdicts["damage_rms"][:, steps])
        with np.errstate(divide="ignore"):
            controls = {DAMAGE_SIZE: np.log(size), DOUBT: doubt}
        for method, predictor in (shares | controls).items():
            found |= _binned(method, family, predictor, flips)
    return found


def flip_metrics(means: MeansOfSamples) -> Metrics:
    """Areas and slopes of every predictor, and what reliance adds to each control."""
    groups: dict[tuple[str, str], list[Variable]] = {}
    for variable in means.named(FLIPS):
        key = variable.get("family"), variable.get("method")
        groups.setdefault(key, []).append(variable)
    for key, variables in groups.items():
        groups[key] = sorted(variables, key=_number)
    metrics: Metrics = []
    for (family, method), variables in groups.items():
        labels = {"family": family, "method": method}
        n = sum(means.count(variable) for variable in variables)
        area = means.derive_counted(variables, area_under_curve, n)
        slope = means.derive_counted(variables, _slope_over(method, variables), n)
        metrics += [
            (Variable.of(FLIP_AUC, **labels), area),
            (Variable.of(FLIP_SLOPE, **labels), slope),
        ]
        for control in CONTROLS:
            others = groups.get((family, control), [])
            if method not in CONTROLS and others:
                gain = means.derive_counted([*variables, *others], _areas_apart(len(variables)), n)
                metrics.append((Variable.of(FLIP_AUC_OVER, over=control, **labels), gain))
    return metrics


def _fine_shares(samples: CorruptedSamples) -> dict[str, FloatArray]:
    """Log odds of every sample's fine share, by method; NaN where there is none."""
    tables, config = samples.tables, samples.choice.config
    rows = tables["attributions"]
    rows = rows[rows["status"] == "ok"]
    shares = {}
    for method in METHODS:
        own = rows[rows["method"] == method]
        if len(own):
            shares[method] = tables.aligned(own.set_index("sample_index")["fine_share"])
    if config.analyses.band_removal.enabled and config.analyses.band_removal.shapley:
        positive = np.clip(LevelGame.of(config, tables).values, 0, None)
        fine = positive[:, : config.analyses.reliance.fine_levels].sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares[SHAPLEY] = fine / positive.sum(1)
    return {method: log_odds(share) for method, share in shares.items()}


def _binned(method: str, family: str, predictor: FloatArray, flips: FloatArray) -> Measures:
    known = np.isfinite(flips) & ~np.isnan(predictor)
    numbers = bin_numbers(np.nan_to_num(predictor), _WIDTHS.get(method, _WIDTH))
    return {
        Variable.of(FLIPS, method=method, family=family, bin=int(number)): np.where(
            known & (numbers == number), flips, np.nan
        )
        for number in np.unique(numbers[known])
    }


def _mean_of_known(values: FloatArray) -> FloatArray:
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(1) / known.sum(1))


def _number(variable: Variable) -> int:
    return int(variable.get("bin"))


def _slope_over(
    method: str, variables: list[Variable]
) -> Callable[[FloatArray, FloatArray], FloatArray]:
    numbers = np.array([_number(variable) for variable in variables])
    place = (numbers + 0.5) * _WIDTHS.get(method, _WIDTH)
    return lambda rate, count: logistic_slope(place, rate, count)


def _areas_apart(n_first: int) -> Callable[[FloatArray, FloatArray], FloatArray]:
    def apart(rate: FloatArray, count: FloatArray) -> FloatArray:
        first = area_under_curve(rate[:, :n_first], count[:, :n_first])
        return np.asarray(first - area_under_curve(rate[:, n_first:], count[:, n_first:]))

    return apart
