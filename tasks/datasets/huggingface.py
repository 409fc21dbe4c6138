"""Data sets of the Hugging Face `datasets` library, from a folder; the hub is never asked.

The folder was written by `save_to_disk`, or is one that `load_dataset` reads by itself (class
folders of images, Parquet files). Images are taken as stored bytes: they are decoded by our rules.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tasks.config import DatasetConfig
from tasks.datasets.arrays import array_fingerprint
from tasks.datasets.labels import label_samples
from tasks.datasets.listing import Listing, label_values, make_listing, required_column
from tasks.datasets.sample import Payload
from tasks.datasets.storage import (
    DataRoot,
    SampleStore,
    fingerprint,
    fingerprints_of,
    open_root,
    relative_path,
)
from tasks.errors import DatasetError

if TYPE_CHECKING:
    import datasets

_LOADING = threading.Lock()


def list_huggingface(config: DatasetConfig) -> Listing:
    """Every row of the data set's split, with its single-valued columns.

    Raises:
        DatasetError: If the library is missing, the folder is no data set, a column is missing, or
            an image lies outside the root.
    """
    root = open_root(config.root)
    dataset = _load(config.root, config.split)
    fetch = _fetch(dataset, config.signal_key, root)
    columns, names = _columns(dataset, config, root)
    digits = len(str(max(len(dataset) - 1, 0)))
    prefix = str(dataset.split or "row")
    sources = [f"{prefix}:{index:0{digits}d}" for index in range(len(dataset))]
    values = label_values(config, columns, root.url)
    return make_listing(
        config,
        columns,
        sources=sources,
        default_ids=sources,
        labels=label_samples(values, config, f"{config.label_column} of {root.url}", names),
        summary=f"huggingface: {len(dataset)} rows of split {dataset.split}",
        fingerprints=lambda chosen: fingerprints_of(
            lambda source: _fingerprint(fetch(source), config), chosen, root
        ),
        place=root.url,
    )


def open_huggingface(config: DatasetConfig, digest: str) -> SampleStore:
    """The rows of the data set; it is opened once per process and manifest."""
    root = open_root(config.root)
    with _LOADING:
        dataset = _opened(config.root, config.split, digest)
    return SampleStore(root, _fetch(dataset, config.signal_key, root))


@lru_cache(maxsize=2)
def _opened(root: str, split: str | None, digest: str) -> datasets.Dataset:
    """As `_load`; the manifest's digest keeps a data set that has changed from being reused."""
    del digest
    return _load(root, split)


def _library() -> ModuleType:
    try:
        import datasets
    except ImportError as error:
        raise DatasetError(
            "dataset.kind: huggingface needs the package 'datasets', which is not installed; "
            "install the extra: pip install 'wam-audit[huggingface]'"
        ) from error
    return datasets


def _load(url: str, split: str | None) -> datasets.Dataset:
    library = _library()
    root = open_root(url)
    if not root.filesystem.isdir(root.path):
        raise DatasetError(
            f"dataset.root {root.url} is not a folder, or does not exist. Data sets on the hub are "
            "not downloaded; save one with save_to_disk and name its folder."
        )
    try:
        loaded = _load_any(library, root)
    except DatasetError:
        raise
    except Exception as error:
        # The library raises many types; each means that this folder is no data set.
        raise DatasetError(
            f"dataset.root {root.url} is no data set that the package 'datasets' reads: {error}"
        ) from error
    return _pick_split(loaded, split, root)


def _load_any(library: ModuleType, root: DataRoot) -> Any:
    marks = ("state.json", "dataset_dict.json")
    if any(root.filesystem.exists(f"{root.path}/{mark}") for mark in marks):
        return library.load_from_disk(root.url)
    if "file" not in root.filesystem.protocol:
        raise DatasetError(
            f"dataset.root {root.url}: on remote storage only data sets written by save_to_disk "
            "are read"
        )
    return library.load_dataset(root.path)


def _pick_split(
    loaded: datasets.Dataset | datasets.DatasetDict, split: str | None, root: DataRoot
) -> datasets.Dataset:
    splits = dict(loaded) if isinstance(loaded, dict) else {str(loaded.split): loaded}
    if split is None and len(splits) == 1:
        return next(iter(splits.values()))
    if split not in splits:
        raise DatasetError(
            f"dataset.split is {split}, but {root.url} has the splits {', '.join(splits)}; "
            "set dataset.split to one of them"
        )
    return splits[split]


def _columns(
    dataset: datasets.Dataset, config: DatasetConfig, root: DataRoot
) -> tuple[pd.DataFrame, list[str] | None]:
    """Columns with one value per row, and the class names if the label column declares them."""
    library = _library()
    features = dataset.features
    single = (library.Value, library.ClassLabel)
    names = [
        name
        for name, feature in features.items()
        if name != config.signal_key
        and (name == config.label_column or isinstance(feature, single))
        and getattr(feature, "dtype", "") not in ("binary", "large_binary")
    ]
    columns: pd.DataFrame = (
        dataset.select_columns(names).with_format(None).to_pandas() if names else pd.DataFrame()
    )
    label = None if config.label_column is None else features.get(config.label_column)
    if config.label_column is None or not isinstance(label, library.ClassLabel):
        return columns, None
    required_column(columns, config.label_column, "label_column", root.url)
    values = columns[config.label_column].astype("Int64")
    # The library's convention for a sample without label.
    return columns.assign(**{config.label_column: values.mask(values == -1)}), list(label.names)


def _fetch(dataset: datasets.Dataset, key: str, root: DataRoot) -> Callable[[str], Payload]:
    library = _library()
    if key not in dataset.features:
        raise DatasetError(
            f"{root.url} has no column '{key}', which dataset.signal_key names; columns present: "
            f"{', '.join(dataset.features)}"
        )
    feature = dataset.features[key]
    signals = dataset.select_columns([key]).with_format(None)
    if isinstance(feature, library.Image):
        signals = signals.cast_column(key, library.Image(decode=False))
    dtype = _element_type(feature)

    def fetch(source: str) -> Payload:
        value = signals[int(source.rpartition(":")[2])][key]
        return _payload(value, dtype, root, source)

    return fetch


def _payload(value: object, dtype: str, root: DataRoot, source: str) -> Payload:
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return root.read(_below_root(value, root, source))
    if value is None:
        raise FileNotFoundError(f"{source} has neither bytes nor a path")
    return np.asarray(value, dtype=dtype)


def _below_root(path: str, root: DataRoot, source: str) -> str:
    """Of an image folder the library gives absolute paths; those below the root are accepted."""
    for prefix in {root.path.rstrip("/"), os.path.realpath(root.path)}:
        path = path.removeprefix(f"{prefix}/")
    return relative_path(path, f"row {source} of {root.url}")


def _element_type(feature: Any) -> str:
    while isinstance(feature, list) or hasattr(feature, "feature"):
        feature = feature[0] if isinstance(feature, list) else feature.feature
    return str(getattr(feature, "dtype", "object"))


def _fingerprint(payload: Payload, config: DatasetConfig) -> str:
    if isinstance(payload, np.ndarray):
        return array_fingerprint(payload, config.fingerprint)
    return fingerprint(
        payload if isinstance(payload, bytes) else b"".join(payload), config.fingerprint
    )
