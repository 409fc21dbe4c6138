"""The verdict on explanations is read off metrics, by intervals, and becomes a metric itself."""

import pytest

from tasks.gates import judge
from tasks.trust import TRUSTWORTHY, audit_verdict, judge_trust, trust_metrics, trust_sentences

METHODS = ("smoothgrad_absolute", "smoothgrad_signed", "integrated_gradients")
MAPS = (*METHODS, "path_gradient")


def metric(name, estimate, spread=0.01, n=20, **labels):
    return {
        "name": name, "labels": labels, "estimate": estimate, "low": estimate - spread,
        "high": estimate + spread, "n": n, "unit": "", "direction": "none",
    }  # fmt: skip


def found(**changes):
    """Metrics of an audit that passes; keywords replace (name, method) by an estimate or metric."""
    entries = {}
    for name in MAPS:
        for stage, value in ((1, 0.7), (2, 0.1)):
            key = f"similarity_{stage}_{name}"
            entries[key] = metric("sanity/randomisation_spearman", value, method=name, stage=stage)
        entries[f"rise_{name}"] = metric("sanity/largest_rise", 0.0, method=name)
        entries[f"energy_{name}"] = metric("sanity/energy_similarity", 0.3, method=name)
        if name.startswith("smoothgrad"):
            entries[f"seed_{name}"] = metric("sanity/seed_reliability", 0.8, method=name)
            for level, error in ((1, 0.001), ("approximation", 0.002)):
                entries[f"error_{level}_{name}"] = metric(
                    "attribution/share_standard_error", error, 0.0001, method=name, level=level
                )
    entries["gap"] = metric("attribution/completeness_gap", 0.02, quantile="median")
    entries |= changes
    return [entry for entry in entries.values() if entry is not None]


@pytest.fixture
def verdicts(toy_config):
    def judged(settings=(), **changes):
        sanity = {"enabled": True, "n_passes": 25} | dict(settings)
        smoothing = {"smoothgrad": {"n_samples": 25}}
        config = toy_config(analyses={"sanity": sanity}, attribution=smoothing)
        return judge_trust(config, found(**changes))

    return judged


def of(verdicts, method):
    return next(verdict for verdict in verdicts if verdict.method == method)


def test_all_checks_pass(verdicts):
    judged = verdicts()
    assert {verdict.method: verdict.verdict for verdict in judged} == dict.fromkeys(METHODS, "pass")
    assert audit_verdict(judged) == "pass"
    assert "pass every sanity check" in trust_sentences(judged)[0]


@pytest.mark.parametrize(
    ("key", "name", "value", "method"),
    [
        ("similarity_2_path_gradient", "sanity/randomisation_spearman", 0.3,
         "integrated_gradients"),
        ("rise_smoothgrad_absolute", "sanity/largest_rise", 0.3, "smoothgrad_absolute"),
        ("energy_integrated_gradients", "sanity/energy_similarity", 0.95, "integrated_gradients"),
        ("seed_smoothgrad_absolute", "sanity/seed_reliability", 0.3, "smoothgrad_absolute"),
        ("gap", "attribution/completeness_gap", 0.3, "integrated_gradients"),
        ("error_1_smoothgrad_absolute", "attribution/share_standard_error", 0.1,
         "smoothgrad_absolute"),
    ],
)  # fmt: skip
def test_each_check_alone_fails_its_method_and_the_audit(verdicts, key, name, value, method):
    def changed(value, spread):
        labels = next(entry["labels"] for entry in found() if entry is not None and entry["name"]
                      == name and _matches(key, entry["labels"]))  # fmt: skip
        return verdicts(**{key: metric(name, value, spread, **labels)})

    failed = changed(value, 0.01)
    assert of(failed, method).verdict == "fail"
    assert {v.verdict for v in failed if v.method != method} == {"pass"}
    assert audit_verdict(failed) == "fail"
    sentence = trust_sentences(failed)[0]
    assert sentence.startswith("NOT TRUSTWORTHY")
    assert f"is {value:.2f} [" in sentence
    undecided = changed(value, 0.5)
    assert of(undecided, method).verdict == "inconclusive"
    assert audit_verdict(undecided) == "inconclusive"
    assert trust_sentences(undecided)[0].startswith("Whether the explanations can be trusted")


