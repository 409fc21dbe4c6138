"""Unpack an archive as if its author were hostile: nothing leaves the folder, nothing is a link."""

from __future__ import annotations

import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO

from tasks.downloads.errors import DownloadError

_BLOCK = 1 << 20
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a compression this Python does not know
    RuntimeError,  # a ZIP with a password
)


def extract(
    archive: Path, folder: Path, report: Callable[[int, int | None], None] = lambda done, all_: None
) -> Path:
    """Unpack a ZIP or tar archive into an empty folder; its only top folder is returned.

    Args:
        report: Called with the members unpacked, and their number where the archive states it.

    Raises:
        DownloadError: If a member is absolute, climbs out with `..`, is a link or a device, stands
            there twice, or if the archive is damaged or has more than one top folder. What was
            unpacked until then is left to the caller.
        OSError: If the disk refuses.
    """
    try:
        if zipfile.is_zipfile(archive):
            _extract_zip(archive, folder, report)
        else:
            _extract_tar(archive, folder, report)
    except _BROKEN as error:
        raise DownloadError(
            f"{archive} is damaged: {error}. Remove it and run the same command again."
        ) from error
    tops = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if len(tops) != 1 or not (folder / tops[0]).is_dir():
        raise DownloadError(
            f"{archive}: expected one top folder, found {', '.join(tops[:5]) or 'nothing'}. It is "
            "not the archive we know; look at the dataset's homepage."
        )
    return folder / tops[0]


def _extract_zip(archive: Path, folder: Path, report: Callable[[int, int | None], None]) -> None:
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        for number, member in enumerate(members, start=1):
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _hostile(archive, member.filename, "a link or a device")
            target = folder / _safe_name(archive, member.filename)
            if member.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            with opened.open(member) as source:
                _write(archive, member.filename, source, target)
            report(number, len(members))


def _extract_tar(archive: Path, folder: Path, report: Callable[[int, int | None], None]) -> None:
    with tarfile.open(archive) as opened:
        for number, member in enumerate(opened, start=1):
            if not (member.isreg() or member.isdir()):
                raise _hostile(archive, member.name, "a link or a device")
            target = folder / _safe_name(archive, member.name)
            source = opened.extractfile(member)
            if source is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            with source:
                _write(archive, member.name, source, target)
            report(number, None)
        while opened.fileobj is not None and opened.fileobj.read(_BLOCK):
            pass  # to the end, where the compressed stream has its own checksum


def _write(archive: Path, name: str, source: IO[bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise _hostile(archive, name, "there twice")
    with target.open("xb") as sink:
        shutil.copyfileobj(source, sink, _BLOCK)


def _safe_name(archive: Path, name: str) -> PurePosixPath:
    """The name itself, if it stays below the folder on every system."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name:
        raise _hostile(archive, name, "a path that may leave the folder")
    return path


def _hostile(archive: Path, name: str, what: str) -> DownloadError:
    return DownloadError(
        f"{archive}: the member {name!r} is {what}; nothing of the archive was used. It is not the "
        "archive we know: remove it, and look at the dataset's homepage."
    )
