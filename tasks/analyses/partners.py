"""A sample of another class for every sample, chosen by seed: it depends on nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from tasks.datasets import Manifest, SampleReader
from wam_core.noise import generator

_TRIES = 8

LabelArray = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True)
class Partner:
    """A sample of another class.

    Attributes:
        row: Its manifest row.
        signal: Shape (channel, *space), on the CPU.
        n_valid: Its length before its padding; None where it has none.
    """

    row: int
    sample_id: str
    label: int
    signal: Tensor
    n_valid: int | None


@dataclass(frozen=True)
class Partners:
    """The choice of partners for one purpose.

    Attributes:
        purpose: Keys the draw beside seed and sample id.
    """

    manifest: Manifest
    reader: SampleReader
    seed: int
    purpose: str

    def of(self, row: int, sample_id: str) -> Partner | None:
        """A labelled sample of another class that can be read and is not all zero.

        Samples are drawn until one is; None where a few draws find none.
        """
        labels = self._labels
        others = np.flatnonzero((labels != labels[row]) & (labels >= 0))
        if not len(others):
            return None
        draw = generator(self.seed, f"{sample_id}\0{self.purpose}", 0)
        for place in draw.integers(0, len(others), _TRIES):
            other = int(others[place])
            sample = self.reader.read(other)
            if sample.signal is not None and sample.signal.any():
                return Partner(
                    row=other,
                    sample_id=str(self.manifest.table["sample_id"].iat[other]),
                    label=int(labels[other]),
                    signal=torch.tensor(sample.signal),
                    n_valid=sample.n_valid,
                )
        return None

    @cached_property
    def _labels(self) -> LabelArray:
        return self.manifest.table["label"].fillna(-1).to_numpy(dtype=np.int64)
