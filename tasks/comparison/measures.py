"""The numbers of a comparison, always second less first, in the form of a summary's metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tasks.comparison.samples import FinishedAudit, common_ids, group_means
from wam_core.comparison.compositions import (
    centroid_shift_octaves,
    composition_test,
    jensen_shannon,
    sum_by_group,
    wasserstein_octaves,
)
from wam_core.comparison.drift import profile_drift
from wam_core.comparison.paired import (
    cliffs_delta,
    cohens_dz,
    equivalence_p,
    holm,
    mcnemar,
    mean_differences,
    ratio_of_means,
    sign_flip_p,
)
from wam_core.intervals import Interval

MARGIN = 0.02
"""A share or an accuracy that moves by less counts as unchanged, where the data can tell."""

Entry = dict[str, Any]


def accuracy_changes(first: FinishedAudit, second: FinishedAudit) -> list[Entry]:
    """Change of accuracy on common samples with McNemar's test, then by class with Holm's."""
    ids = common_ids(first, second)
    correct = [audit.samples.loc[ids, "correct"] for audit in (first, second)]
    judged = ids[(correct[0].notna() & correct[1].notna()).to_numpy()]
    if judged.empty:
        return []
    classes = first.samples.loc[judged, "class_name"]
    whole = _accuracy(first, second, judged, {})
    parts = [
        _accuracy(first, second, classes.index[classes == name], {"class": str(name)})
        for name in sorted(classes.dropna().unique())
    ]
    return [whole, *_adjusted(parts)]


def _accuracy(
    first: FinishedAudit, second: FinishedAudit, ids: pd.Index, labels: dict[str, str]
) -> Entry:
    left, right = (
        audit.samples.loc[ids, "correct"].to_numpy(dtype=bool) for audit in (first, second)
    )
    test = mcnemar(left, right)
    columns = (left.astype(float)[:, None], right.astype(float)[:, None])
    (interval,) = mean_differences(*columns, first.groups(ids))
    return _entry("accuracy_change", labels, interval, "fraction") | {
        "first": float(left.mean()),
        "second": float(right.mean()),
        "lost": test.first_only,
        "gained": test.second_only,
        "p_value": test.p_value,
    }


def paired_profiles(first: FinishedAudit, second: FinishedAudit, fine_levels: int) -> list[Entry]:
    """Shares of levels on common samples, method by method."""
    entries: list[Entry] = []
    ids = common_ids(first, second)
    others = second.shares()
    for method, left in first.shares().items():
        right = others.get(method)
        if right is None or list(right) != list(left):
            continue
        common = ids[ids.isin(left.index) & ids.isin(right.index)]
        if len(common) >= 2:
            groups = first.groups(common)
            entries += _profile(method, left.loc[common], right.loc[common], groups, fine_levels)
    return entries


def _profile(
    method: str, left: pd.DataFrame, right: pd.DataFrame, groups: np.ndarray, fine_levels: int
) -> list[Entry]:
    a, b = left.to_numpy(), right.to_numpy()
    labels = {"method": method}
    octaves = np.arange(1, a.shape[1] + 1)
    summaries = {
        "fine_share_change": ("fraction", a[:, :fine_levels].sum(1), b[:, :fine_levels].sum(1)),
        "scale_centroid_change": ("octaves", a @ octaves, b @ octaves),
    }
    entries = [
        _paired(name, labels, x, y, groups, unit) for name, (unit, x, y) in summaries.items()
    ]
    ratio = ratio_of_means(a[:, 0], b[:, 0], groups)
    entries.append(
        _entry("finest_level_ratio", labels, ratio, "ratio")
        | {"first": float(a[:, 0].mean()), "second": float(b[:, 0].mean())}
    )
    # A level's name is a label; the test of single levels follows that of the whole profile.
    levels = [
        _paired("share_change", {**labels, "level": _level(str(name))}, a[:, place], b[:, place],
                groups, "fraction")
        for place, name in enumerate(left)
    ]  # fmt: skip
    entries += _adjusted(levels)
    entries += _distances(labels, a.mean(0), b.mean(0), len(a))
    if method != "smoothgrad_energy":  # its shares may be negative and have no logarithm
        found = composition_test(a, b, groups)
        entries.append(
            _entry("composition_distance", labels, _point(found.distance, len(a)), "log ratio")
            | {"p_value": found.p_value, "n_replaced": found.n_replaced}
        )
    return entries


def drifted_profiles(first: FinishedAudit, second: FinishedAudit) -> list[Entry]:
    """Profiles of unrelated samples beside a null of random splits."""
    entries: list[Entry] = []
    others = second.shares()
    for method, left in first.shares().items():
        right = others.get(method)
        if right is None or list(right) != list(left) or left.empty or right.empty:
            continue
        a = group_means(left.to_numpy(), first.groups(left.index))
        b = group_means(right.to_numpy(), second.groups(right.index))
        drift, labels, n = profile_drift(a, b), {"method": method}, len(a) + len(b)
        entries.append(
            _entry("drift_octaves", labels, _point(drift.distance_octaves, n), "octaves")
            | {
                "p_value": drift.p_value,
                "null_median": drift.null_median,
                "null_95": drift.null_95,
            }
        )
        entries += _distances(labels, a.mean(0), b.mean(0), n)
    return entries


def _distances(labels: dict[str, Any], a: np.ndarray, b: np.ndarray, n: int) -> list[Entry]:
    distances = {
        "wasserstein_octaves": (wasserstein_octaves(a, b), "octaves"),
        "centroid_shift": (centroid_shift_octaves(a, b), "octaves"),
    }
    if (a >= 0).all() and (b >= 0).all():
        distances["jensen_shannon"] = (jensen_shannon(a, b), "bits")
    return [
        _entry(name, labels, _point(value, n), unit) for name, (value, unit) in distances.items()
    ]


def _paired(
    name: str,
    labels: dict[str, Any],
    first: np.ndarray,
    second: np.ndarray,
    groups: np.ndarray,
    unit: str,
) -> Entry:
    (interval,) = mean_differences(first[:, None], second[:, None], groups)
    differences = second - first
    clusters = sum_by_group(differences, groups)
    entry = _entry(name, labels, interval, unit) | {
        "first": float(first.mean()),
        "second": float(second.mean()),
        "p_value": sign_flip_p(clusters),
        "effect_dz": cohens_dz(differences),
        "cliffs_delta": cliffs_delta(first, second),
    }
    if unit == "fraction" and len(clusters) == len(differences):
        entry["equivalence_p"] = equivalence_p(differences, MARGIN)
    return entry


def _adjusted(entries: list[Entry]) -> list[Entry]:
    adjusted = holm([entry["p_value"] for entry in entries])
    return [entry | {"p_holm": value} for entry, value in zip(entries, adjusted, strict=True)]


def _entry(name: str, labels: dict[str, Any], interval: Interval, unit: str) -> Entry:
    return {
        "name": f"compare/{name}",
        "labels": labels,
        "estimate": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "n": interval.n,
        "unit": unit,
        "direction": "none",
    }


def _point(value: float, n: int) -> Interval:
    return Interval(value, None, None, n)


def _level(name: str) -> int | str:
    return int(name) if name.isdigit() else name
