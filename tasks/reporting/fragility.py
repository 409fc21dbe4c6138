"""Whether reliance explains fragility, as a part of the section about damage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.analyses.corruption_sentences import link_verdict
from tasks.analyses.flips import CONTROLS, DOUBT, FLIP_AUC, FLIP_AUC_OVER, FLIP_SLOPE
from tasks.analyses.fragility import (
    ALIKE,
    DAMAGE_SIZE,
    METHODS,
    OBSERVED,
    PARTIAL,
    PREDICTED,
    RANKING_CONTROLS,
    SHAPLEY,
    SPEARMAN,
    SPEARMAN_OVER,
)
from tasks.reporting.damage_charts import LossChart, LossValue, loss_chart
from tasks.reporting.formatting import significant
from tasks.reporting.metric_table import Metric, MetricTable
from tasks.reporting.wording import method_title
from wam_core.footprints import FREQUENCY_CLASSES, FrequencyClass

_TITLES = {
    SHAPLEY: "Shapley values of levels",
    DAMAGE_SIZE: "Control: size of the damage alone",
    ALIKE: "Control: all coefficients alike",
    DOUBT: "Control: doubt about the clean answer",
}
_NORMALISATIONS = {"": "", "mean_share": ", per coefficient"}


@dataclass(frozen=True)
class RankingRow:
    """One method: how its prediction goes with what is lost, and what it adds to each control."""

    title: str
    correlation: str
    over: tuple[str, ...]
    beside: tuple[str, ...]


@dataclass(frozen=True)
class FlipRow:
    """One family of damage and predictor."""

    family: str
    title: str
    area: str
    slope: str
    over_size: str
    over_doubt: str
    n: int


@dataclass(frozen=True)
class LinkSection:
    """Reliance against fragility.

    Attributes:
        kinds: Name and mark of the classes of frequency that the chart shows.
    """

    verdict: str
    method: str
    chart: LossChart | None
    ranking: tuple[RankingRow, ...]
    flips: tuple[FlipRow, ...]
    n_steps: int
    n: int


def link_section(
    table: MetricTable, frequencies: Mapping[str, FrequencyClass]
) -> LinkSection | None:
    """The part, or nothing where too few kinds of damage were made.

    Args:
        frequencies: Class of frequency of each kind of damage.
    """
    links = [
        metric
        for metric in table.named(SPEARMAN)
        if metric.labels["method"] not in RANKING_CONTROLS
    ]
    if not links:
        return None
    main = min(links, key=_rank)
    over = {name: table.one(SPEARMAN_OVER, main.labels | {"over": name})
            for name in RANKING_CONTROLS}  # fmt: skip
    gains = {name: None if gain is None else _bounds(gain) for name, gain in over.items()}
    return LinkSection(
        verdict=link_verdict(_bounds(main), gains),
        method=_title(main.labels),
        chart=_chart(table, main, frequencies),
        ranking=tuple(
            _ranking_row(table, metric) for metric in sorted(table.named(SPEARMAN), key=_rank)
        ),
        flips=_flip_rows(table),
        n_steps=len(table.named(OBSERVED)),
        n=main.n,
    )


def _bounds(metric: Metric) -> dict[str, float | None]:
    return {"estimate": metric.estimate, "low": metric.low, "high": metric.high}


def _rank(metric: Metric) -> tuple[int, str]:
    order = (*METHODS, SHAPLEY, DAMAGE_SIZE, ALIKE, DOUBT)
    return order.index(metric.labels["method"]), metric.labels.get("normalisation", "")


def _title(labels: Mapping[str, str]) -> str:
    method = labels["method"]
    title = _TITLES.get(method) or method_title(method)
    return title + _NORMALISATIONS[labels.get("normalisation", "")]


def _ranking_row(table: MetricTable, metric: Metric) -> RankingRow:
    return RankingRow(
        _title(metric.labels),
        _plain(metric),
        tuple(_plain(table.one(SPEARMAN_OVER, metric.labels | {"over": name}))
              for name in RANKING_CONTROLS),
        tuple(_plain(table.one(PARTIAL, metric.labels | {"given": name}))
              for name in RANKING_CONTROLS),
    )  # fmt: skip


def _chart(
    table: MetricTable, main: Metric, frequencies: Mapping[str, FrequencyClass]
) -> LossChart | None:
    values = []
    for metric in table.named(OBSERVED):
        predicted = table.one(PREDICTED, metric.labels | main.labels)
        if predicted is None or predicted.estimate is None or metric.estimate is None:
            continue
        name, severity = metric.labels["corruption"], metric.labels["severity"]
        kind = frequencies.get(name, "high")
        tip = (
            f"{name.replace('_', ' ')}, severity {severity} ({kind} frequencies): lost "
            f"{metric.phrase}, predicted {significant(predicted.estimate)}"
        )
        values.append(
            LossValue(
                predicted.estimate,
                metric.estimate,
                metric.low,
                metric.high,
                FREQUENCY_CLASSES.index(kind),
                tip,
            )
        )
    if not values:
        return None
    return loss_chart(
        f"Accuracy lost over predicted sensitivity, {len(values)} corruptions and severities.",
        ("predicted sensitivity (root mean square, % of full scale)", "lost (% of the samples)"),
        values,
    )


def _flip_rows(table: MetricTable) -> tuple[FlipRow, ...]:
    known = sorted(
        table.named(FLIP_AUC), key=lambda metric: (metric.labels["family"], _rank(metric))
    )
    return tuple(_flip_row(table, metric) for metric in known)


def _flip_row(table: MetricTable, metric: Metric) -> FlipRow:
    over = [table.one(FLIP_AUC_OVER, metric.labels | {"over": control}) for control in CONTROLS]
    return FlipRow(
        metric.labels["family"],
        _title(metric.labels),
        _plain(metric),
        _plain(table.one(FLIP_SLOPE, metric.labels)),
        _plain(over[0]),
        _plain(over[1]),
        metric.n,
    )


def _plain(metric: Metric | None) -> str:
    """A number without its unit, which the column states, and its interval."""
    if metric is None:
        return ""
    text = significant(metric.estimate, 2)
    if metric.low is None or metric.high is None:
        return text
    return f"{text} [{significant(metric.low, 2)}, {significant(metric.high, 2)}]"
