"""The metrics of summary.json, looked up by name and labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.reporting.formatting import bounds, finite, quantity, with_bounds
from tasks.reporting.wording import ordered_levels, ordered_methods

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Metric:
    """One number with its interval, as summary.json states it."""

    name: str
    labels: dict[str, str]
    estimate: float | None
    low: float | None
    high: float | None
    n: int
    unit: str

    @property
    def text(self) -> str:
        """The estimate with its unit."""
        return quantity(self.estimate, self.unit)

    @property
    def interval(self) -> str:
        """The interval in brackets; empty when there is none."""
        return bounds(self.low, self.high, self.unit)

    @property
    def phrase(self) -> str:
        """Estimate and interval."""
        return with_bounds(self.estimate, self.low, self.high, self.unit)


Profile = dict[str, Metric]


class MetricTable:
    """All metrics that have an estimate; one without is as good as absent."""

    def __init__(self, entries: Iterable[Mapping[str, Any]]) -> None:
        self.metrics = tuple(
            metric for metric in map(_parsed, entries) if metric.estimate is not None
        )
        self._index = {_key(metric.name, metric.labels): metric for metric in self.metrics}
        self._profiles: dict[tuple[str, frozenset[tuple[str, str]]], Profile] = {}
        for metric in self.metrics:
            rest = {label: value for label, value in metric.labels.items() if label != "level"}
            if len(rest) < len(metric.labels):
                profile = self._profiles.setdefault(_key(metric.name, rest), {})
                profile[metric.labels["level"]] = metric

    def one(self, name: str, labels: Labels | None = None) -> Metric | None:
        """The metric with exactly these labels."""
        return self._index.get(_key(name, labels or {}))

    def named(self, name: str) -> tuple[Metric, ...]:
        """Every metric of that name, whatever its labels."""
        return tuple(metric for metric in self.metrics if metric.name == name)

    def profile(self, name: str, labels: Labels) -> Profile:
        """Level to metric, fine to coarse, for exactly these labels beside the level."""
        found = self._profiles.get(_key(name, labels), {})
        return {level: found[level] for level in ordered_levels(set(found))}

    def methods(self, prefix: str = "reliance/") -> tuple[str, ...]:
        """Methods that have metrics below `prefix`, the main one first."""
        return ordered_methods(
            {
                metric.labels["method"]
                for metric in self.metrics
                if metric.name.startswith(prefix) and "method" in metric.labels
            }
        )

    def levels(self) -> tuple[str, ...]:
        """Every level that some metric has, fine to coarse."""
        return ordered_levels(
            {metric.labels["level"] for metric in self.metrics if "level" in metric.labels}
        )


def _parsed(entry: Mapping[str, Any]) -> Metric:
    return Metric(
        name=str(entry["name"]),
        labels={str(label): str(value) for label, value in (entry.get("labels") or {}).items()},
        estimate=finite(entry.get("estimate")),
        low=finite(entry.get("low")),
        high=finite(entry.get("high")),
        n=int(entry.get("n") or 0),
        unit=_unit(str(entry.get("unit") or ""), str(entry["name"])),
    )


def _unit(unit: str, name: str) -> str:
    """Shares over content read as multiples (2×), other ratios as numbers."""
    return "multiple" if name.endswith("relative_share") else unit


def _key(name: str, labels: Labels) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset((label, str(value)) for label, value in labels.items())
