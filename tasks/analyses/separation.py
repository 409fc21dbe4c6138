"""What a model hears in a mixture: explain it, rebuild it, and measure what is left of each part.

A clip is mixed with white noise, or with a clip of another class, and explained for its own class.
The mixture is rebuilt from its most important coefficients, and from as many chosen by magnitude
and at random; each is compared with the clean clip and with what was mixed in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
    Row,
    ShardTables,
)
from tasks.analyses.mixtures import (
    EVIDENCE,
    MODEL_FREE,
    WHOLE,
    backward_passes,
    check_classes,
    forward_passes,
    mixture_names,
    noise_name,
    overlap_name,
    sound_name,
    sound_rows,
)
from tasks.analyses.partners import Partners
from tasks.analyses_config import SeparationConfig
from tasks.config import AuditConfig
from tasks.datasets import Manifest
from tasks.explain import explain, predict
from tasks.sentences import find_metric, with_interval
from tasks.sounds import FloatArray, audible, sound_file, wav_bytes
from tasks.variables import Variable
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

_SELECTION_NAMES = {
    "gradient": "chosen by the gradient",
    "smoothgrad_signed": "chosen by WAM_SG",
    "smoothgrad_absolute": "chosen by WAM_SG",
    "smoothgrad_squared": "chosen by WAM_SG",
    "integrated_gradients": "chosen by WAM_IG",
    "coalition_gradients": "chosen by WAM_CG",
    EVIDENCE: "by WAM_IG's evidence for the class",
    "magnitude": "chosen by magnitude alone",
    "random": "chosen at random",
}

_MEASURED = {
    "si_sdr_target": "separation/si_sdr_target",
    "si_sdr_interference": "separation/si_sdr_interference",
    "snr_target": "separation/snr_target",
    "snr_interference": "separation/snr_interference",
    "probability_target": "separation/probability_target",
}
_GAINS = {
    WHOLE: "separation/si_sdr_gain",
    **{selection: f"separation/si_sdr_gain_over_{selection}" for selection in MODEL_FREE},
}
"""SI-SDR towards the target less that of another version of the same mixture, by that version."""

_CONTRAST_GAIN = "separation/contrast_gain"


class Separation(Analysis):
    """Mixtures of sounds: what explanations recover of each part."""

    section = "separation"
    tables = ("separation",)
    units: ClassVar = {
        "separation/si_sdr_target": ("dB", "higher"),
        "separation/si_sdr_interference": ("dB", "lower"),
        "separation/snr_target": ("dB", "higher"),
        "separation/snr_interference": ("dB", "lower"),
        "separation/probability_target": ("fraction", "higher"),
        "separation/si_sdr_gain": ("dB", "higher"),
        _CONTRAST_GAIN: ("dB", "higher"),
        "separation/si_sdr_gain_over_magnitude": ("dB", "higher"),
        "separation/si_sdr_gain_over_random": ("dB", "higher"),
    }

    def check(self, manifest: Manifest) -> None:
        """Overlaps need a clip of another class."""
        check_classes(self.config, manifest)

    def passes(self, layout: CoefficientLayout) -> Passes:
        """Every mixture is explained, and every version of it passed forward."""
        return Passes(forward_passes(self.config), backward_passes(self.config))

    def open(self, parts: AuditParts) -> MixtureAnalysis:
        """The analysis with the model in memory."""
        return MixtureAnalysis(parts)

    def measure(self, tables: ShardTables) -> Measures:
        """Every version of every mixture, and its gain over versions of the same mixture."""
        values: Measures = {}
        for key, rows in tables["separation"].groupby(
            ["mixture", "selection", "fraction"], sort=True, dropna=False
        ):
            mixture, selection, fraction = cast("tuple[str, str, float | None]", key)
            by_sample = rows.set_index("sample_index")
            part = "" if pd.isna(fraction) else f"{fraction:g}"
            labels = {"method": selection, "mixture": mixture, "fraction": part}
            for column, name in _MEASURED.items():
                values[Variable.of(name, **labels)] = tables.aligned(by_sample[column])
        return values | _gains(values) | _contrast_gains(values)

    def sentences(self, metrics: Sequence[Mapping[str, Any]], element: str) -> list[str]:
        """What explanations recover of a sound in each mixture, against what magnitude does."""
        fraction = f"{max(self.settings.fractions, default=0):g}"
        sentences = []
        for mixture in mixture_names(self.settings):
            labels = {"mixture": mixture, "fraction": fraction}
            gains = [
                (name, find_metric(metrics, "separation/si_sdr_gain", labels | {"method": method}))
                for method, name in _SELECTION_NAMES.items()
            ]
            known = [(name, gain) for name, gain in gains if gain is not None]
            if known:
                parts = [f"{with_interval(gain, 1)} dB {name}" for name, gain in known]
                sentences.append(
                    f"{mixture[:1].upper()}{mixture[1:]}, rebuilt from "
                    f"{100 * float(fraction):g} % of its coefficients, gains towards the clean "
                    f"sound (SI-SDR): {', '.join(parts)} (n = {known[0][1]['n']})."
                )
        return sentences


@dataclass(frozen=True)
class MixtureAnalysis:
    """The analysis with the model in memory."""

    parts: AuditParts

    def run(self, batch: Batch, max_batch: int) -> Findings:
        """Mix, explain, rebuild and measure every clip of a batch."""
        result = Findings()
        for name, mixture, lengths in self._mixtures(batch):
            run = _MixtureRun(self, batch, name, mixture, lengths, max_batch, result)
            run.run()
            result.files |= run.files(self._rate)
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
        seed, shape = self.parts.config.attribution.seed, tuple(signal.shape[1:])
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
        partner = self._partners.of(row, sample_id)
        if partner is None:
            # Silence mixed in changes nothing, and its ratios do not exist: no value is better
            # than the value of another mixture.
            return torch.zeros(shape), 0
        return partner.signal, shape[-1] if partner.n_valid is None else partner.n_valid

    @cached_property
    def examples(self) -> dict[str, set[int]]:
        """Manifest rows whose sounds are kept, by mixture."""
        return sound_rows(self.parts.config, self.parts.manifest)

    @cached_property
    def _partners(self) -> Partners:
        parts = self.parts
        return Partners(parts.manifest, parts.reader, parts.config.attribution.seed, "overlap")

    @cached_property
    def short_config(self) -> AuditConfig:
        """The audit's configuration with the fewer passes that a mixture gets."""
        return self.parts.config.with_passes(self._settings.n_passes)

    @property
    def _rate(self) -> int:
        audio = self.parts.config.dataset.audio
        assert audio is not None, "the configuration refuses separation without sound"
        return audio.sample_rate

    @property
    def _settings(self) -> SeparationConfig:
        return self.parts.config.analyses.separation


