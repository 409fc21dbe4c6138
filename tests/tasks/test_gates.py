"""Gates are judged from intervals; integrity is always judged; CI systems read the result."""

import json
import math
from xml.etree import ElementTree

import pytest

from tasks.config import GateConfig
from tasks.gates import GateResult, failed, gates_json, judge, junit_xml

INTEGRITY_GATES = 4


def metric(name="accuracy/top1", labels=None, estimate=0.9, low=0.87, high=0.92, n=500):
    return {
        "name": name, "labels": labels or {}, "estimate": estimate, "low": low, "high": high,
        "n": n, "unit": "fraction", "direction": "higher",
    }  # fmt: skip


def summary(*metrics, counts=None, complete=True):
    counts = counts or {"samples": 500, "ok": 499, "decode_error": 1, "nonfinite": 0}
    return {"complete": complete, "counts": counts, "metrics": list(metrics)}


def verdict_of(gate, *metrics):
    return judge([GateConfig(**gate)], summary(*metrics))[-1]


def integrity(found, **options):
    results = judge([], found, **options)
    assert len(results) == INTEGRITY_GATES
    return {result.gate.partition(" of the samples")[0]: result.verdict for result in results}


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        ({"at_least": 0.87}, "pass"),
        ({"at_least": 0.88}, "inconclusive"),
        ({"at_least": 0.92}, "inconclusive"),
        ({"at_least": 0.93}, "fail"),
        ({"at_most": 0.92}, "pass"),
        ({"at_most": 0.9}, "inconclusive"),
        ({"at_most": 0.87}, "inconclusive"),
        ({"at_most": 0.86}, "fail"),
    ],
)
def test_the_whole_interval_decides(bound, expected):
    result = verdict_of({"metric": "accuracy/top1"} | bound, metric())
    assert result.verdict == expected
    assert "[0.87, 0.92], n = 500" in result.reason


@pytest.mark.parametrize(("bound", "expected"), [(0.9, "pass"), (0.91, "fail")])
def test_without_an_interval_the_estimate_decides(bound, expected):
    gate = {"metric": "accuracy/top1", "at_least": bound}
    result = verdict_of(gate, metric(low=None, high=None))
    assert result.verdict == expected
    assert "without an interval" in result.reason


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (metric(n=9), "n = 9, and the gate asks for at least 10"),
        (metric(n=None), "n = None"),
        (metric(estimate=None), "no finite value"),
        (metric(estimate=math.nan), "no finite value"),
        (metric("accuracy/top5"), "it has accuracy/top5"),
        (metric(labels={"class": "cat"}), "only with {class: cat}"),
    ],
)
def test_what_cannot_be_judged_is_inconclusive_and_says_why(found, reason):
    gate = {"metric": "accuracy/top1", "at_least": 0.1, "minimum_n": 10}
    result = verdict_of(gate, found)
    assert result.verdict == "inconclusive"
    assert reason in result.reason


def test_minimum_n_is_met_exactly():
    gate = {"metric": "accuracy/top1", "at_least": 0.1, "minimum_n": 10}
    assert verdict_of(gate, metric(n=10)).verdict == "pass"


def test_labels_pick_the_metric_whether_levels_are_written_as_text_or_number():
    fine = metric("reliance/share", {"method": "gradient", "level": 1}, 0.1, 0.05, 0.15)
    coarse = metric("reliance/share", {"method": "gradient", "level": 2}, 0.7, 0.6, 0.8)
    gate = {"metric": "reliance/share", "at_most": 0.2}
    for level in (1, "1"):
        labels = {"level": level, "method": "gradient"}
        assert verdict_of(gate | {"labels": labels}, coarse, fine).verdict == "pass"
    assert verdict_of(gate | {"labels": {"level": 1}}, coarse, fine).verdict == "inconclusive"


def test_two_metrics_of_one_name_are_ambiguous():
    gate = {"metric": "accuracy/top1", "at_least": 0.5}
    assert "ambiguous" in verdict_of(gate, metric(), metric()).reason


