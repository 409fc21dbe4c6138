"""What a model hears in a mixture: explain it, rebuild it, and measure what is left of each part.

A clip is mixed with white noise, or with a clip of another class, and explained for its own class.
The mixture is rebuilt from its most important coefficients, and from as many chosen by magnitude
and at random; each is compared with the clean clip and with what was mixed in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from tasks.analyses_config import SeparationConfig
from tasks.config import AuditConfig
from tasks.datasets import Manifest, SampleReader
from tasks.explain import explain, predict
from tasks.mixtures import EVIDENCE, WHOLE, example_rows, noise_name, overlap_name, sound_name
from tasks.models import LoadedModel
from tasks.sounds import FloatArray
from wam_core.basis import CoefficientLayout
from wam_core.noise import generator, standard_normal
from wam_core.padding import support_of
from wam_core.selection import keep_most_important
from wam_core.separation import (
    Mixture,
    mix_at_snr,
    mix_overlap,
    signal_to_distortion,
    signal_to_noise,
)
from wam_core.transform import decompose, reconstruct

LIMIT_DB = 60.0
"""Ratios beyond are rounding errors of silence, and would rule every mean; they count as this."""

_TRIES = 8

Row = dict[str, object]


@dataclass
class Separation:
    """What mixtures of some samples came to.

    Attributes:
        rows: Columns of the table `separation` besides the sample's address, by position of the
            sample in the batch.
        sounds: Versions of the mixtures of samples kept as examples: by position in the batch and
            mixture, waveforms (channel, sample) by what they are.
    """

    rows: list[tuple[int, Row]] = field(default_factory=list)
    sounds: dict[tuple[int, str], dict[str, FloatArray]] = field(default_factory=dict)
    n_forward: int = 0
    n_backward: int = 0


@dataclass(frozen=True)
class Batch:
    """Clips to be mixed.

    Attributes:
        rows: Manifest row of each.
        signal: Shape (batch, channel, sample).
        n_valid: Length of each before its padding; None where nothing is padded.
    """

    rows: Sequence[int]
    sample_ids: Sequence[str]
    signal: Tensor
    targets: Tensor
    n_valid: Tensor | None


@dataclass(frozen=True)
class MixtureAnalysis:
    """The analysis of one audit, with the model in memory."""

    config: AuditConfig
    manifest: Manifest
    reader: SampleReader
    model: LoadedModel
    layout: CoefficientLayout

    def run(self, batch: Batch, max_batch: int) -> Separation:
        """Mix, explain, rebuild and measure every clip of a batch."""
        result = Separation()
        for name, mixture, lengths in self._mixtures(batch):
            _MixtureRun(self, batch, name, mixture, lengths, max_batch, result).run()
        return result

    def _mixtures(self, batch: Batch) -> Iterator[tuple[str, Mixture, Tensor]]:
        settings, length = self._settings, batch.signal.shape[-1]
        lengths = batch.n_valid
        if lengths is None:
            lengths = torch.full((len(batch.signal),), length, device=batch.signal.device)
        if settings.noise_snr_db:
            noise = torch.stack([self._noise(name, batch.signal) for name in batch.sample_ids])
            noise = noise.to(batch.signal) * support_of(lengths, length)
            for snr_db in settings.noise_snr_db:
                yield noise_name(snr_db), mix_at_snr(batch.signal, noise, snr_db), lengths
        if settings.overlap_levels:
            others, other_lengths = self._others(batch)
            longest = torch.maximum(lengths, other_lengths)
            for level in settings.overlap_levels:
                yield overlap_name(level), mix_overlap(batch.signal, others, level), longest

    def _noise(self, sample_id: str, signal: Tensor) -> Tensor:
        seed, shape = self.config.attribution.seed, tuple(signal.shape[1:])
        return standard_normal(shape, seed=seed, sample_id=f"{sample_id}\0white noise", draw=0)

    def _others(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """A clip of another class for each clip, and their lengths before the padding."""
        signals, lengths = [], []
        for row, sample_id in zip(batch.rows, batch.sample_ids, strict=True):
            signal, n_valid = self._other(row, sample_id, batch.signal.shape[1:])
            signals.append(signal)
            lengths.append(n_valid)
        device = batch.signal.device
        return torch.stack(signals).to(batch.signal), torch.tensor(lengths, device=device)

    def _other(self, row: int, sample_id: str, shape: torch.Size) -> tuple[Tensor, int]:
        labels = self._labels
        others = np.flatnonzero((labels != labels[row]) & (labels >= 0))
        draw = generator(self.config.attribution.seed, f"{sample_id}\0overlap", 0)
        for place in draw.integers(0, len(others), _TRIES):
            sample = self.reader.read(int(others[place]))
            if sample.signal is not None and sample.signal.any():
                length = shape[-1] if sample.n_valid is None else sample.n_valid
                return torch.from_numpy(sample.signal), length
        # Silence mixed in changes nothing, and its ratios do not exist: no value is better than
        # the value of another mixture.
        return torch.zeros(shape), 0

    @cached_property
    def examples(self) -> dict[str, set[int]]:
        """Manifest rows whose sounds are kept, by mixture."""
        return example_rows(self.config, self.manifest)

    @cached_property
    def _labels(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return self.manifest.table["label"].fillna(-1).to_numpy(dtype=np.int64)

    @cached_property
    def short_config(self) -> AuditConfig:
        """The audit's configuration with the fewer passes that a mixture gets."""
        return self.config.with_passes(self._settings.n_passes)

    @property
    def _settings(self) -> SeparationConfig:
        return self.config.analyses.separation


