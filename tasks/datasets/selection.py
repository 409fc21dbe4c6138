"""Which samples of a listing are audited: where, then half, then sample, then limit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pandas as pd

from tasks.config import DatasetConfig
from tasks.datasets.labels import is_empty
from tasks.datasets.listing import Listing
from tasks.errors import DatasetError

Value = str | int | float | bool


def select_rows(listing: Listing, config: DatasetConfig) -> tuple[pd.DataFrame, str]:
    """The selected rows in the listing's order, and the selection in words.

    Raises:
        DatasetError: If a column does not exist, or nothing is left.
    """
    rows = listing.rows
    total = len(rows)
    if not total:
        raise DatasetError(f"the dataset has no samples: {listing.summary}")
    words = []
    if config.where:
        rows = rows[_matches(_searchable(listing), config.where)]
        words.append(f"where {_condition(config.where)}")
    if config.half is not None:
        rows = rows[_is_in_half(rows, config.sample_seed) == (config.half == "selection")]
        words.append(f"{config.half} half with seed {config.sample_seed}")
    if config.sample is not None:
        rows = rows[_is_chosen(rows["sample_id"], config.sample, config.sample_seed)]
        words.append(f"sample {config.sample} with seed {config.sample_seed}")
    if config.limit is not None:
        rows = rows.head(config.limit)
        words.append(f"limit {config.limit}")
    chosen = f" ({', '.join(words)})" if words else ""
    return rows.reset_index(drop=True), f"{len(rows)} of {total} samples{chosen}"


def _searchable(listing: Listing) -> pd.DataFrame:
    """The source's own columns, and ours where no name is taken twice."""
    own = listing.rows.drop(columns=list(listing.columns.columns), errors="ignore")
    return pd.concat([listing.columns, own], axis=1)


def _matches(
    columns: pd.DataFrame, where: Mapping[str, Value | tuple[Value, ...]]
) -> pd.Series[bool]:
    kept = pd.Series(True, index=columns.index)
    for name, wanted in where.items():
        if name not in columns.columns:
            present = ", ".join(str(column) for column in columns.columns)
            raise DatasetError(
                f"dataset.where names the column '{name}', which does not exist; columns: {present}"
            )
        values = wanted if isinstance(wanted, tuple) else (wanted,)
        matching = columns[name].map(lambda cell, values=values: _is_one_of(cell, values))
        if not (kept & matching).any():
            seen = ", ".join(str(value) for value in columns.loc[kept, name].unique()[:10])
            raise DatasetError(
                f"dataset.where leaves no sample of {len(columns)}: no remaining row has "
                f"{_condition({name: wanted})}. Values of '{name}' in these rows: {seen}"
            )
        kept &= matching
    return kept


def _is_one_of(cell: object, values: tuple[Value, ...]) -> bool:
    """Equal as values, as text, or as numbers: a fold may be 1 in one file and "1" in another."""
    if is_empty(cell):
        return False
    return any(
        str(cell) == str(value) or _number(cell) == _number(value) is not None for value in values
    )


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(str(value))
    except ValueError:
        return None


def _condition(where: Mapping[str, Value | tuple[Value, ...]]) -> str:
    return ", ".join(
        f"{name} in {', '.join(map(str, wanted))}"
        if isinstance(wanted, tuple)
        else f"{name} = {wanted}"
        for name, wanted in where.items()
    )


def _is_in_half(rows: pd.DataFrame, seed: int) -> pd.Series[bool]:
    """Whether each row is in the first half: every other one, by class and by hash within it."""
    order = pd.DataFrame({"label": rows["label"], "rank": _ranks(rows["sample_id"], seed)})
    places = order.sort_values(["label", "rank"]).index
    return pd.Series([place % 2 == 0 for place in range(len(places))], index=places)[rows.index]


def _ranks(ids: pd.Series[str], seed: int) -> pd.Series[str]:
    return ids.map(lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())


def _is_chosen(ids: pd.Series[str], count: int, seed: int) -> pd.Series[bool]:
    """Whether each id is among the `count` smallest hashes; its neighbours do not matter."""
    return _ranks(ids, seed).rank(method="first") <= count
