"""What a source holds, before anything is selected: the common form of every kind of dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tasks.config import DatasetConfig
from tasks.datasets.labels import Labels, is_empty, label_samples
from tasks.errors import DatasetError

ANNOTATIONS = ("group", "fold", "split")


@dataclass(frozen=True)
class Listing:
    """Every sample of a source.

    Attributes:
        rows: Columns sample_id, source, label, target, group, fold, split, and the extra ones; a
            RangeIndex.
        columns: What `where` may name, row for row as the source has it.
        class_names: By class index.
        summary: For humans: what was found, and the class map.
        fingerprints: Of the given sources; called once, for the selected ones.
    """

    rows: pd.DataFrame
    columns: pd.DataFrame
    class_names: tuple[str, ...] | None
    summary: str
    fingerprints: Callable[[Sequence[str]], list[str]]


def make_listing(
    config: DatasetConfig,
    columns: pd.DataFrame,
    *,
    sources: Sequence[str],
    default_ids: Sequence[str],
    labels: Labels,
    summary: str,
    fingerprints: Callable[[Sequence[str]], list[str]],
    place: str,
) -> Listing:
    """Assemble a listing; ids, groups, folds, splits and more come from columns the config names.

    Args:
        place: Where the columns stand, for messages.
    """
    rows = pd.DataFrame(
        {
            "sample_id": _ids(config, columns, default_ids, place),
            "source": pd.array(list(sources), dtype="string"),
            "label": labels.indices.reset_index(drop=True),
            "target": _targets(config, columns, place),
        }
    )
    for name in ANNOTATIONS:
        column = getattr(config, f"{name}_column")
        rows[name] = (
            pd.array([pd.NA] * len(rows), dtype="string")
            if column is None
            else as_text(required_column(columns, column, f"{name}_column", place))
        )
    for name in dict.fromkeys(config.extra_columns):
        if name in rows or name == "fingerprint":
            raise DatasetError(
                f"dataset.extra_columns names '{name}', but every manifest has a column of that "
                f"name already; rename the one in {place}"
            )
        values = required_column(columns, name, "extra_columns", place)
        _refuse_collections(values, name, place)
        rows[name] = as_text(values)
    return Listing(
        rows=rows,
        columns=columns.reset_index(drop=True),
        class_names=labels.class_names,
        summary=f"{summary}; {labels.summary}",
        fingerprints=fingerprints,
    )


def required_column(columns: pd.DataFrame, name: str, setting: str, place: str) -> pd.Series[Any]:
    """The column a setting names.

    Raises:
        DatasetError: If there is none, naming those there are.
    """
    if name not in columns.columns:
        present = ", ".join(str(column) for column in columns.columns) or "none"
        raise DatasetError(
            f"{place} has no column '{name}', which dataset.{setting} names; columns present: "
            f"{present}"
        )
    return columns[name].reset_index(drop=True)


def label_values(config: DatasetConfig, columns: pd.DataFrame, place: str) -> pd.Series[Any]:
    """Class of every row as the source has it; all missing where there is no label column.

    Raises:
        DatasetError: If the column that the configuration names does not exist.
    """
    if config.label_column is None:
        return pd.Series([None] * len(columns), dtype=object)
    return required_column(columns, config.label_column, "label_column", place)


def as_text(values: pd.Series[Any]) -> pd.Series[Any]:
    """Values as text; whole numbers without a decimal point, empty cells missing."""
    return pd.Series([_text(value) for value in values], dtype="string")


def _refuse_collections(values: pd.Series[Any], name: str, place: str) -> None:
    for row, value in enumerate(values):
        if isinstance(value, (list, tuple, dict, bytes, np.ndarray)):
            raise DatasetError(
                f"{place}: row {row} of the column '{name}' (dataset.extra_columns) holds "
                f"a {type(value).__name__}; expected text or a number"
            )


def _text(value: object) -> object:
    if is_empty(value):
        return pd.NA
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _targets(config: DatasetConfig, columns: pd.DataFrame, place: str) -> pd.Series[Any]:
    """Class to explain, read by the rules for labels; missing without a column for it."""
    if config.target_column is None:
        return pd.Series([pd.NA] * len(columns), dtype="Int64")
    values = required_column(columns, config.target_column, "target_column", place)
    return label_samples(values, config, f"{place} ({config.target_column})").indices.reset_index(
        drop=True
    )


def _ids(
    config: DatasetConfig, columns: pd.DataFrame, default_ids: Sequence[str], place: str
) -> pd.Series[Any]:
    if config.id_column is None:
        ids = pd.Series(list(default_ids), dtype="string")
        advice = "Name a column with unique ids as dataset.id_column."
    else:
        ids = as_text(required_column(columns, config.id_column, "id_column", place))
        advice = f"Ids come from the column '{config.id_column}' (dataset.id_column)."
    if ids.isna().any():
        raise DatasetError(f"{place}: row {int(ids.isna().argmax())} has no id. {advice}")
    repeated = ids[ids.duplicated()].unique()
    if len(repeated):
        shown = ", ".join(f"'{name}'" for name in repeated[:5])
        raise DatasetError(
            f"{place}: sample ids must be unique, but {len(repeated)} occur more than once: "
            f"{shown}{', …' if len(repeated) > 5 else ''}. {advice}"
        )
    return ids
