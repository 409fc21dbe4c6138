"""Bytes from below one root, which may be any fsspec URL.

Paths in manifests, archives and data sets come from strangers. Only a path that names a place
below the root is ever opened: no `..`, no absolute path, no other scheme. Symbolic links that the
owner of the root has put there are followed.
"""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal

import fsspec
from fsspec.core import url_to_fs

from tasks.config import DatasetConfig
from tasks.datasets.sample import Fetch
from tasks.errors import DatasetError
from tasks.locations import expand

_HASHING_THREADS = 4
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:(//|\\|/)|::|^[A-Za-z]:")
_GONE = (FileNotFoundError, NotADirectoryError)
_ON_THE_WAY = (errno.EIO, errno.EBUSY)
_OUTAGES = (ConnectionError, TimeoutError)


def relative_path(path: str, place: str) -> str:
    """The path in its simplest POSIX form, once it is known to stay below the root.

    Args:
        path: As a manifest or an archive gives it.
        place: Where it stands, for the message: "row 3 of manifest.csv".

    Raises:
        DatasetError: If the path is empty, absolute, holds `..` or names another scheme.

    Example:
        >>> relative_path("./images//cat.jpg", "row 0")
        'images/cat.jpg'
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    escapes = (
        path.startswith(("/", "\\"))
        or _SCHEME.search(path)
        or ".." in re.split(r"[/\\]", path)
        or "\0" in path
    )
    if escapes or not parts:
        raise DatasetError(
            f"{place}: expected a path below dataset.root, got {path!r}. Absolute paths, '..' and "
            "URLs are refused, so that a manifest cannot read other files; write the path relative "
            "to dataset.root."
        )
    return "/".join(parts)


@dataclass(frozen=True)
class DataRoot:
    """The folder (on any file system) that samples are read from.

    Attributes:
        url: As messages show it.
        path: The same place in the file system's own form.
    """

    url: str
    path: str
    filesystem: fsspec.AbstractFileSystem

    def address(self, source: str) -> str:
        """Full path or URL of a source, for messages."""
        return f"{self.url.rstrip('/')}/{source}"

    def locate(self, relative: str) -> str:
        """Path in the file system of a relative path; refuses one that leaves the root."""
        return f"{self.path.rstrip('/')}/{relative_path(relative, self.url)}"

    def read(self, relative: str, start: int | None = None, stop: int | None = None) -> bytes:
        """Content of a file, or the bytes from `start` to `stop` of it."""
        content: bytes = self.filesystem.cat_file(self.locate(relative), start=start, end=stop)
        return content

    def size(self, relative: str) -> int:
        """Length in bytes of a file, or of the files directly in a folder, without reading it."""
        found = self.filesystem.info(self.locate(relative))
        if found["type"] == "directory":
            return sum(self.size(f"{relative}/{name}") for name in self.files_in(relative))
        return int(found["size"])

    def files_in(self, relative: str) -> list[str]:
        """Names of the visible files that lie directly in a folder, sorted; [] without a folder."""
        try:
            entries = self.filesystem.ls(self.locate(relative), detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = [
            entry["name"].rstrip("/").rpartition("/")[2]
            for entry in entries
            if entry["type"] == "file"
        ]
        return sorted(name for name in names if not name.startswith("."))

    def files(self) -> list[str]:
        """Every file below the root as a relative path, sorted."""
        prefix = len(self.path.rstrip("/")) + 1
        return sorted(path[prefix:] for path in self.filesystem.find(self.path))


@dataclass(frozen=True)
class SampleStore:
    """An opened source: where it stands, and how the payload of one sample is read."""

    root: DataRoot
    fetch: Fetch


def open_files(config: DatasetConfig, digest: str) -> SampleStore:
    """A store in which every source is the path of a file below the root, or of a DICOM series."""
    del digest  # Files are opened one by one; nothing of an older manifest is kept.
    root = open_root(config.root)
    return SampleStore(root, root.read if config.volume is None else partial(read_source, root))


def read_source(root: DataRoot, source: str) -> bytes | tuple[bytes, ...]:
    """Content of a file, or of the slices (DICOM files) that lie directly in a folder, by name.

    Where some files of a folder end in .dcm, these are the slices; otherwise all visible files are.
    """
    try:
        return root.read(source)
    except (IsADirectoryError, FileNotFoundError):
        names = root.files_in(source)
        if not names:
            raise
        names = [name for name in names if name.lower().endswith(".dcm")] or names
        return tuple(root.read(f"{source}/{name}") for name in names)


def open_root(root: str) -> DataRoot:
    """The root of a dataset, with placeholders expanded.

    Raises:
        DatasetError: If it is empty, or its scheme is unknown or needs an extra.
    """
    if not root:
        raise DatasetError(
            "dataset.root is empty; give the folder, file or URL that holds the samples"
        )
    url = expand(root)
    try:
        filesystem, path = url_to_fs(url)
    except ImportError as error:
        raise DatasetError(
            f"dataset.root {url} needs a package that is not installed ({error}). For s3:// "
            "install the extra: pip install 'wam-audit[s3]'"
        ) from error
    except ValueError as error:
        raise DatasetError(
            f"dataset.root {url} is neither a path nor a URL that fsspec knows: {error}"
        ) from error
    return DataRoot(url=url, path=path, filesystem=filesystem)


def file_beside_root(config: DatasetConfig, path: str) -> str:
    """URL of a file the configuration names: relative to the root unless absolute."""
    url = expand(path)
    if url.startswith("/") or _SCHEME.search(url):
        return url
    root = expand(config.root)
    if re.search(r"\.(npz|npy|tar)$|[*?{\[]", root):
        root = root.rpartition("/")[0] or "."
    return f"{root.rstrip('/')}/{url}" if root else url


def read_file(url: str, what: str) -> bytes:
    """Content of a file without which there is no dataset.

    Raises:
        DatasetError: If it cannot be read; `what` says which setting named it.
    """
    root = open_root(url)
    try:
        content: bytes = root.filesystem.cat_file(root.path)
    except OSError as error:
        raise DatasetError(f"{what} {url} cannot be read: {reason(error)}") from error
    return content


def fingerprint(content: bytes | memoryview, kind: Literal["content", "size"]) -> str:
    """What of a sample's stored bytes enters the dataset digest."""
    return f"size:{len(content)}" if kind == "size" else hashlib.sha256(content).hexdigest()


def file_fingerprints(
    root: DataRoot,
    sources: Iterable[str],
    kind: Literal["content", "size"],
    *,
    with_folders: bool = False,
) -> list[str]:
    """Fingerprint of each file: SHA-256, `size:N`, `missing`, or `unreadable`.

    Args:
        with_folders: Whether a source may be a folder, as a DICOM series is.
    """

    def one(source: str) -> str:
        if kind == "size":
            return f"size:{root.size(source)}"
        content = read_source(root, source) if with_folders else root.read(source)
        if isinstance(content, bytes):
            return fingerprint(content, kind)
        marks = "\n".join(fingerprint(part, kind) for part in content)
        return hashlib.sha256(marks.encode()).hexdigest()

    return fingerprints_of(one, sources, root)


def fingerprints_of(one: Callable[[str], str], sources: Iterable[str], root: DataRoot) -> list[str]:
    """Apply `one` to every source with a few threads; absent files are words, not errors.

    Raises:
        DatasetError: If the storage itself fails, which must not change the digest.
    """

    def guarded(source: str) -> str:
        try:
            return one(source)
        except DatasetError:
            raise
        except Exception as error:
            if is_outage(error, root):
                raise DatasetError(
                    f"{root.address(source)}: the storage failed ({reason(error)}); "
                    "nothing is wrong with the sample. Run again when it answers."
                ) from error
            return "missing" if isinstance(error, _GONE) else "unreadable"

    with ThreadPoolExecutor(_HASHING_THREADS) as pool:
        return list(pool.map(guarded, sources))


def is_outage(error: Exception, root: DataRoot) -> bool:
    """Whether a read failed because of the storage rather than because of the file.

    Remote file systems raise errors of their clients' own types for what goes wrong on the way.
    """
    if isinstance(error, _OUTAGES):
        return True
    remote = not {"file", "local", "memory"}.intersection(_protocols(root))
    return remote and not (isinstance(error, OSError) and error.errno not in _ON_THE_WAY)


def _protocols(root: DataRoot) -> tuple[str, ...]:
    protocol = root.filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def reason(error: Exception) -> str:
    """What the operating system or the storage says, in a few words."""
    return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"
