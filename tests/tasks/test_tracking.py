"""One MLflow run per audit: found again, filled once, closed whatever happens, never fatal."""

import asyncio
import concurrent.futures
import dataclasses
import json
import logging
import math
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pandas as pd
import pytest

from tasks.config import TrackingConfig
from tasks.errors import EXIT_INCOMPLETE
from tasks.tracking import (
    Publication,
    TrackingError,
    artifact_root,
    find_run,
    publish,
    resolve_tracking_uri,
    tracked_run,
)
from tasks.tracking import publishing as publishing_module
from tasks.tracking.connection import connection

PNG = b"\x89PNG\r\n\x1a\n"
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


@pytest.fixture(scope="session")
def uri(tmp_path_factory):
    """One database for all tests: creating its tables takes seconds."""
    folder = tmp_path_factory.mktemp("tracking")
    return resolve_tracking_uri(TrackingConfig(), str(folder))


@pytest.fixture
def client(uri):
    with connection(uri, "testing") as opened:
        pass
    return opened


@pytest.fixture
def digest():
    return uuid4().hex * 2


@pytest.fixture
def publication(digest, tmp_path):
    report = tmp_path / "report.html"
    report.write_text("<p>report</p>")
    return Publication(
        name="cats",
        digest=digest,
        experiment="tests",
        params={"model.name": "lite0", "basis.levels": "2"},
        tags={"audit.model": "lite0", "audit.complete": "yes"},
        note="**note**",
        metrics=METRICS,
        counts={"samples": 5, "ok": 5},
        figures={"profile.png": PNG},
        tables={"levels": pd.DataFrame({"level": [1, 2], "share": [0.2, 0.3]})},
        files={"report.html": report},
        dataset=pd.DataFrame({"sample_id": ["a", "b"], "label": [0, 1]}),
        dataset_name="cats",
        dataset_digest="d" * 64,
        dataset_source="/data/cats",
    )


def history(client, run_id, name):
    return [(point.step, point.value) for point in client.get_metric_history(run_id, name)]


def artifact(client, run_id, name):
    folder = client.get_run(run_id).info.artifact_uri.removeprefix("file://")
    return Path(folder, name)


