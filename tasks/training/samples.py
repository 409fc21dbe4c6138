"""Labelled signals in memory, read exactly as an audit reads them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from tasks.config import DatasetConfig
from tasks.datasets import SampleReader, build_manifest
from tasks.errors import DatasetError
from tasks.preprocessing import Preprocessing
from wam_core.noise import generator

_READ_THREADS = 4


@dataclass(frozen=True)
class LabelledSignals:
    """Samples for training or test.

    Attributes:
        signals: Shape (sample, channel, *space), float32, on the CPU.
        labels: Class index per sample.
        n_classes: Known classes, whether or not each has a sample here.
        ids: Sample ids.
        groups: Source of each sample (patient, recording), or an empty string.
        digest: Of the manifest.
        bad: Samples that could not be read, and why.
    """

    signals: Tensor
    labels: Tensor
    n_classes: int
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    digest: str
    bad: tuple[str, ...]

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)

    def batch(self, rows: Tensor) -> Tensor:
        """The signals of some rows."""
        return self.signals[rows]

    def with_signals(self, signals: Tensor) -> LabelledSignals:
        """The same samples seen through something."""
        return replace(self, signals=signals)

    def with_permuted_labels(self, seed: int) -> LabelledSignals:
        """The same signals with the same labels dealt out anew (Adebayo et al. 2018).

        Which label a signal gets depends on the seed and on the ids, not on their order.
        """
        by_id = torch.tensor(sorted(range(len(self)), key=self.ids.__getitem__))
        drawn = generator(seed, "permuted labels", draw=0).permutation(len(self))
        labels = torch.empty_like(self.labels)
        labels[by_id] = self.labels[by_id[torch.from_numpy(drawn)]]
        return replace(self, labels=labels)

    @cached_property
    def class_weights(self) -> Tensor:
        """Inverse of each class's frequency, one on average over the samples."""
        counts = torch.bincount(self.labels, minlength=self.n_classes)
        return len(self) / ((counts > 0).sum() * counts.clamp(min=1).float())


def read_signals(config: DatasetConfig, preprocessing: Preprocessing, use: str) -> LabelledSignals:
    """Read every sample of a dataset.

    Args:
        use: `training` or `test`, for messages.

    Raises:
        DatasetError: If labels are missing, or more samples are bad than max_bad_fraction allows.
    """
    manifest = build_manifest(config)
    table = manifest.table
    if table["label"].isna().any():
        raise DatasetError(
            f"{use}: {int(table['label'].isna().sum())} of {len(table)} samples have no label"
        )
    reader = SampleReader(config, manifest, preprocessing)
    with ThreadPoolExecutor(_READ_THREADS) as pool:
        loaded = list(pool.map(reader.read, range(len(table))))
    read = {row: sample.signal for row, sample in enumerate(loaded) if sample.signal is not None}
    bad = tuple(f"{sample.status}: {sample.detail}" for sample in loaded if sample.signal is None)
    if len(bad) > config.max_bad_fraction * len(table):
        raise DatasetError(
            f"{use}: {len(bad)} of {len(table)} samples cannot be read, more than "
            f"dataset.max_bad_fraction allows; the first: {bad[0]}"
        )
    kept = table.iloc[list(read)]
    labels = torch.tensor(kept["label"].to_numpy(dtype="int64"))
    return LabelledSignals(
        signals=torch.from_numpy(np.stack(list(read.values()))),
        labels=labels,
        n_classes=max(len(manifest.class_names or ()), int(labels.max()) + 1, 2),
        ids=tuple(kept["sample_id"]),
        groups=tuple(kept["group"].fillna("")),
        digest=manifest.digest,
        bad=bad,
    )


def check_separate(training: LabelledSignals, test: LabelledSignals) -> None:
    """Refuse a test on samples, or on groups of samples, that were trained on.

    Raises:
        DatasetError: Names some of them.
    """
    if training.digest == test.digest:
        raise DatasetError("training and test are the same samples; check train: and test:")
    shared = sorted((set(training.groups) & set(test.groups)) - {""})
    if shared:
        raise DatasetError(
            f"{len(shared)} groups are in training and test, such as {', '.join(shared[:3])}; "
            "the test would measure memory. Check train: and test: of the recipe."
        )