@dataclass(frozen=True)
class _MixtureRun:
    """One kind of mixture of all clips of a batch.

    Attributes:
        lengths: Samples of each mixture before its padding.
    """

    analysis: MixtureAnalysis
    batch: Batch
    name: str
    mixture: Mixture
    lengths: Tensor
    max_batch: int
    result: Separation

    def run(self) -> None:
        signal = self.mixture.signal
        self._keep("clean", self.mixture.target)
        self._take(WHOLE, None, signal)
        coefficients = decompose(signal.cpu(), self.analysis.layout.basis)
        importances = self._explained() | {
            "magnitude": coefficients.flat.abs().sum(1),
            "random": torch.stack([self._random(key) for key in self._keys]),
        }
        support = support_of(self.lengths, signal.shape[-1])
        for fraction in self.analysis.config.analyses.separation.fractions:
            for selection, importance in importances.items():
                kept = keep_most_important(coefficients, importance, fraction)
                self._take(selection, fraction, reconstruct(kept).to(signal) * support)

    @cached_property
    def _mixed(self) -> list[int]:
        """Where nothing could be mixed in there is no mixture to speak of."""
        mixed = self.mixture.interference.flatten(1).any(1).cpu()
        return [int(index) for index in torch.nonzero(mixed)[:, 0]]

    @property
    def _keys(self) -> list[str]:
        return [f"{sample_id}\0{self.name}" for sample_id in self.batch.sample_ids]

    def _explained(self) -> dict[str, Tensor]:
        """Importance of every coefficient of the mixture for the clip's class, by method."""
        analysis, batch = self.analysis, self.batch
        explanation = explain(
            analysis.short_config,
            analysis.model,
            analysis.layout,
            self.mixture.signal,
            batch.targets,
            self._keys,
            self.max_batch,
            None if batch.n_valid is None else self.lengths,
        )
        self.result.n_forward += explanation.n_forward
        self.result.n_backward += explanation.n_backward
        importances = {
            analysis.config.attribution.profile_of_map(method): values.flat.abs().sum(1)
            for method, values in explanation.maps.items()
        }
        path = explanation.maps.get("integrated_gradients")
        if path is not None:
            importances[EVIDENCE] = path.flat.sum(1).clamp(min=0)
        return importances

    def _random(self, key: str) -> Tensor:
        draw = generator(self.analysis.config.attribution.seed, f"{key}\0random", 0)
        return torch.from_numpy(draw.random(self.analysis.layout.size, dtype=np.float32))

    def _take(self, selection: str, fraction: float | None, estimate: Tensor) -> None:
        """Measure one version of the mixtures, and keep its sound where it is an example."""
        prediction = predict(self.analysis.model, estimate, self.max_batch)
        self.result.n_forward += len(estimate)
        target, interference = self.mixture.target, self.mixture.interference
        columns = {
            "si_sdr_target": _limited(signal_to_distortion(estimate, target)),
            "si_sdr_interference": _limited(signal_to_distortion(estimate, interference)),
            "snr_target": _limited(signal_to_noise(estimate, target)),
            "snr_interference": _limited(signal_to_noise(estimate, interference)),
            "probability_target": _at_targets(prediction.probabilities, self.batch.targets),
        }
        address: Row = {"mixture": self.name, "selection": selection, "fraction": fraction}
        for index in self._mixed:
            numbers = {column: float(values[index]) for column, values in columns.items()}
            self.result.rows.append((index, address | numbers))
        self._keep(sound_name(selection, fraction), estimate)

    def _keep(self, what: str, signal: Tensor) -> None:
        examples = self.analysis.examples[self.name]
        for index, row in enumerate(self.batch.rows):
            if row in examples:
                versions = self.result.sounds.setdefault((index, self.name), {})
                versions[what] = signal[index].cpu().numpy()


def _limited(decibels: Tensor) -> Tensor:
    return decibels.clamp(-LIMIT_DB, LIMIT_DB)


def _at_targets(probabilities: Tensor, targets: Tensor) -> Tensor:
    return probabilities.gather(1, targets.cpu()[:, None])[:, 0].double()
