"""Numbers of the summary in sentences: looked up, and written with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
