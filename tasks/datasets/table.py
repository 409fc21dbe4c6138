"""A table (CSV or Parquet) with one row per sample: a path below the root, and a label."""

from __future__ import annotations

import io
from functools import partial
from pathlib import PurePosixPath

import pandas as pd
import pyarrow as pa

from tasks.config import DatasetConfig
from tasks.datasets.labels import label_samples
from tasks.datasets.listing import Listing, as_text, label_values, make_listing, required_column
from tasks.datasets.storage import (
    file_beside_root,
    file_fingerprints,
    open_root,
    read_file,
    relative_path,
)
from tasks.errors import DatasetError


def list_table(config: DatasetConfig) -> Listing:
    """Every row of the manifest, in its order; whether the files exist is not asked here.

    Raises:
        DatasetError: If the manifest cannot be read, lacks a column, or has a path that leaves
            the root.
    """
    root = open_root(config.root)
    if config.manifest is None:
        raise DatasetError(
            "dataset.kind: table needs dataset.manifest, a CSV or Parquet file with the columns "
            f"'{config.path_column}' and '{config.label_column or 'label'}'"
        )
    url = file_beside_root(config, config.manifest)
    columns = _read_table(url, config)
    paths = as_text(required_column(columns, config.path_column, "path_column", url))
    sources = [
        relative_path("" if path is pd.NA else str(path), f"row {row} of {url}")
        for row, path in enumerate(paths)
    ]
    values = label_values(config, columns, url)
    return make_listing(
        config,
        columns,
        sources=sources,
        default_ids=sources,
        labels=label_samples(values, config, url),
        summary=f"table: {len(sources)} rows of {PurePosixPath(url).name}",
        fingerprints=partial(
            file_fingerprints,
            root,
            kind=config.fingerprint,
            with_folders=config.volume is not None,
        ),
        place=url,
    )


def _read_table(url: str, config: DatasetConfig) -> pd.DataFrame:
    content = read_file(url, "dataset.manifest")
    suffix = PurePosixPath(url).suffix.lower()
    if suffix not in (".csv", ".parquet", ".pq"):
        raise DatasetError(
            f"dataset.manifest {url}: expected a file ending in .csv or .parquet, got '{suffix}'"
        )
    try:
        return _read_csv(content, config) if suffix == ".csv" else _read_parquet(content)
    except (ValueError, pa.ArrowException) as error:
        raise DatasetError(
            f"dataset.manifest {url} is no readable {suffix[1:]} table: {error}"
        ) from error


def _read_csv(content: bytes, config: DatasetConfig) -> pd.DataFrame:
    """Names stay text: an id of 007 is no 7, and a class called NA is not missing."""
    names = (
        config.path_column,
        config.label_column,
        config.target_column,
        config.id_column,
        config.group_column,
        config.fold_column,
        config.split_column,
        *config.extra_columns,
    )
    return pd.read_csv(
        io.BytesIO(content),
        encoding="utf-8-sig",
        dtype={name: "string" for name in names if name is not None},
        keep_default_na=False,
        na_values=[""],
    )


def _read_parquet(content: bytes) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(content))
