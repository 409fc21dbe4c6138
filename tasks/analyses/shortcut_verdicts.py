"""When a class counts as decided by few levels, and the sentences that say so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tasks.analyses.masking import APPROXIMATION, listed_levels
from tasks.analyses_config import ShortcutsConfig
from tasks.config import AuditConfig
from tasks.sentences import find_metric, with_interval

ADCS = "shortcut/class_contrast"
LOSS_INCREASE = "shortcut/loss_increase"
TRUE_RATE = "shortcut/true_positive_rate"
FALSE_RATE = "shortcut/false_positive_rate"
DEFAULT_RATE = "shortcut/default_rate"
CLASSES = "shortcut/classes"

WHOLE = "all"
"""Label `levels` of the rates on samples as they are."""

MOST_NAMED = 5

Verdict = Literal["decided", "not decided", "few", "default"]
"""Few: too few samples to say. Default: answered even where no level is left."""


@dataclass(frozen=True)
class ClassRates:
    """What the dominant levels of a class do.

    Attributes:
        n: Samples of the class.
        has_levels: Whether any level's removal raises the loss of the class.
        true_positive: Share of the class that its dominant levels alone still show as it.
        false_positive: Share of all other classes that the same levels show as it.
        default: Share of all other classes taken for it with no level left at all.
    """

    n: int
    has_levels: bool
    true_positive: float
    false_positive: float
    default: float


def false_positive_bound(settings: ShortcutsConfig, n_classes: int) -> float:
    """Least rate that counts as high: at least what guessing among the classes would give."""
    return max(settings.false_positive_rate, 1 / n_classes)


def judge_class(rates: ClassRates, settings: ShortcutsConfig, n_classes: int) -> Verdict:
    """Whether the dominant levels decide a class.

    A class that the model answers when nothing is left is its default answer: its levels have no
    part in the false positives. Too few samples say nothing, whatever the rates.
    """
    if rates.n < settings.minimum_n:
        return "few"
    bound = false_positive_bound(settings, n_classes)
    is_high = rates.true_positive >= settings.true_positive_rate and rates.false_positive >= bound
    if not (rates.has_levels and is_high):
        return "not decided"
    return "default" if rates.default >= bound else "decided"


@dataclass(frozen=True)
class JudgedClass:
    """A class of the summary with its verdict.

    Attributes:
        levels: Its dominant levels, finest first; empty where there are none.
    """

    name: str
    levels: tuple[str, ...]
    rates: ClassRates
    verdict: Verdict


def judged_classes(
    metrics: Sequence[Mapping[str, Any]], settings: ShortcutsConfig
) -> list[JudgedClass]:
    """Every class of a summary that has rates, in its order."""
    by_class: dict[str, dict[tuple[str, str], Mapping[str, Any]]] = {}
    for entry in metrics:
        if entry["name"] in (TRUE_RATE, FALSE_RATE, DEFAULT_RATE):
            labels = entry["labels"]
            found = by_class.setdefault(str(labels["class"]), {})
            found[entry["name"], str(labels.get("levels", ""))] = entry
    classes = []
    for name, found in by_class.items():
        sets = [levels for metric, levels in found if metric == TRUE_RATE and levels != WHOLE]
        levels = sets[0] if sets else ""
        default = found[DEFAULT_RATE, ""]["estimate"] or 0.0
        rates = ClassRates(
            n=found[TRUE_RATE, WHOLE]["n"],
            has_levels=bool(levels),
            true_positive=found[TRUE_RATE, levels]["estimate"] if levels else 0.0,
            false_positive=found[FALSE_RATE, levels]["estimate"] if levels else 0.0,
            default=default,
        )
        verdict = judge_class(rates, settings, len(by_class))
        classes.append(JudgedClass(name, tuple(filter(None, levels.split("+"))), rates, verdict))
    return classes


def shortcut_sentences(config: AuditConfig, metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which classes few levels decide, by which, and how many cannot be judged."""
    settings = config.analyses.shortcuts
    classes = judged_classes(metrics, settings)
    if not classes:
        return []
    enough = [shown for shown in classes if shown.verdict != "few"]
    decided = [shown for shown in enough if shown.verdict == "decided"]
    few = len(classes) - len(enough)
    aside = (
        f" {few} of {len(classes)} classes have fewer than {settings.minimum_n} samples among "
        "those taken: too few to say."
        if few
        else ""
    )
    if not enough:
        return [f"Frequency shortcuts:{aside}"]
    bound = false_positive_bound(settings, len(classes))
    rule = (
        f"{settings.true_positive_rate:g} or more of the class and {bound:.2g} or more of all "
        "other samples are taken for it when only its dominant levels are left"
    )
    if not decided:
        return [f"No class of {len(enough)} is decided by few levels alone ({rule}).{aside}"]
    named = "; ".join(_named(shown, metrics) for shown in decided[:MOST_NAMED])
    more = f"; and {len(decided) - MOST_NAMED} more" if len(decided) > MOST_NAMED else ""
    return [
        f"{len(decided)} of {len(enough)} classes {'is' if len(decided) == 1 else 'are'} decided "
        f"by few levels alone ({rule}): {named}{more}.{aside}"
    ]


def _named(shown: JudgedClass, metrics: Sequence[Mapping[str, Any]]) -> str:
    labels = {"class": shown.name, "levels": "+".join(shown.levels)}
    true, false = (find_metric(metrics, name, labels) for name in (TRUE_RATE, FALSE_RATE))
    if true is None or false is None:
        return shown.name
    return (
        f"{shown.name} by {listed_levels(ordered(shown.levels))} ({with_interval(true, 2)} of the "
        f"class, n = {true['n']}; {with_interval(false, 2)} of the others, n = {false['n']})"
    )


def ordered(levels: Iterable[str]) -> list[str]:
    """Finest first, the approximation last."""
    return sorted(levels, key=lambda level: (level == APPROXIMATION, level.zfill(3)))
