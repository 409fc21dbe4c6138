"""Hybrids: the coarse levels of one sample with the fine levels of another of a different class.

What the model takes a hybrid for says which scales its answers follow, on any labelled dataset, in
one, two and three dimensions. It is not the measure of Geirhos et al.: level 1 holds outlines as
well as texture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

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
from tasks.analyses.hybrid_pictures import hybrid_file, signal_png
from tasks.analyses.partners import Partner, Partners
from tasks.analyses.subsets import chosen_rows, example_rows
from tasks.config import AuditConfig
from tasks.datasets import Manifest
from tasks.errors import ConfigError
from tasks.explain import Prediction, predict
from tasks.sentences import find_metric, with_interval
from tasks.texture import Votes
from tasks.variables import Variable
from wam_core.basis import CoefficientLayout
from wam_core.hybrids import exchange_fine_levels
from wam_core.padding import support_of
from wam_core.transform import decompose, reconstruct

COARSE, FINE, OTHER = "coarse", "fine", "other"
"""Verdicts: the class of the parent that gave the coarse levels, of the other one, or neither."""

_MATCHES = {
    "texture/hybrid_coarse_match": (COARSE,),
    "texture/hybrid_fine_match": (FINE,),
    "texture/hybrid_coverage": (COARSE, FINE),
}
"""Parts of all hybrids that count, by verdict."""

_BIAS, _ELIGIBLE = "texture/hybrid_coarse_bias", "texture/hybrid_eligible"


class Hybrid(Analysis):
    """Which parent of a hybrid the answers follow."""

    section = "hybrid"
    tables = ("hybrid",)
    units: ClassVar = dict.fromkeys((_BIAS, *_MATCHES, _ELIGIBLE), ("fraction", "none"))

    def check(self, manifest: Manifest) -> None:
        """Every sample needs another one of a different class."""
        n_classes = manifest.table["label"].nunique()
        if n_classes < 2:
            raise ConfigError(
                "analyses.hybrid joins each sample with one of another class, but the labels of "
                f"the dataset have {n_classes} class(es); give labels (dataset.label_column), or "
                "set analyses.hybrid.enabled to false"
            )

    def passes(self, layout: CoefficientLayout) -> Passes:
        """The other parent, and one hybrid for every cut."""
        return Passes(forward=1 + len(self.config.hybrid_cuts))

    def open(self, parts: AuditParts) -> HybridAnalysis:
        """The analysis with the model in memory."""
        return HybridAnalysis(parts)

    def measure(self, tables: ShardTables) -> Measures:
        """By cut, over the hybrids that count."""
        values: Measures = {}
        for cut, verdict, eligible in self._verdicts(tables):
            # Who the parents are does not depend on the cut.
            values[Variable.of(_ELIGIBLE)] = tables.aligned(eligible)
            for name, counts in _MATCHES.items():
                values[Variable.of(name, cut=cut)] = tables.aligned(verdict.isin(counts))
            decided = verdict[verdict != OTHER]
            values[Variable.of(_BIAS, cut=cut)] = tables.aligned(decided == COARSE)
        return values

    def votes(self, tables: ShardTables) -> Votes:
        """Answers that name a parent, by the class of the coarse one: those for the fine one."""
        return {
            f"hybrid_fine_bias at cut {cut}": (
                tables.aligned(verdict == FINE),
                tables.aligned(verdict != OTHER),
            )
            for cut, verdict, _ in self._verdicts(tables)
        }

    def _verdicts(self, tables: ShardTables) -> Iterator[tuple[int, pd.Series, pd.Series]]:
        """By cut: verdicts of the hybrids that count, and whether each sample's does."""
        for cut, rows in tables["hybrid"].groupby("cut", sort=True):
            by_sample = rows.set_index("sample_index")
            eligible = by_sample["coarse_correct"] & by_sample["fine_correct"]
            if not self.settings.only_correct:
                eligible = eligible | True
            yield int(str(cut)), by_sample["verdict"][eligible], eligible

    def sentences(self, metrics: Sequence[Mapping[str, Any]], element: str) -> list[str]:
        """The preference at every cut, never without its coverage."""
        parents = " whose parents are both predicted correctly" * self.settings.only_correct
        sentences = []
        for cut in self.config.hybrid_cuts:
            bias = find_metric(metrics, _BIAS, {"cut": cut})
            coverage = find_metric(metrics, "texture/hybrid_coverage", {"cut": cut})
            if bias is None or coverage is None:
                continue
            levels = "level 1" if cut == 1 else f"levels 1 to {cut}"
            sentences.append(
                f"Of {coverage['n']} hybrids of the coarse levels of one sample and {levels} of "
                f"another{parents}, {with_interval(coverage, 2)} are taken for one of the two, and "
                f"{with_interval(bias, 2)} of these for the coarse one (n = {bias['n']})."
            )
        return sentences


def picture_rows(config: AuditConfig, manifest: Manifest) -> set[int]:
    """Manifest rows whose hybrids are kept as pictures."""
    settings, seed = config.analyses.hybrid, config.attribution.seed
    chosen = chosen_rows(manifest, settings.samples, seed)
    return example_rows(manifest, settings.examples, seed, "hybrid", chosen)


