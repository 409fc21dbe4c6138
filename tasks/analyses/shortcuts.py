"""Frequency shortcuts: classes that a few levels alone decide, whatever else is in the sample.

For every class the levels are found without which its loss rises most. If those levels alone still
let the model recognise the class, and also make it take samples of other classes for it, then the
class is decided by that set of levels. Nothing is passed through the model for it: all that is
asked is in the coalitions of `band_removal`. The energy of the classes' samples at every level,
compared class by class, says whether the data invite a shortcut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from tasks.analyses.contract import (
    Analysis,
    AuditParts,
    Batch,
    Findings,
    Measures,
    Metrics,
    Passes,
    ShardTables,
)
from tasks.analyses.masking import level_names
from tasks.analyses.shortcut_verdicts import (
    ADCS,
    CLASSES,
    DEFAULT_RATE,
    FALSE_RATE,
    LOSS_INCREASE,
    TRUE_RATE,
    WHOLE,
    ClassRates,
    judge_class,
    shortcut_sentences,
)
from tasks.analyses_config import ShortcutsConfig
from tasks.datasets import Manifest
from tasks.errors import ConfigError
from tasks.variables import MeansOfSamples, Tallies, Variable
from wam_core.basis import CoefficientLayout
from wam_core.coalitions import full, without
from wam_core.intervals import FloatArray, Interval, normal_interval, wilson_interval
from wam_core.shortcuts import class_contrast, dominant_levels, loss

_SECTION = "shortcuts"


class Shortcuts(Analysis):
    """Classes decided by few levels."""

    section = _SECTION
    tables = ()
    units: ClassVar = {
        ADCS: ("ratio", "none"),
        LOSS_INCREASE: ("nats", "none"),
        TRUE_RATE: ("fraction", "none"),
        FALSE_RATE: ("fraction", "lower"),
        DEFAULT_RATE: ("fraction", "none"),
        CLASSES: ("fraction", "lower"),
    }
    settings: ShortcutsConfig

    def check(self, manifest: Manifest) -> None:
        """Classes are compared with each other."""
        n_classes = manifest.table["label"].nunique()
        if n_classes < 2:
            raise ConfigError(
                f"analyses.shortcuts compares classes, but the dataset has {n_classes}; switch it "
                "off"
            )

    def passes(self, layout: CoefficientLayout) -> Passes:
        """None: the coalitions are there."""
        return Passes()

    def open(self, parts: AuditParts) -> ReadsCoalitions:
        """The analysis with the model in memory."""
        return ReadsCoalitions()

    def measure(self, tables: ShardTables) -> Measures:
        """Nothing that has a mean over all samples."""
        return {}

    def tally(self, tables: ShardTables) -> Tallies:
        """Counts and sums per class; keys are section, what, class index and class name."""
        return _coalition_tallies(tables, self.config.basis.levels + 1) | _energy_tallies(
            tables, level_names(self.config.basis.levels)
        )

    def conclude(self, means: MeansOfSamples) -> Metrics:
        """Rates of every class at its dominant levels, and how many classes they decide."""
        # A class of one sample has no interval; its numbers stand in the tables.
        judged = [shown for shown in _classes(means.tallies) if shown.n >= 2]
        if not judged:
            return []
        metrics = self._contrasts(means.tallies)
        decided = enough = 0
        for shown in judged:
            metrics += self._class_metrics(shown, means.confidence)
            rates = self._rates(shown)
            verdict = judge_class(rates, self.settings, len(judged))
            enough += verdict != "few"
            decided += verdict == "decided"
        return [
            (Variable.of(CLASSES), wilson_interval(decided, enough, means.confidence)),
            *metrics,
        ]

    def sentences(self, metrics: Sequence[Mapping[str, Any]], element: str) -> list[str]:
        """Which classes few levels decide."""
        return shortcut_sentences(self.config, metrics)

    def _dominant(self, shown: _ClassTally) -> tuple[int, ...]:
        levels = dominant_levels(
            shown.loss_increase, self.settings.dominant_share, self.settings.most_levels
        )
        return tuple(sorted(int(level) for level in levels))

    def _rates(self, shown: _ClassTally) -> ClassRates:
        coalition = sum(1 << level for level in self._dominant(shown))
        return ClassRates(
            n=shown.n,
            has_levels=coalition != 0,
            true_positive=float(shown.hits[coalition] / shown.n),
            false_positive=_share(shown.false_hits[coalition], shown.n_others),
            default=_share(shown.false_hits[0], shown.n_others),
        )

    def _class_metrics(self, shown: _ClassTally, confidence: float) -> Metrics:
        names = level_names(self.config.basis.levels)
        dominant = self._dominant(shown)
        everything = full(len(names))
        sets = {WHOLE: everything}
        if dominant:
            words = "+".join(names[level] for level in dominant)
            sets[words] = sum(1 << level for level in dominant)
        metrics: Metrics = []
        for words, coalition in sets.items():
            labels = {"class": shown.name, "levels": words}
            for name, count, n in (
                (TRUE_RATE, shown.hits[coalition], shown.n),
                (FALSE_RATE, shown.false_hits[coalition], shown.n_others),
            ):
                interval = wilson_interval(int(count), n, confidence)
                metrics.append((Variable.of(name, **labels), interval))
        default = wilson_interval(int(shown.false_hits[0]), shown.n_others, confidence)
        metrics.append((Variable.of(DEFAULT_RATE, **{"class": shown.name}), default))
        for place, level in enumerate(names):
            variable = Variable.of(LOSS_INCREASE, **{"class": shown.name, "level": level})
            total, squares = shown.loss[0, place], shown.loss[1, place]
            metrics.append((variable, normal_interval(total, squares, shown.n, confidence)))
        return metrics

    def _contrasts(self, tallies: Tallies) -> Metrics:
        found = _by_class(tallies, "energy")
        if len(found) < 2:
            return []
        classes = _class_names(tallies, "energy")
        names = level_names(self.config.basis.levels)
        contrast = class_contrast(np.stack([values[:-1] / values[-1] for values in found.values()]))
        return [
            (
                Variable.of(ADCS, **{"class": classes[index], "level": level}),
                Interval(float(contrast[row, place]), None, None, int(values[-1])),
            )
            for row, (index, values) in enumerate(found.items())
            for place, level in enumerate(names)
        ]


class ReadsCoalitions:
    """Makes no pass: what it needs is in the tables of another analysis."""

    def run(self, batch: Batch, max_batch: int) -> Findings:
        """Nothing to do."""
        return Findings()


@dataclass(frozen=True, eq=False)
class _ClassTally:
    """Sums over all samples of one class, and over those of all others.

    Attributes:
        hits: Samples of the class predicted as it, by coalition.
        loss: Sum of the loss increases and of their squares, shape (2, level).
        false_hits: Samples of other classes predicted as it, by coalition.
    """

    name: str
    n: int
    n_others: int
    hits: FloatArray
    loss: FloatArray
    false_hits: FloatArray

    @cached_property
    def loss_increase(self) -> FloatArray:
        return np.asarray(self.loss[0] / self.n)


def _classes(tallies: Tallies) -> list[_ClassTally]:
    """Classes in the order of their index."""
    hits, names = _by_class(tallies, "hits"), _class_names(tallies, "hits")
    sizes = {index: int(values[0]) for index, values in _by_class(tallies, "n").items()}
    losses = _by_class(tallies, "loss")
    total = sum(sizes.values())
    return [
        _ClassTally(
            names[index],
            sizes[index],
            total - sizes[index],
            values,
            losses[index],
            tallies.get((_SECTION, "named", str(index)), np.zeros_like(values)),
        )
        for index, values in hits.items()
    ]


def _by_class(tallies: Tallies, what: str) -> dict[int, FloatArray]:
    found = {int(key[2]): values for key, values in tallies.items() if key[:2] == (_SECTION, what)}
    return dict(sorted(found.items()))


def _class_names(tallies: Tallies, what: str) -> dict[int, str]:
    """Names by index; classes that share a name are told apart by their index."""
    names = {int(key[2]): key[3] for key in tallies if key[:2] == (_SECTION, what)}
    counts = Counter(names.values())
    return {
        index: f"{name} ({index})" if counts[name] > 1 else name for index, name in names.items()
    }


def _coalition_tallies(tables: ShardTables, n_players: int) -> Tallies:
    samples = tables["samples"]
    labelled = samples[samples["label"].notna()]
    rows = tables["coalitions"]
    rows = rows[rows["sample_index"].isin(labelled.index)]
    size, everything = 1 << n_players, full(n_players)
    label = labelled["label"].loc[rows["sample_index"]].to_numpy(dtype=np.int64)
    coalition = rows["coalition"].to_numpy(dtype=np.int64)
    predicted = rows["predicted"].to_numpy(dtype=np.int64)
    tallies: Tallies = {}
    false = predicted != label
    for index in np.unique(predicted[false]):
        named = np.bincount(coalition[false & (predicted == index)], minlength=size)
        tallies[_SECTION, "named", str(index)] = named.astype(float)
    wide = pd.Series(rows["probability_target"].to_numpy(dtype=np.float64), dtype=float)
    wide.index = pd.MultiIndex.from_arrays([rows["sample_index"], coalition])
    losses = loss(wide.unstack().to_numpy()) if len(wide) else np.zeros((0, size))
    players = [without(player, n_players) for player in range(n_players)]
    rises = losses[:, players] - losses[:, [everything]]
    of_sample = labelled["label"].loc[sorted(set(rows["sample_index"]))].to_numpy(dtype=np.int64)
    names = dict(zip(labelled["label"], labelled["class_name"].astype(str), strict=True))
    for index in np.unique(of_sample):
        address = (str(index), names[index])
        own = rises[of_sample == index]
        hits = np.bincount(coalition[~false & (label == index)], minlength=size)
        tallies[_SECTION, "hits", *address] = hits.astype(float)
        tallies[_SECTION, "n", *address] = np.array([float(len(own))])
        tallies[_SECTION, "loss", *address] = np.stack([own.sum(0), (own**2).sum(0)])
    return tallies


def _energy_tallies(tables: ShardTables, names: Sequence[str]) -> Tallies:
    """Energy per level and number of samples of every class, whatever analysis takes them."""
    samples, levels = tables["samples"], tables["levels"]
    labelled = samples[samples["label"].notna()]
    one = levels.drop_duplicates(["sample_index", "level"])  # every method states the same energy
    wide = one.pivot(index="sample_index", columns="level", values="signal_energy")
    wide = wide.reindex(columns=list(names)).reindex(labelled.index).dropna()
    energy = wide.to_numpy(dtype=np.float64)
    label = labelled["label"].loc[wide.index].to_numpy(dtype=np.int64)
    class_names = dict(zip(labelled["label"], labelled["class_name"].astype(str), strict=True))
    return {
        (_SECTION, "energy", str(index), class_names[index]): np.append(
            energy[label == index].sum(0), float((label == index).sum())
        )
        for index in np.unique(label)
    }


def _share(count: float, n: int) -> float:
    return float(count / n) if n else 0.0
