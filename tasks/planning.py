"""What an audit will cost, before it runs: shards, files, bytes, passes and time."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import asdict, dataclass
from typing import Any

from tasks.analyses import Passes, enabled_analyses
from tasks.config import AuditConfig
from tasks.session import AuditSession
from tasks.store import Shard, plan_shards

_COMPRESSION = 0.75
"""Size of stored coefficients over their float32 size, as measured in docs/storage.md."""


@dataclass(frozen=True)
class PartOfPlan:
    """What one analysis costs: how many samples it takes, and rows passed through the model."""

    n_samples: int
    n_forward: int
    n_backward: int


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
        parts: Samples and passes of attribution and of each analysis, by section.
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
    parts: dict[str, PartOfPlan]
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
    passes = total_passes(session, pending)
    map_bytes = 4 * session.preprocessing.input_shape[0] * session.layout.size
    methods = len(config.attribution.methods) if config.store.coefficients else 0
    shard_rows = min(config.store.shard_size, n_samples)
    return Plan(
        folder=session.folder.url,
        n_samples=n_samples,
        n_shards=len(shards),
        n_done=len(shards) - len(pending),
        n_tasks=len(group_shards(pending, config.execution.max_tasks)),
        n_forward=passes.forward,
        n_backward=passes.backward,
        n_files=len(shards) * (methods + _n_tables(config) + 1) + methods + 2,
        n_bytes=round(n_samples * methods * map_bytes * _COMPRESSION),
        memory_bytes=shard_rows * methods * map_bytes,
        stops_early=config.attribution.stops_early,
        parts=passes_by_part(session, pending),
    )


def _n_tables(config: AuditConfig) -> int:
    return 4 + sum(len(analysis.tables) for analysis in enabled_analyses(config))


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


def passes_per_sample(config: AuditConfig) -> Passes:
    """Passes that predict and explain one sample: the clean one, draws, steps and ends of paths.

    At most: a sample whose draws stop early (`attribution.smoothgrad.tolerance`) takes fewer.
    """
    return Passes(1 + config.attribution.n_forward, config.attribution.n_backward)


def passes_by_part(session: AuditSession, shards: list[Shard]) -> dict[str, PartOfPlan]:
    """Passes of some shards: `attribution` (with the clean pass), then each analysis."""
    n_samples = sum(shard.stop - shard.start for shard in shards)
    parts = {"attribution": _part(n_samples, passes_per_sample(session.config))}
    for analysis in enabled_analyses(session.config):
        chosen = session.chosen[analysis.section]
        taken = n_samples if chosen is None else _number_in(chosen, shards)
        parts[analysis.section] = _part(taken, analysis.passes(session.layout))
    return parts


def total_passes(session: AuditSession, shards: list[Shard]) -> Passes:
    """Passes of some shards, with what every analysis adds for the samples it takes."""
    parts = passes_by_part(session, shards).values()
    return Passes(sum(part.n_forward for part in parts), sum(part.n_backward for part in parts))


def _part(n_samples: int, each: Passes) -> PartOfPlan:
    return PartOfPlan(n_samples, n_samples * each.forward, n_samples * each.backward)


def _number_in(chosen: frozenset[int], shards: list[Shard]) -> int:
    rows = sorted(chosen)
    return sum(bisect_left(rows, shard.stop) - bisect_left(rows, shard.start) for shard in shards)
