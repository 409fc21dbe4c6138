"""Between batches, ask whether the run was cancelled: here, in the Prefect UI or by its API."""

from __future__ import annotations

import logging
import time
from uuid import UUID

from tasks.cancellation import StopCheck, stop_requested

_ASK_EVERY_S = 5.0
_LOGGER = logging.getLogger(__name__)


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


def _is_cancelled(flow_run_id: UUID) -> bool:
    from prefect.client.orchestration import get_client

    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(flow_run_id).state
    except Exception as error:
        _LOGGER.debug("cannot ask Prefect whether the run is cancelled: %s", error)
        return False
    return state is not None and (state.is_cancelled() or state.is_cancelling())
