"""An audit that draws until the error is small counts what it did, and plans for the most."""

import numpy as np
import pandas as pd
import pytest

from flows.running import describe_plan
from tasks.aggregate import summarise
from tasks.config import AuditConfig
from tasks.planning import plan_audit
from tasks.publish import write_results
from tasks.session import AuditSession
from tasks.store import AuditFolder

TOLERANCE = 0.0042
DRAWN = "smoothgrad_absolute"


@pytest.fixture
def adaptive(toy_config):
    """The toy audit with a tolerance that some samples reach and others do not."""

    def config(**sections):
        smoothgrad = {"n_samples": 17, "min_samples": 5, "tolerance": TOLERANCE}
        attribution = {"smoothgrad": smoothgrad, "integrated_gradients": {"n_steps": 3}}
        return toy_config(attribution=attribution, **sections)

    return config


@pytest.fixture
def audit(adaptive, compute_all):
    config = adaptive()
    return config, compute_all(config)


def passes(tables):
    rows = tables.table("attributions")
    return rows.pivot_table(index="sample_id", columns="method", values="n_passes")


def test_every_sample_has_its_own_number_of_passes(audit, stored):
    _, folder = audit
    table = passes(stored(folder))
    drawn = table[DRAWN]
    assert drawn.nunique() > 1
    assert set(drawn) <= {5, 10, 15, 17}
    for method in ("smoothgrad_signed", "smoothgrad_squared", "smoothgrad_energy"):
        assert table[method].tolist() == drawn.tolist()
    assert set(table["integrated_gradients"]) == {3}


def test_samples_stop_where_their_error_is_small(audit, stored):
    _, folder = audit
    tables = stored(folder)
    levels = tables.table("levels")
    errors = levels[levels["method"] == DRAWN].groupby("sample_id")["share_standard_error"].max()
    stopped = passes(tables)[DRAWN] < 17
    assert stopped.sum() > 0
    assert (errors[stopped] <= TOLERANCE).all()


@pytest.mark.parametrize(("shard_size", "max_batch"), [(1, 1), (11, 16)])
def test_cuts_change_neither_numbers_nor_draws(
    audit, adaptive, compute_all, stored, shard_size, max_batch
):
    _, folder = audit
    cut = adaptive(store={"shard_size": shard_size}, execution={"max_batch": max_batch})
    first, second = stored(folder), stored(compute_all(cut))
    pd.testing.assert_frame_equal(passes(first), passes(second))
    for name in ("attributions", "levels", "bands"):
        keys = ["sample_id", "method", "level", "filters"]
        left, right = (
            tables.table(name).sort_values([k for k in keys if k in tables.table(name)])
            for tables in (first, second)
        )
        pd.testing.assert_frame_equal(
            left.reset_index(drop=True), right.reset_index(drop=True), rtol=1e-4, atol=1e-6
        )


def test_receipts_count_the_passes_that_were_made(audit, stored):
    config, folder = audit
    receipts = AuditSession(config).completed().values()
    table = passes(stored(folder))
    made = table[DRAWN].sum() + table["integrated_gradients"].sum()
    assert sum(receipt.n_backward for receipt in receipts) == made < 11 * (17 + 3)


def test_a_plan_counts_the_most_and_says_so(adaptive, toy_config):
    plan = plan_audit(AuditSession(adaptive()))
    assert plan.n_backward == 11 * (17 + 3)
    assert plan.stops_early
    assert not plan_audit(AuditSession(toy_config())).stops_early
    checked = {
        "output_shape": (11, 3), "n_tried": 11, "accuracy": None, "bytes_per_sample": 1,
        "warnings": (),
    }  # fmt: skip
    costs = plan.record() | {"preflight": checked, "dataset": "toys", "estimated_seconds": 9.0}
    assert "33 forward, at most 220 forward and backward" in describe_plan(costs)
    assert "at most about 9 s" in describe_plan(costs)
    fixed = describe_plan(costs | {"stops_early": False})
    assert "at most" not in fixed
    assert "about 9 s" in fixed


