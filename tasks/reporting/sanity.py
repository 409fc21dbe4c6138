"""Whether the explanations can be trusted, as a section of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.analyses.sanity_comparisons import (
    CASCADING,
    ENERGY_SIMILARITY,
    INDEPENDENT,
    MEASURES,
    PREFIXES,
    RANDOM_LABELS,
    RELIABILITY,
    SHARE,
    SHUFFLED,
    SPEARMAN,
)
from tasks.analyses.sanity_maps import (
    ABSOLUTE,
    COALITION_PART,
    COALITIONS,
    GRADIENT,
    INTEGRATED,
    MAPS,
    PATH,
    SIGNED,
)
from tasks.reporting.formatting import MISSING, percent
from tasks.reporting.metric_table import Metric, MetricTable
from tasks.reporting.stage_chart import StageChart, StageValue, stage_chart

TITLES = {
    GRADIENT: "Gradient at the input",
    ABSOLUTE: "WAM_SG, mean of absolute values",
    SIGNED: "WAM_SG, signed mean",
    INTEGRATED: "WAM_IG",
    PATH: "WAM_IG, gradient part alone",
    COALITIONS: "WAM_CG",
    COALITION_PART: "WAM_CG, gradient part alone",
}

_COLUMNS = {
    "spearman": "Rank correlation",
    "spearman_signed": "with signs",
    "spearman_within_bands": "within bands",
    "ssim": "SSIM",
    "hog": "HOG",
    "profile_overlap": "Overlap of level profiles",
}


@dataclass(frozen=True)
class CheckRow:
    """One check of one method."""

    method: str
    check: str
    seen: str
    limit: str
    verdict: str


@dataclass(frozen=True)
class SimilarityRow:
    """All measures of one comparison of one method."""

    method: str
    compared: str
    cells: tuple[str, ...]
    n: int


@dataclass(frozen=True)
class SanitySection:
    """Everything about sanity checks.

    Attributes:
        verdict: Of the audit, in words.
        good: Whether it is a pass.
        stages: Number, layers and part of the parameters of each.
        charts: Title and curves: layers from the top, then each stage alone.
        legend: Title and colour of every curve.
    """

    verdict: str
    good: bool
    checks: tuple[CheckRow, ...]
    stages: tuple[tuple[int, str, str], ...]
    charts: tuple[tuple[str, StageChart], ...]
    legend: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]
    rows: tuple[SimilarityRow, ...]
    n: int


_VERDICTS = {
    0.0: "The explanations fail a sanity check.",
    0.5: "Whether the explanations can be trusted is undecided.",
    1.0: "The explanations pass every sanity check.",
}


def sanity_section(
    table: MetricTable, trust: Sequence[Mapping[str, Any]], limit: float | None
) -> SanitySection | None:
    """None where nothing was randomised.

    Args:
        trust: The list `trust` of summary.json.
        limit: Largest similarity that the first check allows.
    """
    found = table.named(SPEARMAN)
    if not found:
        return None
    methods = [name for name in MAPS if any(entry.labels["method"] == name for entry in found)]
    n_stages = max(int(entry.labels["stage"]) for entry in found)
    overall = table.one("sanity/trustworthy")
    estimate = None if overall is None else overall.estimate
    charts = [
        ("Layers randomised from the output downwards", CASCADING),
        ("One stage randomised, all other layers as trained", INDEPENDENT),
    ]
    return SanitySection(
        verdict=_VERDICTS.get(0.5 if estimate is None else estimate, _VERDICTS[0.5]),
        good=estimate == 1.0,
        checks=tuple(_check_rows(trust)),
        stages=_stages(table),
        charts=tuple(
            (title, chart)
            for title, comparison in charts
            if (chart := _chart(table, title, comparison, methods, n_stages, limit)) is not None
        ),
        legend=tuple((TITLES[method], MAPS.index(method)) for method in methods),
        columns=tuple(_COLUMNS.values()),
        rows=tuple(_rows(table, methods, n_stages)),
        n=found[0].n,
    )


def _check_rows(trust: Sequence[Mapping[str, Any]]) -> list[CheckRow]:
    return [
        CheckRow(
            TITLES.get(str(verdict["method"]), str(verdict["method"])),
            _sentence_case(str(check["check"]).strip(" ,")),
            _seen(check),
            str(check["limit"]),
            {"pass": "passes", "fail": "fails"}.get(str(check["verdict"]), "undecided"),
        )
        for verdict in trust
        for check in verdict["checks"]
    ]


def _seen(check: Mapping[str, Any]) -> str:
    if check["estimate"] is None:
        return "not known"
    interval = "" if check["low"] is None else f" [{check['low']:.3f}, {check['high']:.3f}]"
    return f"{check['estimate']:.3f}{interval}"


def _sentence_case(words: str) -> str:
    words = words.removeprefix("the ")
    return words[:1].upper() + words[1:]


def _stages(table: MetricTable) -> tuple[tuple[int, str, str], ...]:
    rows = [
        (int(entry.labels["stage"]), entry.labels["layers"], percent(entry.estimate))
        for entry in table.named(SHARE)
    ]
    return tuple(sorted(rows))


def _chart(
    table: MetricTable,
    title: str,
    comparison: str,
    methods: Sequence[str],
    n_stages: int,
    limit: float | None,
) -> StageChart | None:
    name = f"sanity/{PREFIXES[comparison]}_spearman"
    if not table.named(name):
        return None
    first = 0 if comparison == CASCADING else 1
    steps = ["none", *map(str, range(1, n_stages)), "all"] if first == 0 else [
        str(stage) for stage in range(1, n_stages + 1)
    ]  # fmt: skip
    curves = []
    for method in methods:
        points = [StageValue(0, 1.0, None, None, "The original")] if first == 0 else []
        for stage in range(1, n_stages + 1):
            metric = table.one(name, {"method": method, "stage": str(stage)})
            if metric is not None and metric.estimate is not None:
                tip = f"{TITLES[method]}, stage {stage}: {_number(metric)}"
                points.append(
                    StageValue(stage - first, metric.estimate, metric.low, metric.high, tip)
                )
        curves.append((TITLES[method], MAPS.index(method), points))
    spoken = "; ".join(points[-1].tip for _, _, points in curves if points)
    across = "stages randomised, from the output" if first == 0 else "stage randomised"
    return stage_chart(
        f"{title}: similarity to the original explanation. {spoken}.",
        (across, "rank correlation of magnitudes"),
        steps,
        curves,
        limit if comparison == CASCADING else None,
    )


def _rows(table: MetricTable, methods: Sequence[str], n_stages: int) -> list[SimilarityRow]:
    compared: list[tuple[str, int | None, str]] = [
        (CASCADING, stage, f"stages 1 to {stage} randomised" if stage > 1 else "stage 1 randomised")
        for stage in range(1, n_stages + 1)
    ]
    compared += [
        (INDEPENDENT, stage, f"stage {stage} alone randomised") for stage in range(2, n_stages + 1)
    ]
    compared += [(RANDOM_LABELS, None, "network trained on permuted labels")]
    compared += [(SHUFFLED, None, "the same map, shuffled within bands")]
    rows = []
    for method in methods:
        for comparison, stage, words in compared:
            labels = {"method": method} | ({} if stage is None else {"stage": str(stage)})
            metrics = [
                table.one(f"sanity/{PREFIXES[comparison]}_{measure}", labels)
                for measure in MEASURES
            ]
            rows += _row(method, words, metrics)
        for name, words in (
            (ENERGY_SIMILARITY, "magnitudes of the coefficients, no model"),
            (RELIABILITY, "the same map from other draws"),
        ):
            metric = table.one(name, {"method": method})
            rows += _row(method, words, [metric, *[None] * (len(MEASURES) - 1)])
    return rows


def _row(method: str, words: str, metrics: Sequence[Metric | None]) -> list[SimilarityRow]:
    known = [metric for metric in metrics if metric is not None]
    if not known:
        return []
    cells = tuple(MISSING if metric is None else _number(metric) for metric in metrics)
    return [SimilarityRow(TITLES[method], words, cells, max(metric.n for metric in known))]


def _number(metric: Metric) -> str:
    interval = "" if metric.low is None else f" [{metric.low:.2f}, {metric.high:.2f}]"
    return f"{metric.estimate:.2f}{interval}"