def _matches(key, labels):
    if "method" not in labels:
        return key == "gap"
    stage_or_level = str(labels.get("stage", labels.get("level", "")))
    return key.endswith(labels["method"]) and (stage_or_level in key)


def test_the_whole_map_of_path_integration_may_stay_similar(verdicts):
    """It multiplies by the coefficients, which no randomisation touches."""
    similar = metric("sanity/randomisation_spearman", 0.7, method="integrated_gradients", stage=2)
    judged = verdicts(similarity_2_integrated_gradients=similar)
    assert of(judged, "integrated_gradients").verdict == "pass"


def test_a_map_that_no_headline_states_does_not_judge_the_audit(verdicts):
    noisy = metric("sanity/seed_reliability", 0.1, method="smoothgrad_signed")
    judged = verdicts(seed_smoothgrad_signed=noisy)
    assert of(judged, "smoothgrad_signed").verdict == "fail"
    assert audit_verdict(judged) == "pass"


def test_fewer_draws_than_the_audit_s_do_not_convict_it(verdicts):
    noisy = metric("sanity/seed_reliability", 0.3, method="smoothgrad_absolute")
    judged = verdicts({"n_passes": 10}, seed_smoothgrad_absolute=noisy)
    assert of(judged, "smoothgrad_absolute").verdict == "inconclusive"


def test_what_is_not_measured_is_undecided(verdicts):
    judged = verdicts(gap=None)
    assert of(judged, "integrated_gradients").verdict == "inconclusive"
    assert "is not known" in trust_sentences(judged)[0]
    asked = verdicts({"random_label_checkpoint": "weights.safetensors"})
    assert audit_verdict(asked) == "inconclusive"


@pytest.mark.parametrize(
    ("gain", "verdict"), [(0.2, "pass"), (-0.2, "fail"), (0.005, "inconclusive")]
)
def test_faithfulness_is_asked_for_where_it_was_measured(verdicts, gain, verdict):
    labels = {"method": "integrated_gradients", "removal": "energy"}
    measured = metric("faithfulness/faith_gain_over_energy", gain, **labels)
    judged = of(verdicts(gain=measured), "integrated_gradients")
    assert judged.verdict == verdict
    # The published axis is one that magnitudes win.
    published = metric("faithfulness/faith_gain_over_energy", -0.2, method="integrated_gradients")
    assert of(verdicts(gain=published), "integrated_gradients").verdict == "pass"


@pytest.mark.parametrize("verdict", ["pass", "fail", "inconclusive"])
def test_a_gate_says_of_the_audit_what_the_verdict_says(verdicts, verdict, toy_config):
    changes = {
        "pass": {},
        "fail": {"gap": metric("attribution/completeness_gap", 0.9, quantile="median")},
        "inconclusive": {"gap": None},
    }[verdict]
    entries = [
        metric(TRUSTWORTHY, value.estimate, n=value.n, **labels)
        | {"low": value.low, "high": value.high}
        for labels, value in trust_metrics(verdicts(**changes))
    ]
    gates = [{"metric": TRUSTWORTHY, "at_least": 1}]
    gates += [{"metric": TRUSTWORTHY, "labels": {"method": "integrated_gradients"}, "at_least": 1}]
    config = toy_config(gates=gates)
    judged = judge(config.gates, {"complete": True, "counts": {}, "metrics": entries})
    assert [result.verdict for result in judged[-2:]] == [verdict, verdict]
    assert {entry["n"] for entry in entries} <= {20, 0}


def test_nothing_is_judged_without_the_analysis(toy_config):
    assert judge_trust(toy_config(), found()) == []
    assert trust_sentences([]) == []
    assert trust_metrics([]) == []
    assert audit_verdict([]) is None
