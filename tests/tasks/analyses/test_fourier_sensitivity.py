"""Waves and rings in an audit: a model that hears one octave errs there and nowhere else."""

import json

import numpy as np
import pytest

from tasks.errors import ConfigError
from tasks.planning import plan_audit
from tasks.publish import write_results
from tasks.session import AuditSession
from tasks.store import AuditFolder

N_SAMPLES, SIZE = 6, 16
SETTINGS = {"enabled": True, "samples": None, "frequencies_per_axis": 7, "noise": 0.3,
            "ring_noises": [0.1, 0.5]}  # fmt: skip
QUICK = {
    "attribution": {"smoothgrad": {"enabled": False}, "integrated_gradients": {"n_steps": 2}},
    "store": {"shard_size": N_SAMPLES},
    "execution": {"max_batch": N_SAMPLES},
}


@pytest.fixture
def smooth_config(planted_config):
    """Class 0 has a smooth ramp, which the model takes for class 1 once level 1 has energy."""

    def config(**sections):
        ramp = np.linspace(0.2, 0.8, SIZE)[None, None, :].repeat(SIZE, 1).repeat(N_SAMPLES, 0)
        values = QUICK | {"analyses": {"fourier_sensitivity": SETTINGS}} | sections
        return planted_config(ramp, np.zeros(N_SAMPLES, dtype=int), **values)

    return config


def estimate(metrics, name, **labels):
    return metrics[name, tuple(sorted(labels.items()))]["estimate"]


def test_a_model_that_hears_the_finest_octave_errs_there(smooth_config, summary_of, stored):
    config = smooth_config()
    record, metrics = summary_of(config)
    assert estimate(metrics, "fourier/clean_accuracy") == 1.0
    fine, coarse = (estimate(metrics, "fourier/error_rate", octave=o) for o in ("1", "3"))
    assert fine > 0.8
    assert coarse < 0.2
    strongest = {o: estimate(metrics, "fourier/ring_accuracy", octave=o, noise="0.5")
                 for o in ("1", "3")}  # fmt: skip
    assert strongest["1"] < 0.2
    assert strongest["3"] > 0.8
    highest = estimate(metrics, "fourier/error_map", frequency="7 7")
    assert highest == 1.0
    assert estimate(metrics, "fourier/flip_map", frequency="7 7") == 1.0
    assert any("change most answers in the octave of level 1" in s for s in record["headline"])


def test_rows_do_not_depend_on_batches_or_on_what_else_is_asked(smooth_config, compute_all, stored):
    tables = []
    more = SETTINGS | {"ring_noises": [0.5]}
    for name, settings, max_batch in (("all", SETTINGS, N_SAMPLES), ("few", more, 2)):
        config = smooth_config(
            name=name,
            analyses={"fourier_sensitivity": settings},
            execution={"max_batch": max_batch},
        )
        plan = plan_audit(AuditSession(config))
        folder = compute_all(config)
        receipts = [json.loads(path.read_text()) for path in folder.glob("receipts/*.json")]
        assert sum(receipt["n_forward"] for receipt in receipts) == plan.n_forward
        tables.append(stored(folder).table("fourier"))
    keys = ["sample_id", "kind", "frequency", "octave", "noise"]
    first, second = (table.fillna({"frequency": ""}).set_index(keys) for table in tables)
    shared = second.index
    np.testing.assert_allclose(
        first.loc[shared, "probability_target"], second["probability_target"], atol=1e-5
    )
    assert len(first) == N_SAMPLES * (24 + 3 * 2)


def test_the_report_draws_the_map(smooth_config, compute_all):
    config = smooth_config()
    folder = AuditFolder(str(compute_all(config)))
    write_results(folder, config)
    page = folder.read_bytes("report.html").decode()
    assert "At which frequencies the model errs" in page
    assert page.count("<rect") >= 2 * 48
    assert "7 x 7 cycles" in page


def test_an_even_lattice_is_refused_in_the_plane(smooth_config):
    config = smooth_config(analyses={"fourier_sensitivity": SETTINGS | {"frequencies_per_axis": 4}})
    with pytest.raises(ConfigError, match="it must be odd"):
        plan_audit(AuditSession(config))


def test_an_octave_that_a_small_input_does_not_hold_has_no_row(smooth_config, compute_all, stored):
    config = smooth_config(basis={"levels": 4})
    planned = plan_audit(AuditSession(config)).n_forward
    folder = compute_all(config)
    table = stored(folder).table("fourier")
    assert set(table["octave"]) == {1, 2, 3, 4}
    assert set(table[table["kind"] == "ring"]["octave"]) == {1, 2, 3, 4}
    receipts = [json.loads(path.read_text()) for path in folder.glob("receipts/*.json")]
    assert sum(receipt["n_forward"] for receipt in receipts) == planned


def test_the_lattice_is_part_of_what_an_audit_is(smooth_config):
    octaves = smooth_config()
    even = smooth_config(analyses={"fourier_sensitivity": SETTINGS | {"lattice": "even"}})
    assert octaves.identity()["analyses"]["fourier_sensitivity"]["lattice"] == "octaves"
    assert octaves.digest() != even.digest()
