"""Shape or texture: what the model takes images for whose two cues contradict each other.

Cue-conflict images (Geirhos et al., ICLR 2019) have the shape of one category and the texture of
another. The model's answer is the category with the largest mean probability over its classes.
Shape bias is the part of shape among the answers that are one of the two; how many are neither is
reported beside it, and so are both matches over all conflicts (Hermann et al., NeurIPS 2020).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import pandas as pd

from tasks.analyses.categories import Categories, read_categories
from tasks.analyses.contract import (
    Analysis,
    AuditParts,
    Batch,
    Findings,
    Measures,
    Passes,
    ShardTables,
)
from tasks.config import AuditConfig
from tasks.datasets import Manifest
from tasks.errors import ConfigError
from tasks.sentences import find_metric, with_interval
from tasks.variables import Variable
from wam_core.basis import CoefficientLayout

SHAPE, TEXTURE, OTHER = "shape", "texture", "other"
"""Verdicts on a true conflict."""

NO_CONFLICT, UNKNOWN = "no_conflict", "unknown_category"
"""Why an image is no true conflict: both cues agree, or one is missing or not a category."""

_MATCHES = {
    "texture/shape_match": (SHAPE,),
    "texture/texture_match": (TEXTURE,),
    "texture/neither": (OTHER,),
    "texture/coverage": (SHAPE, TEXTURE),
}
"""Parts of all true conflicts, by the verdicts that count."""


class CueConflict(Analysis):
    """Which of two contradicting cues the answers follow."""

    section = "cue_conflict"
    tables = ("cue_conflict",)
    units: ClassVar = dict.fromkeys(
        ("texture/shape_bias", *_MATCHES, "texture/eligible"), ("fraction", "none")
    )
    proportions = frozenset(units)

    def check(self, manifest: Manifest) -> None:
        """There must be true conflicts between known categories."""
        names = read_categories(self.config).names
        table = manifest.table
        shapes, textures = self.settings.shape_column, self.settings.texture_column
        known = table[shapes].isin(names) & table[textures].isin(names)
        if not (known & (table[shapes] != table[textures])).any():
            raise ConfigError(
                f"analyses.cue_conflict: none of {len(table)} samples has two different categories "
                f"in the columns {shapes} and {textures}. Known categories: {', '.join(names)}; "
                f"in the columns: {_values(table[shapes])} and {_values(table[textures])}"
            )

    def inputs(self) -> dict[str, str]:
        """The categories decide every answer."""
        return {"categories": read_categories(self.config).digest}

    def passes(self, layout: CoefficientLayout) -> Passes:
        """The clean prediction is enough."""
        return Passes()

    def open(self, parts: AuditParts) -> ConflictAnalysis:
        """The analysis with the model in memory."""
        return ConflictAnalysis(parts)

    def measure(self, tables: ShardTables) -> Measures:
        """Over all true conflicts, and by category of the shape."""
        rows = tables["cue_conflict"].set_index("sample_index")
        verdict = rows["verdict"]
        conflict = verdict.isin((SHAPE, TEXTURE, OTHER))
        values = _of_conflicts(tables, verdict[conflict])
        values[Variable.of("texture/eligible")] = tables.aligned(conflict)
        for category, chosen in rows[conflict].groupby("shape", sort=True):
            by_category = _of_conflicts(tables, chosen["verdict"])
            values |= {
                variable.relabelled(category=category): numbers
                for variable, numbers in by_category.items()
            }
        return values

    def sentences(self, metrics: Sequence[Mapping[str, Any]], element: str) -> list[str]:
        """The bias, never without its coverage."""
        names = ("eligible", "coverage", "shape_match", "texture_match", "neither")
        found = {name: find_metric(metrics, f"texture/{name}") for name in names}
        known = {name: entry for name, entry in found.items() if entry is not None}
        if len(known) < len(names):
            return []
        count = {name: round(entry["estimate"] * entry["n"]) for name, entry in known.items()}
        left_out = known["eligible"]["n"] - count["eligible"]
        others = f", {left_out} others are no true conflicts and left out" if left_out else ""
        coverage = with_interval(known["coverage"], 3)
        answers = (
            f"Of {count['eligible']} images whose shape and texture contradict each other{others}, "
            f"{count['shape_match']} are taken for their shape, {count['texture_match']} for their "
            f"texture, {count['neither']} for neither (coverage {coverage})"
        )
        bias = find_metric(metrics, "texture/shape_bias")
        if bias is None:
            return [f"{answers}: there is no shape bias without answers that follow a cue."]
        return [f"{answers}: shape bias {with_interval(bias, 3)} (n = {bias['n']})."]


@dataclass(frozen=True)
class ConflictAnalysis:
    """The analysis with the model in memory."""

    parts: AuditParts

    def run(self, batch: Batch, max_batch: int) -> Findings:
        """Judge the clean predictions of a batch."""
        names = self._categories.names
        probabilities = self._categories.probabilities(batch.prediction.probabilities)
        findings = Findings()
        for place, row in enumerate(batch.rows):
            shape, texture = self._cues[row]
            of_category = dict(zip(names, probabilities[place].tolist(), strict=True))
            decision = names[int(probabilities[place].argmax())]
            findings.add(
                "cue_conflict",
                place,
                {
                    "shape": shape,
                    "texture": texture,
                    "decision": decision,
                    "verdict": verdict_of(decision, shape, texture, names),
                    "probability_shape": of_category.get(shape or ""),
                    "probability_texture": of_category.get(texture or ""),
                    "probability_decision": of_category[decision],
                },
            )
        return findings

    @cached_property
    def _categories(self) -> Categories:
        return read_categories(self.parts.config)

    @cached_property
    def _cues(self) -> list[tuple[str | None, str | None]]:
        return cues(self.parts.config, self.parts.manifest)


def cues(config: AuditConfig, manifest: Manifest) -> list[tuple[str | None, str | None]]:
    """Shape and texture of every manifest row; None where a cell is empty."""
    settings = config.analyses.cue_conflict
    columns = [
        [None if pd.isna(cell) else str(cell) for cell in manifest.table[name]]
        for name in (settings.shape_column, settings.texture_column)
    ]
    return list(zip(*columns, strict=True))


def verdict_of(
    decision: str, shape: str | None, texture: str | None, categories: Sequence[str]
) -> str:
    """What an answer says of an image.

    Example:
        >>> verdict_of("cat", "cat", "elephant", ("cat", "elephant", "car"))
        'shape'
        >>> verdict_of("cat", "cat", "cat", ("cat", "elephant", "car"))
        'no_conflict'
    """
    if shape not in categories or texture not in categories:
        return UNKNOWN
    if shape == texture:
        return NO_CONFLICT
    return {shape: SHAPE, texture: TEXTURE}.get(decision, OTHER)


def _of_conflicts(tables: ShardTables, verdict: pd.Series) -> Measures:
    values = {
        Variable.of(name): tables.aligned(verdict.isin(counted))
        for name, counted in _MATCHES.items()
    }
    decided = verdict[verdict != OTHER]
    values[Variable.of("texture/shape_bias")] = tables.aligned(decided == SHAPE)
    return values


def _values(cells: pd.Series) -> str:
    shown = [str(value) for value in cells.dropna().unique()[:5]]
    return ", ".join(shown) or "nothing"
