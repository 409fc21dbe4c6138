"""May the explanations of an audit be trusted? A verdict read off the metrics of its summary.

Every check is a bound on one metric, judged from the interval as a gate is: pass, fail, or
inconclusive. A method fails if one of its checks fails, and passes if all pass. The verdict becomes
the metric `sanity/trustworthy`, 1 or 0, or between the two where the data do not decide, so that
a gate can demand it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tasks.analyses.sanity_comparisons import ENERGY_SIMILARITY, RELIABILITY
from tasks.analyses.sanity_maps import ABSOLUTE, COALITIONS, GRADIENT, INTEGRATED, SIGNED
from tasks.config import AuditConfig, GateConfig
from tasks.gates import Verdict, judge_metric
from tasks.trust_checks import Check, Metric, checks_of
from wam_core.intervals import Interval

TRUSTWORTHY = "sanity/trustworthy"

NAMES = {
    GRADIENT: "the plain gradient",
    ABSOLUTE: "smoothed gradients (WAM_SG)",
    SIGNED: "the signed mean of smoothed gradients",
    INTEGRATED: "path integration (WAM_IG)",
    COALITIONS: "coalitions (WAM_CG)",
}
"""Methods that are judged, in words."""

HEADLINE_METHODS = (GRADIENT, ABSOLUTE, INTEGRATED, COALITIONS)
"""Methods whose numbers the headline states; the audit is as trustworthy as the worst of them."""


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
        _judge_method(config, method, checks_of(config, metrics, method), metrics)
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
            f"The explanations pass every sanity check ({names}; n = {n}): they change when what "
            "the model learned is taken away, and are no copy of the data."
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


def _judge_method(
    config: AuditConfig, method: str, checks: Sequence[Check], metrics: Sequence[Metric]
) -> MethodVerdict:
    results = tuple(_judge_check(config, check, metrics) for check in checks)
    found = {result.verdict for result in results}
    verdict: Verdict = "inconclusive"
    if "fail" in found:
        verdict = "fail"
    elif found == {"pass"}:
        verdict = "pass"
    return MethodVerdict(method, verdict, results)


def _judge_check(config: AuditConfig, check: Check, metrics: Sequence[Metric]) -> CheckResult:
    gate = check.gate
    judged = judge_metric(gate, metrics)
    verdict, reason = judged.verdict, judged.reason
    drawn, own = config.analyses.sanity.n_passes, _own_draws(config, gate)
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


def _own_draws(config: AuditConfig, gate: GateConfig) -> int:
    """Draws of the audit's own maps of the method that is asked about."""
    if gate.labels.get("method") == COALITIONS:
        return config.attribution.coalition_gradients.n_samples
    smoothing = config.attribution.smoothgrad
    return smoothing.n_samples if smoothing.tolerance is None else smoothing.min_samples
