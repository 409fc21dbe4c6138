"""From what a source calls a class (name, number, folder) to the model's class index."""

from __future__ import annotations

import io
import math
import numbers
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tasks.config import DatasetConfig
from tasks.datasets.storage import file_beside_root, read_file
from tasks.errors import DatasetError

_SHOWN_CLASSES = 10


@dataclass(frozen=True)
class Labels:
    """Class indices of all samples.

    Attributes:
        indices: Int64, missing where a sample has no label.
        class_names: By class index, where names are known.
        summary: The class map as text, such as "cat -> 0, dog -> 1".
    """

    indices: pd.Series[Any]
    class_names: tuple[str, ...] | None
    summary: str


def label_samples(
    values: pd.Series[Any],
    config: DatasetConfig,
    place: str,
    source_names: Sequence[str] | None = None,
) -> Labels:
    """Class index of every sample.

    A whole number is an index, unless `class_map` has whole numbers among its names: then it is
    looked up like any name. Other names are looked up in `class_map`, or else in `class_names`.
    An empty cell is a sample without label.

    Args:
        values: One per sample, as the source has them.
        place: Where they stand, for messages.
        source_names: Names by index that the source itself declares; values are such indices.

    Raises:
        DatasetError: If a value is not one known class, naming its row.
    """
    _refuse_lists(values, place)
    names = read_class_names(config)
    if source_names and config.class_map:
        values = values.map(lambda value: _name_of(value, source_names))
    elif source_names and names is None:
        names = tuple(source_names)
    cells = pd.Series([None if is_empty(value) else value for value in values], dtype=object)
    codes, uniques = pd.factorize(cells, use_na_sentinel=True)
    resolved: list[int] = []
    for code, value in enumerate(uniques):
        try:
            resolved.append(_class_index(value, config.class_map, names))
        except ValueError as error:
            row = int((codes == code).argmax())
            raise DatasetError(f"{place}: the label of row {row} is wrong: {error}") from None
    indices = pd.Series([resolved[code] if code >= 0 else pd.NA for code in codes], dtype="Int64")
    class_names = names or names_by_index(config.class_map)
    return Labels(indices, class_names, _summary(indices, class_names))


def folder_classes(folders: Sequence[str], config: DatasetConfig) -> dict[str, int]:
    """Class index of every class folder.

    `class_map` decides, and must hold every folder. Without it, folders named as in
    `class_names` get that index; otherwise folders are numbered in the order of `class_order`.

    Raises:
        DatasetError: If the order is not explicit enough to be right.
    """
    if config.class_map is not None:
        _refuse_unmapped(folders, config.class_map)
        return {name: config.class_map[name] for name in folders}
    names = read_class_names(config)
    named = {name: names.index(name) for name in folders if names and name in names}
    if names and len(named) == len(folders):
        return named
    if names and (named or len(names) != len(folders)):
        raise DatasetError(
            f"dataset.class_names has {len(names)} names, and {len(named)} of the {len(folders)} "
            "class folders are among them, so their indices are unknown. Give dataset.class_map "
            "with one entry per folder."
        )
    return {name: index for index, name in enumerate(_in_order(folders, config.class_order))}


def names_by_index(class_map: Mapping[str, int] | None) -> tuple[str, ...] | None:
    """Names of classes 0, 1, …; an index without a name stands as its number.

    Example:
        >>> names_by_index({"cat": 2, "dog": 0})
        ('dog', '1', 'cat')
    """
    if not class_map:
        return None
    names = [str(index) for index in range(max(class_map.values()) + 1)]
    for name, index in reversed(list(class_map.items())):
        names[index] = name
    return tuple(names)


def read_class_names(config: DatasetConfig) -> tuple[str, ...] | None:
    """Names by class index: the list in the configuration, or a CSV file with label and name."""
    if config.class_names is None or isinstance(config.class_names, tuple):
        return config.class_names
    url = file_beside_root(config, config.class_names)
    content = read_file(url, "dataset.class_names")
    try:
        table = pd.read_csv(io.BytesIO(content), keep_default_na=False)
        rows = zip(table["label"], table["name"], strict=True)
        by_index = {int(label): str(name) for label, name in rows}
    except (KeyError, ValueError) as error:
        raise DatasetError(
            f"dataset.class_names {url}: expected a CSV file with the columns label (class index) "
            f"and name, got {error}"
        ) from error
    return tuple(by_index.get(index, str(index)) for index in range(max(by_index, default=-1) + 1))