class TestPublish:
    def test_everything_arrives(self, uri, client, publication):
        published = publish(uri, publication)
        run = client.get_run(published.run_id)
        assert run.info.status == "FINISHED"
        assert run.info.run_name == "cats"
        assert run.data.params == publication.params
        assert run.data.tags["audit.id"] == publication.digest
        assert run.data.tags["audit.name"] == "cats"
        assert run.data.tags["audit.model"] == "lite0"
        assert run.data.tags["mlflow.note.content"] == "**note**"
        assert run.data.metrics["accuracy/top1/high"] == 0.92
        curve = history(client, published.run_id, "reliance/share/gradient")
        assert curve == [(1, 0.2), (2, 0.3), (3, 0.5)]
        (dataset,) = [entry.dataset for entry in run.inputs.dataset_inputs]
        assert (dataset.name, dataset.digest) == ("cats", "d" * 36)
        assert json.loads(dataset.profile)["num_rows"] == 2
        assert json.loads(dataset.source)["uri"] == "/data/cats"
        assert artifact(client, run.info.run_id, "figures/profile.png").read_bytes() == PNG
        report = artifact(client, run.info.run_id, "report.html")
        assert report.read_text() == "<p>report</p>"
        assert not report.is_symlink()
        assert published.page == f"/#/experiments/{published.experiment_id}/runs/{run.info.run_id}"
        assert find_run(uri, "tests", publication.digest) == run.info.run_id

    def test_the_table_holds_every_metric_and_its_place(self, uri, client, publication):
        run_id = publish(uri, publication).run_id
        table = pd.read_csv(artifact(client, run_id, "tables/metrics.csv"))
        assert len(table) == len(METRICS)
        assert table["class"].dropna().to_list() == ["cat"]
        assert table["mlflow"].to_list()[2] == "reliance/share/gradient@1"
        assert artifact(client, run_id, "tables/levels.csv").is_file()

    def test_artifacts_stand_beside_the_database(self, uri, client, publication):
        run_id = publish(uri, publication).run_id
        assert artifact(client, run_id, "report.html").is_relative_to(artifact_root(uri))

    def test_publishing_again_appends_no_point_but_refreshes_files(
        self, uri, client, publication, tmp_path
    ):
        first = publish(uri, publication)
        client.set_tag(first.run_id, "mlflow.note.content", "changed by a person")
        (tmp_path / "report.html").write_text("newer report")
        again = publish(uri, publication)
        assert again.run_id == first.run_id
        assert (first.already_published, again.already_published) == (False, True)
        assert len(history(client, first.run_id, "reliance/share/gradient")) == 3
        assert len(history(client, first.run_id, "accuracy/top1")) == 1
        assert artifact(client, first.run_id, "report.html").read_text() == "newer report"
        tags = client.get_run(first.run_id).data.tags
        assert tags["mlflow.note.content"] == "changed by a person"

    def test_other_numbers_get_a_new_run_and_hide_the_old_one(self, uri, client, publication):
        old = publish(uri, publication)
        changed = dataclasses.replace(publication, metrics=METRICS[:1])
        new = publish(uri, changed)
        assert new.run_id != old.run_id
        assert new.superseded == (old.run_id,)
        hidden = client.get_run(old.run_id)
        assert hidden.info.lifecycle_stage == "deleted"
        assert hidden.data.tags["audit.superseded_by"] == new.run_id
        assert hidden.data.metrics["reliance/share/gradient"] == 0.5
        assert find_run(uri, "tests", publication.digest) == new.run_id
        assert publish(uri, changed).superseded == ()

    def test_a_publication_that_died_between_points_and_tag_is_replaced(
        self, uri, client, publication, monkeypatch
    ):
        log_points = publishing_module._log_points

        def die_after_points(client, run_id, logged):
            log_points(client, run_id, logged)
            client.delete_tag(run_id, "audit.published")
            raise KeyboardInterrupt

        monkeypatch.setattr(publishing_module, "_log_points", die_after_points)
        with pytest.raises(KeyboardInterrupt):
            publish(uri, publication)
        monkeypatch.undo()
        broken = find_run(uri, "tests", publication.digest)
        assert client.get_run(broken).info.status == "KILLED"
        published = publish(uri, publication)
        assert published.superseded == (broken,)
        assert len(history(client, published.run_id, "accuracy/top1")) == 1

    def test_a_publication_that_died_before_its_points_is_completed(
        self, uri, client, publication, tmp_path
    ):
        (tmp_path / "report.html").rename(tmp_path / "away.html")
        with pytest.raises(TrackingError, match=r"publishing audit 'cats'.*No such file"):
            publish(uri, publication)
        failed = find_run(uri, "tests", publication.digest)
        run = client.get_run(failed)
        assert run.info.status == "FAILED"
        assert "FileNotFoundError" in run.data.tags["audit.error"]
        (tmp_path / "away.html").rename(tmp_path / "report.html")
        assert publish(uri, publication).run_id == failed
        run = client.get_run(failed)
        assert run.info.status == "FINISHED"
        assert "audit.error" not in run.data.tags

    def test_a_changed_or_long_parameter_never_raises(self, uri, client, publication):
        run_id = publish(uri, publication).run_id
        params = {"model.name": "other", "long": "x" * 10_000, "new": "1"}
        assert publish(uri, dataclasses.replace(publication, params=params)).run_id == run_id
        run = client.get_run(run_id)
        assert run.data.params["model.name"] == "lite0"
        assert run.data.tags["param.model.name"] == "other"
        assert run.data.params["long"].endswith("x…")
        assert run.data.params["new"] == "1"

    def test_hundreds_of_params_and_long_tags_fit(self, uri, client, publication):
        params = {f"p{i}": str(i) for i in range(250)}
        many = dataclasses.replace(
            publication, params=params, tags={"audit.long": "x" * 20_000}, note="n" * 20_000
        )
        run = client.get_run(publish(uri, many).run_id)
        assert run.data.params == params
        assert len(run.data.tags["audit.long"]) == 5000

    def test_no_nan_is_logged_and_the_reason_is_a_tag(self, uri, client, publication):
        metrics = [{"name": "a/b", "labels": {}, "estimate": math.nan, "n": 3}]
        run_id = publish(uri, dataclasses.replace(publication, metrics=metrics)).run_id
        run = client.get_run(run_id)
        assert all(math.isfinite(value) for value in run.data.metrics.values())
        assert run.data.metrics["a/b_n_valid"] == 3
        assert run.data.tags["audit.omitted"] == "a/b: estimate is nan (n = 3)"

    def test_a_dataset_without_a_table_or_known_source_is_still_an_input(
        self, uri, client, publication
    ):
        bare = dataclasses.replace(
            publication, dataset=None, dataset_name="shards", dataset_source="pipe:cat {000..9}"
        )
        (entry,) = client.get_run(publish(uri, bare).run_id).inputs.dataset_inputs
        assert entry.dataset.name == "shards"
        assert "pipe:cat" in entry.dataset.source

    def test_a_name_that_leads_out_of_the_run_is_refused(self, uri, publication):
        figures = {"../../evil.png": PNG}
        with pytest.raises(TrackingError, match="leads out of the run"):
            publish(uri, dataclasses.replace(publication, figures=figures))

    def test_a_deleted_experiment_says_how_to_restore_it(self, uri, client, publication):
        name = f"gone-{uuid4().hex}"
        client.delete_experiment(client.create_experiment(name))
        with pytest.raises(TrackingError, match="mlflow experiments restore"):
            publish(uri, dataclasses.replace(publication, experiment=name))

    def test_the_experiment_opens_with_charts(self, uri, client, publication):
        published = publish(uri, publication)
        tags = client.get_experiment(published.experiment_id).tags
        assert tags["mlflow.experimentKind"] == "custom_model_development"


