"""Numbers of the summary in sentences: looked up, with their intervals, and where levels lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.config import AuditConfig

_MOST_DIGITS = 5

Metric = Mapping[str, Any]


def find_metric(
    metrics: Sequence[Metric], name: str, labels: Mapping[str, str | int] | None = None
) -> Metric | None:
    """The metric with exactly these labels and an estimate; None if there is none."""
    for entry in metrics:
        if entry["name"] == name and entry["labels"] == (labels or {}):
            return entry if entry["estimate"] is not None else None
    return None


def with_interval(entry: Metric, digits: int) -> str:
    """Estimate and interval, such as `0.52 [0.48, 0.55]`."""
    low, high = entry["low"], entry["high"]
    if low is None:
        return f"{entry['estimate']:.{digits}f}"
    # A narrow interval gets digits that show its width.
    while digits < _MOST_DIGITS and low != high and f"{low:.{digits}f}" == f"{high:.{digits}f}":
        digits += 1
    return f"{entry['estimate']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def fine_place(config: AuditConfig, element: str) -> str:
    """Where the fine levels lie: in Hz for sound, else by the size of structures.

    Args:
        element: What a signal is sampled in: samples, pixels or voxels.
    """
    fine_levels = config.analyses.reliance.fine_levels
    if config.dataset.audio is not None:
        return f"above {config.dataset.audio.sample_rate / 2 ** (fine_levels + 1):.5g} Hz"
    return f"in structures of 1 to {2**fine_levels} {element}"


def level_place(config: AuditConfig, level: int | str, element: str) -> str:
    """A level and where it lies, such as `level 2 (structures of 2 to 4 pixels)`."""
    levels = config.basis.levels
    if config.dataset.audio is not None:
        rate = config.dataset.audio.sample_rate
        if level == "approximation":
            return f"the approximation (below {rate / 2 ** (levels + 1):.4g} Hz)"
        low, high = rate / 2 ** (int(level) + 1), rate / 2 ** int(level)
        return f"level {level} ({low:.5g} to {high:.5g} Hz)"
    if level == "approximation":
        return f"the approximation (structures above {2**levels} {element})"
    smallest = 2 ** (int(level) - 1)
    return f"level {level} (structures of {smallest} to {2 * smallest} {element})"
