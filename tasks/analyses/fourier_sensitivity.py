"""At which frequencies a model errs: waves of one frequency, and noise of one octave, are added.

The map of Yin et al. (2019) for images, and the same for series and volumes, on a lattice of
frequencies. Beside it noise is put into one octave of frequencies at a time, the counterpart of
noise in one level of the wavelet transform (`critical_bands`): levels of a wavelet overlap in
frequency, rings do not. Strengths are root mean squares over the sample's own range; values may
leave the range, because clipping would spread what is added over other frequencies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tasks.analyses.contract import (
    Analysis,
    AuditParts,
    Batch,
    Findings,
    Measures,
    Passes,
    ShardTables,
)
from tasks.datasets import Manifest
from tasks.errors import ConfigError
from tasks.explain import predict
from tasks.models import resolve_preprocessing
from tasks.robustness_config import FourierSensitivityConfig
from tasks.sentences import find_metric, level_place, with_interval
from tasks.variables import Variable
from wam_core.basis import CoefficientLayout
from wam_core.critical_bands import value_range
from wam_core.fourier_noise import (
    Frequency,
    frequency_lattice,
    holds_octave,
    octave,
    ring_noise,
    unit_power,
    wave,
)
from wam_core.noise import generator, standard_normal

ERROR_MAP, FLIP_MAP = "fourier/error_map", "fourier/flip_map"
ERROR, FLIP = "fourier/error_rate", "fourier/flip_rate"
RING, CLEAN = "fourier/ring_accuracy", "fourier/clean_accuracy"
WAVE_KIND, RING_KIND = "wave", "ring"


def frequency_label(frequency: Sequence[int]) -> str:
    """A frequency as a label of metrics.

    Example:
        >>> frequency_label((3, -12))
        '3 -12'
    """
    return " ".join(str(cycles) for cycles in frequency)


def ring_octaves(space: Sequence[int], n_octaves: int) -> list[int]:
    """Octaves that hold a frequency of a signal, finest first; what is lower than all is last."""
    return [place for place in range(1, n_octaves + 2) if holds_octave(space, place, n_octaves)]


class FourierSensitivity(Analysis):
    """Waves and rings of noise, one at a time."""

    section = "fourier_sensitivity"
    tables = ("fourier",)
    units: ClassVar = {
        ERROR_MAP: ("fraction", "lower"),
        FLIP_MAP: ("fraction", "lower"),
        ERROR: ("fraction", "lower"),
        FLIP: ("fraction", "lower"),
        RING: ("fraction", "higher"),
        CLEAN: ("fraction", "higher"),
    }
    proportions = frozenset({ERROR_MAP, FLIP_MAP, RING, CLEAN})
    settings: FourierSensitivityConfig

    def check(self, manifest: Manifest) -> None:
        """A lattice must fit the model's input."""
        n = self.settings.frequencies_per_axis
        if n is not None and len(self._space) > 1 and n % 2 == 0:
            raise ConfigError(
                f"analyses.fourier_sensitivity.frequencies_per_axis is {n}; for inputs of "
                f"{len(self._space)} dimensions it must be odd: as many negative as positive"
            )

    def passes(self, layout: CoefficientLayout) -> Passes:
        """One pass forward for every wave, and for every ring in every noise."""
        rings = len(ring_octaves(self._space, self.config.basis.levels))
        rings *= len(self.settings.ring_noises)
        return Passes(forward=len(self.lattice) + rings)

    def open(self, parts: AuditParts) -> AddedFrequencies:
        """The analysis with the model in memory."""
        return AddedFrequencies(parts, tuple(self.lattice))

    def measure(self, tables: ShardTables) -> Measures:
        """Errors and flips at each frequency and in each octave; right or not in each ring."""
        table = tables["fourier"]
        if not len(table):
            return {}
        taken = tables["samples"].index.isin(table["sample_index"])
        found: Measures = {CLEAN_VARIABLE: tables.aligned(tables["samples"]["correct"][taken])}
        waves = table[table["kind"] == WAVE_KIND]
        wrong = {True: 0.0, False: 1.0}
        waves = waves.assign(
            error=waves["correct"].map(wrong).astype("Float64"),
            flip=waves["kept"].map(wrong).astype("Float64"),
        )
        for frequency, rows in waves.groupby("frequency", sort=True):
            by_sample = rows.set_index("sample_index")
            for metric, column in ((ERROR_MAP, "error"), (FLIP_MAP, "flip")):
                variable = Variable.of(metric, frequency=frequency)
                found[variable] = tables.aligned(by_sample[column])
        for place, rows in waves.groupby("octave", sort=True):
            means = rows.groupby("sample_index")[["error", "flip"]].mean()
            for metric, column in ((ERROR, "error"), (FLIP, "flip")):
                found[Variable.of(metric, octave=place)] = tables.aligned(means[column])
        return found | self._rings(table[table["kind"] == RING_KIND], tables)

    def _rings(self, table: pd.DataFrame, tables: ShardTables) -> Measures:
        found: Measures = {}
        for key, rows in table.groupby(["octave", "noise"], sort=True):
            place, noise = cast("tuple[int, float]", key)
            variable = Variable.of(RING, octave=place, noise=f"{noise:g}")
            found[variable] = tables.aligned(rows.set_index("sample_index")["correct"])
        return found

    def sentences(self, metrics: Sequence[Mapping[str, Any]], element: str) -> list[str]:
        """The octave whose waves change most answers."""
        rates = {
            place: metric
            for place in range(1, self.config.basis.levels + 2)
            if (metric := find_metric(metrics, FLIP, {"octave": str(place)})) is not None
        }
        if not rates:
            return []
        worst = max(rates, key=lambda place: float(rates[place]["estimate"]))
        level = worst if worst <= self.config.basis.levels else "approximation"
        return [
            f"Waves of one frequency ({self.settings.noise:g} of the range) change most answers in "
            f"the octave of {level_place(self.config, level, element)}: "
            f"{with_interval(rates[worst], 2)} of them (n = {rates[worst]['n']})."
        ]

    @cached_property
    def lattice(self) -> list[Frequency]:
        """Frequencies of the waves."""
        settings, n_octaves = self.settings, self.config.basis.levels
        return frequency_lattice(
            self._space, n_octaves, settings.frequencies_per_axis, settings.lattice
        )

    @cached_property
    def _space(self) -> tuple[int, ...]:
        return tuple(resolve_preprocessing(self.config.model).spatial_shape)


