"""What an analysis is: something that costs passes, fills tables, and comes to metrics.

An analysis is known before the model is loaded (its cost, its tables, what it asks of the data),
runs on batches with the model in memory, and sums its tables afterwards. The audit asks every
analysis that is switched on the same questions, so adding one is adding one module and naming it
in the catalogue.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tasks.config import AuditConfig
from tasks.datasets import Manifest, SampleReader
from tasks.explain import Explanation, Prediction
from tasks.models import LoadedModel
from tasks.texture import Votes
from tasks.variables import MeansOfSamples, Tallies, Variable
from wam_core.basis import CoefficientLayout
from wam_core.intervals import FloatArray, Interval
from wam_core.padding import support_of

Row = dict[str, object]
Measures = dict[Variable, FloatArray]
"""One number per sample of a shard and variable; NaN where a sample has none."""

Metrics = list[tuple[Variable, Interval]]
"""Metrics with their intervals."""


@dataclass(frozen=True)
class Median:
    """A metric that is a median over samples, of a column of a table.

    Attributes:
        by: Columns whose values become the labels of the same names.
    """

    metric: str
    table: str
    column: str
    by: tuple[str, ...]


@dataclass(frozen=True)
class Passes:
    """Passes through the model that one sample costs.

    Attributes:
        forward: Without a gradient.
        backward: Forward and backward.
    """

    forward: int = 0
    backward: int = 0


@dataclass(frozen=True)
class Batch:
    """Samples that were explained, and what is known of them already.

    Attributes:
        rows: Manifest row of each.
        signal: Shape (batch, channel, *space), in data space, on the model's device.
        targets: Class explained, shape (batch,), on the model's device.
        labels: Labelled class of each, None where there is none.
        n_valid: Length of each before its padding; None where nothing is padded.
        prediction: Of the clean signals.
        maps: Attributions by method as arrays name it, on the CPU.
    """

    rows: Sequence[int]
    sample_ids: Sequence[str]
    signal: Tensor
    targets: Tensor
    labels: Sequence[int | None]
    n_valid: Tensor | None
    prediction: Prediction
    explanation: Explanation

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: Sequence[int]) -> Batch:
        """Some of the samples."""
        index = torch.tensor(places, dtype=torch.long)
        on_device = index.to(self.signal.device)
        return Batch(
            rows=[self.rows[place] for place in places],
            sample_ids=[self.sample_ids[place] for place in places],
            signal=self.signal[on_device],
            targets=self.targets[on_device],
            labels=[self.labels[place] for place in places],
            n_valid=None if self.n_valid is None else self.n_valid[index.to(self.n_valid.device)],
            prediction=Prediction(
                self.prediction.logits[index], self.prediction.probabilities[index]
            ),
            explanation=self.explanation.take(index),
        )

    @property
    def support(self) -> Tensor | None:
        """1 before the padding and 0 in it, shape (batch, 1, sample); None where nothing is."""
        if self.n_valid is None:
            return None
        return support_of(self.n_valid.to(self.signal.device), self.signal.shape[-1])

    def verdicts(self, prediction: Prediction, place: int, of: int | None = None) -> Row:
        """Columns that every analysis has of one changed sample.

        Args:
            prediction: Of the changed samples.
            place: The sample's position in this batch.
            of: Its position in `prediction`; the same by default.
        """
        where = place if of is None else of
        predicted, label = int(prediction.predicted[where]), self.labels[place]
        target = int(self.targets[place])
        return {
            "probability_target": float(prediction.probabilities[where, target]),
            "predicted": predicted,
            "correct": None if label is None else predicted == label,
            "kept": predicted == int(self.prediction.predicted[place]),
        }


@dataclass
class Findings:
    """What an analysis found in one batch.

    Attributes:
        rows: By table, the position of a sample in the batch and the columns besides its address.
        files: Content by path below the audit folder.
        n_forward: Rows passed forward only.
        n_backward: Rows passed forward and backward.
    """

    rows: dict[str, list[tuple[int, Row]]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    n_forward: int = 0
    n_backward: int = 0

    def add(self, table: str, place: int, columns: Row) -> None:
        """One row of a table."""
        self.rows.setdefault(table, []).append((place, columns))


@dataclass(frozen=True)
class AuditParts:
    """An audit with its model in memory."""

    config: AuditConfig
    manifest: Manifest
    reader: SampleReader
    model: LoadedModel
    layout: CoefficientLayout


class BatchAnalysis(Protocol):
    """An analysis with the model in memory."""

    def run(self, batch: Batch, max_batch: int) -> Findings:
        """Examine a batch, in passes of at most `max_batch` rows."""
        ...


@dataclass(frozen=True)
class ShardTables:
    """The tables of one shard, restricted to samples that are ok.

    Attributes:
        index: Manifest rows of all samples of the shard, whatever their status.
        tables: By name; among them `samples`, `attributions`, `levels` and those of the analyses.
    """

    index: pd.Index
    tables: Mapping[str, pd.DataFrame]

    def __getitem__(self, table: str) -> pd.DataFrame:
        return self.tables[table]

    def aligned(self, series: pd.Series) -> FloatArray:
        """Numbers indexed by manifest row as one per sample; NaN where there is none."""
        aligned = series.reindex(self.index).astype("Float64")
        return np.asarray(aligned.to_numpy(dtype=np.float64, na_value=np.nan))


class Analysis(ABC):
    """One analysis of an audit, as its configuration asks for it.

    Attributes:
        section: Its section of `analyses`; the section says whether it is enabled and, if it has
            `samples`, how many samples it takes.
        tables: Tables that it fills.
        units: Unit and better direction of each of its metrics.
        proportions: Metrics that are means of yes and no.
        many: Metrics with so many labels that their means keep fewer bootstrap replicates.
        medians: Metrics that are medians.
    """

    section: ClassVar[str]
    tables: ClassVar[tuple[str, ...]]
    units: ClassVar[Mapping[str, tuple[str, str]]]
    proportions: ClassVar[frozenset[str]] = frozenset()
    many: ClassVar[frozenset[str]] = frozenset()
    medians: ClassVar[tuple[Median, ...]] = ()

    def __init__(self, config: AuditConfig) -> None:
        self.config = config

    @property
    def settings(self) -> Any:
        """Its section of the configuration."""
        return getattr(self.config.analyses, self.section)

    def check(self, manifest: Manifest) -> None:  # noqa: B027
        """Refuse data that the analysis cannot be made of.

        Raises:
            ConfigError: If so; says what to change.
        """

    def inputs(self) -> dict[str, str]:
        """Digests of files it reads besides data and weights, by setting: they are what it is."""
        return {}

    @abstractmethod
    def passes(self, layout: CoefficientLayout) -> Passes:
        """Cost of one sample."""

    @abstractmethod
    def open(self, parts: AuditParts) -> BatchAnalysis:
        """The analysis with the model in memory."""

    @abstractmethod
    def measure(self, tables: ShardTables) -> Measures:
        """Numbers per sample of a shard, whose means are metrics or feed `conclude`."""

    def tally(self, tables: ShardTables) -> Tallies:
        """Sums over the samples of a shard that need no replicates; `conclude` finds them summed.

        Keys begin with the section, so that analyses never share one.
        """
        return {}

    def conclude(self, means: MeansOfSamples) -> Metrics:
        """Metrics that are functions of means."""
        return []

    def votes(self, tables: ShardTables) -> Votes:
        """What the analysis adds to the comparison of indices of texture reliance."""
        return {}

    def sentences(self, metrics: Sequence[Mapping[str, Any]], element: str) -> list[str]:
        """Sentences for the headline, from the metrics of the summary.

        Args:
            element: What a signal is sampled in: samples, pixels or voxels.
        """
        return []