def test_the_summary_has_the_mean_number_of_draws(audit, stored, tmp_path):
    config, folder = audit
    session = AuditSession(config)
    audit_folder = AuditFolder(str(folder))
    record = summarise(config, audit_folder, session.shards, session.completed()).record
    (entry,) = [entry for entry in record["metrics"] if entry["name"] == "attribution/draws"]
    drawn = passes(stored(folder))[DRAWN]
    assert entry["labels"] == {"method": DRAWN}
    assert (entry["estimate"], entry["unit"]) == (pytest.approx(drawn.mean()), "draws")
    assert entry["low"] < entry["estimate"] < entry["high"]
    (sentence,) = [line for line in record["headline"] if "draws" in line]
    assert f"{drawn.mean():.1f} draws a sample on average" in sentence
    assert "at most 0.0042, no more than 17" in sentence


def test_a_fixed_number_is_what_it_was(toy_config, compute_all, stored):
    config = toy_config()
    folder = compute_all(config)
    assert set(passes(stored(folder))[DRAWN]) == {3}
    headline = write_results(AuditFolder(str(folder)), config).summary["headline"]
    assert any(line.startswith("With 3 draws, ") for line in headline)


def test_probes_and_mixtures_take_the_passes_they_are_given(adaptive):
    short = adaptive().with_passes(2).attribution
    assert (short.smoothgrad.n_samples, short.smoothgrad.tolerance) == (2, None)
    assert not short.stops_early


class TestBorder:
    @pytest.fixture
    def pair(self, toy_config, compute_all, stored):
        """The same audit with and without coefficients at the border."""
        return [
            stored(
                compute_all(
                    toy_config(
                        name=border,
                        basis={"wavelet": "db2", "levels": 2},
                        attribution={"gradient": {"enabled": True}},
                        analyses={"reliance": {"border": border}},
                    )
                )
            )
            for border in ("include", "exclude")
        ]

    def test_statistics_are_over_the_inside_and_maps_are_whole(self, pair):
        with_border, without = pair
        for method in ("gradient", "smoothgrad", "integrated_gradients"):
            np.testing.assert_array_equal(with_border.maps(method), without.maps(method))
        counts = [
            tables.table("levels").groupby("level")["n_coefficients"].unique().str[0].to_dict()
            for tables in pair
        ]
        assert counts[0] == {"1": 3 * 9 * 9, "2": 3 * 6 * 6, "approximation": 36}
        # Without a border, 16 points along an axis have 8 coefficients of level 1 and 4 of level 2.
        assert counts[1] == {"1": 3 * 8 * 8, "2": 3 * 4 * 4, "approximation": 16}

    def test_the_headline_says_what_was_left_out(self, pair):
        for border, tables in zip(("include", "exclude"), pair, strict=True):
            config = AuditConfig.model_validate(
                AuditFolder(str(tables.folder)).read_json("audit.json")["config"]
            )
            headline = write_results(AuditFolder(str(tables.folder)), config).summary["headline"]
            told = any("over the border of the signal" in line for line in headline)
            assert told == (border == "exclude")

    def test_shares_are_those_of_the_stored_maps(self, pair):
        _, without = pair
        levels = without.table("levels")
        rows = levels[levels["method"] == "gradient"].pivot_table(
            index="sample_index", columns="level", values="share"
        )
        # Of 9 along an axis 7 are whole: 1 to 7; of 6 two: 2 and 3. They stand for 8 and 4.
        shapes = [(6, slice(2, 4), 4)] * 4 + [(9, slice(1, 8), 8)] * 3
        start, sums = 0, []
        maps = np.abs(without.maps("gradient"))
        for size, inside, count in shapes:
            band = maps[..., start : start + size * size].reshape(*maps.shape[:2], size, size)
            sums.append(band[..., inside, inside].mean((2, 3)).sum(1) * count**2)
            start += size * size
        assert start == maps.shape[-1]
        importance = np.stack([sum(sums[4:]), sum(sums[1:4]), sums[0]], 1)
        expected = importance / importance.sum(1, keepdims=True)
        np.testing.assert_allclose(rows[["1", "2", "approximation"]], expected, rtol=1e-3)

    def test_every_method_has_shares_that_sum_to_one(self, pair):
        for tables in pair:
            totals = tables.table("levels").groupby(["sample_id", "method"])["share"].sum()
            assert len(totals) == 11 * 6
            np.testing.assert_allclose(totals, 1, rtol=1e-9)
