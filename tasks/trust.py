"""May the explanations of an audit be trusted? A verdict read off the metrics of its summary.

Every check is a bound on one metric, judged from the interval as a gate is: pass, fail, or
inconclusive. A method fails if one of its checks fails, and passes if all pass. The verdict becomes
the metric `sanity/trustworthy`, 1 or 0, or between the two where the data do not decide, so that
a gate can demand it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tasks.analyses.sanity import (
    ENERGY_SIMILARITY,
    RANDOM_LABEL_SPEARMAN,
    RELIABILITY,
    RISE,
    SPEARMAN,
)
from tasks.analyses.sanity_maps import ABSOLUTE, GRADIENT, INTEGRATED, PATH, SIGNED
from tasks.config import AuditConfig, GateConfig
from tasks.gates import Verdict, judge_metric
from wam_core.intervals import Interval

TRUSTWORTHY = "sanity/trustworthy"

NAMES = {
    GRADIENT: "the plain gradient",
    ABSOLUTE: "smoothed gradients (WAM_SG)",
    SIGNED: "the signed mean of smoothed gradients",
    INTEGRATED: "path integration (WAM_IG)",
}
"""Methods that are judged, in words."""

HEADLINE_METHODS = (GRADIENT, ABSOLUTE, INTEGRATED)
"""Methods whose numbers the headline states; the audit is as trustworthy as the worst of them."""

Metric = Mapping[str, Any]


@dataclass(frozen=True)
class CheckResult:
    """How one check of one method was decided.

    Attributes:
        check: What is asked, in words.
        metric: Which number answers it.
        limit: Its bound, such as "at most 0.2".
        reason: What was seen, and why that decides or does not.
        estimate: Of the metric; None where it is not there.
    """

    check: str
    metric: str
    limit: str
    verdict: Verdict
    reason: str
    estimate: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class MethodVerdict:
    """Whether the explanations of one method may be trusted."""

    method: str
    verdict: Verdict
    checks: tuple[CheckResult, ...]

    def record(self) -> dict[str, Any]:
        """As plain JSON data, for the summary."""
        return asdict(self)


def judge_trust(config: AuditConfig, metrics: Sequence[Metric]) -> list[MethodVerdict]:
    """The verdict on every method that `analyses.sanity` checked; none where it is off.

    Args:
        metrics: The list `metrics` of summary.json.
    """
    if not config.analyses.sanity.enabled:
        return []
    checked = {
        entry["labels"].get("method") for entry in metrics if entry["name"] == ENERGY_SIMILARITY
    }
    return [
        _judge_method(config, method, _checks(config, metrics, method), metrics)
        for method in NAMES
        if method in checked
    ]


def trust_metrics(verdicts: Sequence[MethodVerdict]) -> list[tuple[dict[str, str], Interval]]:
    """Labels and values of `sanity/trustworthy`: by method, and without labels of the audit.

    The audit has the worst verdict of the methods that its headline states. An undecided verdict is
    1/2 with an interval from 0 to 1.
    """
    entries: list[tuple[dict[str, str], Interval]] = [
        ({"method": verdict.method}, _as_number(verdict)) for verdict in verdicts
    ]
    stated = _stated(verdicts)
    if stated:
        worst = min(stated, key=lambda verdict: _as_number(verdict).estimate or 0.0)
        n = min(_as_number(verdict).n for verdict in stated)
        number = _as_number(worst)
        entries.append(({}, Interval(number.estimate, number.low, number.high, n)))
    return entries


def audit_verdict(verdicts: Sequence[MethodVerdict]) -> Verdict | None:
    """The worst verdict of the methods that the headline states; None where none was judged."""
    found = {verdict.verdict for verdict in _stated(verdicts)}
    order: tuple[Verdict, ...] = ("fail", "inconclusive", "pass")
    return next((verdict for verdict in order if verdict in found), None)


def trust_sentences(verdicts: Sequence[MethodVerdict]) -> list[str]:
    """The first lines of the headline: what fails and by how much, or that nothing does."""
    found = audit_verdict(verdicts)
    stated = _stated(verdicts)
    if found is None:
        return []
    if found == "pass":
        names = ", ".join(NAMES[verdict.method] for verdict in stated)
        n = min(check.n for verdict in stated for check in verdict.checks)
        return [
            f"The explanations pass every sanity check ({names}; n = {n}): they change with what "
            "the model learned, and with the data alone they cannot be told."
        ]
    opening = {
        "fail": "NOT TRUSTWORTHY: explanations fail a sanity check.",
        "inconclusive": "Whether the explanations can be trusted is undecided.",
    }[found]
    reasons = [
        f"{_begun(NAMES[verdict.method])}: {_listed(verdict, found)}."
        for verdict in stated
        if verdict.verdict == found
    ]
    sound = [NAMES[verdict.method] for verdict in stated if verdict.verdict == "pass"]
    passing = [f"{_begun(', '.join(sound))}: every check passes."] if sound else []
    return [" ".join([opening, *reasons, *passing])]


def _begun(words: str) -> str:
    return words[:1].upper() + words[1:]


def _stated(verdicts: Sequence[MethodVerdict]) -> list[MethodVerdict]:
    """Verdicts on methods of the headline; on whatever was judged where none of them was."""
    return [verdict for verdict in verdicts if verdict.method in HEADLINE_METHODS] or list(verdicts)


def _listed(verdict: MethodVerdict, found: Verdict) -> str:
    checks = [check for check in verdict.checks if check.verdict == found]
    return "; ".join(f"{check.check} {_seen(check)}" for check in checks)


def _seen(check: CheckResult) -> str:
    if check.estimate is None:
        return f"is not known ({check.limit} is asked)"
    interval = "" if check.low is None else f" [{check.low:.2f}, {check.high:.2f}]"
    return f"is {check.estimate:.2f}{interval}, where {check.limit} is asked (n = {check.n})"


def _as_number(verdict: MethodVerdict) -> Interval:
    n = min((check.n for check in verdict.checks), default=0)
    low, high = {"pass": (1.0, 1.0), "fail": (0.0, 0.0), "inconclusive": (0.0, 1.0)}[
        verdict.verdict
    ]
    return Interval((low + high) / 2, low, high, n)


@dataclass(frozen=True)
class _Check:
    words: str
    gate: GateConfig


def _checks(config: AuditConfig, metrics: Sequence[Metric], method: str) -> list[_Check]:
    """What is asked of a method.

    WAM_IG multiplies a gradient by the coefficients, which no randomisation touches: randomised
    is its gradient part, and the product is held against the coefficients.
    """
    limits = config.analyses.sanity.limits
    part = PATH if method == INTEGRATED else method
    of_part = " of its gradient part" if method == INTEGRATED else ""
    last = max((_stage(entry, part) for entry in metrics), default=0)

    def check(words: str, metric: str, /, at_least: float | None = None,
              at_most: float | None = None, **labels: str | int) -> _Check:  # fmt: skip
        gate = GateConfig(metric=metric, labels=labels, at_least=at_least, at_most=at_most)
        return _Check(words, gate)

    asked = [
        check(
            f"the similarity{of_part} with every layer randomised",
            SPEARMAN,
            at_most=limits.similarity,
            method=part,
            stage=last,
        ),
        check(
            f"the largest rise of the similarity{of_part} while more layers are randomised",
            RISE,
            at_most=limits.rise,
            method=part,
        ),
        check(
            "the similarity to the magnitudes of the coefficients, which need no model,",
            ENERGY_SIMILARITY,
            at_most=limits.energy_similarity,
            method=method,
        ),
    ]
    if config.analyses.sanity.random_label_checkpoint is not None:
        asked.append(
            check(
                f"the similarity{of_part} with a network trained on permuted labels",
                RANDOM_LABEL_SPEARMAN,
                at_most=limits.random_label_similarity,
                method=part,
            )
        )
    if method in (ABSOLUTE, SIGNED):
        asked.append(
            check(
                "the similarity to the same map from other noise",
                RELIABILITY,
                at_least=limits.seed_reliability,
                method=method,
            )
        )
        asked.append(
            check(
                "the Monte-Carlo error of a level's share",
                "attribution/share_standard_error",
                at_most=limits.share_error,
                method=method,
                level=_least_certain_level(metrics, method),
            )
        )
    if method == INTEGRATED:
        asked.append(
            check(
                "the median completeness gap",
                "attribution/completeness_gap",
                at_most=limits.completeness_gap,
                quantile="median",
            )
        )
    return asked


def _stage(entry: Metric, method: str) -> int:
    if entry["name"] != SPEARMAN or entry["labels"].get("method") != method:
        return 0
    return int(entry["labels"]["stage"])


def _least_certain_level(metrics: Sequence[Metric], method: str) -> str | int:
    errors = {
        entry["labels"]["level"]: entry["estimate"]
        for entry in metrics
        if entry["name"] == "attribution/share_standard_error"
        and entry["labels"].get("method") == method
    }
    return max(errors, key=errors.__getitem__, default="approximation")


def _judge_method(
    config: AuditConfig, method: str, checks: Sequence[_Check], metrics: Sequence[Metric]
) -> MethodVerdict:
    results = tuple(_judge_check(config, check, metrics) for check in checks)
    found = {result.verdict for result in results}
    verdict: Verdict = "inconclusive"
    if "fail" in found:
        verdict = "fail"
    elif found == {"pass"}:
        verdict = "pass"
    return MethodVerdict(method, verdict, results)


def _judge_check(config: AuditConfig, check: _Check, metrics: Sequence[Metric]) -> CheckResult:
    gate = check.gate
    judged = judge_metric(gate, metrics)
    verdict, reason = judged.verdict, judged.reason
    smoothing, drawn = config.attribution.smoothgrad, config.analyses.sanity.n_passes
    own = smoothing.n_samples if smoothing.tolerance is None else smoothing.min_samples
    if gate.metric == RELIABILITY and verdict == "fail" and drawn < own:
        # More draws agree better: too few in the check do not convict the audit's.
        verdict = "inconclusive"
        reason += f"; but it was asked with {drawn} draws, and the audit's own maps have {own}"
    seen: dict[str, Any] = dict(judged.observed)
    limit = f"at most {gate.at_most:g}" if gate.at_least is None else f"at least {gate.at_least:g}"
    return CheckResult(
        check=check.words,
        metric=gate.metric,
        limit=limit,
        verdict=verdict,
        reason=reason,
        estimate=seen.get("estimate"),
        low=seen.get("low"),
        high=seen.get("high"),
        n=int(seen.get("n") or 0),
    )
