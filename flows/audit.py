"""The flow `audit`: plan, compute every shard that has no receipt, aggregate, publish.

Only the configuration, shard numbers and small receipts cross the Prefect API; samples and maps
stay in the audit folder. Tasks are groups of shards, so a run has at most a few hundred. Retries
and resumption rest on receipts: Prefect's own caching is off.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any
from uuid import UUID

from prefect import flow, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, as_completed

from flows.cancellation import (
    children_without_interrupts,
    flow_stop_check,
    graceful_sigterm,
    stopping_workers,
)
from flows.presentation import RunPages
from flows.runners import task_runner, with_worker_device
from tasks.cancellation import stop_requested
from tasks.compute import compute_shard
from tasks.config import AuditConfig
from tasks.errors import AuditError, IncompleteAuditError, ModelError
from tasks.planning import group_shards, shards_in_ranges, to_ranges
from tasks.preflight import preflight
from tasks.publish import Outcome, publish_results, write_results
from tasks.session import joined_session, new_session
from tasks.store import AuditFolder, Receipt, Shard, completed_shards, plan_shards
from tasks.tracking import PublishedRun, resolve_tracking_uri, tracked_run

_LOGGER = logging.getLogger(__name__)

ShardReport = dict[str, Any]
"""What a task tells the flow about a finished shard: a few hundred bytes."""


class _AuditStopped(IncompleteAuditError):
    """Stopped on request; MLflow shows such a run as KILLED."""


@task(name="prepare-audit", cache_policy=NO_CACHE, persist_result=False)
def prepare_audit(config: AuditConfig, *, fresh: bool) -> dict[str, Any]:
    """Check everything before the first shard; returns what is to be done."""
    session = new_session(with_worker_device(config))
    checked = preflight(session).record() if config.execution.preflight else {}
    if fresh:
        session.discard_results()
    session.prepare_folder()
    done = session.completed()
    pending = [shard for shard in session.shards if shard.index not in done]
    return {
        "folder": session.folder.url,
        "n_samples": len(session.manifest.table),
        "n_shards": len(session.shards),
        "pending": to_ranges([shard.index for shard in pending]),
        "preflight": checked,
    }


@task(
    name="compute-shards",
    task_run_name="shards {first}-{last}",
    retries=1,
    retry_delay_seconds=5,
    retry_condition_fn=lambda _task, _run, state: _is_worth_a_retry(state),
    cache_policy=NO_CACHE,
    persist_result=False,
)
def compute_shards(
    config: AuditConfig, shards: list[Shard], first: int, last: int, flow_run_id: UUID | None
) -> list[ShardReport]:
    """Compute the shards of one group that have no receipt yet.

    A shard on which the model fails does not keep the others of its group from being computed.
    """
    del first, last  # they name the task run
    session = joined_session(with_worker_device(config))
    should_stop = flow_stop_check(flow_run_id)
    reports = []
    failures: list[ModelError] = []
    done = completed_shards(session.folder, shards, config.digest())
    for shard in shards:
        try:
            receipt = done.get(shard.index) or compute_shard(session, shard, should_stop)
        except ModelError as error:
            failures.append(error)
            continue
        report = _report(receipt)
        _LOGGER.info(
            "shard %d: %s, %.1f s, %.1f passes/s",
            shard.index,
            ", ".join(f"{count} {status}" for status, count in receipt.statuses.items()),
            report["seconds"],
            receipt.n_backward / max(report["seconds"], 1e-9),
        )
        reports.append(report)
    if failures:
        raise failures[0]
    return reports


@task(name="aggregate", cache_policy=NO_CACHE, persist_result=False)
def aggregate(config: AuditConfig, url: str) -> Outcome:
    """Write summary, gates and report from the tables."""
    return write_results(AuditFolder(url), config)


@task(name="publish", cache_policy=NO_CACHE, persist_result=False)
def publish(config: AuditConfig, outcome: Outcome) -> PublishedRun | None:
    """Publish the folder's results to MLflow, once, by explicit run id."""
    return publish_results(outcome, config)


