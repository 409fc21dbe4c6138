"""The audit in a few plain sentences, each backed by a number, its interval and its n."""

from __future__ import annotations

from typing import Any

from tasks.analyses import enabled_analyses
from tasks.config import AuditConfig
from tasks.sentences import find_metric, fine_place, level_place, with_interval

_METHOD_NAMES = {
    "gradient": "the plain gradient",
    "smoothgrad_absolute": "smoothed gradients (WAM_SG)",
    "integrated_gradients": "path integration (WAM_IG)",
    "coalition_gradients": "coalition gradients (WAM_CG)",
}


def write_headline(
    config: AuditConfig, summary: dict[str, Any], element: str = "samples"
) -> list[str]:
    """Sentences for the terminal, the report and MLflow, from the summary alone.

    Args:
        element: What a signal is sampled in: samples, pixels or voxels.
    """
    percent = round(100 * config.analyses.intervals.confidence)
    sentences = [_coverage(summary)]
    accuracy = find_metric(summary["metrics"], "accuracy/top1", {})
    if accuracy:
        sentences.append(
            f"Top-1 accuracy is {with_interval(accuracy, 3)} ({percent} % interval, "
            f"n = {accuracy['n']})."
        )
    for method, name in _METHOD_NAMES.items():
        sentences += _reliance(config, summary, method, name, element)
    if config.analyses.reliance.border == "exclude":
        sentences.append(
            "These shares leave out coefficients whose filters reach over the border of the signal."
        )
    for analysis in enabled_analyses(config):
        sentences += analysis.sentences(summary["metrics"], element)
    sentences += _trust(config, summary)
    return sentences


def _coverage(summary: dict[str, Any]) -> str:
    counts = summary["counts"]
    bad = {
        status: count
        for status, count in counts.items()
        if status not in {"samples", "ok"} and count
    }
    sentence = f"{counts['ok']} of {counts['samples']} samples are explained"
    if not bad:
        return f"{sentence}; none was left out."
    listed = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in bad.items())
    return f"{sentence}; left out and counted: {listed}."


def _reliance(
    config: AuditConfig, summary: dict[str, Any], method: str, name: str, element: str
) -> list[str]:
    fine = find_metric(summary["metrics"], "reliance/fine_share", {"method": method})
    centroid = find_metric(summary["metrics"], "reliance/scale_centroid", {"method": method})
    if fine is None or centroid is None:
        return []
    fine_levels = config.analyses.reliance.fine_levels
    top = max(
        (
            entry
            for entry in summary["metrics"]
            if entry["name"] == "reliance/share"
            and entry["labels"].keys() == {"method", "level"}
            and entry["labels"]["method"] == method
        ),
        key=lambda entry: entry["estimate"],
    )
    level = top["labels"]["level"]
    fine_part, where = fine_place(config, element), level_place(config, level, element)
    return [
        f"By {name}, {with_interval(fine, 2)} of the importance lies {fine_part} "
        f"(levels 1 to {fine_levels}); the largest share of one level, "
        f"{with_interval(top, 2)}, lies in {where}; the scale centroid is "
        f"{with_interval(centroid, 2)} octaves (low is fine; n = {fine['n']})."
    ]


def _trust(config: AuditConfig, summary: dict[str, Any]) -> list[str]:
    sentences = []
    errors = [
        entry["estimate"]
        for entry in summary["metrics"]
        if entry["name"] == "attribution/share_standard_error"
        and entry["labels"].get("method") == "smoothgrad_absolute"
    ]
    if errors:
        sentences.append(
            f"With {_draws(config, summary)}, the Monte-Carlo error of one sample's share of a "
            f"level is {max(errors):.1e} on average at most (absolute aggregate)."
        )
    gap = find_metric(summary["metrics"], "attribution/completeness_gap", {"quantile": "median"})
    if gap:
        sentences.append(
            f"Path attributions add up to the change of the score to within "
            f"{100 * gap['estimate']:.1f} % of it (median, n = {gap['n']})."
        )
    return sentences


def _draws(config: AuditConfig, summary: dict[str, Any]) -> str:
    smoothing = config.attribution.smoothgrad
    labels = {"method": "smoothgrad_absolute"}
    drawn = find_metric(summary["metrics"], "attribution/draws", labels)
    if smoothing.tolerance is None or drawn is None:
        return f"{smoothing.n_samples} draws"
    return (
        f"{drawn['estimate']:.1f} draws a sample on average (until the error is at most "
        f"{smoothing.tolerance:g}, no more than {smoothing.n_samples})"
    )
