"""Damage samples with the model in memory: verdicts of every corruption, and where damage lies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tasks.analyses.contract import AuditParts, Batch, Findings, Row
from tasks.analyses.corruption_choice import CLEAN, CorruptionChoice, Step
from tasks.analyses.partners import Partner, Partners
from tasks.explain import Prediction, predict
from wam_core.calibration import brier_score, log_loss
from wam_core.corruption_error import ALEXNET
from wam_core.corruptions import Surroundings
from wam_core.sums import band_sums, level_sums
from wam_core.transform import decompose


@dataclass(frozen=True)
class DamagedSamples:
    """The analysis with the model in memory."""

    parts: AuditParts
    choice: CorruptionChoice

    def run(self, batch: Batch, max_batch: int) -> Findings:
        """Every corruption at every severity, each in passes of its own."""
        findings = Findings()
        work = _BatchOfDamage(self, batch, max_batch, findings)
        work.record(list(range(len(batch))), None, batch.signal, batch.prediction)
        for step in self.choice.steps:
            work.take(step)
        return findings

    @cached_property
    def partners(self) -> Partners:
        """Of every sample, another that may be mixed in."""
        seed = self.parts.config.attribution.seed
        return Partners(self.parts.manifest, self.parts.reader, seed, "corruption")

    @cached_property
    def reference(self) -> str | None:
        """What errors are divided by; None for nothing."""
        asked = self.choice.settings.reference
        if asked == "none" or not self.choice.is_imagenet(self.parts.manifest):
            return None
        return ALEXNET.name


class _BatchOfDamage:
    def __init__(
        self, analysis: DamagedSamples, batch: Batch, max_batch: int, findings: Findings
    ) -> None:
        self.analysis, self.batch = analysis, batch
        self.max_batch, self.findings = max_batch, findings
        self.coefficients = decompose(batch.signal, analysis.parts.layout.basis)
        audio = analysis.parts.config.dataset.audio
        self.sample_rate = None if audio is None else float(audio.sample_rate)

    def take(self, step: Step) -> None:
        """One corruption at one severity, of the samples that have what it needs."""
        mixes = "others" in step.corruption.needs
        places = sorted(self._others) if mixes else list(range(len(self.batch)))
        if not places:
            return
        part = self.batch if len(places) == len(self.batch) else self.batch.take(places)
        others = torch.stack([self._others[place] for place in places]) if mixes else None
        damaged = step.corruption.apply(
            part.signal,
            step.severity,
            sample_ids=part.sample_ids,
            seed=self.analysis.parts.config.attribution.seed,
            surroundings=Surroundings(
                self.sample_rate, None if others is None else others.to(part.signal)
            ),
            n_valid=part.n_valid,
        )
        prediction = predict(self.analysis.parts.model, damaged, self.max_batch)
        self.findings.n_forward += len(part)
        self.record(places, step, damaged, prediction)

    def record(
        self, places: list[int], step: Step | None, signal: Tensor, prediction: Prediction
    ) -> None:
        """Rows of both tables; without a step, of the samples as they are."""
        address: Row = {
            "corruption": CLEAN if step is None else step.corruption.name,
            "severity": 0 if step is None else step.severity,
        }
        index = torch.tensor(places, device=self.batch.signal.device)
        delta = signal - self.batch.signal[index]
        values = self._values[places]
        damage = delta.flatten(1).square().sum(1).cpu().double() / values
        levels = self._level_powers(index, delta) / values[:, None, None]
        names = self.analysis.parts.layout.level_names
        certainty = self._certainty(places, prediction)
        for of, place in enumerate(places):
            if not bool(prediction.finite[of]):
                continue
            row = self.batch.verdicts(prediction, place, of) | certainty[of]
            row |= {"damage_rms": float(damage[of].sqrt()), "reference": self.analysis.reference}
            self.findings.add("corruptions", place, address | row)
            for level, (damage_power, signal_power) in zip(names, levels[of].tolist(), strict=True):
                powers = {"damage_power": damage_power, "signal_power": signal_power}
                self.findings.add("corruption_levels", place, address | {"level": level} | powers)

    def _level_powers(self, index: Tensor, delta: Tensor) -> Tensor:
        """Energy of the damage and of the damaged signal, shape (sample, level, 2), on the CPU.

        The transform is linear: coefficients of the damaged signal are those of the signal plus
        those of the damage.
        """
        layout = self.analysis.parts.layout
        change = decompose(delta, layout.basis).flat
        damaged = self.coefficients.flat[index] + change
        energies = [
            level_sums(band_sums(values.square(), layout), layout) for values in (change, damaged)
        ]
        return torch.stack(energies, dim=-1)

    def _certainty(self, places: list[int], prediction: Prediction) -> list[Row]:
        """Confidence of every sample, and the losses of its probabilities."""
        labels = [self.batch.labels[place] for place in places]
        label = torch.tensor([-1 if known is None else known for known in labels])
        head, probabilities = self.analysis.parts.model.head, prediction.probabilities
        nll = log_loss(prediction.logits, label, head)
        brier = brier_score(probabilities, label)
        n_classes = probabilities.shape[1]
        rows: list[Row] = []
        for of, known in enumerate(label.tolist()):
            row: Row = {"confidence": float(probabilities[of].max())}
            if 0 <= known < n_classes:
                row["probability_label"] = float(probabilities[of, known])
                row["nll"] = float(nll[of])
                row["brier"] = float(brier[of]) if head != "multilabel" else None
            rows.append(row)
        return rows

    @cached_property
    def _values(self) -> Tensor:
        """Number of values of each sample before its padding."""
        if self.batch.n_valid is None:
            size = self.batch.signal[0].numel()
            return torch.full((len(self.batch),), size, dtype=torch.float64)
        return self.batch.signal.shape[1] * self.batch.n_valid.cpu().double()

    @cached_property
    def _others(self) -> dict[int, Tensor]:
        """What is mixed in, by place: another sample, repeated where it is the shorter one."""
        length = self.batch.signal.shape[-1]
        found = {}
        for place, (row, sample_id) in enumerate(
            zip(self.batch.rows, self.batch.sample_ids, strict=True)
        ):
            partner = self.analysis.partners.of(row, sample_id)
            if partner is not None:
                found[place] = _repeated(partner, length)
        return found


def _repeated(partner: Partner, length: int) -> Tensor:
    heard = partner.signal[..., : partner.n_valid]
    times = -(-length // heard.shape[-1])
    return heard.repeat(*[1] * (heard.ndim - 1), times)[..., :length]
