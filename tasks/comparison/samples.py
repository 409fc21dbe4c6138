"""The samples of two audits, read from their folders and joined on sample ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tasks.errors import IncompleteAuditError
from tasks.identity import AUDIT_FILE
from tasks.inspection import existing_folder
from tasks.store import AuditFolder, Shard, completed_shards, plan_shards
from tasks.store.tables import read_table
from wam_core.intervals import FloatArray

LEAST_COMMON = 2
_SAMPLE_COLUMNS = ["sample_id", "label", "class_name", "group", "status", "correct"]


@dataclass(frozen=True)
class FinishedAudit:
    """One side of a comparison.

    Attributes:
        record: Content of `audit.json`.
        samples: Samples that are ok, by id.
    """

    folder: AuditFolder
    record: dict[str, Any]
    shards: list[Shard]
    samples: pd.DataFrame

    @classmethod
    def open(cls, url: str) -> FinishedAudit:
        """Read a finished audit.

        Raises:
            ConfigError: If the folder is not an audit's.
            IncompleteAuditError: If shards are missing.
        """
        folder = existing_folder(url)
        record = folder.read_json(AUDIT_FILE)
        size = record["config"]["store"]["shard_size"]
        shards = plan_shards(record["dataset"]["n_samples"], size)
        missing = len(shards) - len(completed_shards(folder, shards, record["digest"]))
        if missing:
            raise IncompleteAuditError(
                f"{url} is not complete: {missing} of {len(shards)} shards are missing. Run the "
                "audit again to continue it, then compare."
            )
        samples = read_table(folder, "samples", shards, _SAMPLE_COLUMNS)
        return cls(
            folder, record, shards, samples[samples["status"] == "ok"].set_index("sample_id")
        )

    def shares(self) -> dict[str, pd.DataFrame]:
        """Share of every level by method: one row per sound sample, finest level first."""
        columns = ["sample_id", "method", "level", "share"]
        rows = read_table(self.folder, "levels", self.shards, columns)
        profiles = {}
        for method, part in rows.groupby("method", sort=True):
            wide = part.pivot_table(index="sample_id", columns="level", values="share")
            wide = wide.astype("float64").dropna().rename(columns=str)
            ordered = sorted(
                map(str, wide), key=lambda name: int(name) if name.isdigit() else 10**6
            )
            profiles[str(method)] = wide.loc[wide.index.isin(self.samples.index), ordered]
        return profiles

    def groups(self, ids: pd.Index) -> np.ndarray:
        """Group of every sample as a whole number."""
        named = self.samples.loc[ids, "group"]
        keys = [str(group) if pd.notna(group) else f"\0{name}" for name, group in named.items()]
        return np.asarray(pd.factorize(np.array(keys, dtype=object))[0], dtype=np.int64)


def common_ids(first: FinishedAudit, second: FinishedAudit) -> pd.Index:
    """Samples that are ok in both, in the order of the first."""
    return first.samples.index[first.samples.index.isin(second.samples.index)]


def is_paired(first: FinishedAudit, second: FinishedAudit) -> bool:
    """At least two samples, and half of the smaller audit, are in both."""
    n_common = len(common_ids(first, second))
    smaller = min(len(first.samples), len(second.samples))
    return n_common >= max(LEAST_COMMON, smaller / 2)


def group_means(values: FloatArray, groups: np.ndarray) -> FloatArray:
    """Mean of every group, so that what shares a source counts once."""
    return np.asarray(pd.DataFrame(values).groupby(groups).mean().to_numpy())
