"""Keep freed memory in the process: activations are allocated and freed again in every pass."""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # from malloc.h of the GNU C library
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell the C library not to give freed blocks back to the system, where it can be told.

    By default large blocks are mapped anew for every tensor, and the system zeroes each of their
    pages when it is first touched, which takes 6 % of a pass on a CPU (docs/performance.md). The
    process keeps its peak until it ends. Only the GNU C library is told, and only if no MALLOC_
    variable of the environment says that somebody else has.

    Returns:
        Whether it was told.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))
