"""Gates: bounds on the metrics of a summary, judged from their intervals.

A gate passes when the whole interval keeps the bound, fails when none of it does, and is
inconclusive in between: the data do not decide, and a coin flip should not stop a release. The
integrity gates are always judged; they ask whether the numbers can be read at all.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeGuard
from xml.etree import ElementTree

from tasks.config import DatasetConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasks.config import GateConfig

Verdict = Literal["pass", "fail", "inconclusive"]

_DEFAULT_BAD_FRACTION: float = DatasetConfig.model_fields["max_bad_fraction"].default
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class GateResult:
    """How one gate was decided.

    Args:
        gate: What was asked, such as "accuracy/top1 at least 0.85".
        reason: What was seen, with interval and n, and why that decides or does not.
        observed: Estimate, low, high and n of a metric gate; the counts behind an integrity gate.
    """

    gate: str
    kind: Literal["metric", "integrity"]
    verdict: Verdict
    reason: str
    observed: Mapping[str, float | str | None]


def judge(
    gates: Sequence[GateConfig],
    summary: Mapping[str, Any],
    *,
    max_bad_fraction: float = _DEFAULT_BAD_FRACTION,
    manifest_size: int | None = None,
) -> list[GateResult]:
    """Judge the integrity of a summary, then every configured gate.

    Args:
        gates: `AuditConfig.gates`.
        summary: The content of summary.json.
        max_bad_fraction: `DatasetConfig.max_bad_fraction`.
        manifest_size: Rows of the manifest; None compares the counts with each other only.
    """
    counts = dict(summary.get("counts", {}))
    metrics = list(summary.get("metrics", []))
    integrity = [
        _complete(summary),
        _counts_add_up(counts, manifest_size),
        _few_bad(counts, max_bad_fraction),
        _all_finite(metrics),
    ]
    return integrity + [judge_metric(gate, metrics) for gate in gates]


def failed(results: Sequence[GateResult]) -> bool:
    """Whether any gate failed; an inconclusive one does not fail an audit."""
    return any(result.verdict == "fail" for result in results)


def gates_json(results: Sequence[GateResult]) -> dict[str, Any]:
    """The content of gates.json; values that are not finite become null."""
    tally = Counter(result.verdict for result in results)
    overall = next((v for v in ("fail", "inconclusive") if tally[v]), "pass")
    return {
        "schema_version": 1,
        "verdict": overall,
        "counts": {verdict: tally[verdict] for verdict in ("pass", "fail", "inconclusive")},
        "gates": [
            {
                "gate": result.gate,
                "kind": result.kind,
                "verdict": result.verdict,
                "reason": result.reason,
                "observed": {key: _jsonable(value) for key, value in result.observed.items()},
            }
            for result in results
        ],
    }


def junit_xml(results: Sequence[GateResult], name: str = "wam-audit") -> str:
    """The results as JUnit XML, which every CI system shows; inconclusive means skipped.

    Args:
        name: Name of the suite, such as the audit's.
    """
    tally = Counter(result.verdict for result in results)
    totals = {
        "tests": str(len(results)),
        "failures": str(tally["fail"]),
        "errors": "0",
        "skipped": str(tally["inconclusive"]),
        "time": "0",
    }
    root = ElementTree.Element("testsuites", {"name": _xml_text(name), **totals})
    suite = ElementTree.SubElement(root, "testsuite", {"name": _xml_text(name), **totals})
    for result in results:
        _add_case(suite, result)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _add_case(suite: ElementTree.Element, result: GateResult) -> None:
    attributes = {"classname": f"gates.{result.kind}", "name": _xml_text(result.gate), "time": "0"}
    case = ElementTree.SubElement(suite, "testcase", attributes)
    reason = _xml_text(result.reason)
    if result.verdict == "fail":
        failure = ElementTree.SubElement(case, "failure", {"message": reason, "type": result.kind})
        failure.text = reason
    elif result.verdict == "inconclusive":
        ElementTree.SubElement(case, "skipped", {"message": reason})
    else:
        ElementTree.SubElement(case, "system-out").text = reason


def judge_metric(gate: GateConfig, metrics: Sequence[Mapping[str, Any]]) -> GateResult:
    """Judge one bound from the interval of its metric; inconclusive where there is no number.

    Args:
        metrics: The list `metrics` of summary.json.
    """
    found = [metric for metric in metrics if _matches(metric, gate)]
    if len(found) != 1:
        return _metric_result(gate, "inconclusive", _not_found(gate, metrics, len(found)), {})
    metric = found[0]
    n = metric.get("n")
    if not _is_number(metric.get("estimate")):
        reason = f"the metric has no finite value: it is {metric.get('estimate')} (n = {n})"
        return _metric_result(gate, "inconclusive", reason, metric)
    if gate.minimum_n and (not _is_number(n) or n < gate.minimum_n):
        reason = f"n = {n}, and the gate asks for at least {gate.minimum_n} samples"
        return _metric_result(gate, "inconclusive", reason, metric)
    verdict, reason = _from_interval(gate, metric)
    return _metric_result(gate, verdict, reason, metric)


def _from_interval(gate: GateConfig, metric: Mapping[str, Any]) -> tuple[Verdict, str]:
    estimate, low, high = metric["estimate"], metric.get("low"), metric.get("high")
    if _is_number(low) and _is_number(high):
        seen = f"{estimate:.6g} [{low:.6g}, {high:.6g}], n = {metric.get('n')}"
        keeps, breaks = _sides(gate, low, high)
    else:
        seen = f"{estimate:.6g} without an interval, n = {metric.get('n')}"
        keeps, breaks = _sides(gate, estimate, estimate)
    bound = _bound(gate)
    if keeps:
        return "pass", f"{seen}: keeps {bound}"
    if breaks:
        return "fail", f"{seen}: breaks {bound}"
    return "inconclusive", f"{seen}: the interval holds both sides of {bound}; more samples decide"


def _sides(gate: GateConfig, low: float, high: float) -> tuple[bool, bool]:
    """Whether the whole interval keeps the bound, and whether all of it breaks it."""
    if gate.at_least is not None:
        return low >= gate.at_least, high < gate.at_least
    if gate.at_most is not None:
        return high <= gate.at_most, low > gate.at_most
    raise ValueError(f"gate on {gate.metric} has no bound; GateConfig should have refused it")


def _bound(gate: GateConfig) -> str:
    return f"at most {gate.at_most:g}" if gate.at_least is None else f"at least {gate.at_least:g}"


def _title(gate: GateConfig) -> str:
    return f"{gate.metric}{_labels_text(gate.labels)} {_bound(gate)}"


def _labels_text(labels: Mapping[str, Any]) -> str:
    if not labels:
        return ""
    return "{" + ", ".join(f"{key}: {labels[key]}" for key in sorted(labels)) + "}"


def _matches(metric: Mapping[str, Any], gate: GateConfig) -> bool:
    """All labels are equal; YAML's 1 and "1" name the same level."""
    if metric.get("name") != gate.metric:
        return False
    labels = {key: str(value) for key, value in metric.get("labels", {}).items()}
    return labels == {key: str(value) for key, value in gate.labels.items()}


