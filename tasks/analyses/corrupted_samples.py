"""What the tables of corruptions say of a shard's samples: the numbers behind the metrics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.analyses.contract import Measures, ShardTables
from tasks.analyses.corruption_choice import CLEAN, CorruptionChoice
from tasks.variables import Variable
from wam_core.calibration import confidence_gaps
from wam_core.intervals import FloatArray

ACCURACY = "robustness/accuracy"
FLIP_RATE = "robustness/flip_rate"
NLL = "robustness/nll"
BRIER = "robustness/brier"
DAMAGE = "robustness/damage_power"
LEVEL_DAMAGE = "robustness/level_damage_power"
LEVEL_SIGNAL = "robustness/level_signal_power"
CONFIDENCE_GAP = "robustness/confidence_gap"
"""Of a bin of confidence: right answers less confidence, over all answers."""

_COLUMNS = {"correct": ACCURACY, "nll": NLL, "brier": BRIER}


@dataclass(frozen=True)
class CorruptedSamples:
    """The damaged samples of one shard; NaN where there is no number.

    Attributes:
        addresses: Corruption and severity of each step; the first is the sample as it is.
        level_names: Finest first, the approximation last.
        verdicts: Columns of the table by name, shape (sample, step).
        damage_power: Mean square of the damage in each level, shape (sample, step, level).
        signal_power: Mean square of the damaged signal in each level, same shape.
    """

    choice: CorruptionChoice
    tables: ShardTables
    addresses: tuple[tuple[str, int], ...]
    level_names: tuple[str, ...]
    verdicts: dict[str, FloatArray]
    damage_power: FloatArray
    signal_power: FloatArray

    @classmethod
    def of(cls, choice: CorruptionChoice, tables: ShardTables) -> CorruptedSamples | None:
        """The damaged samples of one shard; None where no sample was taken."""
        rows, levels = tables["corruptions"], tables["corruption_levels"]
        if not len(rows):
            return None
        steps = [(step.corruption.name, step.severity) for step in choice.steps]
        addresses = ((CLEAN, 0), *steps)
        names = choice.level_names
        places = _places(rows, tables.index, addresses)
        size = (len(tables.index), len(addresses))
        columns = ("correct", "kept", "nll", "brier", "confidence", "damage_rms")
        verdicts = {column: _spread(rows[column], size, places) for column in columns}
        where = _places(levels, tables.index, addresses)
        level = pd.Index(names).get_indexer(pd.Index(levels["level"].astype(str)))
        powers = [
            _spread(levels[column], (*size, len(names)), (*where, level))
            for column in ("damage_power", "signal_power")
        ]
        return cls(choice, tables, addresses, names, verdicts, *powers)

    def measures(self) -> Measures:
        """Verdicts, losses and energies by corruption and severity; confidence by severity."""
        found: Measures = {}
        for step, labels in self._labels():
            for column, metric in _COLUMNS.items():
                found[Variable.of(metric, **labels)] = self.verdicts[column][:, step]
            if step:
                flips = 1 - self.verdicts["kept"][:, step]
                found[Variable.of(FLIP_RATE, **labels)] = flips
                damage = self.verdicts["damage_rms"][:, step] ** 2
                found[Variable.of(DAMAGE, **labels)] = damage
            found |= self._powers(step, labels)
        return _known(found | self._confidence_gaps())

    def steps_of(self, names: set[str], severity: int | None = None) -> list[int]:
        """Places of the steps of some corruptions, at one severity or at all."""
        return [
            place
            for place, (name, its_severity) in enumerate(self.addresses)
            if name in names and severity in (None, its_severity)
        ]

    def _labels(self) -> Iterator[tuple[int, dict[str, object]]]:
        for place, (name, severity) in enumerate(self.addresses):
            yield place, step_labels(name, severity)

    def _powers(self, step: int, labels: dict[str, object]) -> Measures:
        found: Measures = {}
        for place, level in enumerate(self.level_names):
            signal = Variable.of(LEVEL_SIGNAL, level=level, **labels)
            found[signal] = self.signal_power[:, step, place]
            if step:
                found[signal.renamed(LEVEL_DAMAGE)] = self.damage_power[:, step, place]
        return found

    def _confidence_gaps(self) -> Measures:
        """Right answers less confidence by bin of confidence, a mean over a severity's answers."""
        averaged = {corruption.name for corruption in self.choice.averaged}
        groups = {0: [0]} | {
            severity: self.steps_of(averaged, severity)
            for severity in self.choice.settings.severities
        }
        found: Measures = {}
        for severity, steps in groups.items():
            gaps = confidence_gaps(
                self.verdicts["confidence"][:, steps], self.verdicts["correct"][:, steps]
            )
            for place, mean in enumerate(mean_of_known(gaps).T):
                found[Variable.of(CONFIDENCE_GAP, severity=severity, bin=place)] = mean
        return found


def step_labels(name: str, severity: int | None = None) -> dict[str, object]:
    """Labels of a corruption's metrics; what is not damaged has no severity."""
    return {"corruption": name, "severity": severity or None}


def mean_of_known(values: FloatArray) -> FloatArray:
    """Mean over the second axis of what is not NaN; NaN where nothing is."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(1) / known.sum(1))


def _places(
    rows: pd.DataFrame, index: pd.Index, addresses: tuple[tuple[str, int], ...]
) -> tuple[np.ndarray, np.ndarray]:
    steps = pd.MultiIndex.from_tuples(addresses)
    keys = pd.MultiIndex.from_arrays(
        [rows["corruption"].astype(str), rows["severity"].to_numpy(dtype=np.int64)]
    )
    return index.get_indexer(pd.Index(rows["sample_index"])), steps.get_indexer(keys)


def _spread(column: pd.Series, size: tuple[int, ...], places: tuple[np.ndarray, ...]) -> FloatArray:
    values = np.full(size, np.nan)
    numbers = column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    values[places] = numbers
    return values


def _known(found: Measures) -> Measures:
    return {variable: values for variable, values in found.items() if not np.isnan(values).all()}