CLEAN_VARIABLE = Variable.of(CLEAN)


@dataclass(frozen=True)
class AddedFrequencies:
    """The analysis with the model in memory."""

    parts: AuditParts
    lattice: tuple[Frequency, ...]

    def run(self, batch: Batch, max_batch: int) -> Findings:
        """Add every wave, and noise in every octave in every strength, and classify."""
        findings = Findings()
        shape = (-1, *[1] * (batch.signal.ndim - 1))
        spread = value_range(batch.signal, batch.support).reshape(shape)
        for columns, added in self._additions(batch):
            changed = batch.signal + columns["noise"] * spread * added
            prediction = predict(self.parts.model, changed, max_batch)
            findings.n_forward += len(batch)
            for place in np.flatnonzero(prediction.finite.numpy()).tolist():
                findings.add("fourier", place, columns | batch.verdicts(prediction, place))
        return findings

    def _additions(self, batch: Batch) -> Iterator[tuple[dict[str, Any], Tensor]]:
        """What is added to the samples, of root mean square 1, and the columns that say what."""
        settings, n_octaves = self._settings, self.parts.config.basis.levels
        space = tuple(batch.signal.shape[2:])
        for frequency in self.lattice:
            label = frequency_label(frequency)
            signs = self._signs(batch, label)
            added = unit_power(wave(space, frequency).to(batch.signal) * signs, batch.support)
            columns = {
                "kind": WAVE_KIND,
                "frequency": label,
                "octave": octave(frequency, space, n_octaves),
                "noise": settings.noise,
            }
            yield columns, added
        for place in ring_octaves(space, n_octaves):
            noise = ring_noise(self._draws(batch, place), place, n_octaves, batch.support)
            for strength in settings.ring_noises:
                columns = {
                    "kind": RING_KIND, "frequency": None, "octave": place, "noise": strength,
                }  # fmt: skip
                yield columns, noise

    def _signs(self, batch: Batch, label: str) -> Tensor:
        """1 or -1 by chance for each sample and channel."""
        channels = batch.signal.shape[1]
        signs = [
            generator(self._seed, f"{name}\0wave {label}", 0).integers(0, 2, channels) * 2.0 - 1.0
            for name in batch.sample_ids
        ]
        shape = (len(batch), channels, *[1] * (batch.signal.ndim - 2))
        return torch.from_numpy(np.stack(signs)).to(batch.signal).reshape(shape)

    def _draws(self, batch: Batch, place: int) -> Tensor:
        shape = (1, *batch.signal.shape[2:])
        draws = [
            standard_normal(shape, seed=self._seed, sample_id=f"{name}\0ring {place}", draw=0)
            for name in batch.sample_ids
        ]
        return torch.stack(draws).to(batch.signal)

    @property
    def _settings(self) -> FourierSensitivityConfig:
        return self.parts.config.analyses.fourier_sensitivity

    @property
    def _seed(self) -> int:
        return self.parts.config.attribution.seed
