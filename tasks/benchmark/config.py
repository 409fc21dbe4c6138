"""A benchmark's configuration: a list of audits, and what is set for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from tasks.config import AuditConfig
from tasks.config_files import (
    merge,
    parse_override,
    read_values,
    resolve_dataset_files,
    validate_as,
    validate_config,
)
from tasks.errors import ConfigError
from tasks.schema import Frozen


class _ListedAudit(Frozen):
    title: str
    config: str
    set: dict[str, Any] = Field(default_factory=dict)


class _BenchmarkFile(Frozen):
    name: str = Field(min_length=1)
    audits: tuple[_ListedAudit, ...] = Field(min_length=1)
    set: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class BenchmarkedAudit:
    """One model of a benchmark.

    Attributes:
        title: Of its part of the table, such as "ResNet, ESC-10".
    """

    title: str
    config: AuditConfig


def load_benchmark(path: Path, overrides: Sequence[str] = ()) -> tuple[str, list[BenchmarkedAudit]]:
    """Read a benchmark: its name and its audits.

    Args:
        path: YAML file with `name`, `audits` (a list of `title`, `config` and what is `set` on top
            of it; configurations are named relative to the file) and what is `set` for all.
        overrides: `section.key=value` for every audit, applied last.

    Raises:
        ConfigError: If a file or key is wrong, or two audits have one name.
    """
    values = read_values(path)
    listed = validate_as(_BenchmarkFile, values, f"{path} is not a valid benchmark")
    audits = []
    for entry in listed.audits:
        own = path.parent / entry.config
        merged = merge(merge(read_values(own), listed.set), entry.set)
        for override in overrides:
            merged = merge(merged, parse_override(override))
        named = merged | {"name": f"benchmark-{merged.get('name', own.stem)}"}
        config = validate_config(named, where=f"{own}, as {path} sets it,")
        dataset = resolve_dataset_files(config.dataset, own.parent)
        audits.append(BenchmarkedAudit(entry.title, config.model_copy(update={"dataset": dataset})))
        if not config.analyses.benchmark.enabled:
            raise ConfigError(
                f"{path}: analyses.benchmark is off for '{entry.title}'; set analyses: "
                "{benchmark: {enabled: true}, faithfulness: {enabled: true}} for all audits"
            )
    names = [audit.config.name for audit in audits]
    if len(set(names)) < len(names):
        raise ConfigError(f"{path}: audits must have names of their own; got {', '.join(names)}")
    return listed.name, audits
