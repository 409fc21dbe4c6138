"""Levels taken away from models whose deciding level is known."""

import json
from pathlib import Path

import numpy as np
import pytest

from tasks.errors import ConfigError
from tasks.planning import plan_audit, total_passes
from tasks.publish import write_results
from tasks.session import AuditSession
from tasks.store import AuditFolder
from wam_core.coalitions import pairs

N_SAMPLES = 12
SIZE = 16


def stripes(amplitude=0.25):
    """Class 1 has stripes of one pixel along the first axis; all have a coarse ramp and a level."""
    rng = np.random.default_rng(3)
    labels = np.arange(N_SAMPLES) % 2
    ramp = 0.2 * np.linspace(-1, 1, SIZE // 4).repeat(4)[None, None, :]
    level = rng.uniform(0.45, 0.55, (N_SAMPLES, 1, 1))
    rows = amplitude * (-1.0) ** np.arange(SIZE)[None, :, None]
    return level + ramp + labels[:, None, None] * rows, labels


def removal(**settings):
    return {"band_removal": {"enabled": True, **settings}, "intervals": {"n_resamples": 50}}


def estimate(metrics, name, **labels):
    return metrics[name, tuple(sorted(labels.items()))]["estimate"]


def test_only_the_level_that_decides_matters(planted_config, summary_of):
    pictures, labels = stripes()
    config = planted_config(pictures, labels, analyses=removal())
    record, metrics = summary_of(config)
    assert estimate(metrics, "ablation/accuracy", kind="clean") == 1.0
    assert estimate(metrics, "ablation/accuracy", kind="nothing") == 0.5
    for level, deciding in ((1, True), (2, False), ("approximation", False)):
        without = estimate(metrics, "ablation/accuracy", level=level, kind="without")
        alone = estimate(metrics, "ablation/accuracy", level=level, kind="only")
        assert (without, alone) == ((0.5, 1.0) if deciding else (1.0, 0.5))
    # Finest levels kept: all decide. Finest levels removed: none is left that does.
    for level in (1, 2):
        assert estimate(metrics, "pass/accuracy", kind="high_pass", level=level) == 1.0
        assert estimate(metrics, "pass/accuracy", kind="low_pass", level=level) == 0.5
    assert estimate(metrics, "texture/t_pass") == 1.0
    # Accuracy is halfway between clean (1) and chance (1/2) midway to the first level removed.
    assert estimate(metrics, "pass/half_accuracy_cutoff", kind="low_pass") == 0.5
    assert estimate(metrics, "pass/half_accuracy_cutoff", kind="high_pass") == 0.5
    assert any("Removing level 1 (structures of 1 to 2 pixels)" in s for s in record["headline"])


def test_shapley_values_belong_to_the_level_that_decides(planted_config, summary_of, stored):
    pictures, labels = stripes()
    config = planted_config(pictures, labels, analyses=removal())
    _, metrics = summary_of(config)
    folder = Path(AuditSession(config).folder.path())
    rows = stored(folder).table("coalitions")
    table = rows.pivot(index="sample_index", columns="coalition", values="probability_target")
    expected = table[7] - table[0]
    value = {
        level: estimate(metrics, "shapley/value", level=level) for level in (1, 2, "approximation")
    }
    assert value[1] == pytest.approx(expected.mean(), abs=1e-6)
    assert value[2] == pytest.approx(0, abs=1e-6)
    assert value["approximation"] == pytest.approx(0, abs=1e-6)
    assert estimate(metrics, "shapley/efficiency_gap") < 1e-5
    assert estimate(metrics, "shapley/scale_centroid") == pytest.approx(1, abs=1e-3)
    assert estimate(metrics, "shapley/fine_share") == pytest.approx(1, abs=1e-3)
    # Class 0 is told by the absence of stripes: nothing that is added speaks for it.
    assert estimate(metrics, "shapley/harmful_share") == 0.0
    for first, second in pairs(3):
        names = (1, 2, "approximation")
        interaction = estimate(
            metrics, "shapley/interaction", level=names[first], other_level=names[second]
        )
        assert interaction == pytest.approx(0, abs=1e-6)


def test_a_level_that_speaks_against_a_class_is_harmful_to_it(planted_config, summary_of):
    """Class 0 where there are stripes after all: level 1 has a negative value for them."""
    pictures, labels = stripes()
    config = planted_config(pictures, np.zeros_like(labels), analyses=removal())
    _, metrics = summary_of(config)
    assert estimate(metrics, "shapley/harmful_share") == 0.5
    assert estimate(metrics, "shapley/negative_share", level=1) == 0.5
    assert estimate(metrics, "shapley/value", level=1) < -0.4


def test_orientations_are_told_apart(planted_config, summary_of):
    """The stripes vary along the first axis: "da" decides, the other two do not."""
    pictures, labels = stripes()
    _, metrics = summary_of(planted_config(pictures, labels, analyses=removal()))
    for filters in ("da", "ad", "dd"):
        address = {"level": 1, "filters": filters}
        without = estimate(metrics, "ablation/accuracy", kind="without", **address)
        alone = estimate(metrics, "ablation/accuracy", kind="only", **address)
        assert (without, alone) == ((0.5, 1.0) if filters == "da" else (1.0, 0.5))


def test_a_profile_that_points_at_the_deciding_level_agrees_with_removal(
    planted_config, summary_of
):
    pictures, labels = stripes()
    _, metrics = summary_of(planted_config(pictures, labels, analyses=removal()))
    labels_ = {"method": "smoothgrad_absolute", "normalisation": "share", "measure": "shapley"}
    assert estimate(metrics, "causality/spearman_of_means", **labels_) >= 0.5


@pytest.mark.parametrize(
    "switches",
    [
        {"shapley": False},
        {"shapley": False, "pass_curves": False},
        {"shapley": False, "ablation": False},
        {"orientations": False},
        {"samples": 5},
    ],
)
def test_what_it_costs_is_planned_and_what_is_shared_is_the_same(
    planted_config, compute_all, switches, stored
):
    pictures, labels = stripes()
    config = planted_config(pictures, labels, analyses=removal(**switches))
    session = AuditSession(config)
    planned = plan_audit(session)
    part = planned.parts["band_removal"]
    assert part.n_samples == switches.get("samples", N_SAMPLES)
    assert planned.n_forward == part.n_forward + planned.parts["attribution"].n_forward
    folder = compute_all(config)
    receipts = [json.loads(path.read_text()) for path in folder.glob("receipts/*.json")]
    assert sum(receipt["n_forward"] for receipt in receipts) == planned.n_forward
    assert sum(receipt["n_backward"] for receipt in receipts) == planned.n_backward
    rows = stored(folder).table("coalitions")
    everything = compute_all(planted_config(pictures, labels, analyses=removal()))
    other = stored(everything).table("coalitions")
    both = rows.merge(other, on=["sample_index", "coalition"], suffixes=("", "_other"))
    assert len(both) == len(rows)
    np.testing.assert_array_equal(both["probability_target"], both["probability_target_other"])


def test_a_subset_has_its_share_of_every_class(planted_config, summary_of, stored):
    pictures, labels = stripes()
    config = planted_config(pictures, labels, analyses=removal(samples=6))
    _, metrics = summary_of(config)
    assert metrics["ablation/accuracy", (("kind", "clean"),)]["n"] == 6
    folder = Path(AuditSession(config).folder.path())
    rows = stored(folder).table("coalitions")["sample_index"].unique()
    assert sorted(labels[rows]) == [0, 0, 0, 1, 1, 1]


def test_nothing_is_replaced_by_zero_on_request(planted_config, summary_of, stored):
    """A threshold on the approximation: without it there is less of it than with the mean."""
    pictures, labels = stripes()
    model = {"level": "approximation", "threshold": 0.1, "steepness": 100.0}
    found = {}
    for baseline in ("sample_mean", "zero"):
        analyses = removal(baseline=baseline)
        config = planted_config(pictures, np.ones_like(labels), model=model, analyses=analyses)
        _, metrics = summary_of(config)
        found[baseline] = estimate(metrics, "ablation/accuracy", kind="nothing")
    assert found == {"sample_mean": 1.0, "zero": 0.0}


def test_too_many_levels_for_all_coalitions_are_refused(planted_config):
    pictures, labels = np.full((2, 1024, 1024), 0.5), np.array([0, 1])
    config = planted_config(
        pictures, labels, basis={"levels": 10}, analyses=removal(), model={"levels": 10}
    )
    with pytest.raises(ConfigError, match=r"counts all 2\^11 coalitions"):
        _ = AuditSession(config).manifest


def test_an_analysis_that_is_off_does_not_change_which_audit_it_is(toy_config):
    plain = toy_config()
    off = toy_config(analyses={"band_removal": {"samples": 3}})
    on = toy_config(analyses={"band_removal": {"enabled": True}})
    assert plain.digest() == off.digest() != on.digest()


def test_passes_do_not_depend_on_shards(planted_config):
    pictures, labels = stripes()
    config = planted_config(pictures, labels, analyses=removal(samples=5))
    session = AuditSession(config)
    whole = total_passes(session, session.shards)
    parts = [total_passes(session, [shard]) for shard in session.shards]
    assert sum(part.forward for part in parts) == whole.forward


def test_the_report_shows_what_removal_came_to(planted_config, compute_all):
    pictures, labels = stripes()
    config = planted_config(pictures, labels, analyses=removal())
    folder = AuditFolder(str(compute_all(config)))
    outcome = write_results(folder)
    page = folder.read_bytes("report.html").decode()
    assert '<h2 id="bands">' in page
    assert page.count('<a href="#bands">') == 1
    (interaction,) = [
        entry
        for entry in outcome.summary["metrics"]
        if entry["name"] == "shapley/interaction"
        and entry["labels"] == {"level": 1, "other_level": 2}
    ]
    assert f">{100 * interaction['estimate']:+.1f}</td>" in page
    for title in ("Accuracy without a level", "Low-pass and high-pass", "Shapley value of each"):
        assert title in page


def test_an_audit_without_the_analysis_has_no_section(toy_config, compute_all):
    folder = AuditFolder(str(compute_all(toy_config())))
    write_results(folder)
    assert 'id="bands"' not in folder.read_bytes("report.html").decode()
