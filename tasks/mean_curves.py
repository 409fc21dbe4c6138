"""Mean curves of insertion and deletion over the samples of an audit, with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd

from tasks.store import AuditFolder, Shard
from tasks.store.tables import read_part
from wam_core.intervals import FloatArray, Interval, normal_interval

GRID = np.linspace(0.0, 1.0, 65)
"""Fractions at which curves are averaged; between their own points they are straight."""

KINDS = ("insertion", "deletion")


@dataclass(frozen=True)
class MeanCurve:
    """One curve.

    Attributes:
        removal: `count`, `energy` or `replacement`.
        method: What ranks the coefficients.
        kind: `insertion` or `deletion`.
        points: Mean probability of the class at every fraction of `GRID`.
    """

    removal: str
    method: str
    kind: str
    points: tuple[Interval, ...]


def mean_curves(folder: AuditFolder, shards: Iterable[Shard], confidence: float) -> list[MeanCurve]:
    """Average the table of curves over the samples that are ok, one shard at a time."""
    sums: dict[tuple[str, str, str], FloatArray] = {}
    for shard in shards:
        samples = read_part(folder, "samples", shard, ["sample_index", "status"])
        ok = samples.loc[samples["status"] == "ok", "sample_index"]
        table = read_part(folder, "curves", shard)
        for key, values in _on_grid(table[table["sample_index"].isin(ok)]):
            moments = np.stack([values, values**2, np.ones_like(values)])
            sums[key] = sums[key] + moments if key in sums else moments
    return [
        MeanCurve(
            *key,
            tuple(
                normal_interval(float(total), float(squares), int(n), confidence)
                for total, squares, n in moments.T
            ),
        )
        for key, moments in sorted(sums.items())
    ]


def _on_grid(table: pd.DataFrame) -> Iterator[tuple[tuple[str, str, str], FloatArray]]:
    for group, rows in table.groupby(["removal", "method", "sample_index"], sort=True):
        removal, method, _ = cast("tuple[str, str, int]", group)
        ordered = rows.sort_values("step")
        fraction = ordered["fraction"].to_numpy(dtype=np.float64)
        for kind in KINDS:
            values = ordered[f"{kind}_probability"].to_numpy(dtype=np.float64)
            yield (removal, method, kind), np.interp(GRID, fraction, values)