def _not_found(gate: GateConfig, metrics: Sequence[Mapping[str, Any]], found: int) -> str:
    if found:
        return f"{found} metrics have this name and these labels; the summary is ambiguous"
    alike = [metric.get("labels", {}) for metric in metrics if metric.get("name") == gate.metric]
    if alike:
        texts = [_labels_text(labels) or "no labels" for labels in alike[:5]]
        more = f" and {len(alike) - 5} more" if len(alike) > 5 else ""
        return f"the summary has {gate.metric} only with {'; '.join(texts)}{more}"
    names = ", ".join(sorted({str(metric.get("name")) for metric in metrics})) or "none at all"
    return f"the summary has no such metric; it has {names}"


def _metric_result(
    gate: GateConfig, verdict: Verdict, reason: str, metric: Mapping[str, Any]
) -> GateResult:
    observed = {key: metric.get(key) for key in ("estimate", "low", "high", "n")}
    return GateResult(_title(gate), "metric", verdict, reason, observed)


def _complete(summary: Mapping[str, Any]) -> GateResult:
    complete = summary.get("complete") is True
    reason = (
        "every shard has its receipt"
        if complete
        else "shards are missing: the numbers describe a part of the data. Run the same command "
        "again to compute the rest"
    )
    return _integrity("the audit is complete", complete, reason, {"complete": str(complete)})


def _counts_add_up(counts: Mapping[str, int], manifest_size: int | None) -> GateResult:
    samples = counts.get("samples", 0)
    accounted = sum(count for status, count in counts.items() if status != "samples")
    expected = samples if manifest_size is None else manifest_size
    good = samples == accounted == expected and samples > 0
    reason = f"{accounted} samples have a status, the summary counts {samples}" + (
        "" if manifest_size is None else f", the manifest has {manifest_size} rows"
    )
    observed = {"samples": samples, "accounted": accounted, "manifest": manifest_size}
    return _integrity("every row of the manifest has a status", good, reason, observed)


def _few_bad(counts: Mapping[str, int], max_bad_fraction: float) -> GateResult:
    samples = counts.get("samples", 0)
    bad = samples - counts.get("ok", 0)
    good = samples > 0 and bad <= max_bad_fraction * samples
    kinds = [
        f"{count} {status}"
        for status, count in counts.items()
        if count and status not in ("samples", "ok")
    ]
    reason = f"{bad} of {samples} samples are not ok" + (f" ({', '.join(kinds)})" if kinds else "")
    title = f"at most {max_bad_fraction:g} of the samples are bad (dataset.max_bad_fraction)"
    return _integrity(title, good, reason, {"samples": samples, "bad": bad})


def _all_finite(metrics: Sequence[Mapping[str, Any]]) -> GateResult:
    wrong = [
        f"{metric.get('name')}{_labels_text(metric.get('labels', {}))}.{key} = {metric[key]}"
        for metric in metrics
        for key in ("estimate", "low", "high")
        if metric.get(key) is not None and not _is_number(metric[key])
    ]
    reason = f"all of {len(metrics)} metrics are finite or null"
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        reason = f"not finite: {'; '.join(wrong[:5])}{more}"
    return _integrity("every metric is finite", not wrong, reason, {"not_finite": len(wrong)})


def _integrity(
    gate: str, good: bool, reason: str, observed: Mapping[str, float | str | None]
) -> GateResult:
    return GateResult(gate, "integrity", "pass" if good else "fail", reason, observed)


def _is_number(value: object) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value)


def _jsonable(value: float | str | None) -> float | str | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _xml_text(text: str) -> str:
    """The text without the control characters that XML 1.0 cannot hold even when escaped."""
    return _NOT_XML.sub("\ufffd", text)
