"""Model files and checkpoints on this machine or behind any fsspec URL."""

from __future__ import annotations

import io
from pathlib import Path, PurePosixPath

import fsspec
from fsspec.implementations.local import LocalFileSystem

from tasks.errors import ModelError
from tasks.locations import expand


def open_model_file(location: str, what: str) -> Path | io.BytesIO:
    """The path of a local file, or the contents of a remote one.

    Args:
        location: Path or URL, with placeholders.
        what: What the file is to the user, such as model.checkpoint; begins the message.

    Raises:
        ModelError: If the file is not there or cannot be read.
        ConfigError: If a placeholder has no value.
    """
    url = expand(location)
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
        if isinstance(filesystem, LocalFileSystem):
            return _existing(Path(path), location, what)
        return io.BytesIO(filesystem.cat_file(path))
    except FileNotFoundError as error:
        raise ModelError(_absent(url, location, what)) from error
    except (OSError, ImportError, ValueError) as error:
        raise ModelError(f"{what} '{url}' cannot be read: {error}") from error


def suffix_of(location: str) -> str:
    """The lower-case suffix of a path or URL.

    Example:
        >>> suffix_of("https://example.org/weights.PTH?download=1")
        '.pth'
    """
    path = location.partition("?")[0] if "://" in location else location
    return PurePosixPath(path).suffix.lower()


def _existing(path: Path, location: str, what: str) -> Path:
    if not path.is_file():
        kind = "is a folder, not a file" if path.is_dir() else None
        raise ModelError(f"{what} '{path}' {kind}" if kind else _absent(str(path), location, what))
    return path


def _absent(found: str, location: str, what: str) -> str:
    written = "" if found.endswith(location) else f" (written as '{location}')"
    return f"{what}: there is no file '{found}'{written}. Check the path, or set WAM_MODEL_ROOT."
