"""Whether samples of finer reliance flip more often: which samples damage breaks.

Of every sample and severity, the part of its answers under a family of damage that differ from the
clean one is set against a predictor that is known without any damage: the fine share of its
reliance. Two controls know nothing of reliance: the size of the damage, and how unsure the clean
answer was. Samples are compared at the same severity.

They are sorted into bins of the predictor, and only the mean and the number of every bin are kept,
with replicates: these add up over shards, and area and logistic fit follow from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tasks.analyses.contract import Measures, Metrics
from tasks.analyses.corrupted_samples import CorruptedSamples, mean_of_known
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
"""Part of a sample's answers under a family of damage that differ from the clean one, by severity
and bin of a predictor."""

DOUBT = "clean_doubt"
"""A control: one less the confidence of the clean prediction."""

CONTROLS = (DAMAGE_SIZE, DOUBT)

_WIDTHS = {DOUBT: 0.25}
_WIDTH = 0.1
"""Of a bin, on the scale of logarithms (size of damage) or of log odds (everything else)."""


def flip_measures(samples: CorruptedSamples) -> Measures:
    """Flips under each family of damage at each severity, by bin of each predictor."""
    shares = _fine_shares(samples)
    doubt = log_odds(1 - samples.verdicts["confidence"][:, 0])
    found: Measures = {}
    for family, members in samples.choice.families.items():
        names = {corruption.name for corruption in members}
        for severity in samples.choice.settings.severities:
            steps = samples.steps_of(names, severity)
            flips = mean_of_known(1 - samples.verdicts["kept"][:, steps])
            size = mean_of_known(samples.verdicts["damage_rms"][:, steps])
            with np.errstate(divide="ignore"):
                controls = {DAMAGE_SIZE: np.log(size), DOUBT: doubt}
            for method, predictor in (shares | controls).items():
                labels = {"method": method, "family": family, "severity": severity}
                found |= _binned(predictor, flips, labels)
    return found


def flip_metrics(means: MeansOfSamples) -> Metrics:
    """Areas and slopes of every predictor, and what reliance adds to each control."""
    tables: dict[tuple[str, str], FlipTable] = {}
    for (family, method), variables in _grouped(means.named(FLIPS)).items():
        tables[family, method] = FlipTable.of(method, variables)
    metrics: Metrics = []
    for (family, method), table in tables.items():
        labels = {"family": family, "method": method}
        n = table.n_samples(means)
        area = means.derive_counted(table.variables, table.area, n)
        slope = means.derive_counted(table.variables, table.slope, n)
        metrics += [
            (Variable.of(FLIP_AUC, **labels), area),
            (Variable.of(FLIP_SLOPE, **labels), slope),
        ]
        for control in CONTROLS:
            other = tables.get((family, control))
            if method not in CONTROLS and other is not None:
                both = [*table.variables, *other.variables]
                gain = means.derive_counted(both, _areas_apart(table, other), n)
                metrics.append((Variable.of(FLIP_AUC_OVER, over=control, **labels), gain))
    return metrics


@dataclass(frozen=True)
class FlipTable:
    """Where the bins of one predictor and family stand in arrays (row, severity, bin).

    Attributes:
        width: Of a bin.
        severities: Of the strata, in order.
        numbers: Of the bins, in order.
        strata: Place of each variable's severity.
        columns: Place of each variable's bin.
    """

    variables: list[Variable]
    width: float
    severities: tuple[str, ...]
    numbers: tuple[int, ...]
    strata: list[int]
    columns: list[int]

    @classmethod
    def of(cls, method: str, variables: list[Variable]) -> FlipTable:
        """The table of some variables."""
        severities = tuple(sorted({variable.get("severity") for variable in variables}))
        numbers = tuple(sorted({int(variable.get("bin")) for variable in variables}))
        return cls(
            variables,
            _WIDTHS.get(method, _WIDTH),
            severities,
            numbers,
            [severities.index(variable.get("severity")) for variable in variables],
            [numbers.index(int(variable.get("bin"))) for variable in variables],
        )

    def area(self, rate: FloatArray, count: FloatArray) -> FloatArray:
        """Area under the curve, from rates and numbers of the variables; shape (row,)."""
        return area_under_curve(self._table(rate), self._table(count))

    def slope(self, rate: FloatArray, count: FloatArray) -> FloatArray:
        """Log odds per standard deviation."""
        place = (np.array(self.numbers) + 0.5) * self.width
        return logistic_slope(place, self._table(rate), self._table(count))

    def n_samples(self, means: MeansOfSamples) -> int:
        """Samples of the severity that has most of them."""
        totals = [0] * len(self.severities)
        for variable, stratum in zip(self.variables, self.strata, strict=True):
            totals[stratum] += means.count(variable)
        return max(totals, default=0)

    def _table(self, values: FloatArray) -> FloatArray:
        table = np.zeros((len(values), len(self.severities), len(self.numbers)))
        table[:, self.strata, self.columns] = values
        return table


def _grouped(variables: list[Variable]) -> dict[tuple[str, str], list[Variable]]:
    groups: dict[tuple[str, str], list[Variable]] = {}
    for variable in variables:
        key = variable.get("family"), variable.get("method")
        groups.setdefault(key, []).append(variable)
    return groups


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


def _binned(predictor: FloatArray, flips: FloatArray, labels: dict[str, object]) -> Measures:
    known = np.isfinite(flips) & ~np.isnan(predictor)
    width = _WIDTHS.get(str(labels["method"]), _WIDTH)
    numbers = bin_numbers(np.nan_to_num(predictor), width)
    return {
        Variable.of(FLIPS, bin=int(number), **labels): np.where(
            known & (numbers == number), flips, np.nan
        )
        for number in np.unique(numbers[known])
    }


def _areas_apart(
    table: FlipTable, other: FlipTable
) -> Callable[[FloatArray, FloatArray], FloatArray]:
    def apart(rate: FloatArray, count: FloatArray) -> FloatArray:
        n_first = len(table.variables)
        first = table.area(rate[:, :n_first], count[:, :n_first])
        return np.asarray(first - other.area(rate[:, n_first:], count[:, n_first:]))

    return apart
