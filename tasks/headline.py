"""The audit in a few plain sentences, each backed by a number, its interval and its n."""

from __future__ import annotations

from typing import Any

from tasks.config import AuditConfig
from tasks.mixtures import EVIDENCE, mixture_names

_MOST_DIGITS = 5
_METHOD_NAMES = {
    "gradient": "the plain gradient",
    "smoothgrad_absolute": "smoothed gradients (WAM_SG)",
    "integrated_gradients": "path integration (WAM_IG)",
}
_SELECTION_NAMES = {
    "gradient": "chosen by the gradient",
    "smoothgrad_signed": "chosen by WAM_SG",
    "smoothgrad_absolute": "chosen by WAM_SG",
    "smoothgrad_squared": "chosen by WAM_SG",
    "integrated_gradients": "chosen by WAM_IG",
    EVIDENCE: "by WAM_IG's evidence for the class",
    "magnitude": "chosen by magnitude alone",
    "random": "chosen at random",
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
    accuracy = _find(summary, "accuracy/top1", {})
    if accuracy:
        sentences.append(
            f"Top-1 accuracy is {_with_interval(accuracy, 3)} ({percent} % interval, "
            f"n = {accuracy['n']})."
        )
    for method, name in _METHOD_NAMES.items():
        sentences += _reliance(config, summary, method, name, element)
    sentences += _mixtures(config, summary)
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
    fine = _find(summary, "reliance/fine_share", {"method": method})
    centroid = _find(summary, "reliance/scale_centroid", {"method": method})
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
    fine_part, where = _places(config, level, element)
    return [
        f"By {name}, {_with_interval(fine, 2)} of the importance lies {fine_part} "
        f"(levels 1 to {fine_levels}); the largest share of one level, "
        f"{_with_interval(top, 2)}, lies in {where}; the scale centroid is "
        f"{_with_interval(centroid, 2)} octaves (low is fine; n = {fine['n']})."
    ]


def _places(config: AuditConfig, level: int | str, element: str) -> tuple[str, str]:
    """Where the fine levels and one level lie: in Hz for sound, else by the size of structures."""
    levels, fine_levels = config.basis.levels, config.analyses.reliance.fine_levels
    if config.dataset.audio is not None:
        rate = config.dataset.audio.sample_rate
        fine_part = f"above {rate / 2 ** (fine_levels + 1):.5g} Hz"
        if level == "approximation":
            return fine_part, f"the approximation (below {rate / 2 ** (levels + 1):.4g} Hz)"
        low, high = rate / 2 ** (int(level) + 1), rate / 2 ** int(level)
        return fine_part, f"level {level} ({low:.5g} to {high:.5g} Hz)"
    fine_part = f"in structures of 1 to {2**fine_levels} {element}"
    if level == "approximation":
        return fine_part, f"the approximation (structures above {2**levels} {element})"
    smallest = 2 ** (int(level) - 1)
    return fine_part, f"level {level} (structures of {smallest} to {2 * smallest} {element})"


def _mixtures(config: AuditConfig, summary: dict[str, Any]) -> list[str]:
    """What explanations recover of a sound in each mixture, against what magnitude does."""
    fraction = f"{max(config.analyses.separation.fractions, default=0):g}"
    sentences = []
    for mixture in mixture_names(config.analyses.separation):
        labels: dict[str, str | int] = {"mixture": mixture, "fraction": fraction}
        gains = [
            (name, _find(summary, "separation/si_sdr_gain", labels | {"method": method}))
            for method, name in _SELECTION_NAMES.items()
        ]
        known = [(name, gain) for name, gain in gains if gain is not None]
        if known:
            parts = [f"{_with_interval(gain, 1)} dB {name}" for name, gain in known]
            sentences.append(
                f"{mixture[:1].upper()}{mixture[1:]}, rebuilt from {100 * float(fraction):g} % of "
                f"its coefficients, gains towards the clean sound (SI-SDR): {', '.join(parts)} "
                f"(n = {known[0][1]['n']})."
            )
    return sentences


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
    gap = _find(summary, "attribution/completeness_gap", {"quantile": "median"})
    if gap:
        sentences.append(
            f"Path attributions add up to the change of the score to within "
            f"{100 * gap['estimate']:.1f} % of it (median, n = {gap['n']})."
        )
    return sentences


def _draws(config: AuditConfig, summary: dict[str, Any]) -> str:
    smoothing = config.attribution.smoothgrad
    drawn = _find(summary, "attribution/draws", {"method": "smoothgrad_absolute"})
    if smoothing.tolerance is None or drawn is None:
        return f"{smoothing.n_samples} draws"
    return (
        f"{drawn['estimate']:.1f} draws a sample on average (until the error is at most "
        f"{smoothing.tolerance:g}, no more than {smoothing.n_samples})"
    )


def _find(
    summary: dict[str, Any], name: str, labels: dict[str, str | int]
) -> dict[str, Any] | None:
    for entry in summary["metrics"]:
        if entry["name"] == name and entry["labels"] == labels:
            found: dict[str, Any] = entry
            return found
    return None


def _with_interval(entry: dict[str, Any], digits: int) -> str:
    low, high = entry["low"], entry["high"]
    if low is None:
        return f"{entry['estimate']:.{digits}f}"
    # A narrow interval gets digits that show its width.
    while digits < _MOST_DIGITS and low != high and f"{low:.{digits}f}" == f"{high:.{digits}f}":
        digits += 1
    return f"{entry['estimate']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
