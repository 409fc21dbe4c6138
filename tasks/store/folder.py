"""Files of one audit folder, local or at any fsspec URL, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import fsspec

from tasks.errors import IncompleteAuditError, StoreError


@dataclass(frozen=True)
class AuditFolder:
    """One audit's files by their path below the folder.

    A local file is written under a temporary name that begins with a dot, flushed to disk, and
    renamed; on an object store it is a single PUT. Readers never see half a file.

    Attributes:
        url: Path or fsspec URL of the folder.
    """

    url: str

    @cached_property
    def _location(self) -> tuple[Any, str]:
        filesystem, path = fsspec.core.url_to_fs(self.url)
        return filesystem, str(path).rstrip("/")

    @property
    def is_local(self) -> bool:
        """Whether the folder is on this machine's file system."""
        protocol = self._location[0].protocol
        return "file" in ((protocol,) if isinstance(protocol, str) else protocol)

    @property
    def filesystem(self) -> Any:
        """The fsspec file system."""
        return self._location[0]

    def path(self, name: str = "") -> str:
        """Full path of a file inside the folder, as the file system wants it."""
        root = self._location[1]
        return f"{root}/{name}" if name else root

    def uri(self, name: str) -> str:
        """Path (local) or URL of a file inside the folder, for people and other libraries."""
        return self.path(name) if self.is_local else f"{self.url.rstrip('/')}/{name}"

    def exists(self, name: str = "") -> bool:
        """Whether a file or folder is there."""
        return bool(self.filesystem.exists(self.path(name)))

    def size(self, name: str) -> int | None:
        """Size of a file in bytes; None if it is not there."""
        try:
            return int(self.filesystem.info(self.path(name))["size"])
        except FileNotFoundError:
            return None

    def read_bytes(self, name: str) -> bytes:
        """Content of a file.

        Raises:
            StoreError: If the file is not there.
        """
        try:
            return bytes(self.filesystem.cat_file(self.path(name)))
        except FileNotFoundError as error:
            raise StoreError(
                f"the audit folder {self.url} has no {name}. Is this the folder of an audit, and "
                "has `wam-audit run` finished?"
            ) from error

    def read_json(self, name: str) -> Any:
        """Content of a JSON file.

        Raises:
            StoreError: If the file is not there or is not JSON.
        """
        try:
            return json.loads(self.read_bytes(name))
        except ValueError as error:
            raise StoreError(f"{self.uri(name)} is damaged: it is not JSON ({error})") from error

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file whole.

        Raises:
            IncompleteAuditError: If the disk is full or cannot be written.
        """
        with explain_write_errors(self.uri(name)):
            if self.is_local:
                _write_and_rename(Path(self.path(name)), content)
            else:
                self.filesystem.pipe_file(self.path(name), content)

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file whole; NaN is refused, as JSON has none."""
        text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
        self.write_bytes(name, (text + "\n").encode())

    def names(self, folder: str, suffix: str) -> list[str]:
        """Names of the files directly in a sub-folder, sorted; temporary files are left out."""
        try:
            found = self.filesystem.ls(self.path(folder), detail=False)
        except FileNotFoundError:
            return []
        names = (str(path).rsplit("/", 1)[-1] for path in found)
        return sorted(name for name in names if name.endswith(suffix) and not name.startswith("."))

    def sha256(self, name: str) -> str:
        """Digest of a file's content."""
        digest = hashlib.sha256()
        with self.filesystem.open(self.path(name), "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    def remove(self, name: str) -> None:
        """Delete a file or folder if it is there."""
        if self.exists(name):
            self.filesystem.rm(self.path(name), recursive=True)

    def sweep_partial_files(self) -> int:
        """Delete what killed writers left behind; returns how many files."""
        if not self.is_local:
            return 0
        root = Path(self.path())
        leftovers = [*root.rglob("*.partial"), *root.rglob(".tmp-*")]
        for leftover in leftovers:
            leftover.unlink(missing_ok=True)
        return len(leftovers)


@contextmanager
def explain_write_errors(where: str) -> Iterator[None]:
    """Turn a failed write into a message for the user.

    Raises:
        IncompleteAuditError: What failed, where, and that nothing finished is lost.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise IncompleteAuditError(
            f"cannot write {where}: {reason}. Every shard with a receipt is safe; free some space "
            "or mend the permissions and run the same command again to continue."
        ) from error


def _write_and_rename(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
