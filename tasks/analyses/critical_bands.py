"""Critical-band masking: how much noise in each level a model stands before it loses the class.

Noise of one energy is put into one level of a sample at a time, and the sample is classified again.
Its strength is its root mean square over the sample's own range (largest less smallest value), as
for smoothing. Values may leave the range: clipping would spread the noise over other levels. Every
channel gets the same noise, as the grey images of the published experiment did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor

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
from tasks.analyses.masking import (
    ACCURACY,
    CENTRE,
    CLEAN,
    CRITERION,
    CYCLES,
    HERTZ,
    THRESHOLD,
    WIDTH,
    Criterion,
    Masking,
    criterion,
    level_names,
    masking,
    noise_label,
)
from tasks.analyses.masking_sentences import masking_sentences
from tasks.datasets import Manifest
from tasks.errors import ConfigError
from tasks.explain import predict
from tasks.robustness_config import CriticalBandsConfig
from tasks.variables import MeansOfSamples, Variable
from wam_core.basis import CoefficientLayout
from wam_core.critical_bands import (
    fit_channel,
    level_frequency,
    level_noise,
    threshold_noise,
    value_range,
)
from wam_core.intervals import FloatArray, Interval
from wam_core.noise import standard_normal


class CriticalBands(Analysis):
    """Noise of equal energy in one level at a time."""

    section = "critical_bands"
    tables = ("critical_bands",)
    units: ClassVar = {
        ACCURACY: ("fraction", "higher"),
        CRITERION: ("fraction", "none"),
        THRESHOLD: ("fraction", "higher"),
        CENTRE: ("octaves", "none"),
        CYCLES: ("cycles/sample", "none"),
        HERTZ: ("Hz", "none"),
        WIDTH: ("octaves", "none"),
    }
    proportions = frozenset({ACCURACY})
    settings: CriticalBandsConfig

    def check(self, manifest: Manifest) -> None:
        """Accuracy needs labels."""
        if manifest.table["label"].isna().all():
            raise ConfigError(
                "analyses.critical_bands measures accuracy in noise, but no sample of the dataset "
                "has a label; add labels or switch it off"
            )

    def passes(self, layout: CoefficientLayout) -> Passes:
        """Every level in every noise."""
        return Passes(len(layout.level_names) * len(self.settings.noise_levels))

    def open(self, parts: AuditParts) -> NoiseInLevels:
        """The analysis with the model in memory."""
        return NoiseInLevels(parts)

    def measure(self, tables: ShardTables) -> Measures:
        """Whether each sample is right, in every noise of every level and without noise."""
        table = tables["critical_bands"]
        found: Measures = {}
        for key, rows in table.groupby(["level", "noise"], sort=True):
            level, noise = cast("tuple[str, float]", key)
            variable = Variable.of(ACCURACY, level=level, noise=noise_label(noise))
            found[variable] = tables.aligned(rows.set_index("sample_index")["correct"])
        if found:
            taken = tables["samples"].index.isin(table["sample_index"])
            found[CLEAN] = tables.aligned(tables["samples"]["correct"][taken])
        return found

    def conclude(self, means: MeansOfSamples) -> Metrics:
        """The threshold of every level, and the channel that they draw."""
        every = [CLEAN, *self._variables]
        if means.chance is None or any(variable not in means for variable in every):
            return []
        clean, *accuracies = (_mean(means, variable) for variable in every)
        lost = criterion(clean, means.chance)
        at = means.derive([CLEAN], lambda rows: lost(rows[:, 0]))
        if at.estimate is None:
            return []
        accuracy = dict(zip(self._addresses, accuracies, strict=True))
        found = masking(accuracy, at.estimate, self.config.basis.levels)
        return [
            (Variable.of(CRITERION), at),
            *self._thresholds(means, lost),
            *self._channel(means, lost, found),
        ]

    def sentences(self, metrics: Sequence[Mapping[str, Any]], element: str) -> list[str]:
        """Which level's noise disturbs most, and the channel."""
        return masking_sentences(self.config, metrics, element)

    @property
    def _addresses(self) -> list[tuple[str, float]]:
        """Level and noise of every accuracy, noises of one level in a row."""
        names = level_names(self.config.basis.levels)
        return [(level, noise) for level in names for noise in self.settings.noise_levels]

    @property
    def _variables(self) -> list[Variable]:
        return [
            Variable.of(ACCURACY, level=level, noise=noise_label(noise))
            for level, noise in self._addresses
        ]

    def _thresholds(self, means: MeansOfSamples, lost: Criterion) -> Metrics:
        """A level without a threshold among the noises has one bound instead of an estimate."""
        weakest, strongest = self.settings.noise_levels[0], self.settings.noise_levels[-1]
        by_level: dict[str, list[Variable]] = {}
        for variable in self._variables:
            by_level.setdefault(variable.get("level"), []).append(variable)
        metrics: Metrics = []
        for level, own in by_level.items():
            interval = means.derive([CLEAN, *own], lambda rows: self._lost(rows, lost)[:, 0])
            if interval.estimate == strongest:
                interval = Interval(None, strongest, None, interval.n)
            elif interval.estimate == weakest:
                interval = Interval(None, None, weakest, interval.n)
            metrics.append((Variable.of(THRESHOLD, level=level), interval))
        return metrics

    def _channel(self, means: MeansOfSamples, lost: Criterion, found: Masking) -> Metrics:
        every, n_levels = [CLEAN, *self._variables], self.config.basis.levels
        n = means.derive([CLEAN], lambda rows: rows[:, 0]).n
        centre = cycles = width = Interval(None, None, None, n)
        if not found.no_centre:
            centre = means.derive(
                every, lambda rows: fit_channel(1 / self._lost(rows, lost)[:, :n_levels]).centre
            )
            cycles = _frequencies(centre)
        if not found.no_width:
            width = means.derive(
                every, lambda rows: fit_channel(1 / self._lost(rows, lost)[:, :n_levels]).width
            )
        metrics = {CENTRE: centre, CYCLES: cycles, WIDTH: width}
        audio = self.config.dataset.audio
        if audio is not None:
            metrics[HERTZ] = _frequencies(centre, audio.sample_rate)
        return [(Variable.of(name), interval) for name, interval in metrics.items()]

    def _lost(self, rows: FloatArray, lost: Criterion) -> FloatArray:
        """Thresholds (row, level) from rows of the clean accuracy and those in noise."""
        noises = np.array(self.settings.noise_levels)
        accuracy = rows[:, 1:].reshape(len(rows), -1, len(noises))
        return threshold_noise(accuracy, lost(rows[:, 0]), noises)