@dataclass(frozen=True)
class _MixtureRun:
    """One kind of mixture of all clips of a batch.

    Attributes:
        lengths: Samples of each mixture before its padding.
        sounds: Versions of the examples, by manifest row and what they are.
    """

    analysis: MixtureAnalysis
    batch: Batch
    name: str
    mixture: Mixture
    lengths: Tensor
    max_batch: int
    result: Findings
    sounds: dict[int, dict[str, FloatArray]] = field(default_factory=dict)

    def run(self) -> None:
        signal = self.mixture.signal
        self._keep("clean", self.mixture.target)
        self._take(WHOLE, None, signal)
        coefficients = decompose(signal.cpu(), self.analysis.parts.layout.basis)
        importances = self._explained() | {
            "magnitude": coefficients.flat.abs().sum(1),
            "random": torch.stack([self._random(key) for key in self._keys]),
        }
        support = support_of(self.lengths, signal.shape[-1])
        for fraction in self.analysis.parts.config.analyses.separation.fractions:
            for selection, importance in importances.items():
                kept = keep_most_important(coefficients, importance, fraction)
                self._take(selection, fraction, reconstruct(kept).to(signal) * support)

    def files(self, rate: int) -> dict[str, bytes]:
        """WAV files of the examples, all versions of one mixture with one gain."""
        return {
            sound_file(self.name, row, what): wav_bytes(sound, rate)
            for row, versions in self.sounds.items()
            for what, sound in audible(versions).items()
        }

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
            analysis.parts.model,
            analysis.parts.layout,
            self.mixture.signal,
            batch.targets,
            self._keys,
            self.max_batch,
            None if batch.n_valid is None else self.lengths,
        )
        self.result.n_forward += explanation.n_forward
        self.result.n_backward += explanation.n_backward
        importances = {
            analysis.parts.config.attribution.profile_of_map(method): explanation.ranking(method)
            for method in explanation.maps
        }
        path = explanation.maps.get("integrated_gradients")
        if path is not None:
            importances[EVIDENCE] = path.flat.sum(1).clamp(min=0)
        return importances

    def _random(self, key: str) -> Tensor:
        draw = generator(self.analysis.parts.config.attribution.seed, f"{key}\0random", 0)
        return torch.from_numpy(draw.random(self.analysis.parts.layout.size, dtype=np.float32))

    def _take(self, selection: str, fraction: float | None, estimate: Tensor) -> None:
        """Measure one version of the mixtures, and keep its sound where it is an example."""
        prediction = predict(self.analysis.parts.model, estimate, self.max_batch)
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
            self.result.add("separation", index, address | numbers)
        self._keep(sound_name(selection, fraction), estimate)

    def _keep(self, what: str, signal: Tensor) -> None:
        examples = self.analysis.examples[self.name]
        for index, row in enumerate(self.batch.rows):
            if row in examples:
                self.sounds.setdefault(row, {})[what] = signal[index].cpu().numpy()


def _limited(decibels: Tensor) -> Tensor:
    return decibels.clamp(-LIMIT_DB, LIMIT_DB)


def _at_targets(probabilities: Tensor, targets: Tensor) -> Tensor:
    return probabilities.gather(1, targets.cpu()[:, None])[:, 0].double()


def _gains(values: Measures) -> Measures:
    gains: Measures = {}
    for variable, numbers in values.items():
        selection = variable.get("method")
        if variable.metric != _MEASURED["si_sdr_target"] or selection == WHOLE:
            continue
        for other, name in _GAINS.items():
            if other in MODEL_FREE and selection in MODEL_FREE:
                continue  # these are compared with the mixture, not with each other
            fraction = None if other == WHOLE else variable.get("fraction")
            before = values.get(variable.relabelled(method=other, fraction=fraction))
            if before is not None:
                gains[variable.renamed(name)] = numbers - before
    return gains


def _contrast_gains(values: Measures) -> Measures:
    """How much more of the target than of the interference is left, against the mixture."""
    contrasts = {
        variable: numbers - values[variable.renamed(_MEASURED["si_sdr_interference"])]
        for variable, numbers in values.items()
        if variable.metric == _MEASURED["si_sdr_target"]
    }
    return {
        variable.renamed(_CONTRAST_GAIN): numbers
        - contrasts[variable.relabelled(method=WHOLE, fraction=None)]
        for variable, numbers in contrasts.items()
        if variable.get("method") != WHOLE
    }
