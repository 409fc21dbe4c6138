"""The HTML report: one page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tasks.reporting.analysis_sections import SectionContext, analysis_sections
from tasks.reporting.class_table import class_chart, class_rows, level_legend
from tasks.reporting.environment import environment
from tasks.reporting.explanation import SampleExplanation
from tasks.reporting.formatting import percent, printable, whole
from tasks.reporting.gallery import sample_cards, total_weight
from tasks.reporting.metric_table import Metric, MetricTable
from tasks.reporting.pictures import SCALING_RULE, colour_scale_css
from tasks.reporting.profiles import outcome_comparisons, reliance_panels
from tasks.reporting.settings import (
    confidence,
    config_settings,
    identity_settings,
    leakage_note,
)
from tasks.reporting.wording import (
    DEFINITIONS,
    FEW_SAMPLES,
    METHODS,
    NOT_COMPARABLE,
    STATUSES,
    level_title,
    method_title,
    ordered_levels,
)

MOST_FAILURES = 500


@dataclass(frozen=True)
class Fact:
    """One number shown large at the top."""

    title: str
    value: str
    note: str


def write_report(
    summary: dict[str, Any],
    audit: dict[str, Any],
    gallery: Sequence[SampleExplanation],
    per_class: pd.DataFrame,
    failures: pd.DataFrame,
    examples: Mapping[str, Any] | None = None,
) -> str:
    """The whole HTML document, without any reference to the network.

    Args:
        summary: Content of summary.json.
        audit: Content of audit.json.
        per_class: class_index, class_name, n, accuracy, accuracy_low, accuracy_high,
            scale_centroid_octaves, fine_share.
        failures: sample_id, source, status, detail of the samples that are not ok.
        examples: What analyses kept of single samples, by section of the configuration.
    """
    table = MetricTable(summary.get("metrics") or [])
    bands = {str(level): str(text) for level, text in (audit.get("frequency_labels") or {}).items()}
    cards = sample_cards(gallery)
    context: dict[str, Any] = {
        "name": summary.get("name") or audit.get("name") or "audit",
        "complete": bool(summary.get("complete", True)),
        "headline": [str(sentence) for sentence in summary.get("headline") or []],
        "facts": _facts(summary, table),
        "counts": _counts(summary),
        "accuracy": table.one("accuracy/top1"),
        "subjects": _subjects(audit),
        "digest": str(audit.get("digest") or ""),
        "confidence": confidence(audit),
        "bands": [(level_title(level), bands[level]) for level in ordered_levels(set(bands))],
        "groups": reliance_panels(table, bands),
        "families": {METHODS[name].family for name in table.methods() if name in METHODS},
        "not_comparable": NOT_COMPARABLE,
        "comparisons": outcome_comparisons(table, bands),
        "class_rows": class_rows(per_class, table),
        "class_chart": class_chart(per_class),
        "class_levels": level_legend(table),
        "class_method": _main_method(table),
        "few_samples": FEW_SAMPLES,
        "sections": analysis_sections(
            SectionContext(
                table,
                bands,
                confidence(audit),
                examples or {},
                (audit.get("config") or {}).get("analyses") or {},
                summary.get("trust") or (),
            )
        ),
        "cards": cards,
        "pictures_megabytes": total_weight(cards),
        "colour_scale": colour_scale_css(),
        "scaling_rule": SCALING_RULE,
        "monte_carlo": _monte_carlo(table),
        "completeness": table.named("attribution/completeness_gap"),
        "definitions": DEFINITIONS,
        "leakage": leakage_note(audit),
        "identity": identity_settings(audit),
        "config": config_settings(audit.get("config") or {}),
        "failures": _failures(failures),
        "failures_total": len(failures),
    }
    return printable(environment().get_template("report.html.j2").render(context))


def _facts(summary: Mapping[str, Any], table: MetricTable) -> list[Fact]:
    counts = summary.get("counts") or {}
    facts = [
        Fact(
            "Samples explained",
            whole(counts.get("ok", 0)),
            f"of {whole(counts.get('samples', 0))}",
        )
    ]
    accuracy = table.one("accuracy/top1")
    if accuracy:
        facts.append(_fact("Top-1 accuracy", accuracy))
    families: set[str] = set()
    for method in table.methods():
        share = table.one("reliance/fine_share", {"method": method})
        family = METHODS[method].family if method in METHODS else method
        if share and family not in families:
            families.add(family)
            facts.append(_fact(f"Fine-scale reliance: {method_title(method)}", share))
    return facts


def _subjects(audit: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was audited and when, as far as it was recorded."""
    model, dataset = audit.get("model") or {}, audit.get("dataset") or {}
    size = model.get("n_parameters")
    described = str(model.get("description") or "")
    if described and size:
        described = f"{described}, {whole(size)} parameters"
    subjects = [
        ("Model", described),
        ("Dataset", str(dataset.get("description") or "")),
        ("Audited", str(audit.get("created_at") or "")),
    ]
    return [(subject, words) for subject, words in subjects if words]


def _fact(title: str, metric: Metric) -> Fact:
    return Fact(title, metric.text, f"{metric.interval}, n = {whole(metric.n)}".removeprefix(", "))


def _main_method(table: MetricTable) -> str:
    methods = table.methods()
    return method_title(methods[0]) if methods else ""


def _counts(summary: Mapping[str, Any]) -> dict[str, Any]:
    counts = {str(key): int(value or 0) for key, value in (summary.get("counts") or {}).items()}
    total = counts.pop("samples", sum(counts.values()))
    names = [*STATUSES, *sorted(set(counts) - set(STATUSES))]
    rows = [
        (
            name,
            counts.get(name, 0),
            percent(counts.get(name, 0) / total if total else None),
            STATUSES.get(name, ""),
        )
        for name in names
    ]
    return {"rows": rows, "total": total, "sum": sum(counts.values())}


def _monte_carlo(table: MetricTable) -> list[dict[str, Any]]:
    """Per method: levels with the error of the share beside the share itself."""
    name = "attribution/share_standard_error"
    groups = []
    for method in table.methods("attribution/share_standard_error"):
        errors = table.profile(name, {"method": method})
        shares = table.profile("reliance/share", {"method": method})
        rows = [
            (
                level_title(level),
                f"{100 * (error.estimate or 0.0):.3f}",
                shares[level].text if level in shares else "–",
                error.n,
            )
            for level, error in errors.items()
        ]
        if rows:
            groups.append({"title": method_title(method), "rows": rows})
    return groups


def _failures(failures: pd.DataFrame) -> list[dict[str, str]]:
    columns = ("sample_id", "source", "status", "detail")
    return [
        {name: "" if name not in row or pd.isna(row[name]) else str(row[name]) for name in columns}
        for row in failures.head(MOST_FAILURES).to_dict("records")
    ]