@flow(
    name="compute",
    flow_run_name=lambda: f"{_run_name(runtime.flow_run.parameters)}: shards",
    persist_result=False,
    log_prints=False,
)
def compute(
    config: AuditConfig, pending: list[list[int]], n_samples: int, flow_run_id: UUID | None
) -> list[str]:
    """Compute the pending shards in parallel; returns what went wrong, one line a group.

    Args:
        pending: First and last shard of each run of shards without a receipt.
        flow_run_id: The run that is asked whether it was cancelled.
    """
    size = config.store.shard_size
    shards = shards_in_ranges(pending, n_samples, size)
    n_shards = len(plan_shards(n_samples, size))
    pages = RunPages(n_shards, done=n_shards - len(shards))
    groups = group_shards(shards, config.execution.max_tasks)
    problems = []
    with stopping_workers(config.execution, flow_run_id):
        with children_without_interrupts():
            futures = {
                compute_shards.submit(
                    config, group, group[0].index, group[-1].index, flow_run_id
                ): group
                for group in groups
            }
        for future in as_completed(list(futures)):
            problem = _collect(future, futures[future], pages.advance)
            if problem:
                problems.append(problem)
    return problems


@flow(
    name="audit",
    flow_run_name=lambda: _run_name(runtime.flow_run.parameters),
    persist_result=False,
    log_prints=False,
)
def audit(config: AuditConfig, fresh: bool = False) -> dict[str, Any]:
    """Audit a model on a dataset; safe to run again after any failure.

    Args:
        config: What to compute, and where.
        fresh: Discard what the audit folder holds and begin anew.

    Raises:
        AuditError: With a message for the person who runs the audit.
    """
    flow_run_id = runtime.flow_run.id
    run_id = UUID(flow_run_id) if isinstance(flow_run_id, str) else flow_run_id
    with graceful_sigterm(), _tracked(config):
        plan = prepare_audit(config, fresh=fresh)
        _compute_pending(config, plan, run_id)
        outcome = aggregate(config, plan["folder"])
        RunPages.summary(outcome)
    published = publish(config, outcome)
    return {
        "folder": plan["folder"],
        "summary": outcome.summary,
        "gates_failed": outcome.gates_failed,
        "mlflow_run": published.run_id if published else None,
        "preflight": plan["preflight"],
    }


def _compute_pending(config: AuditConfig, plan: dict[str, Any], run_id: UUID | None) -> None:
    n_pending = sum(last - first + 1 for first, last in plan["pending"])
    _LOGGER.info("%d of %d shards to compute", n_pending, plan["n_shards"])
    if not n_pending:
        return
    run = compute.with_options(task_runner=task_runner(config.execution))
    problems = run(config, plan["pending"], plan["n_samples"], run_id)
    if stop_requested():
        raise _AuditStopped(
            "stopped on request; every shard with a receipt is safe. Run the same command again to "
            "continue."
        )
    if problems:
        raise IncompleteAuditError(
            f"{len(problems)} groups of shards failed:\n  "
            + "\n  ".join(problems[:5])
            + "\nEvery other shard is safe. Mend the cause and run the same command again."
        )


def _collect(
    future: PrefectFuture[list[ShardReport]],
    group: list[Shard],
    advance: Callable[[list[ShardReport]], None],
) -> str | None:
    try:
        advance(future.result())
    except AuditError as error:
        return str(error)
    except (Exception, CancelledError) as error:
        return f"shards {group[0].index} to {group[-1].index}: {type(error).__name__}: {error}"
    return None


def _report(receipt: Receipt) -> ShardReport:
    return {
        "shard": receipt.shard.index,
        "statuses": receipt.statuses,
        "seconds": sum(receipt.seconds.values()),
        "n_backward": receipt.n_backward,
    }


def _is_worth_a_retry(state: Any) -> bool:
    """Only failures that may pass: not the user's mistakes, and not a request to stop."""
    try:
        state.result()
    except AuditError:
        return False
    except Exception:
        return True
    return False


def _run_name(parameters: dict[str, Any]) -> str:
    config = parameters.get("config")
    if isinstance(config, AuditConfig):
        return f"{config.name}: {config.model.name}"
    if isinstance(config, dict):
        return f"{config.get('name', 'audit')}: {config.get('model', {}).get('name', '')}"
    return "audit"


def _tracked(config: AuditConfig) -> contextlib.AbstractContextManager[str | None]:
    """The audit's MLflow run, shown as RUNNING meanwhile; nothing when tracking is off."""
    if not config.tracking.enabled:
        return contextlib.nullcontext()
    return tracked_run(
        resolve_tracking_uri(config.tracking, config.store.url),
        config.tracking.experiment,
        config.name,
        config.digest(),
        killed_by=(_AuditStopped,),
    )
