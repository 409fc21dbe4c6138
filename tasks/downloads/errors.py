"""What can go wrong on the way from a server to a folder, in words for the person who waits."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import ClassVar

from tasks.errors import EXIT_INCOMPLETE, AuditError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class DownloadError(AuditError):
    """A dataset is not there yet: network, server, disk, or content that is not as published."""

    exit_code: ClassVar[int] = EXIT_INCOMPLETE


class CutTransferError(DownloadError):
    """The connection ended before the file did; what came is kept."""


def disk_failure(error: OSError, place: Path) -> DownloadError:
    """Say what the disk refused and what to do.

    Args:
        place: Where we were writing; named unless the error names a file itself.
    """
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        advice = "Free some space or choose another folder (--to)"
    elif error.errno in _FORBIDDEN:
        advice = "Mend the permissions or choose another folder (--to)"
    else:
        advice = "Mend that or choose another folder (--to)"
    return DownloadError(
        f"cannot write {error.filename or place}: {reason}. {advice}, then run the same command "
        "again: it continues with what has come so far."
    )
