"""Robustness in sentences for the headline, from the metrics of the summary alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.analyses.corrupted_samples import ACCURACY, FLIP_RATE
from tasks.analyses.corruption_choice import CLEAN
from tasks.analyses.corruption_conclusions import (
    ECE,
    MEAN_CORRUPTION_ERROR,
    NO_REFERENCE,
    RETENTION,
)
from tasks.analyses.flips import DOUBT, FLIP_AUC
from tasks.analyses.fragility import (
    ALIKE,
    DAMAGE_SIZE,
    METHODS,
    OBSERVED,
    SHAPLEY,
    SPEARMAN,
    SPEARMAN_OVER,
)
from tasks.sentences import Metric, find_metric, with_interval

Metrics = Sequence[Mapping[str, Any]]

_CLEAN: dict[str, str | int] = {"corruption": CLEAN}

_PROFILES = {
    "smoothgrad_absolute": "the profile of smoothed gradients (WAM_SG)",
    "integrated_gradients": "the profile of path integration (WAM_IG)",
    "gradient": "the profile of the plain gradient",
    "coalition_gradients": "the profile of coalition gradients (WAM_CG)",
    SHAPLEY: "the Shapley values of levels",
}
NEGLIGIBLE = 0.05
"""Difference of rank correlations that is none: paired intervals are narrow, and a difference may
be certain without being of any use."""

_CONTROLS = {
    DAMAGE_SIZE: "the size of the damage alone",
    ALIKE: "a profile that takes all coefficients alike",
}
_IMPORTANCE = {
    "smoothgrad_absolute": "By smoothed gradients (WAM_SG)",
    "integrated_gradients": "By path integration (WAM_IG)",
    "gradient": "By the plain gradient",
    "coalition_gradients": "By coalition gradients (WAM_CG)",
    SHAPLEY: "By Shapley values of levels",
}


def corruption_sentences(metrics: Metrics) -> list[str]:
    """How much is left under damage, where the model breaks, and whether reliance explains it."""
    sentences = [
        _accuracy(metrics),
        _reference(metrics),
        _calibration(metrics),
        _ranking(metrics),
        _flips(metrics),
    ]
    return [sentence for sentence in sentences if sentence]


def main_method(metrics: Metrics) -> str | None:
    """The method whose profile the headline holds against fragility; None where there is none."""
    for method in (*METHODS, SHAPLEY):
        if find_metric(metrics, SPEARMAN, {"method": method}) is not None:
            return method
    return None


def link_verdict(link: Metric, gains: Mapping[str, Metric | None]) -> str:
    """Whether reliance explains fragility, from the rank correlation and what it has over controls.

    Args:
        gains: The correlation less that of each control.

    Example:
        >>> link = {"estimate": 0.48, "low": 0.43, "high": 0.51}
        >>> gain, none = {"low": 0.19, "high": 0.35}, {"low": 0.002, "high": 0.014}
        >>> verdict = link_verdict(link, {"damage_size": gain, "coefficients_alike": none})
        >>> verdict.split(":")[0]
        'a profile that takes all coefficients alike does as well, to within 0.05'
    """
    if link["low"] is None:
        return "too few samples tell whether reliance explains fragility"
    if link["high"] < 0:
        return "the model breaks least where it is said to rely most"
    if link["low"] <= 0:
        return "no relation between reliance and fragility can be told"
    known = {name: gain for name, gain in gains.items() if gain and gain["low"] is not None}
    for name, gain in known.items():
        if gain["high"] < -NEGLIGIBLE:
            return f"{_CONTROLS[name]} does better: here, reliance does not explain fragility"
    for name, gain in known.items():
        if gain["low"] >= -NEGLIGIBLE and gain["high"] <= NEGLIGIBLE:
            return (
                f"{_CONTROLS[name]} does as well, to within {NEGLIGIBLE:g}: here, reliance does "
                "not explain fragility"
            )
    for name, words in _CONTROLS.items():
        if name not in known or known[name]["low"] <= NEGLIGIBLE:
            return (
                f"whether that is more than {words} has cannot be told: that reliance explains "
                "fragility is not shown"
            )
    return (
        "the model breaks where it relies: reliance explains fragility beyond the size of the "
        "damage and the number of coefficients"
    )


def _accuracy(metrics: Metrics) -> str:
    name = ACCURACY if find_metric(metrics, ACCURACY) else FLIP_RATE
    whole = find_metric(metrics, name)
    each = [
        entry
        for entry in metrics
        if entry["name"] == name
        and entry["labels"].keys() == {"corruption"}
        and entry["labels"] != _CLEAN
        and entry["estimate"] is not None
    ]
    if whole is None or not each:
        return ""
    ordered = sorted(each, key=lambda entry: float(entry["estimate"]), reverse=name == FLIP_RATE)
    worst, best = (
        f"{str(entry['labels']['corruption']).replace('_', ' ')} ({with_interval(entry, 2)})"
        for entry in (ordered[0], ordered[-1])
    )
    ends = f"; worst is {worst}, mildest {best}" if len(ordered) > 1 else ""
    kinds = f"{len(each)} kind{'s' if len(each) > 1 else ''} of damage"
    if name == FLIP_RATE:
        return (
            f"Under {kinds}, {with_interval(whole, 2)} of the answers change{ends} "
            f"(n = {whole['n']})."
        )
    clean, kept = find_metric(metrics, ACCURACY, _CLEAN), find_metric(metrics, RETENTION)
    before = f"accuracy {with_interval(clean, 2)} becomes" if clean else "accuracy is"
    part = f", {with_interval(kept, 2)} of it" if kept else ""
    return (
        f"Under {kinds}, {before} {with_interval(whole, 2)} on average{part}{ends} "
        f"(n = {whole['n']})."
    )


def _reference(metrics: Metrics) -> str:
    for entry in metrics:
        labels = entry["labels"]
        if entry["name"] == MEAN_CORRUPTION_ERROR and labels["reference"] != NO_REFERENCE:
            return (
                f"The mean corruption error is {with_interval(entry, 3)} of that of "
                f"{labels['reference']} (n = {entry['n']})."
            )
    return ""


def _calibration(metrics: Metrics) -> str:
    clean = find_metric(metrics, ECE, _CLEAN)
    damaged = [
        entry
        for entry in metrics
        if entry["name"] == ECE and entry["labels"].keys() == {"severity"}
    ]
    if clean is None or not damaged:
        return ""
    worst = max(damaged, key=lambda entry: int(entry["labels"]["severity"]))
    return (
        f"Confidence misses accuracy by {with_interval(clean, 2)} on the samples as they are, and "
        f"by {with_interval(worst, 2)} at severity {worst['labels']['severity']} (expected "
        "calibration error)."
    )


def _ranking(metrics: Metrics) -> str:
    method = main_method(metrics)
    if method is None:
        return ""
    link = find_metric(metrics, SPEARMAN, {"method": method})
    if link is None:
        return ""
    gains = {
        name: find_metric(metrics, SPEARMAN_OVER, {"method": method, "over": name})
        for name in _CONTROLS
    }
    controls = [
        f"{words} {with_interval(entry, 2)}"
        for name, words in _CONTROLS.items()
        for entry in [find_metric(metrics, SPEARMAN, {"method": name})]
        if entry is not None
    ]
    others = [
        f"from {_PROFILES[other]} {with_interval(entry, 2)}"
        for other in (*METHODS[1:], SHAPLEY)
        if other != method
        for entry in [find_metric(metrics, SPEARMAN, {"method": other})]
        if entry is not None
    ]
    beside = f" ({'; '.join(others)})" if others else ""
    n_steps = sum(entry["name"] == OBSERVED for entry in metrics)
    return (
        f"Over {n_steps} corruptions and severities, the sensitivity predicted from "
        f"{_PROFILES[method]} and the footprints of the damage has a rank correlation of "
        f"{with_interval(link, 2)} with what is lost{beside}, {', '.join(controls)}: "
        f"{link_verdict(link, gains)} (n = {link['n']})."
    )


def _flips(metrics: Metrics) -> str:
    method = main_method(metrics)
    families = [
        str(entry["labels"]["family"])
        for entry in metrics
        if entry["name"] == FLIP_AUC
        and entry["labels"]["method"] == method
        and entry["estimate"] is not None
    ]
    if method is None or not families:
        return ""
    family = "noise" if "noise" in families else families[0]
    area = find_metric(metrics, FLIP_AUC, {"family": family, "method": method})
    doubt = find_metric(metrics, FLIP_AUC, {"family": family, "method": DOUBT})
    if area is None or area["low"] is None:
        return ""
    what = "whether a sample relies on fine levels does not tell if it flips"
    if area["low"] > 0.5:
        what = "samples of finer reliance flip more often"
    elif area["high"] < 0.5:
        what = "samples of finer reliance flip less often"
    control = f"; doubt about the clean answer alone has {with_interval(doubt, 2)}" if doubt else ""
    return (
        f"{_IMPORTANCE[method]}, {what} under {family}: the area under the curve is "
        f"{with_interval(area, 2)}{control} (n = {area['n']})."
    )
