"""From the metrics of summary.json to the points MLflow shows.

MLflow draws single values as bars across runs and stepped values as curves, so a metric with a
`level` becomes one curve whose step is the level. It keeps at most a few hundred names usefully,
breaks on NaN, and refuses most punctuation; what does not fit stands in the table artifact.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NAME_LIMIT = 199
"""Most metric names of a run: Azure's service takes 200 per call, and nobody reads more."""

_NAME_LENGTH = 250
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_\-. /]+")
_STEPPED = ("level", "severity", "stage")
_APPROXIMATION = "approximation"
_BARE = ("method", "quantile")
_TABLE_ONLY = ("class", "category")


@dataclass(frozen=True)
class MetricPoint:
    """One value of one MLflow metric."""

    name: str
    step: int
    value: float


@dataclass(frozen=True)
class LoggedMetrics:
    """What is logged, and what is not and why.

    Args:
        points: Finite values under valid names, each (name, step) once.
        places: For every metric of the summary, `name@step` or `name` where it was logged, or an
            empty string: the column `mlflow` of the table artifact.
        omitted: Reason by metric name for values that do not exist.
        table_only: How many metrics stand only in the table artifact for want of room.
    """

    points: tuple[MetricPoint, ...]
    places: tuple[str, ...]
    omitted: dict[str, str]
    table_only: int

    def fingerprint(self) -> str:
        """SHA-256 of the points: equal exactly when logging again would change nothing."""
        rows = sorted((point.name, point.step, point.value) for point in self.points)
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def plan_metrics(metrics: Sequence[Mapping[str, Any]], counts: Mapping[str, int]) -> LoggedMetrics:
    """Choose names, steps and values for the metrics of a summary.

    Args:
        metrics: The list `metrics` of summary.json. Those with a `class` or `category` label go to
            the table only; when there are too many names, those split by further labels give way
            first.
        counts: The object `counts`; logged as `counts/<status>`.

    Example:
        >>> plan_metrics([{"name": "accuracy/top1", "labels": {}, "estimate": 0.9}], {}).points
        (MetricPoint(name='accuracy/top1', step=0, value=0.9),)
    """
    chosen = {(_valid(f"counts/{key}"), 0): float(value) for key, value in counts.items()}
    table_only = 0
    last_level = _last_level(metrics)
    places = [""] * len(metrics)
    omitted: dict[str, str] = {}
    for index in sorted(range(len(metrics)), key=lambda index: _priority(metrics[index])):
        metric = metrics[index]
        name, step = metric_name(metric), _step(metric, last_level)
        points = _points_of(metric, name)
        names = {known for known, _ in chosen} | points.keys()
        # A repeated point would be appended to the curve, so the first one stays alone.
        repeated = any((point, step) in chosen for point in points)
        if repeated or len(names) > NAME_LIMIT or _is_for_the_table(metric):
            table_only += 1
            continue
        chosen |= {(point, step): value for point, value in points.items()}
        omitted |= _omissions(metric, name)
        if name in points:
            places[index] = name if step == 0 else f"{name}@{step}"
    points_in_order = tuple(MetricPoint(name, step, chosen[name, step]) for name, step in chosen)
    return LoggedMetrics(points_in_order, tuple(places), omitted, table_only)


def metric_name(metric: Mapping[str, Any]) -> str:
    """MLflow's name of a metric: its own, then its labels except the stepped one.

    Example:
        >>> metric_name({"name": "reliance/share", "labels": {"method": "gradient", "level": 2}})
        'reliance/share/gradient'
        >>> metric_name({"name": "reliance/entropy", "labels": {"correct": "yes"}})
        'reliance/entropy/correct_yes'
    """
    labels = metric.get("labels", {})
    bare = [str(labels[key]) for key in _BARE if key in labels]
    aside = {*_BARE, _stepped_label(labels)}
    rest = [f"{key}_{labels[key]}" for key in sorted(labels) if key not in aside]
    return _valid(
        "/".join([str(metric["name"]), *(part.replace("/", "_") for part in bare + rest)])
    )


def _points_of(metric: Mapping[str, Any], name: str) -> dict[str, float]:
    """Values by name: the estimate and its interval, or how many samples had a value at all."""
    if not is_finite(metric.get("estimate")):
        n = metric.get("n")
        return {_valid(f"{name}_n_valid"): float(n) if is_finite(n) else 0.0}
    values = {name: metric["estimate"], f"{name}/low": metric.get("low")}
    values[f"{name}/high"] = metric.get("high")
    return {_valid(key): float(value) for key, value in values.items() if is_finite(value)}


def _omissions(metric: Mapping[str, Any], name: str) -> dict[str, str]:
    reasons = {}
    for key, suffix in (("estimate", ""), ("low", "/low"), ("high", "/high")):
        value = metric.get(key)
        if is_finite(value) or (value is None and key != "estimate"):
            continue
        why = "no value" if value is None else f"{key} is {value}"
        reasons[f"{name}{suffix}"] = f"{why} (n = {metric.get('n')})"
    return reasons


def _priority(metric: Mapping[str, Any]) -> tuple[int, int]:
    """Plain metrics first, then those of a method, then those split further."""
    labels = metric.get("labels", {})
    split = len(labels.keys() - {*_BARE, *_STEPPED})
    return split, len(labels)


def _is_for_the_table(metric: Mapping[str, Any]) -> bool:
    return any(label in metric.get("labels", {}) for label in _TABLE_ONLY)


def _step(metric: Mapping[str, Any], last_level: int) -> int:
    labels = metric.get("labels", {})
    key = _stepped_label(labels)
    if key is None:
        return 0
    # The approximation follows the coarsest level, as it does in the transform.
    return last_level + 1 if labels[key] == _APPROXIMATION else int(labels[key])


def _stepped_label(labels: Mapping[str, Any]) -> str | None:
    """The label whose value is the step; a value that is no whole number stays in the name."""
    for key in _STEPPED:
        value = labels.get(key)
        if value == _APPROXIMATION or _is_whole(value):
            return key
    return None


def _last_level(metrics: Iterable[Mapping[str, Any]]) -> int:
    levels = (metric.get("labels", {}).get("level") for metric in metrics)
    return max((int(level) for level in levels if _is_whole(level)), default=0)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and value.isdigit())


def is_finite(value: object) -> TypeGuard[float]:
    """Whether the value is a number that MLflow can store and show."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value)


def _valid(name: str) -> str:
    """The name with what MLflow refuses replaced; never empty, absolute or ending in a slash."""
    cleaned = _FORBIDDEN.sub("_", name)
    parts = [part.strip() for part in cleaned.split("/") if part.strip(" .")]
    return "/".join(parts)[:_NAME_LENGTH].rstrip("/ ") or "unnamed"
