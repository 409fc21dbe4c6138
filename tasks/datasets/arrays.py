"""Arrays with one row per sample: the keys of an NPZ file, or the .npy files of a folder.

The signals have shape (sample, *space), or with a channel axis last (or first). Labels have shape
(sample,) or, as in MedMNIST, (sample, 1). With `split: val` the arrays are named as in MedMNIST,
`val_images` and `val_labels`; other keys than the default get the prefix as they are. Pickled
objects are never loaded.
"""

from __future__ import annotations

import hashlib
import threading
import zipfile
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import pandas as pd

from tasks.config import DatasetConfig
from tasks.datasets.labels import label_samples
from tasks.datasets.listing import ANNOTATIONS, Listing, label_values, make_listing
from tasks.datasets.sample import Array
from tasks.datasets.storage import (
    DataRoot,
    SampleStore,
    fingerprints_of,
    open_root,
    reason,
    relative_path,
)
from tasks.errors import DatasetError

_DAMAGED = (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error)
_LOADING = threading.Lock()


def list_arrays(config: DatasetConfig) -> Listing:
    """Every row of the array `signal_key`; other columns are arrays of the same length.

    Raises:
        DatasetError: If an array is missing, pickled, of another length, or of a type whose range
            is not stated.
    """
    config = _of_split(config)
    root = open_root(config.root)
    signals = _signals(root, config)
    count = len(signals)
    columns = pd.DataFrame(
        {
            key: _one_per_sample(_load(root, key, setting), key, count, root)
            for key, setting in _column_keys(config).items()
        }
    )
    digits = len(str(max(count - 1, 0)))
    sources = [f"{config.signal_key}:{index:0{digits}d}" for index in range(count)]
    return make_listing(
        config,
        columns,
        sources=sources,
        default_ids=sources,
        labels=label_samples(
            label_values(config, columns, root.url),
            config,
            f"{config.label_column} of {root.url}",
        ),
        summary=f"arrays: {count} rows of {config.signal_key}, {signals.dtype} "
        f"{'x'.join(map(str, signals.shape[1:]))}",
        fingerprints=lambda chosen: fingerprints_of(
            lambda source: array_fingerprint(_row(signals, source), config.fingerprint),
            chosen,
            root,
        ),
        place=root.url,
    )


def open_arrays(config: DatasetConfig, digest: str) -> SampleStore:
    """The rows of `signal_key`; the array is loaded once per process, whatever its readers."""
    del digest  # The file's own state tells whether it has changed.
    root = open_root(config.root)
    signals = _signals(root, _of_split(config))
    return SampleStore(root, lambda source: _row(signals, source))


def array_fingerprint(values: Array, kind: Literal["content", "size"]) -> str:
    """SHA-256 over type, shape and values, or `size:N`."""
    if kind == "size":
        return f"size:{values.nbytes}"
    digest = hashlib.sha256(f"{values.dtype.str}{values.shape}".encode())
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _of_split(config: DatasetConfig) -> DatasetConfig:
    """The keys of the configured split.

    Example:
        >>> _of_split(DatasetConfig(kind="arrays", split="val")).signal_key
        'val_images'
    """
    if config.split is None:
        return config
    keys = {}
    for setting in ("signal_key", "label_column"):
        key, default = getattr(config, setting), DatasetConfig.model_fields[setting].default
        if key is not None:
            keys[setting] = f"{config.split}_{f'{key}s' if key == default else key}"
    return config.model_copy(update=keys)


def _row(signals: Array, source: str) -> Array:
    row: Array = np.asarray(signals[int(source.rpartition(":")[2])])
    return row


def _signals(root: DataRoot, config: DatasetConfig) -> Array:
    signals = _load(root, config.signal_key, "signal_key")
    dtype = signals.dtype
    if not (dtype.kind in "bf" or (dtype.kind == "u" and dtype.itemsize <= 2)):
        raise DatasetError(
            f"{root.url}: array '{config.signal_key}' has type {dtype}, whose range is not stated; "
            "expected uint8, uint16, bool, or floats in [0, 1]"
        )
    if signals.ndim < 2:
        raise DatasetError(
            f"{root.url}: array '{config.signal_key}' has shape {signals.shape}; expected "
            "(sample, *space) with at least two axes"
        )
    return signals


def _column_keys(config: DatasetConfig) -> dict[str, str]:
    keys = dict.fromkeys(config.where, "where")
    keys |= dict.fromkeys(config.extra_columns, "extra_columns")
    for setting in ("id_column", *(f"{name}_column" for name in ANNOTATIONS), "label_column"):
        key = getattr(config, setting)
        if key is not None:
            keys[key] = setting
    return keys


def _one_per_sample(values: Array, key: str, count: int, root: DataRoot) -> Sequence[object]:
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DatasetError(
            f"{root.url}: array '{key}' has shape {values.shape}; expected one value per sample, "
            f"({count},) or ({count}, 1). Several labels per sample (multi-label, one-hot) have no "
            "single class index; store one index per sample."
        )
    if len(values) != count:
        raise DatasetError(
            f"{root.url}: array '{key}' has {len(values)} values, but there are {count} signals; "
            "name arrays of the same split"
        )
    cells: list[object] = (values.astype(str) if values.dtype.kind == "S" else values).tolist()
    return cells


def _load(root: DataRoot, key: str, setting: str) -> Array:
    try:
        path = _file_of(root, key)
        stamp = root.filesystem.ukey(path)
        with _LOADING:
            return _array(root.url, path, key, stamp)
    except KeyError:
        raise DatasetError(
            f"{root.url} has no array '{key}', which dataset.{setting} names; arrays present: "
            f"{', '.join(_keys(root)) or 'none'}"
        ) from None
    except _DAMAGED as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise DatasetError(
            f"{root.url}: array '{key}' cannot be read: {why}. Pickled objects are refused; store "
            "numbers or text."
        ) from error


@lru_cache(maxsize=8)
def _array(url: str, path: str, key: str, stamp: str) -> Array:
    """Loaded once per process and state of the file (`stamp`); local .npy files are mapped."""
    filesystem = open_root(url).filesystem
    if not _is_archive(path) and "file" in filesystem.protocol:
        mapped: Array = np.load(path, mmap_mode="r", allow_pickle=False)
        return mapped
    with filesystem.open(path, "rb") as stream:
        loaded = np.load(stream, allow_pickle=False)
        array: Array = loaded[key] if isinstance(loaded, np.lib.npyio.NpzFile) else loaded
        return array


def _is_archive(path: str) -> bool:
    return path.lower().endswith(".npz")


def _file_of(root: DataRoot, key: str) -> str:
    if _is_archive(root.path):
        return root.path
    if not root.filesystem.isdir(root.path):
        raise DatasetError(
            f"dataset.root {root.url}: expected an .npz file or a folder of .npy files, "
            "which does not exist"
        )
    name = key if key.endswith(".npy") else f"{key}.npy"
    path = root.locate(relative_path(name, f"array '{key}'"))
    if not root.filesystem.isfile(path):
        raise KeyError(key)
    return path


def _keys(root: DataRoot) -> list[str]:
    if not _is_archive(root.path):
        return [name for name in root.files() if name.endswith(".npy")]
    with root.filesystem.open(root.path, "rb") as stream:
        return list(np.load(stream, allow_pickle=False).files)