@dataclass(frozen=True)
class HybridAnalysis:
    """The analysis with the model in memory."""

    parts: AuditParts

    def run(self, batch: Batch, max_batch: int) -> Findings:
        """Join every sample of a batch with its partner, at every cut."""
        findings = Findings()
        found = [
            (place, label, self._partners.of(row, batch.sample_ids[place]))
            for place, (row, label) in enumerate(zip(batch.rows, batch.labels, strict=True))
            if label is not None
        ]
        pairs = [
            _Pair(place, label, partner) for place, label, partner in found if partner is not None
        ]
        if not pairs:
            return findings
        joined = _JoinedBatch.of(batch.take([pair.place for pair in pairs]), pairs)
        alone = self._predict(joined.other, max_batch, findings)
        self._keep(joined, "coarse", joined.batch.signal, findings)
        self._keep(joined, "fine", joined.other, findings)
        for cut in self.parts.config.hybrid_cuts:
            hybrids = joined.at(cut, self.parts.layout)
            prediction = self._predict(hybrids, max_batch, findings)
            self._judge(joined, cut, alone, prediction, findings)
            self._keep(joined, f"cut-{cut}", hybrids, findings)
        return findings

    def _predict(self, signal: Tensor, max_batch: int, findings: Findings) -> Prediction:
        findings.n_forward += len(signal)
        return predict(self.parts.model, signal, max_batch)

    def _judge(
        self,
        joined: _JoinedBatch,
        cut: int,
        alone: Prediction,
        prediction: Prediction,
        findings: Findings,
    ) -> None:
        for index, pair in enumerate(joined.pairs):
            if not bool(prediction.finite[index]):
                continue  # such a hybrid has no answer
            predicted, probabilities = prediction.predicted[index], prediction.probabilities[index]
            findings.add(
                "hybrid",
                pair.place,
                {
                    "cut": cut,
                    "fine_index": pair.partner.row,
                    "fine_id": pair.partner.sample_id,
                    "coarse_label": pair.label,
                    "fine_label": pair.partner.label,
                    "coarse_correct": _is(joined.batch.prediction, index, pair.label),
                    "fine_correct": _is(alone, index, pair.partner.label),
                    "predicted": int(predicted),
                    "verdict": {pair.label: COARSE, pair.partner.label: FINE}.get(
                        int(predicted), OTHER
                    ),
                    "probability_coarse": float(probabilities[pair.label]),
                    "probability_fine": float(probabilities[pair.partner.label]),
                },
            )

    def _keep(self, joined: _JoinedBatch, what: str, signal: Tensor, findings: Findings) -> None:
        """Pictures of the examples, all of one sample with one scale."""
        for index, row in enumerate(joined.batch.rows):
            if row in self._examples:
                values = signal[index].cpu().numpy()
                findings.files[hybrid_file(row, what)] = signal_png(values, joined.peak(index))

    @cached_property
    def _partners(self) -> Partners:
        parts = self.parts
        return Partners(parts.manifest, parts.reader, parts.config.attribution.seed, "hybrid")

    @cached_property
    def _examples(self) -> set[int]:
        return picture_rows(self.parts.config, self.parts.manifest)


@dataclass(frozen=True)
class _Pair:
    """A sample of a batch and its partner.

    Attributes:
        place: Of the sample in the whole batch.
        label: Of the sample.
    """

    place: int
    label: int
    partner: Partner


@dataclass(frozen=True)
class _JoinedBatch:
    """Samples and their partners.

    Attributes:
        batch: The samples that have a partner.
        other: Signals of the partners, as `batch.signal`.
        support: 1 where neither of the two is padded, 0 elsewhere; None where nothing is padded.
    """

    batch: Batch
    pairs: Sequence[_Pair]
    other: Tensor
    support: Tensor | None

    @classmethod
    def of(cls, batch: Batch, pairs: Sequence[_Pair]) -> _JoinedBatch:
        """Join a batch with the partners of all its samples."""
        other = torch.stack([pair.partner.signal for pair in pairs]).to(batch.signal)
        n_valid = [pair.partner.n_valid for pair in pairs]
        if batch.n_valid is None and all(length is None for length in n_valid):
            return cls(batch, pairs, other, None)
        full = batch.signal.shape[-1]
        lengths = torch.tensor([full if length is None else length for length in n_valid])
        if batch.n_valid is not None:
            lengths = torch.minimum(lengths, batch.n_valid.cpu())
        return cls(batch, pairs, other, support_of(lengths.to(batch.signal.device), full))

    def at(self, cut: int, layout: CoefficientLayout) -> Tensor:
        """Hybrids with levels 1 to `cut` of the partners, as long as the shorter of the two.

        Beyond its end one of the parents says nothing, and what the other says is no conflict.
        """
        support = 1.0 if self.support is None else self.support
        coarse, fine = (
            decompose(signal * support, layout.basis) for signal in (self.batch.signal, self.other)
        )
        return reconstruct(exchange_fine_levels(coarse, fine, cut)) * support

    def peak(self, index: int) -> float:
        """Largest magnitude in both parents of a hybrid."""
        parents = (self.batch.signal[index], self.other[index])
        return max(float(parent.abs().max()) for parent in parents) or 1.0


def _is(prediction: Prediction, index: int, label: int) -> bool:
    return bool(prediction.finite[index]) and int(prediction.predicted[index]) == label
