"""Classes that few levels alone decide, as a section of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.analyses.shortcut_verdicts import (
    ADCS,
    CLASSES,
    DEFAULT_RATE,
    FALSE_RATE,
    LOSS_INCREASE,
    TRUE_RATE,
    WHOLE,
    JudgedClass,
    Verdict,
    false_positive_bound,
    judged_classes,
    ordered,
)
from tasks.analyses_config import ShortcutsConfig
from tasks.reporting.formatting import MISSING, percent, significant
from tasks.reporting.metric_table import MetricTable
from tasks.reporting.wording import APPROXIMATION, level_title

MOST_ROWS = 100

_VERDICTS: dict[Verdict, tuple[str, str]] = {
    "decided": ("decided by these levels", "bad"),
    "default": ("the answer to nothing at all", "few"),
    "few": ("too few to say", "few"),
    "not decided": ("no", ""),
}
"""Words and badge of each verdict, the most telling first."""


@dataclass(frozen=True)
class ContrastCell:
    """Energy of a class at a level against every other class's, from -1 to 1."""

    text: str
    weight: float


@dataclass(frozen=True)
class ShortcutRow:
    """One class."""

    name: str
    n: int
    levels: str
    rise: str
    true_positive: str
    false_positive: str
    default: str
    whole: str
    verdict: str
    badge: str
    contrast: tuple[ContrastCell, ...]


@dataclass(frozen=True)
class ShortcutsSection:
    """Everything about shortcuts.

    Attributes:
        share: Classes that are decided, of those that can be judged.
        levels: Titles of the levels.
    """

    share: str
    true_bound: str
    false_bound: str
    minimum_n: int
    levels: tuple[str, ...]
    rows: tuple[ShortcutRow, ...]
    n_classes: int


def shortcuts_section(
    table: MetricTable, settings: Mapping[str, Any] | None
) -> ShortcutsSection | None:
    """The section, or nothing where no class was examined.

    Args:
        settings: The section `analyses.shortcuts` of the audit.
    """
    entries = [
        {"name": name, "labels": metric.labels, "estimate": metric.estimate, "n": metric.n}
        for name in (TRUE_RATE, FALSE_RATE, DEFAULT_RATE)
        for metric in table.named(name)
    ]
    if not entries:
        return None
    rules = ShortcutsConfig.model_validate(settings or {})
    classes = judged_classes(entries, rules)
    levels = tuple(table.profile(LOSS_INCREASE, {"class": classes[0].name}))
    share = table.one(CLASSES)
    verdicts = list(_VERDICTS)
    shown = sorted(
        classes, key=lambda one: (verdicts.index(one.verdict), -one.rates.false_positive)
    )
    return ShortcutsSection(
        share="" if share is None else f"{share.phrase}, n = {share.n} classes",
        true_bound=percent(rules.true_positive_rate, 0),
        false_bound=percent(false_positive_bound(rules, len(classes)), 0),
        minimum_n=rules.minimum_n,
        levels=tuple(level_title(level) for level in levels),
        rows=tuple(_row(table, one, levels) for one in shown[:MOST_ROWS]),
        n_classes=len(classes),
    )


def _row(table: MetricTable, one: JudgedClass, levels: Sequence[str]) -> ShortcutRow:
    def phrase(name: str, **labels: str) -> str:
        metric = table.one(name, {"class": one.name} | labels)
        return MISSING if metric is None else metric.phrase

    dominant = "+".join(one.levels)
    rises = table.profile(LOSS_INCREASE, {"class": one.name})
    largest = max((rises[level].estimate or 0.0 for level in one.levels), default=None)
    words, badge = _VERDICTS[one.verdict]
    return ShortcutRow(
        name=one.name,
        n=one.rates.n,
        levels=", ".join(_short(level) for level in ordered(one.levels)) or "none",
        rise=significant(largest, 2),
        true_positive=phrase(TRUE_RATE, levels=dominant),
        false_positive=phrase(FALSE_RATE, levels=dominant),
        default=phrase(DEFAULT_RATE),
        whole=phrase(TRUE_RATE, levels=WHOLE),
        verdict=words,
        badge=badge,
        contrast=_contrast(table, one.name, levels),
    )


def _contrast(table: MetricTable, name: str, levels: Sequence[str]) -> tuple[ContrastCell, ...]:
    profile = table.profile(ADCS, {"class": name})
    values = [profile[level].estimate if level in profile else None for level in levels]
    return tuple(
        ContrastCell(MISSING if value is None else f"{value:+.2f}", value or 0.0)
        for value in values
    )


def _short(level: str) -> str:
    return "approximation" if level == APPROXIMATION else level
