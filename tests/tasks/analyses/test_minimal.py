"""Minimal signals and masks of models whose deciding level is known."""

import json
from pathlib import Path

import numpy as np
import pytest

from tasks.analyses.minimal_selections import example_rows, mask_bytes, read_masks
from tasks.errors import ConfigError
from tasks.planning import plan_audit
from tasks.publish import write_results
from tasks.session import AuditSession
from tasks.store import AuditFolder

N_SAMPLES = 12
SIZE = 16


def striped():
    """Class 1 has stripes of one pixel along the first axis; all have a coarse ramp and a level."""
    rng = np.random.default_rng(3)
    labels = np.arange(N_SAMPLES) % 2
    ramp = 0.2 * np.linspace(-1, 1, SIZE // 4).repeat(4)[None, None, :]
    level = rng.uniform(0.45, 0.55, (N_SAMPLES, 1, 1))
    rows = 0.25 * (-1.0) ** np.arange(SIZE)[None, :, None]
    return level + ramp + labels[:, None, None] * rows, labels


QUICK = {
    "attribution": {"smoothgrad": {"enabled": False}, "integrated_gradients": {"n_steps": 2}},
    "store": {"shard_size": N_SAMPLES},
    "execution": {"max_batch": N_SAMPLES},
}


def searches(**settings):
    values = {"enabled": True, "fine_levels": 1, "resolution": 0.7}
    return {"minimal": values | settings}


def masks(**settings):
    values = {"enabled": True, "n_steps": 25, "alphas": [3.0, 3000.0], "patience": None}
    return {"minimal_masks": values | settings}


def estimate(metrics, name, **labels):
    return metrics[name, tuple(sorted(labels.items()))]["estimate"]


@pytest.fixture
def striped_config(planted_config):
    """The model decides by the energy of level 1: class 1 needs it, class 0 needs nothing."""

    def config(labels=None, **sections):
        pictures, own = striped()
        return planted_config(pictures, own if labels is None else labels, **QUICK | sections)

    return config


def test_what_decides_is_found_and_the_rest_is_left_out(striped_config, summary_of, stored):
    config = striped_config(analyses=searches())
    record, metrics = summary_of(config)
    assert estimate(metrics, "minimal/applicable") == 1.0
    # Class 0 is the absence of stripes: nothing at all keeps it, and so do both restrictions.
    assert estimate(metrics, "minimal/kept_by_nothing") == 0.5
    assert estimate(metrics, "minimal/success", restriction="fine") == 1.0
    assert estimate(metrics, "minimal/success", restriction="coarse") == 0.5
    assert estimate(metrics, "texture/t_min") == 1.0
    assert estimate(metrics, "texture/t_min_coverage") == 0.5
    evidence = "integrated_gradients_positive"
    for level in (1, 2, "approximation"):
        share = estimate(metrics, "minimal/kept_share", method=evidence, level=level)
        assert share == float(level == 1)
    by_evidence, at_random = (
        estimate(metrics, "minimal/fraction", method=method) for method in (evidence, "random")
    )
    assert by_evidence < at_random
    assert estimate(metrics, "minimal/gain_over_random", method=evidence) > 0
    folder = Path(AuditSession(config).folder.path())
    table = stored(folder).table("minimal")
    assert set(table["selection"]) == {"integrated_gradients", evidence, "magnitude", "random"}
    assert set(table["restriction"]) == {"all", "fine", "coarse"}
    assert len(table) == N_SAMPLES * 4 * 3
    found = table[table["kept"] & (table["n_kept"] > 0)]
    assert bool((found["next_smaller_fraction"] < found["fraction"]).all())
    assert bool((found["probability_target"] > 0.5).all())
    np.testing.assert_allclose(found["fraction"], found["n_kept"] / SIZE**2)
    lost = table[~table["kept"]]
    assert lost[["n_kept", "fraction", "probability_target"]].isna().all(axis=None)
    levels = stored(folder).table("minimal_levels")
    known = levels.dropna(subset=["energy_share"]).groupby(["sample_index", "selection"])
    for column in ("coefficient_share", "energy_share"):
        np.testing.assert_allclose(known[column].sum(), 1.0)
    sentences = " ".join(record["headline"])
    assert "coefficients it takes, on average" in sentences
    assert "it is the fine part in 100.0" in sentences


def test_samples_that_lose_their_class_with_everything_are_counted_not_averaged(
    striped_config, summary_of
):
    """Half of the labels are wrong: their classes cannot be kept."""
    config = striped_config(np.zeros(N_SAMPLES, dtype=int), analyses=searches(samples=None))
    _, metrics = summary_of(config)
    applicable = metrics["minimal/applicable", ()]
    assert (applicable["estimate"], applicable["n"]) == (0.5, N_SAMPLES)
    fraction = metrics["minimal/fraction", (("method", "magnitude"),)]
    assert (fraction["estimate"], fraction["n"]) == (0.0, N_SAMPLES // 2)
    assert metrics["texture/t_min_coverage", ()]["n"] == N_SAMPLES // 2
    assert ("texture/t_min", ()) not in metrics


def test_results_do_not_depend_on_batches_and_costs_are_within_the_plan(
    striped_config, compute_all, stored
):
    tables = []
    for max_batch, shard_size in ((3, 12), (1, 7)):
        config = striped_config(
            analyses=searches(samples=3) | masks(samples=3, n_steps=4),
            execution={"max_batch": max_batch},
            store={"shard_size": shard_size},
        )
        session = AuditSession(config)
        plan = plan_audit(session)
        folder = compute_all(config)
        receipts = [json.loads(path.read_text()) for path in folder.glob("receipts/*.json")]
        n_forward = sum(receipt["n_forward"] for receipt in receipts)
        n_backward = sum(receipt["n_backward"] for receipt in receipts)
        assert n_forward <= plan.n_forward
        assert n_backward == plan.n_backward
        assert plan.parts["minimal"].n_samples == 3
        assert plan.parts["minimal_masks"].n_backward == 3 * 2 * 4
        tables.append(
            [stored(folder).table(name) for name in ("minimal", "minimal_levels", "minimal_masks")]
        )
    for first, second in zip(*tables, strict=True):
        keys = [name for name in ("sample_index", "selection", "restriction", "alpha", "level")
                if name in first]  # fmt: skip
        left, right = (table.sort_values(keys).reset_index(drop=True) for table in (first, second))
        np.testing.assert_array_equal(left[keys], right[keys])
        for column in left.select_dtypes("number"):
            np.testing.assert_allclose(left[column].astype(float), right[column], atol=1e-5)


def test_masks_keep_what_decides_at_a_price(striped_config, summary_of):
    """Dear masks lose the class; cheap ones keep it by its level."""
    config = striped_config(np.ones(N_SAMPLES, dtype=int), analyses=masks(samples=None))
    record, metrics = summary_of(config)
    cheap, dear = (
        {
            name: estimate(metrics, f"minimal/mask_{name}", alpha=alpha, objective="preserve")
            for name in ("sparsity", "probability", "success")
        }
        for alpha in ("3", "3000")
    )
    # The other half of the pictures has no stripes, and never was of class 1.
    assert cheap["success"] == 0.5
    assert dear["sparsity"] > cheap["sparsity"]
    assert dear["probability"] < cheap["probability"]
    shares = {
        level: estimate(metrics, "minimal/mask_share", alpha="3", level=level, objective="preserve")
        for level in (1, 2, "approximation")
    }
    assert shares[1] > 0.9
    assert sum(shares.values()) == pytest.approx(1.0)
    assert any(line.startswith("Masks optimised to keep the class") for line in record["headline"])


def test_destroying_masks_report_what_they_take_away(striped_config, summary_of):
    config = striped_config(
        np.ones(N_SAMPLES, dtype=int),
        analyses=masks(objective="destroy", alphas=[1.0], score="logit"),
    )
    record, metrics = summary_of(config)
    labels = {"alpha": "1", "objective": "destroy"}
    assert estimate(metrics, "minimal/mask_share", level=1, **labels) > 0.9
    assert estimate(metrics, "minimal/mask_success", **labels) == 0.0
    assert any("Masks optimised to destroy the class" in line for line in record["headline"])


def test_examples_are_kept_listed_and_shown(striped_config, compute_all):
    config = striped_config(analyses=searches(examples=2) | masks(examples=1, n_steps=3))
    folder = compute_all(config)
    write_results(AuditFolder(str(folder)), config)
    files = sorted(folder.glob("examples/*/*.npz"))
    session = AuditSession(config)
    expected = [
        f"examples/{section}/{row:06d}.npz"
        for section in ("minimal", "minimal_masks")
        for row in example_rows(config, session.manifest, section)
    ]
    assert [str(path.relative_to(folder)) for path in files] == expected
    receipts = [json.loads(path.read_text()) for path in folder.glob("receipts/*.json")]
    assert set(expected) <= {name for receipt in receipts for name in receipt["files"]}
    page = (folder / "report.html").read_text()
    assert "How little keeps the class" in page
    assert page.count('class="minimal-example"') == 3
    for words in ("What is left", "What was taken away", "T<sub>min</sub>"):
        assert words in page


def test_masks_survive_their_file():
    rng = np.random.default_rng(0)
    given = {"random": rng.random(77) > 0.5, "3": rng.random(77).astype(np.float32)}
    content = mask_bytes(given)
    assert mask_bytes(given) == content
    read = read_masks(content)
    np.testing.assert_array_equal(read["random"], given["random"])
    np.testing.assert_allclose(read["3"], given["3"], atol=1e-3)


def test_settings_that_cannot_be_met_are_refused_at_once(striped_config):
    cases = (
        (searches(methods=["gradient"]), "methods switched on under attribution are integrated"),
        (searches(fine_levels=3), "counts 3 levels as fine, but basis.levels is 2"),
    )
    for analyses, words in cases:
        with pytest.raises(ConfigError, match=words):
            _ = AuditSession(striped_config(analyses=analyses)).manifest


def test_analyses_that_are_off_do_not_change_the_identity(toy_config):
    assert toy_config().digest() == toy_config(analyses={"minimal": {"samples": 5}}).digest()
    assert toy_config().digest() != toy_config(analyses=searches()).digest()