class TestTrackedRun:
    def status(self, client, run_id):
        run = client.get_run(run_id)
        return run.info.status, run.data.tags.get("audit.error")

    def test_a_run_is_running_then_finished(self, uri, client, digest):
        with tracked_run(uri, "tests", "cats", digest, tags={"audit.model": "m"}) as run_id:
            assert client.get_run(run_id).info.status == "RUNNING"
            assert client.get_run(run_id).data.tags["audit.model"] == "m"
        assert self.status(client, run_id) == ("FINISHED", None)

    def test_publishing_inside_uses_the_same_run(self, uri, client, publication):
        with tracked_run(uri, "tests", "cats", publication.digest) as run_id:
            assert publish(uri, publication).run_id == run_id
        assert client.get_run(run_id).info.status == "FINISHED"

    def test_a_resumed_audit_whose_numbers_changed_ends_on_its_new_run(
        self, uri, client, publication
    ):
        old = publish(uri, publication).run_id
        with tracked_run(uri, "tests", "cats", publication.digest) as run_id:
            assert run_id == old
            new = publish(uri, dataclasses.replace(publication, metrics=METRICS[:1])).run_id
        assert client.get_run(new).info.status == "FINISHED"
        assert client.get_run(old).info.status == "FINISHED"

    def test_a_resumed_audit_keeps_its_run_and_loses_the_error(self, uri, client, digest):
        with (
            pytest.raises(ValueError, match="shard 3"),
            tracked_run(uri, "tests", "cats", digest) as first,
        ):
            raise ValueError("shard 3 failed")
        assert self.status(client, first) == ("FAILED", "ValueError: shard 3 failed")
        with tracked_run(uri, "tests", "cats", digest) as again:
            assert client.get_run(again).info.status == "RUNNING"
        assert again == first
        assert self.status(client, first) == ("FINISHED", None)

    def test_a_run_left_running_by_sigkill_is_taken_up(self, uri, client, digest):
        code = f"""
import os, signal
from tasks.tracking import tracked_run
with tracked_run({uri!r}, "tests", "cats", {digest!r}) as run_id:
    print(run_id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == -9
        left = done.stdout.strip()
        assert client.get_run(left).info.status == "RUNNING"
        with tracked_run(uri, "tests", "cats", digest) as run_id:
            assert run_id == left
        assert client.get_run(left).info.status == "FINISHED"

    @pytest.mark.parametrize(
        "error",
        [KeyboardInterrupt, SystemExit, asyncio.CancelledError, concurrent.futures.CancelledError],
    )
    def test_an_interruption_is_killed(self, uri, client, digest, error):
        with pytest.raises(error), tracked_run(uri, "tests", "cats", digest) as run_id:
            raise error
        assert self.status(client, run_id) == ("KILLED", error.__name__)

    def test_prefects_cancellation_is_killed_when_named(self, uri, client, digest):
        class CancelledRun(Exception): ...

        with (
            pytest.raises(CancelledRun),
            tracked_run(uri, "tests", "c", digest, killed_by=(CancelledRun,)) as run_id,
        ):
            raise CancelledRun
        assert client.get_run(run_id).info.status == "KILLED"

    def test_the_environment_diverts_nothing_and_is_left_alone(
        self, uri, client, publication, monkeypatch
    ):
        foreign = client.create_run("0").info.run_id
        monkeypatch.setenv("MLFLOW_RUN_ID", foreign)
        monkeypatch.setenv("MLFLOW_ACTIVE_MODEL_ID", "m-1234")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
        before = dict(os.environ)
        with tracked_run(uri, "tests", "cats", publication.digest) as run_id:
            publish(uri, publication)
        assert run_id != foreign
        assert client.get_run(foreign).data.metrics == {}
        assert dict(os.environ) == before


class TestFailure:
    @pytest.fixture
    def closed(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        return f"http://ann:secret@127.0.0.1:{port}"

    def test_an_unreachable_server_fails_fast_and_loses_nothing(self, closed, publication):
        start = time.monotonic()
        with pytest.raises(TrackingError) as caught:
            publish(closed, publication)
        assert time.monotonic() - start < 20
        message = str(caught.value)
        assert caught.value.exit_code == EXIT_INCOMPLETE
        assert "secret" not in message
        assert "`wam-audit report AUDIT` publishes it later" in message
        assert "folder is complete" in message

    def test_a_server_that_says_nothing_is_given_up_in_the_time_the_user_set(
        self, publication, monkeypatch
    ):
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            start = time.monotonic()
            with pytest.raises(TrackingError):
                publish(f"http://127.0.0.1:{silent.getsockname()[1]}", publication)
            assert time.monotonic() - start < 10

    def test_an_audit_runs_without_its_server(self, closed, digest, caplog):
        with (
            caplog.at_level(logging.WARNING),
            tracked_run(closed, "tests", "cats", digest) as run_id,
        ):
            assert run_id is None
        assert "The audit goes on without it" in caplog.text
        assert "secret" not in caplog.text

    def test_a_place_that_cannot_be_written_says_so(self, tmp_path, publication):
        (tmp_path / "file").write_text("")
        uri = f"sqlite:///{tmp_path}/file/mlflow.db"
        with pytest.raises(TrackingError, match=r"writable, with space left"):
            publish(uri, publication)

    def test_a_damaged_database_says_so(self, tmp_path, publication):
        (tmp_path / "mlflow.db").write_bytes(b"not a database" * 1000)
        with pytest.raises(TrackingError, match="file is not a database"):
            publish(f"sqlite:///{tmp_path}/mlflow.db", publication)


def test_tracking_is_quiet_sends_nothing_and_imports_mlflow_late(tmp_path):
    code = f"""
import os, sys
import tasks.tracking as tracking
assert not any(name == "mlflow" or name == "pandas" for name in sys.modules)
publication = tracking.Publication("n", "d" * 64, "e", counts={{"ok": 1}}, dataset_name="x")
tracking.publish("sqlite:///{tmp_path}/mlflow.db", publication)
assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == os.environ["DO_NOT_TRACK"] == "true"
from mlflow.telemetry import get_telemetry_client
assert get_telemetry_client() is None
"""
    inherited = {k: v for k, v in os.environ.items() if "TRACK" not in k and "MLFLOW" not in k}
    inherited.pop("CI", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=inherited, capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} <= {
        "mlflow.db",
        "mlflow-artifacts",
    }


def test_two_audits_may_create_the_database_at_once(tmp_path):
    code = "import sys; from tasks.tracking import find_run; find_run(sys.argv[1], 'e', 'd')"
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path}/mlflow.db"]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate()[1] for process in processes]
    assert errors == ["", ""]
    assert [process.returncode for process in processes] == [0, 0]
