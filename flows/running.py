"""Run the flow from a terminal: progress, interruption, and where to look afterwards."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tasks.cancellation import clear_stop, request_stop, stop_requested
from tasks.config import AuditConfig
from tasks.errors import AuditError, IncompleteAuditError
from tasks.store import AuditFolder


def run_audit(config: AuditConfig, *, fresh: bool = False, quiet: bool = False) -> dict[str, Any]:
    """Run an audit to its end, with a progress bar on standard error.

    Raises:
        AuditError: What went wrong and what to do.
    """
    console = Console(stderr=True, quiet=quiet)
    console.print(f"Audit [bold]{config.name}[/bold]: starting Prefect and loading the model …")
    from flows.connection import answering_prefect

    clear_stop()
    with (
        answering_prefect(),
        _stop_on_signals(console),
        _progress_bar(console) as (progress, listener),
    ):
        from flows.audit import audit
        from flows.presentation import on_progress

        stop_listening = on_progress(listener)
        try:
            result = audit(config, fresh=fresh)
        except AuditError:
            raise
        except KeyboardInterrupt as error:
            raise _interrupted() from error
        except Exception as error:
            if stop_requested():
                raise _interrupted() from error
            raise _unforeseen(error) from error
        finally:
            stop_listening()
            progress.stop()
    for warning in result["preflight"].get("warnings", ()):
        console.print(f"[yellow]preflight:[/yellow] {warning}")
    return result | {"where": _where(result, config)}


def republish(folder: AuditFolder, config: AuditConfig | None = None) -> dict[str, Any]:
    """Rebuild everything people read from an audit folder, and publish it.

    Args:
        config: Where data and MLflow are now; None for what the folder recorded.
    """
    from tasks.publish import publish_results, write_results

    config = config or AuditConfig.model_validate(folder.read_json("audit.json")["config"])
    outcome = write_results(folder, config)
    published = publish_results(outcome, config)
    result = {
        "folder": folder.url,
        "summary": outcome.summary,
        "gates_failed": outcome.gates_failed,
        "mlflow_run": published.run_id if published else None,
    }
    return result | {"where": _where(result, config)}


def plan_with_probe(config: AuditConfig) -> dict[str, Any]:
    """The plan, with the time measured by explaining a few samples."""
    from tasks.planning import plan_audit
    from tasks.preflight import preflight
    from tasks.session import AuditSession

    session = AuditSession(config)
    costs = plan_audit(session).record()
    checked = preflight(session).record()
    share_left = 1 - costs["n_done"] / max(1, costs["n_shards"])
    costs["estimated_seconds"] = checked["estimated_seconds"] * share_left
    return costs | {"preflight": checked, "dataset": session.manifest.description}


def describe_plan(costs: dict[str, Any]) -> str:
    """The plan in lines for a terminal."""
    checked = costs["preflight"]
    accuracy = checked["accuracy"]
    tried = (
        "no labels"
        if accuracy is None
        else f"accuracy {accuracy:.2f} on {checked['n_tried']} samples "
        f"(chance {checked['chance']:.3f})"
    )
    bound = "at most " if costs["stops_early"] else ""
    lines = [
        f"audit folder   {costs['folder']}",
        f"dataset        {costs['dataset']}",
        f"samples        {costs['n_samples']} in {costs['n_shards']} shards, "
        f"{costs['n_done']} done",
        f"tasks          {costs['n_tasks']}",
        f"model          output {tuple(checked['output_shape'])}; {tried}",
        f"passes         {costs['n_forward']} forward, {bound}{costs['n_backward']} forward and "
        "backward",
        *_parts(costs["parts"], bound),
        f"files          about {costs['n_files']}, {costs['n_bytes'] / 1e6:.1f} MB",
        f"memory         {costs['memory_bytes'] / 1e6:.0f} MB for maps, "
        f"{checked['bytes_per_sample'] / 1e6:.0f} MB per sample of a batch",
        f"time           {bound}about {_duration(costs['estimated_seconds'])}",
    ]
    return "\n".join(lines + [f"note           {warning}" for warning in checked["warnings"]])


def _parts(parts: dict[str, dict[str, int]], bound: str) -> list[str]:
    """A line for each analysis, where there is one beside attribution, whose draws may be fewer."""
    if len(parts) < 2:
        return []
    return [
        f"               {section}: {part['n_forward']} forward, "
        f"{bound if section == 'attribution' else ''}{part['n_backward']} forward and backward on "
        f"{part['n_samples']} samples"
        for section, part in parts.items()
    ]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _where(result: dict[str, Any], config: AuditConfig) -> list[str]:
    folder = AuditFolder(result["folder"])
    lines = [
        f"Report      {folder.uri('report.html')}",
        f"Folder      {folder.url}",
    ]
    if result["mlflow_run"]:
        lines.append(f"MLflow      run {result['mlflow_run']} in '{config.tracking.experiment}'")
    lines.append("Dashboards  wam-audit ui    (MLflow and Prefect pages on this machine)")
    return lines


@contextlib.contextmanager
def _progress_bar(console: Console) -> Iterator[tuple[Progress, Any]]:
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=False,
    )
    bar = progress.add_task("shards", total=None, visible=False)

    def listener(done: int, n_shards: int, reports: list[dict[str, Any]]) -> None:
        progress.start()
        progress.update(bar, completed=done, total=n_shards, visible=True)
        if not console.is_terminal and reports:
            console.print(f"{done} of {n_shards} shards")
        if done == n_shards:
            console.print("Aggregating, writing the report, publishing …")

    with progress:
        yield progress, listener


@contextlib.contextmanager
def _stop_on_signals(console: Console) -> Iterator[None]:
    """First signal: stop at the next batch. Second: at once."""
    from flows.cancellation import handling_signals

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop_requested():
            raise KeyboardInterrupt
        console.print(
            f"{signal.Signals(number).name}: stopping at the next batch; again to stop now"
        )
        request_stop()

    with handling_signals(handle):
        yield


def _interrupted() -> IncompleteAuditError:
    return IncompleteAuditError(
        "interrupted; every shard with a receipt is safe. Run the same command again to continue."
    )


def _unforeseen(error: Exception) -> AuditError:
    import traceback

    log = Path("wam-audit-error.log")
    try:
        log.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        print(f"details are in {log.resolve()}", file=sys.stderr)
    except OSError as failure:
        print(f"details cannot be written to {log.resolve()}: {failure}", file=sys.stderr)
    return IncompleteAuditError(
        f"{type(error).__name__}: {error}. Every shard with a receipt is safe; run the same "
        "command again to continue. If it fails again at the same place, this is a defect: report "
        f"it with {log}."
    )
