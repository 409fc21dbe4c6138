"""The flow: the same tables whoever computes them, few small messages, and a run that can stop."""

import json
import logging
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from uuid import uuid4

import pytest

from tasks.cancellation import clear_stop, request_stop
from tasks.config import ExecutionConfig
from tasks.errors import EXIT_INCOMPLETE, IncompleteAuditError
from tasks.session import AuditSession
from tasks.store import AuditFolder


@pytest.fixture
def audit_flow(prefect_server):
    """The flow, imported when its server's settings are in force."""
    from flows.audit import audit

    clear_stop()
    yield audit
    clear_stop()


def task_runs(flow_run_name):
    """Task runs of the named flow run and of its subflow, by task name."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId

    with get_client(sync_client=True) as client:
        (parent,) = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(name={"any_": [flow_run_name]})
        )
        children = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[parent.id])
            )
        )
        runs = client.read_task_runs(
            flow_run_filter=FlowRunFilter(id={"any_": [parent.id, *(run.id for run in children)]})
        )
        parameters = [json.dumps(run.parameters) for run in (parent, *children)]
    return runs, parameters


def artifacts():
    """The newest artifact of each key."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        found = client.request("POST", "/artifacts/latest/filter", json={}).json()
    return {artifact["key"]: artifact for artifact in found}


def mlflow_run(config, uri):
    from tasks.tracking.connection import connection

    with connection(uri, "looking at the run") as client:
        experiment = client.get_experiment_by_name(config.tracking.experiment)
        (run,) = client.search_runs([experiment.experiment_id])
        curve = client.get_metric_history(run.info.run_id, "reliance/share/smoothgrad_absolute")
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
    return run, [(point.step, point.value) for point in curve], files


def test_an_audit_through_prefect_and_mlflow(
    audit_flow, toy_config, compute_all, stored, tmp_path, tracking_at
):
    name = f"flow-{uuid4().hex[:8]}"
    uri = f"sqlite:///{tracking_at(tmp_path / 'tracking' / 'mlflow.db')}"
    config = toy_config(
        name=name,
        store={"shard_size": 1},
        execution={"workers": 3, "max_tasks": 4},
        tracking={"enabled": True, "uri": uri},
    )
    # A part of the audit is there already: the flow completes it.
    compute_all(config, shards=[0, 5])
    result = audit_flow(config)
    alone = toy_config(name=name, store={"shard_size": 1, "url": str(tmp_path / "alone")})
    folder = AuditFolder(result["folder"])
    assert stored(tmp_path / "audits" / config.folder_name()).checksums() == (
        stored(compute_all(alone)).checksums()
    )

    runs, parameters = task_runs(f"{name}: wam_audit_toy_models:toy")
    computing = [run for run in runs if run.name.startswith("shards ")]
    assert len(computing) == 3  # nine shards in groups of three
    # Prepare, aggregate, publish, and the subflow as its parent sees it.
    assert len(runs) == len(computing) + 4
    assert all(run.state.is_completed() for run in runs)
    assert all(len(text) < 10_000 for text in parameters)

    shown = artifacts()
    assert float(shown["audit-progress"]["data"]) == 100.0
    assert "11 of 11 samples" in shown["audit-headline"]["data"]
    counts = {row["what"]: row["value"] for row in json.loads(shown["audit-summary"]["data"])}
    assert counts["samples"] == counts["ok"] == 11
    assert f"file://{folder.uri('report.html')}" in shown["audit-report-html"]["data"]
    assert "summary.json" in shown["audit-summary-json"]["data"]

    run, curve, files = mlflow_run(config, uri)
    assert run.info.run_id == result["mlflow_run"]
    assert run.info.status == "FINISHED"
    assert run.data.tags["audit.id"] == config.digest()
    assert [step for step, _ in curve] == [1, 2, 3]
    assert all(math.isfinite(value) for value in run.data.metrics.values())
    assert {"report.html", "summary.json", "figures", "tables"} <= files

    # Once more: nothing to compute, the same run, no point twice.
    again = audit_flow(config)
    assert again["summary"] == result["summary"]
    run_again, curve_again, _ = mlflow_run(config, uri)
    assert run_again.info.run_id == run.info.run_id
    assert curve_again == curve


