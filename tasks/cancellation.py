"""A request to stop, honoured between batches.

The command line sets it when it is interrupted; in another process the flow passes a check of its
own. What was finished keeps its receipt, and running the same command again continues.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

StopCheck = Callable[[], bool]
"""True when the audit should stop."""

_stop = threading.Event()


def request_stop() -> None:
    """Ask every shard computed in this process to stop at its next batch."""
    _stop.set()


def stop_requested() -> bool:
    """Whether `request_stop` was called in this process."""
    return _stop.is_set()


def clear_stop() -> None:
    """Forget an earlier request, before a new run in the same process."""
    _stop.clear()
