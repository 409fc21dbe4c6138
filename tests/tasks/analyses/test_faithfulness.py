"""Faithfulness of maps, in audits of models whose use of coefficients is known."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.errors import ConfigError
from tasks.mean_curves import GRID, mean_curves
from tasks.planning import passes_per_sample, plan_audit
from tasks.publish import write_results
from tasks.session import AuditSession
from tasks.store import AuditFolder
from tasks.validation.faithfulness import weak_evidence
from wam_core.faithfulness import curves as curves_module

ORDERS = {
    "integrated_gradients",
    "integrated_gradients_positive",
    "smoothgrad_absolute",
    "magnitude",
    "random",
}
QUICK = {"n_steps": 4, "n_subsets": 8}


def judged(**settings):
    return {"faithfulness": {"enabled": True, **QUICK, **settings}}


@pytest.fixture
def striped_config(planted_config):
    """Class 1 has stripes of one pixel, which the model reads; all have stronger ones of two."""
    rng = np.random.default_rng(3)
    labels = np.arange(8) % 2
    wide = 0.25 * np.tile([1.0, 1.0, -1.0, -1.0], 4)[None, None, :]
    noise = 0.02 * rng.standard_normal((8, 16, 16))
    rows = 0.15 * (-1.0) ** np.arange(16)[None, :, None]
    pictures = 0.5 + wide + noise + labels[:, None, None] * rows

    def config(labels=labels, **sections):
        quick = {
            "attribution": {
                "smoothgrad": {"n_samples": 4, "aggregate": "absolute"},
                "integrated_gradients": {"n_steps": 3},
            },
            "store": {"shard_size": 8},
            "execution": {"max_batch": 16},
        }
        model = {"steepness": 100.0}
        return planted_config(pictures, labels, model, **quick | sections)

    return config


@pytest.mark.parametrize("dimension", [2, 3])
def test_closed_forms_are_recovered(dimension):
    checks = weak_evidence(dimension).run()
    assert [check.record() for check in checks if not check.passed] == []
    statistics = {check.truth.statistic for check in checks}
    assert {"faithfulness/energy_faith", "faithfulness/class_contrast"} <= statistics


def test_an_area_with_unit_spacing_is_noticed(monkeypatch):
    right = curves_module.trapezoid_area
    monkeypatch.setattr(
        curves_module, "trapezoid_area", lambda values, part: right(values, part * 16)
    )
    missed = {check.truth.statistic for check in weak_evidence(1).run() if not check.passed}
    assert {"faithfulness/insertion", "faithfulness/energy_faith"} <= missed
    assert "faithfulness/spectra" not in missed


def test_what_maps_say_is_held_against_orders_without_a_model(striped_config, summary_of, stored):
    config = striped_config(analyses=judged())
    record, metrics = summary_of(config)

    def estimate(name, **labels):
        return metrics[f"faithfulness/{name}", tuple(sorted(labels.items()))]["estimate"]

    for name in ("faith", "energy_faith", "replacement_faith", "mu_fidelity", "class_contrast"):
        found = {labels for metric, labels in metrics if metric == f"faithfulness/{name}"}
        assert found == {(("method", order),) for order in ORDERS}
    for order in ("magnitude", "random"):
        assert estimate("class_contrast", method=order) == 0.0
    evidence = "integrated_gradients_positive"
    for name in ("energy_faith", "class_contrast"):
        assert estimate(name, method=evidence) > estimate(name, method="magnitude") + 0.1
    gain = estimate("faith_gain_over_energy", method=evidence, removal="energy")
    difference = estimate("energy_faith", method=evidence) - estimate(
        "energy_faith", method="magnitude"
    )
    assert gain == pytest.approx(difference)
    assert estimate("n_steps") == 4
    assert 0 < estimate("reliability", method="smoothgrad_signed") <= 1
    assert estimate("end_point_gap") < 1e-5
    sentences = " ".join(record["headline"])
    assert sentences.index("over the fraction of the coefficients' energy") < sentences.index(
        "Faith as published"
    )
    table = stored(session_folder(config)).table("faithfulness")
    spectra = table[table["method"] == evidence]["spectra"].median()
    assert estimate("spectra", method=evidence) == pytest.approx(spectra)


def session_folder(config):
    return Path(AuditSession(config).folder.url)


def test_curves_are_stored_with_the_answers_of_the_model_at_their_ends(
    striped_config, compute_all, stored
):
    config = striped_config(analyses=judged())
    tables = stored(compute_all(config))
    curves = tables.table("curves")
    assert set(curves["removal"]) == {"count", "energy", "replacement"}
    assert curves.groupby(["sample_index", "method", "removal"]).size().unique().tolist() == [5]
    last = curves[curves["step"] == 4].set_index("sample_index")
    assert (last["fraction"] == 1.0).all()
    clean = tables.table("samples").set_index("sample_index")["probability_target"]
    np.testing.assert_allclose(
        last["insertion_probability"], clean.loc[last.index], rtol=0, atol=1e-5
    )
    first = curves[curves["step"] == 0].set_index("sample_index")
    np.testing.assert_allclose(
        first["deletion_probability"], clean.loc[first.index], rtol=0, atol=1e-5
    )
    areas = tables.table("faithfulness").set_index(["sample_index", "method"])
    for (sample, method, removal), rows in curves.groupby(["sample_index", "method", "removal"]):
        column = {"count": "", "energy": "energy_", "replacement": "replacement_"}[removal]
        area = np.trapezoid(rows["insertion_probability"], rows["fraction"])
        assert areas.loc[(sample, method), f"{column}insertion"] == pytest.approx(area)


def test_mean_curves_are_means_over_samples_that_are_ok(striped_config, compute_all, stored):
    config = striped_config(analyses=judged(measures=["count"]), store={"shard_size": 3})
    folder = compute_all(config)
    session = AuditSession(config)
    found = mean_curves(AuditFolder(str(folder)), session.shards, 0.95)
    assert {(curve.method, curve.kind) for curve in found} == {
        (order, kind) for order in ORDERS for kind in ("insertion", "deletion")
    }
    table = stored(folder).table("curves")
    curve = next(c for c in found if (c.method, c.kind) == ("magnitude", "insertion"))
    rows = table[(table["method"] == "magnitude") & (table["step"] == 2)]
    middle = curve.points[len(GRID) // 2]
    assert middle.n == 8
    assert middle.estimate == pytest.approx(rows["insertion_probability"].mean())
    spread = rows["insertion_probability"].std() / 8**0.5 * 2.3646
    assert middle.high - middle.estimate == pytest.approx(spread, rel=1e-3)


def test_numbers_do_not_depend_on_batches_shards_or_what_else_is_asked(
    striped_config, compute_all, stored
):
    def rows(**sections):
        tables = stored(compute_all(striped_config(**sections)))
        return tables.table("faithfulness").set_index(["sample_index", "method"]).sort_index()

    alone = rows(analyses=judged(), store={"shard_size": 2}, execution={"max_batch": 3})
    together = rows(analyses=judged() | {"minimal": {"enabled": True, "resolution": 0.9}})
    pd.testing.assert_frame_equal(alone, together, rtol=1e-4, atol=1e-5)
    fewer = rows(
        analyses=judged(methods=["integrated_gradients"], measures=["energy", "replacement"])
    )
    columns = ["energy_faith", "replacement_faith", "gini"]
    pd.testing.assert_frame_equal(
        together.loc[fewer.index, columns], fewer[columns], rtol=1e-4, atol=1e-5
    )
    assert fewer["faith"].isna().all()
    assert set(fewer.index.get_level_values("method")) == ORDERS - {"smoothgrad_absolute"}


def test_methods_with_an_order_of_their_own_are_judged_by_it(striped_config, compute_all, stored):
    coalitions = {"enabled": True, "n_samples": 4}
    config = striped_config(
        attribution={"coalition_gradients": coalitions},
        analyses=judged(
            methods=["coalition_gradients"], measures=["replacement", "class_contrast"]
        ),
    )
    session = AuditSession(config)
    planned = plan_audit(session)
    table = stored(compute_all(config)).table("faithfulness").set_index("method")
    assert set(table.index) == {"coalition_gradients", "magnitude", "random"}
    assert table.loc["coalition_gradients", "class_contrast"].notna().all()
    receipts = AuditSession(config).completed().values()
    assert sum(receipt.n_backward for receipt in receipts) == planned.n_backward


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"budget": 80},
        {"measures": ["mu_fidelity"]},
        {"measures": ["replacement", "class_contrast"], "methods": ["smoothgrad"]},
    ],
    ids=str,
)
def test_the_plan_prices_what_is_passed(striped_config, compute_all, settings):
    config = striped_config(analyses=judged(**settings))
    session = AuditSession(config)
    planned = plan_audit(session)
    compute_all(config)
    receipts = AuditSession(config).completed().values()
    assert sum(receipt.n_forward for receipt in receipts) == planned.n_forward
    assert sum(receipt.n_backward for receipt in receipts) == planned.n_backward
    part = planned.parts["faithfulness"]
    assert part.n_forward + 8 * passes_per_sample(config).forward == planned.n_forward


def test_a_budget_caps_steps_and_subsets(striped_config, compute_all, stored):
    config = striped_config(analyses=judged(n_steps=16, n_subsets=64, budget=200))
    table = stored(compute_all(config)).table("faithfulness")
    assert len(set(table["n_steps"])) == len(set(table["n_subsets"])) == 1
    steps, subsets = table["n_steps"][0], table["n_subsets"][0]
    assert steps < 16
    assert subsets == 64 * steps // 16


def test_replacements_within_the_sample_need_no_other(striped_config, compute_all, stored):
    unlabelled = striped_config(labels=np.zeros(8, dtype=int), analyses=judged())
    with pytest.raises(ConfigError, match="does not have two labelled classes"):
        AuditSession(unlabelled).prepare_folder()
    config = striped_config(
        labels=np.zeros(8, dtype=int),
        analyses=judged(replacement="resampled", measures=["replacement"]),
    )
    table = stored(compute_all(config)).table("faithfulness")
    assert table["replacement_faith"].notna().all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"methods": ["gradient"]}, "faithfulness.methods names gradient"),
        ({"measures": ["class_contrast"]}, "add that to"),
        ({"n_steps": 5}, "multiple of 2"),
        ({"budget": 10}, "a budget of 10 passes per sample"),
        ({"n_steps": 500}, "the signal has 240 coefficients to remove"),
    ],
    ids=str,
)
def test_what_cannot_be_measured_is_refused(striped_config, settings, words):
    with pytest.raises(ConfigError, match=words):
        plan_audit(AuditSession(striped_config(analyses=judged(**settings))))


def test_the_report_shows_curves_and_both_tables(striped_config, compute_all):
    config = striped_config(analyses=judged())
    folder = AuditFolder(str(compute_all(config)))
    write_results(folder, config)
    page = folder.read_bytes("report.html").decode()
    section = page[page.index('id="faithfulness"') :]
    assert section.index("energy alone cannot win") < section.index("Measures as published")
    assert section.count('class="curve series-0"') == 6
    assert "Largest coefficients (no model)" in section
    assert "NaN" not in section
    summary = json.loads(folder.read_bytes("summary.json"))
    names = {entry["name"] for entry in summary["metrics"]}
    assert {"faithfulness/energy_faith", "faithfulness/spectra"} <= names


def test_random_weights_are_what_a_map_is_held_against(toy_config, compute_all, stored):
    measures = ["count", "random_weights"]
    config = toy_config(
        attribution={"smoothgrad": {"n_samples": 2}, "integrated_gradients": {"n_steps": 2}},
        analyses=judged(measures=measures, n_steps=4),
    )
    plan = plan_audit(AuditSession(config))
    folder = compute_all(config)
    receipts = [json.loads(path.read_text()) for path in folder.glob("receipts/*.json")]
    assert sum(receipt["n_backward"] for receipt in receipts) == plan.n_backward
    assert sum(receipt["n_forward"] for receipt in receipts) == plan.n_forward
    table = stored(folder).table("faithfulness")
    gaps = table.pivot(index="sample_index", columns="method", values="random_weights_gap")
    assert gaps[["magnitude", "random"]].eq(0).all(axis=None)
    assert gaps["integrated_gradients"].abs().gt(0).any()
    small = toy_config(
        name="small",
        attribution={"smoothgrad": {"n_samples": 2}, "integrated_gradients": {"n_steps": 2}},
        analyses=judged(measures=measures, n_steps=4),
        execution={"max_batch": 2},
    )
    again = stored(compute_all(small)).table("faithfulness")
    again = again.pivot(index="sample_index", columns="method", values="random_weights_gap")
    np.testing.assert_allclose(again.to_numpy(float), gaps.to_numpy(float), atol=1e-5)


def test_a_model_without_weights_has_no_gap_to_random_ones(striped_config, compute_all, stored):
    config = striped_config(analyses=judged(measures=["count", "random_weights"]))
    table = stored(compute_all(config)).table("faithfulness")
    np.testing.assert_allclose(table["random_weights_gap"], 0.0, atol=1e-6)