class TestTasks:
    @pytest.fixture
    def prepared(self, toy_config):
        config = toy_config(store={"shard_size": 2})
        session = AuditSession(config)
        session.prepare_folder()
        return config, session.shards

    def compute(self, config, shards):
        from flows.audit import compute_shards

        return compute_shards.fn(config, shards, shards[0].index, shards[-1].index, None)

    def test_what_a_task_returns_is_small(self, prepared):
        config, shards = prepared
        reports = self.compute(config, shards)
        assert [report["shard"] for report in reports] == list(range(6))
        assert len(pickle.dumps(reports)) < 4096
        assert len(json.dumps(reports[0])) < 200

    def test_finished_shards_are_not_computed_again(self, prepared):
        config, shards = prepared
        self.compute(config, shards[:2])
        folder = AuditSession(config).folder
        before = folder.read_bytes("receipts/000001.json")
        self.compute(config, shards)
        assert folder.read_bytes("receipts/000001.json") == before

    def test_only_failures_that_may_pass_are_tried_again(self, prefect_server):
        from prefect.states import exception_to_failed_state
        from prefect.utilities.asyncutils import run_coro_as_sync

        from flows.audit import _is_worth_a_retry

        def failed(error):
            state = exception_to_failed_state(error)
            return run_coro_as_sync(state) if hasattr(state, "__await__") else state

        assert _is_worth_a_retry(failed(OSError("a hiccup")))
        assert not _is_worth_a_retry(failed(IncompleteAuditError("asked to stop")))

    def test_a_passing_failure_is_retried(self, audit_flow, toy_config, monkeypatch):
        from flows import audit as module

        compute_shard, failures = module.compute_shard, []

        def hiccup(session, shard, should_stop):
            if not failures:
                failures.append(shard.index)
                raise ConnectionResetError("a hiccup")
            return compute_shard(session, shard, should_stop)

        monkeypatch.setattr(module, "compute_shard", hiccup)
        monkeypatch.setattr(module.compute_shards, "retry_delay_seconds", 0)
        result = audit_flow(toy_config(4, name="retried"))
        assert failures
        assert result["summary"]["complete"]

    def test_a_failure_that_stays_leaves_the_rest_and_says_what_failed(
        self, audit_flow, toy_config, monkeypatch
    ):
        from flows import audit as module

        compute_shard = module.compute_shard

        def broken(session, shard, should_stop):
            if shard.index == 1:
                raise ConnectionResetError("the line is dead")
            return compute_shard(session, shard, should_stop)

        monkeypatch.setattr(module, "compute_shard", broken)
        monkeypatch.setattr(module.compute_shards, "retry_delay_seconds", 0)
        config = toy_config(name="broken")
        with pytest.raises(IncompleteAuditError, match=r"shards 1 to 1: .*the line is dead"):
            audit_flow(config)
        assert sorted(AuditSession(config).completed()) == [0, 2]


class FakeClient:
    """Answers with one state, and counts how often it was asked."""

    def __init__(self, state):
        self.state, self.asked = state, 0

    @contextmanager
    def __call__(self, sync_client):
        assert sync_client
        yield self

    def read_flow_run(self, flow_run_id):
        self.asked += 1
        if isinstance(self.state, Exception):
            raise self.state
        return SimpleNamespace(state=self.state)


class TestCancellation:
    @pytest.fixture
    def ask(self, prefect_server, monkeypatch):
        """A check that asks a client with the given state, after the given time."""
        from prefect.client import orchestration

        from flows import cancellation

        clear_stop()

        def ask(state, every_s=0.0):
            client = FakeClient(state)
            monkeypatch.setattr(orchestration, "get_client", client)
            monkeypatch.setattr(cancellation, "_ASK_EVERY_S", every_s)
            return cancellation.flow_stop_check(uuid4()), client

        yield ask
        clear_stop()

    def test_a_cancelled_run_stops(self, ask):
        from prefect.states import Cancelled, Cancelling, Running

        for state, expected in ((Cancelled(), True), (Cancelling(), True), (Running(), False)):
            should_stop, _ = ask(state)
            assert should_stop() is expected

    def test_the_answer_is_kept_and_the_api_is_not_pestered(self, ask):
        from prefect.states import Cancelled

        should_stop, client = ask(Cancelled())
        assert [should_stop() for _ in range(5)] == [True] * 5
        assert client.asked == 1
        should_stop, client = ask(Cancelled(), every_s=60.0)
        assert [should_stop() for _ in range(5)] == [False] * 5
        assert client.asked == 0

    @pytest.mark.parametrize("state", [None, ConnectionError("gone")])
    def test_an_api_that_does_not_answer_stops_nothing(self, ask, state):
        should_stop, client = ask(state)
        assert not should_stop()
        assert client.asked == 1

    def test_a_request_in_this_process_needs_no_api(self, ask):
        should_stop, client = ask(ConnectionError("gone"), every_s=60.0)
        request_stop()
        assert should_stop()
        assert client.asked == 0

    def test_a_stopped_flow_keeps_what_is_finished(self, audit_flow, toy_config, monkeypatch):
        from flows import audit as module

        compute_shard, seen = module.compute_shard, []

        def stop_after_two(session, shard, should_stop):
            if len(seen) == 2:
                request_stop()
            seen.append(shard.index)
            return compute_shard(session, shard, should_stop)

        monkeypatch.setattr(module, "compute_shard", stop_after_two)
        config = toy_config(name="stopped", store={"shard_size": 2})
        with pytest.raises(IncompleteAuditError, match="stopped on request"):
            audit_flow(config)
        assert sorted(AuditSession(config).completed()) == seen[:2]
        clear_stop()
        monkeypatch.setattr(module, "compute_shard", compute_shard)
        assert audit_flow(config)["summary"]["complete"]


