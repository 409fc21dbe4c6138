"""What explanations are compared with, and what the comparisons are called."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wam_core.intervals import FloatArray

CASCADING, INDEPENDENT = "cascading", "independent"
ENERGY, SHUFFLED, SECOND_SEED = "energy", "shuffled", "second_seed"
RANDOM_LABELS = "random_labels"

PREFIXES = {
    CASCADING: "randomisation",
    INDEPENDENT: "independent",
    RANDOM_LABELS: "random_labels",
    SHUFFLED: "shuffled",
}
"""Beginning of the metrics of a comparison; those of the others have names of their own."""

MEASURES = (
    "spearman",
    "spearman_signed",
    "spearman_within_bands",
    "ssim",
    "hog",
    "profile_overlap",
)
"""Columns of the table, and the ends of the metrics that they become."""

SPEARMAN = "sanity/randomisation_spearman"
OVERLAP = "sanity/randomisation_profile_overlap"
RISE = "sanity/largest_rise"
ENERGY_SIMILARITY = "sanity/energy_similarity"
RELIABILITY = "sanity/seed_reliability"
SIGNED_RELIABILITY = "sanity/seed_reliability_signed"
SHARE = "sanity/randomised_share"
RANDOM_LABEL_SPEARMAN = "sanity/random_labels_spearman"


def metric_units() -> dict[str, tuple[str, str]]:
    """Unit and better direction of every metric."""
    units = {
        f"sanity/{prefix}_{measure}": (
            "fraction" if measure == "profile_overlap" else "correlation",
            "none" if prefix == "shuffled" else "lower",
        )
        for prefix in PREFIXES.values()
        for measure in MEASURES
    }
    return units | {
        RISE: ("correlation", "lower"),
        ENERGY_SIMILARITY: ("correlation", "lower"),
        RELIABILITY: ("correlation", "higher"),
        SIGNED_RELIABILITY: ("correlation", "higher"),
        SHARE: ("fraction", "none"),
    }


def metrics_of(comparison: str) -> Mapping[str, str]:
    """Columns of a comparison's rows, and the metrics that they become."""
    if comparison == ENERGY:
        return {"spearman": ENERGY_SIMILARITY}
    if comparison == SECOND_SEED:
        return {"spearman": RELIABILITY, "spearman_signed": SIGNED_RELIABILITY}
    prefix = PREFIXES[comparison]
    return {
        measure: f"sanity/{prefix}_{measure}"
        for measure in MEASURES
        if (comparison, measure) != (SHUFFLED, "profile_overlap")  # 1 by construction
    }


def largest_rise(similarity: FloatArray) -> FloatArray:
    """The most that a curve rises from any stage to a later one; each begins at 1, the original.

    Args:
        similarity: Shape (row, stage).

    Example:
        >>> largest_rise(np.array([[0.5, 0.25, 0.5, 0.125]]))
        array([0.25])
    """
    curve = np.concatenate([np.ones((len(similarity), 1)), similarity], axis=1)
    return np.asarray((curve - np.minimum.accumulate(curve, axis=1)).max(axis=1))
