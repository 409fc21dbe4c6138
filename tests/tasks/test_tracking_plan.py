"""Where an audit is published, and which of its metrics become which points."""

import math
import re

import pytest

from tasks.config import TrackingConfig
from tasks.errors import ConfigError
from tasks.tracking import artifact_root, plan_metrics, resolve_tracking_uri

METRICS = [
    {"name": "accuracy/top1", "labels": {}, "estimate": 0.9, "low": 0.87, "high": 0.92, "n": 5},
    {"name": "accuracy/top1", "labels": {"class": "cat"}, "estimate": 0.5, "n": 2},
    *(
        {
            "name": "reliance/share",
            "labels": {"method": "gradient", "level": level},
            "estimate": value,
            "low": value - 0.01,
            "high": value + 0.01,
            "n": 5,
        }
        for level, value in ((1, 0.2), (2, 0.3), ("approximation", 0.5))
    ),
]


class TestLocations:
    def test_default_is_a_database_beside_the_audits(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere:5000")
        uri = resolve_tracking_uri(TrackingConfig(), "audits")
        assert uri == f"sqlite:///{tmp_path}/audits/mlflow.db"
        assert artifact_root(uri) == tmp_path / "audits" / "mlflow-artifacts"
        assert resolve_tracking_uri(TrackingConfig(), f"file://{tmp_path}/audits") == uri

    def test_a_remote_store_needs_a_uri(self):
        with pytest.raises(ConfigError, match=r"s3://bucket/audits.*Set tracking\.uri"):
            resolve_tracking_uri(TrackingConfig(), "s3://bucket/audits")
        config = TrackingConfig(uri="http://host:5000/")
        assert resolve_tracking_uri(config, "s3://bucket/audits") == "http://host:5000"

    @pytest.mark.parametrize("uri", ["file:///tmp/mlruns", "mlruns", "./mlruns", "/tmp/mlruns"])
    def test_a_folder_of_files_is_refused_with_advice(self, uri):
        with pytest.raises(ConfigError, match=r"folder of files.*sqlite:///.*migrate-filestore"):
            resolve_tracking_uri(TrackingConfig(uri=uri), "audits")

    def test_an_unknown_scheme_is_refused_without_its_password(self):
        with pytest.raises(ConfigError, match=r"redis://\*\*\*@host.*no tracking store") as error:
            resolve_tracking_uri(TrackingConfig(uri="redis://ann:secret@host"), "audits")
        assert "secret" not in str(error.value)

    def test_a_relative_database_becomes_absolute(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        config = TrackingConfig(uri="sqlite:///runs.db?timeout=30")
        assert resolve_tracking_uri(config, "x") == f"sqlite:///{tmp_path}/runs.db?timeout=30"

    @pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///:memory:"])
    def test_a_database_in_memory_is_refused(self, uri):
        with pytest.raises(ConfigError, match="names no file"):
            resolve_tracking_uri(TrackingConfig(uri=uri), "audits")

    @pytest.mark.parametrize(
        "uri", ["postgresql+psycopg2://u:p@h/db", "databricks", "databricks://profile"]
    )
    def test_other_stores_of_mlflow_pass(self, uri):
        assert resolve_tracking_uri(TrackingConfig(uri=uri), "audits") == uri


class TestPlan:
    def points(self, *metrics, counts=None):
        planned = plan_metrics(metrics, counts or {})
        return {(point.name, point.step): point.value for point in planned.points}

    def test_levels_become_steps_and_the_approximation_follows_the_last(self):
        points = self.points(*METRICS)
        curve = {step: v for (name, step), v in points.items() if name == "reliance/share/gradient"}
        assert curve == {1: 0.2, 2: 0.3, 3: 0.5}
        assert points["reliance/share/gradient/low", 3] == pytest.approx(0.49)

    def test_intervals_stand_beside_the_estimate(self):
        points = self.points(METRICS[0])
        names = ("accuracy/top1", "accuracy/top1/low", "accuracy/top1/high")
        assert points == dict(zip([(name, 0) for name in names], [0.9, 0.87, 0.92], strict=True))

    def test_classes_stand_in_the_table_only(self):
        planned = plan_metrics(METRICS[:2], {})
        assert planned.places == ("accuracy/top1", "")
        assert planned.table_only == 1

    def test_counts_are_metrics(self):
        assert self.points(counts={"ok": 5}) == {("counts/ok", 0): 5.0}

    @pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
    def test_a_value_that_does_not_exist_is_omitted_with_its_reason(self, value):
        metric = {"name": "a/b", "labels": {}, "estimate": value, "n": 7}
        planned = plan_metrics([metric], {})
        assert [(point.name, point.value) for point in planned.points] == [("a/b_n_valid", 7.0)]
        assert "n = 7" in planned.omitted["a/b"]

    def test_a_bound_that_is_not_finite_is_omitted_alone(self):
        metric = {"name": "a/b", "labels": {}, "estimate": 1, "low": math.nan, "high": None, "n": 7}
        planned = plan_metrics([metric], {})
        assert [point.name for point in planned.points] == ["a/b"]
        assert list(planned.omitted) == ["a/b/low"]

    def test_names_hold_only_what_mlflow_accepts(self):
        labels = {"method": "a=[b]/c", "correct": "yes", "quantile": "p95", "odd": "../é:x"}
        metric = {"name": "/energy[scale=1]//x/", "labels": labels, "estimate": 1.0, "n": 1}
        (name,) = {name for name, _ in self.points(metric)}
        assert re.fullmatch(r"[A-Za-z0-9_\-. /]+", name)
        assert name == "energy_scale_1_/x/a_b__c/p95/correct_yes/odd_..__x"

    def test_severity_steps_too_unless_it_is_no_whole_number(self):
        metric = {"name": "robustness", "labels": {"severity": 3}, "estimate": 0.5}
        assert self.points(metric) == {("robustness", 3): 0.5}
        metric["labels"] = {"severity": 0.25}
        assert self.points(metric) == {("robustness/severity_0.25", 0): 0.5}

    def test_there_are_fewer_than_200_names_and_plain_metrics_come_first(self):
        split = [
            {"name": f"split/{i}", "labels": {"correct": "yes"}, "estimate": 1.0, "n": 1}
            for i in range(300)
        ]
        planned = plan_metrics([*split, METRICS[0]], {"ok": 1})
        names = {point.name for point in planned.points}
        assert len(names) == 199
        assert {"accuracy/top1", "accuracy/top1/low", "counts/ok"} <= names
        assert planned.table_only == 300 - 195

    def test_a_point_is_never_planned_twice(self):
        planned = plan_metrics([METRICS[0], METRICS[0]], {})
        assert len({(point.name, point.step) for point in planned.points}) == len(planned.points)
        assert planned.table_only == 1

    def test_the_fingerprint_knows_values_not_their_order(self):
        forward, backward = plan_metrics(METRICS, {}), plan_metrics(METRICS[::-1], {})
        assert forward.fingerprint() == backward.fingerprint()
        assert forward.fingerprint() != plan_metrics(METRICS[1:], {}).fingerprint()
