"""Noise in single levels, in sentences for the headline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasks.analyses.masking import (
    ACCURACY,
    CLEAN,
    CRITERION,
    CYCLES,
    HERTZ,
    THRESHOLD,
    WIDTH,
    Masking,
    is_half,
    listed_levels,
    masking,
)
from tasks.config import AuditConfig
from tasks.sentences import find_metric, level_place, with_interval

Metrics = Sequence[Mapping[str, Any]]


def masking_sentences(config: AuditConfig, metrics: Metrics, element: str) -> list[str]:
    """Which level's noise disturbs most, and the channel.

    Args:
        element: What a signal is sampled in: samples, pixels or voxels.
    """
    at = find_metric(metrics, CRITERION)
    clean = find_metric(metrics, ACCURACY, CLEAN.labels())
    if at is None or clean is None:
        return []
    accuracies = {
        (str(entry["labels"]["level"]), float(entry["labels"]["noise"])): entry["estimate"]
        for entry in metrics
        if entry["name"] == ACCURACY and "level" in entry["labels"]
    }
    found = masking(accuracies, at["estimate"], config.basis.levels)
    rule = "half of" if is_half(at["estimate"], clean["estimate"]) else "halfway to chance from"
    lost = f"{at['estimate']:.2f}, {rule} {clean['estimate']:.2f} without noise"
    return [
        _of_thresholds(config, metrics, found, f"{lost} (n = {clean['n']})", element),
        _of_channel(metrics, found, element),
    ]


def _of_thresholds(
    config: AuditConfig, metrics: Metrics, found: Masking, lost: str, element: str
) -> str:
    places = range(len(found.level_names))
    spared = [found.level_names[place] for place in places if found.is_beyond(place)]
    strongest = f"noise of {100 * found.noises[-1]:g} %"
    if len(spared) == len(found.level_names):
        return f"In no level does {strongest} of a sample's range bring accuracy down to {lost}."
    name = found.level_names[int(np.argmin(found.thresholds))]
    labels = {"level": int(name) if name.isdigit() else name}
    threshold = find_metric(metrics, THRESHOLD, labels)
    enough = f"less than {100 * found.noises[0]:g} %"
    if threshold is not None:
        enough = f"{with_interval(_in_percent(threshold), 1)} %"
    rest = f"; in {listed_levels(spared)} {strongest} does not" if spared else ""
    return (
        f"Noise in {level_place(config, name, element)} disturbs the model most: {enough} of a "
        f"sample's range (root mean square) brings accuracy down to {lost}{rest}."
    )


def _of_channel(metrics: Metrics, found: Masking, element: str) -> str:
    hertz, cycles = find_metric(metrics, HERTZ), find_metric(metrics, CYCLES)
    if cycles is None:
        return f"No channel is identified from noise in single levels: {found.no_centre}."
    frequency = f"{with_interval(cycles, 3)} cycles/{element.split()[0].removesuffix('s')}"
    if hertz is not None:
        frequency = f"{with_interval(hertz, 0)} Hz"
    width = find_metric(metrics, WIDTH)
    wide = f"its width is not identified ({found.no_width})"
    if width is not None:
        wide = f"it is {with_interval(width, 1)} octaves wide (full width at half maximum)"
    return (
        "The channel fitted to the sensitivities of the levels has its centre at "
        f"{frequency}; {wide}."
    )


def _in_percent(entry: Mapping[str, Any]) -> dict[str, float | None]:
    values = {name: entry[name] for name in ("estimate", "low", "high")}
    return {name: None if value is None else 100 * value for name, value in values.items()}
