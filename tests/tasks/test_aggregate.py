"""The summary equals plain means over the tables, however the shards are summed."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest

from tasks.aggregate import summarise
from tasks.analyses_config import IntervalConfig
from tasks.publish import write_results
from tasks.session import AuditSession
from tasks.shard_sums import merge_all, sum_partition
from tasks.store import AuditFolder
from tasks.store.tables import read_part
from wam_core.intervals import wilson_interval

N_RESAMPLES = 300


@pytest.fixture
def audit(toy_config, compute_all, stored, save_toys, pictures):
    """Twelve samples: one dark one without a finite output, two grey ones, groups of two."""
    toys = pictures(12)
    toys[2] //= 16
    toys[5] = 90
    save_toys(toys)
    config = toy_config(
        model={"name": "wam_audit_toy_models:nan_when_dark"},
        attribution={"gradient": {"enabled": True}},
        analyses={"intervals": {"n_resamples": N_RESAMPLES}},
        store={"shard_size": 5},
    )
    folder = compute_all(config)
    return config, AuditFolder(str(folder)), stored(folder)


def summary_of(config, folder):
    session = AuditSession(config)
    return summarise(config, folder, session.shards, session.completed())


def metrics(summary, name):
    """Estimates, intervals and n by the labels of a metric."""
    return {
        tuple(sorted(entry["labels"].items())): entry
        for entry in summary.record["metrics"]
        if entry["name"] == name
    }


class TestMeans:
    def test_shares_are_means_over_samples(self, audit):
        config, folder, tables = audit
        found = metrics(summary_of(config, folder), "reliance/share")
        means = tables.table("levels").groupby(["method", "level"])["share"].agg(["mean", "count"])
        assert len(means) == 6 * 3
        for (method, level), row in means.iterrows():
            label = int(level) if level.isdigit() else level
            entry = found[("level", label), ("method", method)]
            assert entry["estimate"] == pytest.approx(row["mean"], rel=1e-12)
            assert entry["n"] == row["count"] == 10
            assert entry["low"] <= entry["estimate"] <= entry["high"]
            assert entry["low"] < entry["high"]

    @pytest.mark.parametrize(
        ("name", "column"),
        [
            ("reliance/scale_centroid", "scale_centroid_octaves"),
            ("reliance/fine_share", "fine_share"),
            ("reliance/entropy", "entropy"),
        ],
    )
    def test_numbers_of_a_map_are_means_also_by_correctness(self, audit, name, column):
        config, folder, tables = audit
        found = metrics(summary_of(config, folder), name)
        rows = tables.table("attributions").merge(
            tables.table("samples")[["sample_index", "correct"]], on="sample_index"
        )
        for method, group in rows.groupby("method"):
            assert found[(("method", method),)]["estimate"] == pytest.approx(
                group[column].mean(), rel=1e-12
            )
            for correct, word in ((True, "yes"), (False, "no")):
                chosen = group[group["correct"] == correct]
                entry = found[("correct", word), ("method", method)]
                assert entry["estimate"] == pytest.approx(chosen[column].mean(), rel=1e-12)
                assert entry["n"] == len(chosen)

    def test_shares_by_class(self, audit):
        config, folder, tables = audit
        found = metrics(summary_of(config, folder), "reliance/share")
        rows = tables.table("levels").merge(
            tables.table("samples")[["sample_index", "class_name"]], on="sample_index"
        )
        rows = rows[rows["method"] == "smoothgrad_absolute"]
        for (name, level), group in rows.groupby(["class_name", "level"]):
            label = int(level) if level.isdigit() else level
            entry = found[("class", name), ("level", label), ("method", "smoothgrad_absolute")]
            assert entry["estimate"] == pytest.approx(group["share"].mean(), rel=1e-12)

    def test_accuracy_has_wilsons_interval_also_per_class(self, audit):
        config, folder, tables = audit
        summary = summary_of(config, folder)
        found = metrics(summary, "accuracy/top1")
        judged = tables.table("samples").dropna(subset=["correct"])
        # The grey picture has a prediction, the dark one has none.
        assert len(judged) == 11
        for labels, rows in [((), judged)] + [
            ((("class", name),), group) for name, group in judged.groupby("class_name")
        ]:
            interval = wilson_interval(int(rows["correct"].sum()), len(rows), 0.95)
            entry = found[labels]
            assert (entry["estimate"], entry["low"], entry["high"], entry["n"]) == (
                interval.estimate,
                interval.low,
                interval.high,
                interval.n,
            )
        per_class = summary.per_class.set_index("class_name")
        assert per_class["n"].to_dict() == judged["class_name"].value_counts().to_dict()

    def test_the_median_gap_is_over_samples_that_are_ok(self, audit):
        config, folder, tables = audit
        found = metrics(summary_of(config, folder), "attribution/completeness_gap")
        rows = tables.table("attributions")
        gaps = rows[rows["method"] == "integrated_gradients"]["completeness_gap"].dropna()
        assert found[(("quantile", "median"),)]["estimate"] == pytest.approx(gaps.median())
        assert found[(("quantile", "p95"),)]["estimate"] == pytest.approx(gaps.quantile(0.95))

    def test_every_metric_has_unit_direction_and_finite_numbers(self, audit):
        config, folder, _ = audit
        record = summary_of(config, folder).record
        json.loads(json.dumps(record, allow_nan=False))
        for entry in record["metrics"]:
            assert entry["unit"] in {"fraction", "ratio", "octaves", "draws"}
            assert entry["direction"] in {"higher", "lower", "none"}
            assert entry["n"] >= 1


class TestMonoid:
    @pytest.fixture
    def parts(self, audit):
        config, folder, _ = audit
        return [
            [read_part(folder, name, shard) for name in ("samples", "attributions", "levels")]
            for shard in AuditSession(config).shards
        ]

    def assert_equal(self, left, right):
        assert left.accuracy == right.accuracy
        assert left.class_accuracy == right.class_accuracy
        for ours, theirs in (
            (left.means.intervals(), right.means.intervals()),
            (left.class_means.intervals(), right.class_means.intervals()),
        ):
            for one, other in zip(ours, theirs, strict=True):
                assert one.n == other.n
                for key in ("estimate", "low", "high"):
                    assert getattr(one, key) == pytest.approx(getattr(other, key), rel=1e-10)

    def test_shards_merge_in_any_order(self, parts):
        sums = [sum_partition(*part, N_RESAMPLES, 0) for part in parts]
        merged = [merge_all(list(order)) for order in itertools.permutations(sums)]
        for other in merged[1:]:
            assert sorted(other.variables) == sorted(merged[0].variables)
            if other.variables == merged[0].variables:
                self.assert_equal(other, merged[0])
        self.assert_equal(merge_all([merge_all(sums[:2]), sums[2]]), merged[0])
        self.assert_equal(merge_all([sums[0], merge_all(sums[1:])]), merged[0])

    def test_one_partition_equals_many(self, parts):
        whole = [pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True)]
        sums = [sum_partition(*part, N_RESAMPLES, 0) for part in parts]
        self.assert_equal(sum_partition(*whole, N_RESAMPLES, 0), merge_all(sums))

    def test_the_cut_into_shards_changes_no_summary(self, compute_all, audit):
        config, folder, _ = audit
        other = config.model_copy(
            update={"store": config.store.model_copy(update={"shard_size": 12})}
        )
        one_shard = AuditFolder(str(compute_all(other)))
        ours, theirs = summary_of(config, folder).record, summary_of(other, one_shard).record
        assert ours["counts"] == theirs["counts"]
        assert len(ours["metrics"]) == len(theirs["metrics"])
        for one in ours["metrics"]:
            (match,) = [
                entry
                for entry in theirs["metrics"]
                if (entry["name"], entry["labels"]) == (one["name"], one["labels"])
            ]
            assert match["n"] == one["n"]
            for key in ("estimate", "low", "high"):
                # Batches differ, so the numbers of a sample may differ by rounding.
                expected = one[key] and pytest.approx(one[key], rel=1e-4, abs=1e-6)
                assert match[key] == expected


def frames(values, groups):
    """Tables of one shard with one method and one number per sample."""
    n_samples = len(values)
    index = np.arange(n_samples)
    ids = [f"s{row}" for row in index]
    samples = pd.DataFrame(
        {
            "sample_index": index,
            "sample_id": ids,
            "class_name": "0",
            "label": 0,
            "group": pd.array(groups, dtype="string"),
            "status": "ok",
            "correct": pd.array([True] * n_samples, dtype="boolean"),
        }
    )
    attributions = pd.DataFrame(
        {
            "sample_index": index,
            "sample_id": ids,
            "method": "gradient",
            "status": "ok",
            "scale_centroid_octaves": values,
            "fine_share": values,
            "entropy": values,
        }
    )
    levels = pd.DataFrame(
        columns=[
            "sample_index", "method", "level", "share", "mean_share", "relative_share",
            "share_standard_error",
        ]
    )  # fmt: skip
    return samples, attributions, levels


def entropy_of(sums):
    (place,) = [
        place
        for place, variable in enumerate(sums.variables)
        if variable.metric == "reliance/entropy" and not variable.get("correct")
    ]
    return sums.means.intervals()[place]


class TestIntervals:
    def test_samples_of_one_group_are_resampled_together(self):
        rng = np.random.default_rng(0)
        values = np.repeat(rng.normal(size=20), 10)
        alone = entropy_of(sum_partition(*frames(values, [None] * 200), 400, 0))
        groups = [f"g{row // 10}" for row in range(200)]
        together = entropy_of(sum_partition(*frames(values, groups), 400, 0))
        assert alone.estimate == together.estimate
        # Ten equal values say no more than one: the interval is the square root of ten wider.
        ratio = (together.high - together.low) / (alone.high - alone.low)
        assert 2 < ratio < 5

    def test_one_group_alone_has_no_interval(self):
        sums = sum_partition(*frames(np.arange(5.0), ["g"] * 5), 100, 0)
        interval = entropy_of(sums)
        assert (interval.estimate, interval.low, interval.high) == (2.0, None, None)

    def test_a_sample_that_is_not_ok_enters_no_mean(self):
        samples, attributions, levels = frames(np.array([1.0, 2.0, 30.0]), [None] * 3)
        samples.loc[2, "status"] = "degenerate"
        interval = entropy_of(sum_partition(samples, attributions, levels, 100, 0))
        assert (interval.estimate, interval.n) == (1.5, 2)


class TestResults:
    def test_an_unfinished_audit_says_so_and_imputes_nothing(self, toy_config, compute_all):
        config = toy_config()
        folder = AuditFolder(str(compute_all(config, shards=[0])))
        outcome = write_results(folder, config)
        assert outcome.summary["complete"] is False
        counts = outcome.summary["counts"]
        assert (counts["samples"], counts["ok"], counts["not_computed"]) == (11, 4, 7)
        assert "7 not computed" in outcome.summary["headline"][0]
        assert outcome.gates_failed

    def test_without_any_shard_the_results_are_valid(self, toy_config, compute_all):
        config = toy_config()
        folder = AuditFolder(str(compute_all(config, shards=[])))
        outcome = write_results(folder, config)
        assert outcome.summary["metrics"] == []
        assert outcome.summary["counts"]["not_computed"] == 11
        json.loads(folder.read_bytes("summary.json"))
        assert folder.size("report.html")

    def test_confidence_and_resamples_are_the_configured_ones(self, audit):
        config, folder, _ = audit
        narrow = config.model_copy(
            update={
                "analyses": config.analyses.model_copy(
                    update={"intervals": IntervalConfig(confidence=0.6, n_resamples=N_RESAMPLES)}
                )
            }
        )
        session = AuditSession(config)
        wide = summary_of(config, folder).record["metrics"]
        small = summarise(narrow, folder, session.shards, session.completed()).record["metrics"]
        for one, other in zip(wide, small, strict=True):
            if one["name"] == "reliance/entropy" and one["labels"].keys() == {"method"}:
                assert other["high"] - other["low"] < one["high"] - one["low"]
                assert other["estimate"] == one["estimate"]