@dataclass(frozen=True)
class NoiseInLevels:
    """The analysis with the model in memory."""

    parts: AuditParts

    def run(self, batch: Batch, max_batch: int) -> Findings:
        """Classify every sample in every noise of every level."""
        findings = Findings()
        shape = (-1, *[1] * (batch.signal.ndim - 1))
        spread = value_range(batch.signal, batch.support).reshape(shape)
        settings: CriticalBandsConfig = self.parts.config.analyses.critical_bands
        for level in self.parts.layout.level_names:
            noise = spread * self._noise(batch, level)
            for strength in settings.noise_levels:
                noisy = batch.signal + strength * noise
                prediction = predict(self.parts.model, noisy, max_batch)
                findings.n_forward += len(batch)
                for place in range(len(batch)):
                    columns = {"level": level, "noise": strength}
                    verdicts = batch.verdicts(prediction, place)
                    findings.add("critical_bands", place, columns | verdicts)
        return findings

    def _noise(self, batch: Batch, level: str) -> Tensor:
        """Of root mean square 1, shape (batch, 1, *space): one pattern, whatever its strength."""
        layout, seed = self.parts.layout, self.parts.config.attribution.seed
        draws = [
            standard_normal(
                (layout.level_size(level),),
                seed=seed,
                sample_id=f"{sample_id}\0noise in level {level}",
                draw=0,
            )
            for sample_id in batch.sample_ids
        ]
        on_device = torch.stack(draws).to(batch.signal)
        return level_noise(on_device, layout, level, batch.support)


def _mean(means: MeansOfSamples, variable: Variable) -> float:
    estimate = means.derive([variable], lambda rows: rows[:, 0]).estimate
    return np.nan if estimate is None else estimate


def _frequencies(centre: Interval, sample_rate: int = 1) -> Interval:
    """Of a place on the scale of the levels: high places are low frequencies."""
    estimate, high, low = (
        None if place is None else float(level_frequency(place)) * sample_rate
        for place in (centre.estimate, centre.low, centre.high)
    )
    return Interval(estimate, low, high, centre.n)
