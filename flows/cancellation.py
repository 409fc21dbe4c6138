"""Between batches, ask whether the run was cancelled: here, in the Prefect UI or by its API."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

from tasks.cancellation import StopCheck, stop_requested
from tasks.config import ExecutionConfig

_ASK_EVERY_S = 5.0
_LOOK_EVERY_S = 0.5
_LOGGER = logging.getLogger(__name__)

_handlers: list[Callable[..., Any]] = []


def flow_stop_check(flow_run_id: UUID | None) -> StopCheck:
    """A check that asks the Prefect API every few seconds whether the flow run is cancelled.

    An API that does not answer never stops an audit.
    """
    last_asked = time.monotonic()
    cancelled = False

    def should_stop() -> bool:
        nonlocal last_asked, cancelled
        if stop_requested() or cancelled:
            return True
        if flow_run_id is not None and time.monotonic() - last_asked >= _ASK_EVERY_S:
            last_asked = time.monotonic()
            cancelled = _is_cancelled(flow_run_id)
        return cancelled

    return should_stop


@contextlib.contextmanager
def handling_signals(handle: Callable[..., Any]) -> Iterator[None]:
    """Let a function handle SIGINT and SIGTERM, also inside flows; main thread only."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, handle) for number in numbers}
    _handlers.append(handle)
    try:
        yield
    finally:
        _handlers.remove(handle)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def graceful_sigterm() -> Iterator[None]:
    """Inside a flow, give SIGTERM back to the command line.

    Prefect's own handler raises at once, and then waits until whole groups of shards are done.
    Without a command line, as in a served run, Prefect keeps its handler.
    """
    if not _handlers or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _handlers[-1])
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def stopping_workers(execution: ExecutionConfig, flow_run_id: UUID | None) -> Iterator[None]:
    """Pass a request to stop on to other processes, by marking the run as being cancelled."""
    with graceful_sigterm():
        if execution.runner == "threads" or flow_run_id is None:
            yield
            return
        finished = threading.Event()
        watcher = threading.Thread(target=_pass_on, args=(flow_run_id, finished), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            finished.set()
            watcher.join()


@contextlib.contextmanager
def children_without_interrupts() -> Iterator[None]:
    """Processes and threads that start in the block never see SIGINT.

    A terminal sends Ctrl-C to every process of the foreground. One in a process that is still
    starting would break the whole pool; those processes learn of it as of any other stop.
    """
    if not hasattr(signal, "pthread_sigmask"):  # not on POSIX
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _pass_on(flow_run_id: UUID, finished: threading.Event) -> None:
    while not finished.wait(_LOOK_EVERY_S):
        if stop_requested() and _mark_cancelling(flow_run_id):
            return


def _mark_cancelling(flow_run_id: UUID) -> bool:
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelling

    try:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run_id, Cancelling(), force=True)
    except Exception as error:
        _LOGGER.debug("cannot tell Prefect that the run is being cancelled: %s", error)
        return False
    return True


def _is_cancelled(flow_run_id: UUID) -> bool:
    from prefect.client.orchestration import get_client

    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(flow_run_id).state
    except Exception as error:
        _LOGGER.debug("cannot ask Prefect whether the run is cancelled: %s", error)
        return False
    return state is not None and (state.is_cancelled() or state.is_cancelling())