class TestRunners:
    def test_each_process_of_a_pool_has_its_gpu(self, prefect_server, toy_config, monkeypatch):
        from flows import runners

        monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
        for number, device in ((1, "cuda:0"), (2, "cuda:1"), (3, "cuda:0")):
            process = SimpleNamespace(_identity=(number,))
            monkeypatch.setattr(runners.multiprocessing, "current_process", lambda p=process: p)
            config = toy_config(execution={"runner": "processes", "device": "auto"})
            assert runners.with_worker_device(config).execution.device == device
            assert runners.with_worker_device(config).digest() == config.digest()
        for kept in ({"runner": "threads", "device": "auto"}, {"runner": "processes"}):
            config = toy_config(execution=kept)
            assert runners.with_worker_device(config) == config

    def test_dask_that_is_not_installed_says_how_to_install_it(self, prefect_server, monkeypatch):
        from flows.runners import task_runner
        from tasks.errors import ConfigError

        monkeypatch.setitem(sys.modules, "prefect_dask", None)
        with pytest.raises(ConfigError, match=r"pip install 'wam-audit\[dask\]'"):
            task_runner(ExecutionConfig(runner="dask"))

    @pytest.mark.slow
    @pytest.mark.parametrize("runner", ["processes", "dask"])
    def test_other_processes_compute_the_same_bytes(
        self, audit_flow, toy_config, compute_all, stored, tmp_path, runner
    ):
        config = toy_config(name=runner, execution={"runner": runner, "workers": 2})
        audit_flow(config)
        folder = tmp_path / "audits" / config.folder_name()
        workers = {
            json.loads(path.read_text())["worker"] for path in folder.glob("receipts/*.json")
        }
        assert not any(worker.endswith(f":{os.getpid()}") for worker in workers)
        alone = toy_config(name=runner, store={"url": str(tmp_path / "alone")})
        assert stored(folder).checksums() == stored(compute_all(alone)).checksums()

    @pytest.mark.slow
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_reaches_the_processes_of_a_pool(
        self, toy_file, quiet_environment, tmp_path, number
    ):
        path = toy_file(
            60,
            model={"arguments": {"delay": 0.1}},
            store={"shard_size": 1},
            execution={"runner": "processes", "workers": 2, "max_tasks": 2, "preflight": False},
        )
        command = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "run", str(path)],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        deadline = time.monotonic() + 200
        try:
            while not list(tmp_path.glob("audits/toy-*/receipts/*.json")):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            if number == signal.SIGINT:
                # As a terminal does it: the whole foreground group.
                os.killpg(command.pid, number)
            else:
                command.send_signal(number)
            _, err = command.communicate(timeout=120)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(command.pid, signal.SIGKILL)
        assert command.returncode == EXIT_INCOMPLETE, err
        assert "Traceback" not in err
        assert len(list(tmp_path.glob("audits/toy-*/receipts/*.json"))) < 60


class TestPages:
    """Prefect's pages are decoration: an API that is gone never fails an audit."""

    def test_progress_goes_on_without_the_api(self, prefect_server, monkeypatch, caplog):
        from flows import presentation

        def gone(*_, **__):
            raise ConnectionError("gone")

        for name in ("create_progress_artifact", "update_progress_artifact"):
            monkeypatch.setattr(presentation, name, gone)
        seen = []
        stop = presentation.on_progress(lambda done, total, reports: seen.append((done, total)))
        with caplog.at_level(logging.WARNING, logger="flows.presentation"):
            pages = presentation.RunPages(4, done=1)
            pages.advance([{}, {}])
        stop()
        pages.advance([{}])
        assert seen == [(1, 4), (3, 4)]
        assert "did not take an artifact" in caplog.text

    def test_an_outcome_is_shown_without_the_api(self, prefect_server, monkeypatch, toy_config):
        from flows import presentation

        def gone(*_, **__):
            raise ConnectionError("gone")

        for name in ("create_markdown_artifact", "create_table_artifact", "create_link_artifact"):
            monkeypatch.setattr(presentation, name, gone)
        summary = {"name": "toy", "headline": ["fine"], "counts": {"samples": 1, "ok": 1}}
        outcome = SimpleNamespace(summary=summary, gates=[], folder=AuditFolder("/nowhere"))
        presentation.RunPages.summary(outcome)


def test_a_signal_handler_of_the_command_line_holds_inside_flows(prefect_server):
    from flows.cancellation import graceful_sigterm, handling_signals

    seen = []
    before = signal.getsignal(signal.SIGTERM)
    with handling_signals(lambda number, _: seen.append(number)):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as Prefect puts its own in the place
        with graceful_sigterm():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    assert seen == [signal.SIGTERM, signal.SIGINT]
    assert signal.getsignal(signal.SIGTERM) == before
    # Outside a command line, and outside the main thread, Prefect keeps its handler.
    with graceful_sigterm():
        assert signal.getsignal(signal.SIGTERM) == before

    def in_a_thread():
        with graceful_sigterm():
            return True

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(in_a_thread).result()
