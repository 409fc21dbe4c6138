"""What is asked of an explanation before it is trusted: bounds on metrics of the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.analyses.sanity_comparisons import (
    ENERGY_SIMILARITY,
    RANDOM_LABEL_SPEARMAN,
    RELIABILITY,
    RISE,
    SPEARMAN,
)
from tasks.analyses.sanity_maps import ABSOLUTE, COALITIONS, GRADIENT_PARTS, INTEGRATED, SIGNED
from tasks.config import AuditConfig, GateConfig
from tasks.trust_config import SanityLimits

SHARE_ERROR = "attribution/share_standard_error"
COMPLETENESS_GAP = "attribution/completeness_gap"
GAIN_OVER_ENERGY = "faithfulness/faith_gain_over_energy"

Metric = Mapping[str, Any]


@dataclass(frozen=True)
class Check:
    """A bound on one metric, and what it asks in words."""

    words: str
    gate: GateConfig


def checks_of(config: AuditConfig, metrics: Sequence[Metric], method: str) -> list[Check]:
    """What is asked of a method.

    WAM_IG and WAM_CG multiply a gradient by the coefficients, which no randomisation touches: what
    is randomised is the gradient part, and the product is held against the coefficients.

    Args:
        metrics: The list `metrics` of summary.json.
    """
    limits = config.analyses.sanity.limits
    part = GRADIENT_PARTS.get(method, method)
    of_part = " of its gradient part" if method in GRADIENT_PARTS else ""
    asked = _randomisation(limits, metrics, part, of_part)
    if config.analyses.sanity.random_label_checkpoint is not None:
        asked.append(
            Check(
                f"the similarity{of_part} with a network trained on permuted labels",
                GateConfig(
                    metric=RANDOM_LABEL_SPEARMAN,
                    labels={"method": part},
                    at_most=limits.random_label_similarity,
                ),
            )
        )
    asked.append(
        Check(
            "the similarity to the magnitudes of the coefficients, which need no model,",
            GateConfig(
                metric=ENERGY_SIMILARITY,
                labels={"method": method},
                at_most=limits.energy_similarity,
            ),
        )
    )
    asked += _sampling(limits, metrics, method)
    return asked + _faithfulness(limits, metrics, method)


def _randomisation(
    limits: SanityLimits, metrics: Sequence[Metric], part: str, of_part: str
) -> list[Check]:
    last = max((_stage(entry, part) for entry in metrics), default=0)
    return [
        Check(
            f"the similarity{of_part} with every layer randomised",
            GateConfig(
                metric=SPEARMAN,
                labels={"method": part, "stage": last},
                at_most=limits.similarity,
            ),
        ),
        Check(
            f"the largest rise of the similarity{of_part} while more layers are randomised",
            GateConfig(metric=RISE, labels={"method": part}, at_most=limits.rise),
        ),
    ]


def _sampling(limits: SanityLimits, metrics: Sequence[Metric], method: str) -> list[Check]:
    """Whether draws and steps are enough."""
    asked = []
    if method in (ABSOLUTE, SIGNED, COALITIONS):
        asked.append(
            Check(
                "the similarity to the same map from other draws",
                GateConfig(
                    metric=RELIABILITY,
                    labels={"method": method},
                    at_least=limits.seed_reliability,
                ),
            )
        )
    if method in (ABSOLUTE, SIGNED):
        level = _least_certain_level(metrics, method)
        asked.append(
            Check(
                "the Monte-Carlo error of a level's share",
                GateConfig(
                    metric=SHARE_ERROR,
                    labels={"method": method, "level": level},
                    at_most=limits.share_error,
                ),
            )
        )
    if method == INTEGRATED:
        asked.append(
            Check(
                "the median completeness gap",
                GateConfig(
                    metric=COMPLETENESS_GAP,
                    labels={"quantile": "median"},
                    at_most=limits.completeness_gap,
                ),
            )
        )
    return asked


def _faithfulness(limits: SanityLimits, metrics: Sequence[Metric], method: str) -> list[Check]:
    """Whether the order of the map says more of the model than magnitudes do; where measured.

    Over the fraction of energy, so that large coefficients win nothing by being large.
    """
    labels: dict[str, str | int] = {"method": method, "removal": "energy"}
    if not any(
        entry["name"] == GAIN_OVER_ENERGY and entry["labels"] == labels for entry in metrics
    ):
        return []
    return [
        Check(
            "the gain in Faith over an order by magnitude alone, over the fraction of energy,",
            GateConfig(metric=GAIN_OVER_ENERGY, labels=labels, at_least=limits.faith_gain),
        )
    ]


def _stage(entry: Metric, method: str) -> int:
    if entry["name"] != SPEARMAN or entry["labels"].get("method") != method:
        return 0
    return int(entry["labels"]["stage"])


def _least_certain_level(metrics: Sequence[Metric], method: str) -> str | int:
    errors = {
        entry["labels"]["level"]: entry["estimate"]
        for entry in metrics
        if entry["name"] == SHARE_ERROR and entry["labels"].get("method") == method
    }
    return max(errors, key=errors.__getitem__, default="approximation")