def test_a_sound_summary_passes_every_integrity_gate():
    assert set(integrity(summary(metric()), manifest_size=500).values()) == {"pass"}


def test_an_incomplete_audit_fails():
    assert integrity(summary(complete=False))["the audit is complete"] == "fail"


@pytest.mark.parametrize(
    ("counts", "manifest_size"),
    [
        ({"samples": 500, "ok": 499}, None),
        ({"samples": 500, "ok": 500}, 501),
        ({"samples": 0, "ok": 0}, 0),
        ({}, None),
    ],
)
def test_counts_must_add_up_to_the_manifest(counts, manifest_size):
    found = summary(counts=counts) if counts else {"complete": True, "metrics": []}
    verdicts = integrity(found, manifest_size=manifest_size)
    assert verdicts["every row of the manifest has a status"] == "fail"


@pytest.mark.parametrize(("allowed", "expected"), [(0.1, "pass"), (0.099, "fail")])
def test_too_many_bad_samples_fail(allowed, expected):
    found = summary(counts={"samples": 10, "ok": 9, "decode_error": 1})
    assert integrity(found, max_bad_fraction=allowed)[f"at most {allowed}"] == expected


@pytest.mark.parametrize("value", [math.nan, math.inf, "0.5", True])
def test_a_value_that_is_no_finite_number_fails(value):
    results = judge([], summary(metric(high=value)))
    assert results[-1].verdict == "fail"
    assert "accuracy/top1.high" in results[-1].reason
    assert failed(results)


def test_a_null_value_is_no_failure():
    assert not failed(judge([], summary(metric(estimate=None, low=None, high=None))))


def test_only_a_failure_fails():
    gates = [GateConfig(metric="accuracy/top1", at_least=0.9)]
    results = judge(gates, summary(metric()))
    assert results[-1].verdict == "inconclusive"
    assert not failed(results)
    assert gates_json(results)["verdict"] == "inconclusive"


def test_gates_json_is_strict_json():
    gates = [GateConfig(metric="accuracy/top1", at_least=0.95)]
    found = gates_json(judge(gates, summary(metric(), metric("other", estimate=math.inf))))
    again = json.loads(json.dumps(found, allow_nan=False))
    assert again["counts"] == {"pass": 3, "fail": 2, "inconclusive": 0}
    assert again["verdict"] == "fail"
    assert again["gates"][-1]["observed"] == {"estimate": 0.9, "low": 0.87, "high": 0.92, "n": 500}


def test_gates_json_writes_null_for_what_is_not_finite():
    result = GateResult("g", "metric", "inconclusive", "r", {"estimate": math.nan})
    assert gates_json([result])["gates"][0]["observed"] == {"estimate": None}


def test_junit_counts_and_marks_every_gate():
    gates = [
        GateConfig(metric="accuracy/top1", at_least=0.8),
        GateConfig(metric="accuracy/top1", at_least=0.9),
        GateConfig(metric="accuracy/top1", at_least=0.99),
    ]
    root = ElementTree.fromstring(junit_xml(judge(gates, summary(metric())), "my-audit"))
    suite = root.find("testsuite")
    assert root.tag == "testsuites"
    assert suite.get("name") == "my-audit"
    counted = {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")}
    assert counted == {"tests": "7", "failures": "1", "errors": "0", "skipped": "1"}
    assert len(suite.findall("testcase")) == 7
    assert suite.find("testcase/failure").get("message").startswith("0.9 [0.87, 0.92]")
    assert "more samples" in suite.find("testcase/skipped").get("message")
    assert all(case.get("classname") and case.get("name") for case in suite)


def test_junit_escapes_what_a_dataset_may_call_its_classes():
    name = "</failure>&\"'\x00\x1b\ud800é✓"
    gate = GateConfig(metric="accuracy/top1", labels={"class": name}, at_least=0.99)
    text = junit_xml(judge([gate], summary(metric(labels={"class": name}))))
    root = ElementTree.fromstring(text.encode())
    case = root.findall("testsuite/testcase")[-1]
    assert "</failure>&\"'\ufffd\ufffd\ufffdé✓" in case.get("name")
    assert case.find("failure") is not None