def class_map_text(pairs: Sequence[tuple[str, int]]) -> str:
    """The class map on one line, cut after ten classes.

    Example:
        >>> class_map_text([("cat", 0), ("dog", 1)])
        'cat -> 0, dog -> 1'
    """
    shown = ", ".join(f"{name} -> {index}" for name, index in pairs[:_SHOWN_CLASSES])
    hidden = len(pairs) - _SHOWN_CLASSES
    return f"{shown}, … ({hidden} more)" if hidden > 0 else shown


def _class_index(
    value: object, class_map: Mapping[str, int] | None, names: Sequence[str] | None
) -> int:
    if isinstance(value, str) and class_map is not None and value in class_map:
        return class_map[value]
    number = _whole_number(value)
    if number is None:
        return _index_of_name(str(value), class_map, names)
    if class_map is not None and any(name.isdecimal() for name in class_map):
        return _index_of_name(str(number), class_map, names)
    if number < 0 or (names is not None and number >= len(names)):
        valid = f"0 to {len(names) - 1}" if names is not None else "0 or more"
        raise ValueError(f"expected a class index of {valid}, got {number}")
    return number


def _whole_number(value: object) -> int | None:
    if isinstance(value, str):
        # Tables with empty cells often hold whole numbers as 1.0.
        return int(float(value)) if re.fullmatch(r"\s*-?\d+(\.0*)?\s*", value) else None
    number = float(value) if isinstance(value, numbers.Real) else math.nan
    if not number.is_integer():
        raise ValueError(f"expected a whole number or a name as class, got {value!r}")
    return int(number)


def _index_of_name(
    name: str, class_map: Mapping[str, int] | None, names: Sequence[str] | None
) -> int:
    if class_map is not None:
        if name not in class_map:
            known = class_map_text(list(class_map.items()))
            raise ValueError(f"expected a name in dataset.class_map ({known}), got '{name}'")
        return class_map[name]
    count = Counter(names or ())[name]
    if names is None or count == 0:
        raise ValueError(
            f"expected a class index, got '{name}'. For names give dataset.class_map (name: index) "
            "or dataset.class_names with this name in it"
        )
    if count > 1:
        raise ValueError(
            f"'{name}' is the name of {count} classes in dataset.class_names; give class indices "
            "or dataset.class_map"
        )
    return names.index(name)


def _name_of(value: object, names: Sequence[str]) -> object:
    number = None if is_empty(value) else _whole_number(value)
    return names[number] if number is not None and 0 <= number < len(names) else value


def is_empty(value: object) -> bool:
    """Whether a cell of a table holds nothing."""
    return value is None or value is pd.NA or value == "" or value != value


def _refuse_lists(values: pd.Series[Any], place: str) -> None:
    for row, value in enumerate(values):
        if isinstance(value, (list, tuple, dict, np.ndarray)):
            raise DatasetError(
                f"{place}: the label of row {row} is wrong: expected one class, got {value!r}. "
                "Lists of labels (multi-label, one-hot) have no single class index; store one "
                "index per sample."
            )


def _refuse_unmapped(folders: Sequence[str], class_map: Mapping[str, int]) -> None:
    unmapped = [name for name in folders if name not in class_map]
    if unmapped:
        raise DatasetError(
            f"dataset.class_map has no entry for {len(unmapped)} of {len(folders)} class folders: "
            f"{', '.join(unmapped[:10])}. Add them, or move these folders out of dataset.root."
        )


def _in_order(folders: Sequence[str], order: str) -> list[str]:
    if order == "alphabetical":
        return sorted(folders)
    words = [name for name in folders if not name.isdecimal()]
    if words:
        raise DatasetError(
            f"dataset.class_order: numeric needs folders named by whole numbers, got "
            f"{', '.join(words[:10])}. Use alphabetical, or give dataset.class_map."
        )
    return sorted(folders, key=lambda name: (int(name), name))


def _name(index: int, names: Sequence[str]) -> str:
    return names[index] if index < len(names) else str(index)


def _summary(indices: pd.Series[Any], names: Sequence[str] | None) -> str:
    present = sorted(int(str(index)) for index in indices.dropna().unique())
    missing = int(indices.isna().sum())
    if not present:
        return "no labels"
    text = (
        f"labels are class indices, {present[0]} to {present[-1]} ({len(present)} classes)"
        if names is None
        else class_map_text([(_name(index, names), index) for index in present])
    )
    return f"{text}; {missing} without label" if missing else text
