"""From the importance that every band must have to the numbers that the audit must report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tasks.validation.signals import Array, HaarGrid
from tasks.validation.truths import Tolerance, Truth


@dataclass(frozen=True)
class KnownProfile:
    """Importance known for every sample and band.

    Attributes:
        method: As in the tables.
        importance: Shape (sample, band), in the order of the grid.
        tolerance: Of everything that is a fraction; other units scale it.
    """

    method: str
    grid: HaarGrid
    importance: Array
    tolerance: Tolerance

    def shares(self, **labels: str) -> Iterator[Truth]:
        """Share of every level, averaged over samples."""
        yield from self._per_level("reliance/share", self._share, self.tolerance, labels)

    def everything(self, signals: Array) -> Iterator[Truth]:
        """Shares, mean and relative shares, centroid, fine share, entropy, and shares of bands."""
        yield from self.shares()
        counts = self.grid.by_level(self.grid.counts)
        mean_share = _normalised(self.grid.by_level(self.importance) / counts)
        yield from self._per_level("reliance/mean_share", mean_share, self.tolerance, {})
        yield from self.relative_shares(signals)
        yield from self.scalars()
        yield from self.bands()

    def relative_shares(self, signals: Array) -> Iterator[Truth]:
        """Share over the level's share of the energy of the signals, shape (sample, *space)."""
        energies = np.stack([self.grid.analyse(signal) ** 2 for signal in signals])
        edges = np.concatenate([[0], np.cumsum(self.grid.counts)[:-1]]).astype(int)
        energy = self.grid.by_level(np.add.reduceat(energies, edges, axis=1))
        ratio = self._share / _normalised(energy)
        # A ratio has no unit of its own: the error of a share weighs as the ratio does.
        tolerance = Tolerance(
            self.tolerance.absolute,
            self.tolerance.reason,
            max(self.tolerance.relative, self.tolerance.absolute / float(self._share.min())),
        )
        yield from self._per_level("reliance/relative_share", ratio, tolerance, {})

    def scalars(self) -> Iterator[Truth]:
        """Centroid, fine share and entropy."""
        share = self._share
        n_levels = share.shape[1]
        octaves = np.arange(1, n_levels + 1)
        wide = Tolerance(
            self.tolerance.absolute * n_levels, self.tolerance.reason, self.tolerance.relative
        )
        logarithms = np.log(np.where(share > 0, share, 1.0))
        for statistic, values, tolerance in (
            ("reliance/scale_centroid", share @ octaves, wide),
            ("reliance/fine_share", self.fine_share, self.tolerance),
            ("reliance/entropy", -(share * logarithms).sum(1) / np.log(n_levels), self.tolerance),
        ):
            yield Truth(statistic, {"method": self.method}, float(values.mean()), tolerance)

    def bands(self) -> Iterator[Truth]:
        """Share of every band: level and orientation."""
        mean = _normalised(self.importance).mean(0)
        for (level, filters), value in zip(self.grid.bands, mean, strict=True):
            labels = {"method": self.method, "level": level, "filters": filters}
            yield Truth("mean/bands/share", labels, float(value), self.tolerance)

    @property
    def fine_share(self) -> Array:
        """Share of the two finest levels, shape (sample,)."""
        fine: Array = self._share[:, :2].sum(1)
        return fine

    @property
    def _share(self) -> Array:
        return _normalised(self.grid.by_level(self.importance))

    def _per_level(
        self, statistic: str, values: Array, tolerance: Tolerance, labels: dict[str, str]
    ) -> Iterator[Truth]:
        for level, value in zip(self.grid.level_names, values.mean(0), strict=True):
            which = {"method": self.method, "level": level_label(level), **labels}
            yield Truth(statistic, which, float(value), tolerance)


def level_label(name: str) -> str | int:
    """A level as metrics label it: a whole number, or `approximation`."""
    return int(name) if name.isdigit() else name


def _normalised(values: Array) -> Array:
    total: Array = values / values.sum(-1, keepdims=True)
    return total
