"""What removing levels came to, in sentences for the headline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.config import AuditConfig
from tasks.sentences import Metric, find_metric, level_place, with_interval

LOW_CORRELATION = 0.5
"""A profile is doubted where its rank correlation with causal measures may be below this."""

_JUDGED = (
    ("smoothgrad_absolute", "WAM_SG"),
    ("integrated_gradients", "WAM_IG"),
    ("coalition_gradients", "WAM_CG"),
    ("gradient", "the gradient"),
)


def band_sentences(config: AuditConfig, metrics: Sequence[Metric], element: str) -> list[str]:
    """Which level is needed most, whether profiles agree with it, and what harms."""
    return [
        *_most_needed(config, metrics, element),
        *_cutoffs(config, metrics),
        *_agreement(config, metrics),
        *_harmful(metrics),
    ]


def _most_needed(config: AuditConfig, metrics: Sequence[Metric], element: str) -> list[str]:
    clean = find_metric(metrics, "ablation/accuracy", {"kind": "clean"})
    removed = _by_level(metrics, "ablation/accuracy", {"kind": "without"})
    if clean is None or not removed:
        return []
    level = min(removed, key=lambda name: removed[name]["estimate"])
    sentence = (
        f"Removing {level_place(config, level, element)} costs most: accuracy falls from "
        f"{with_interval(clean, 3)} to {with_interval(removed[level], 3)} (n = {clean['n']})"
    )
    values = _by_level(metrics, "shapley/value", {})
    if not values:
        return [f"{sentence}."]
    top = max(values, key=lambda name: values[name]["estimate"])
    return [
        f"{sentence}; by exact Shapley values {level_place(config, top, element)} is worth most, "
        f"{with_interval(values[top], 3)} of the class's probability."
    ]


def _cutoffs(config: AuditConfig, metrics: Sequence[Metric]) -> list[str]:
    low = find_metric(metrics, "pass/half_accuracy_cutoff", {"kind": "low_pass"})
    index = find_metric(metrics, "texture/t_pass")
    sentences = []
    if low is not None:
        sentences.append(
            f"Half of the accuracy above chance is left without the finest "
            f"{with_interval(low, 2)} octaves (low-pass cut-off; n = {low['n']})."
        )
    if index is not None:
        sentences.append(
            "Texture reliance T_pass (0: coarse bands alone suffice, 1: fine bands alone do) is "
            f"{with_interval(index, 2)} (n = {index['n']})."
        )
    return sentences


def _agreement(config: AuditConfig, metrics: Sequence[Metric]) -> list[str]:
    sentences = []
    for method, name in _JUDGED:
        labels = {"method": method, "normalisation": "share"}
        found = [
            (measure, find_metric(metrics, "causality/spearman", labels | {"measure": measure}))
            for measure in ("shapley", "ablation")
        ]
        measure, judged = next(((what, entry) for what, entry in found if entry), ("", None))
        if judged is None:
            continue
        cause = {"shapley": "its Shapley value", "ablation": "what its removal costs"}[measure]
        bound = judged["estimate"] if judged["low"] is None else judged["low"]
        verdict = (
            f"The profile of {name} is not shown to be what the model uses"
            if bound < LOW_CORRELATION
            else f"The profile of {name} agrees with what the model uses"
        )
        sentences.append(
            f"{verdict}: the rank correlation of a level's share with {cause} is "
            f"{with_interval(judged, 2)} per sample, over {config.basis.levels + 1} bands "
            f"(n = {judged['n']})."
        )
    return sentences


def _harmful(metrics: Sequence[Metric]) -> list[str]:
    share = find_metric(metrics, "shapley/harmful_share")
    if share is None:
        return []
    return [
        f"For {with_interval(share, 2)} of the samples some level speaks against the explained "
        f"class (n = {share['n']})."
    ]


def _by_level(metrics: Sequence[Metric], name: str, labels: dict[str, Any]) -> dict[Any, Metric]:
    return {
        entry["labels"]["level"]: entry
        for entry in metrics
        if entry["name"] == name
        and entry["estimate"] is not None
        and {key: value for key, value in entry["labels"].items() if key != "level"} == labels
        and "level" in entry["labels"]
    }
