"""What an audit will cost, before it runs: shards, files, bytes, passes and time."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from tasks import mixtures
from tasks.config import AuditConfig
from tasks.session import AuditSession
from tasks.store import Shard, plan_shards

_COMPRESSION = 0.75
"""Size of stored coefficients over their float32 size, as measured in docs/storage.md."""


@dataclass(frozen=True)
class Plan:
    """The predicted cost of an audit.

    Attributes:
        n_done: Shards that have their receipt already.
        n_tasks: Prefect tasks of a run.
        n_forward: Rows passed forward only, for all samples.
        n_backward: Rows passed forward and backward; at most, where samples stop drawing early.
        stops_early: Whether `n_backward` and the time are upper bounds.
        n_files: Files of the finished audit folder, without the report's.
        n_bytes: Their size, roughly.
        memory_bytes: Largest arrays a worker holds, besides the model's activations.
        estimated_seconds: Time on this machine; None until a probe has measured it.
    """

    folder: str
    n_samples: int
    n_shards: int
    n_done: int
    n_tasks: int
    n_forward: int
    n_backward: int
    n_files: int
    n_bytes: int
    memory_bytes: int
    stops_early: bool = False
    estimated_seconds: float | None = None

    def record(self) -> dict[str, Any]:
        """As plain JSON data."""
        return asdict(self)


def plan_audit(session: AuditSession) -> Plan:
    """Count what a run would do; loads the manifest, not the model."""
    config = session.config
    n_samples, shards = len(session.manifest.table), session.shards
    pending = [shard for shard in shards if shard.index not in session.completed()]
    todo = sum(shard.stop - shard.start for shard in pending)
    map_bytes = 4 * session.preprocessing.input_shape[0] * session.layout.size
    methods = len(config.attribution.methods) if config.store.coefficients else 0
    shard_rows = min(config.store.shard_size, n_samples)
    return Plan(
        folder=session.folder.url,
        n_samples=n_samples,
        n_shards=len(shards),
        n_done=len(shards) - len(pending),
        n_tasks=len(group_shards(pending, config.execution.max_tasks)),
        n_forward=todo * forward_passes_per_sample(config),
        n_backward=todo * backward_passes_per_sample(config),
        n_files=len(shards) * (methods + _n_tables(config) + 1) + methods + 2,
        n_bytes=round(n_samples * methods * map_bytes * _COMPRESSION),
        memory_bytes=shard_rows * methods * map_bytes,
        stops_early=config.attribution.stops_early,
    )


def _n_tables(config: AuditConfig) -> int:
    return 4 + config.analyses.separation.enabled


def group_shards(shards: list[Shard], max_tasks: int) -> list[list[Shard]]:
    """Groups of consecutive shards, at most `max_tasks` of them: one Prefect task each."""
    if not shards:
        return []
    size = math.ceil(len(shards) / max_tasks)
    return [shards[start : start + size] for start in range(0, len(shards), size)]


def to_ranges(indices: list[int]) -> list[list[int]]:
    """Sorted shard indices as [first, last] of each run: small where most of a million are there.

    Example:
        >>> to_ranges([0, 1, 2, 5, 7, 8])
        [[0, 2], [5, 5], [7, 8]]
    """
    ranges: list[list[int]] = []
    for index in indices:
        if ranges and index == ranges[-1][1] + 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    return ranges


def shards_in_ranges(ranges: list[list[int]], n_samples: int, shard_size: int) -> list[Shard]:
    """The shards that `to_ranges` described."""
    shards = plan_shards(n_samples, shard_size)
    return [shard for first, last in ranges for shard in shards[first : last + 1]]


def forward_passes_per_sample(config: AuditConfig) -> int:
    """Passes without a gradient: the clean one, the ends of paths, and versions of mixtures."""
    return 1 + config.attribution.n_forward + mixtures.forward_passes(config)


def backward_passes_per_sample(config: AuditConfig) -> int:
    """Passes forward and backward of all enabled methods, on the sample and its mixtures, at most.

    A sample whose draws stop early (`attribution.smoothgrad.tolerance`) takes fewer.
    """
    return config.attribution.n_backward + mixtures.backward_passes(config)
