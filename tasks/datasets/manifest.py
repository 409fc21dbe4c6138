"""The manifest: which samples are audited, in which order, with a digest over all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from tasks.config import DatasetConfig
from tasks.datasets.arrays import list_arrays
from tasks.datasets.folder import list_folder
from tasks.datasets.huggingface import list_huggingface
from tasks.datasets.listing import ANNOTATIONS, Listing
from tasks.datasets.segments import split_source, with_segments
from tasks.datasets.selection import select_rows
from tasks.datasets.table import list_table
from tasks.datasets.webdataset import list_webdataset
from tasks.errors import DatasetError

COLUMNS = ("sample_id", "source", "label", "target", "fingerprint", *ANNOTATIONS)


@dataclass(frozen=True)
class Manifest:
    """The samples of an audit.

    Attributes:
        table: One row per sample, RangeIndex: sample_id (unique), source (where the sample
            stands below the root), label and target (Int64), fingerprint, group, fold, split, and
            the text of the extra columns under their own names.
        class_names: By class index, where names are known.
        digest: SHA-256 over the ordered (sample_id, source, label, target, fingerprint, and extra
            columns if there are any).
        sample_ids_digest: SHA-256 over the ordered ids.
        description: One line for humans, with the class map.
    """

    table: pd.DataFrame
    class_names: tuple[str, ...] | None
    digest: str
    sample_ids_digest: str
    description: str


_LISTINGS: dict[str, Callable[[DatasetConfig], Listing]] = {
    "folder": list_folder,
    "table": list_table,
    "arrays": list_arrays,
    "huggingface": list_huggingface,
    "webdataset": list_webdataset,
}


def build_manifest(config: DatasetConfig) -> Manifest:
    """List the source, select, and fingerprint what is left.

    A file that is missing stays a row: its fingerprint is `missing`, and reading it gives a
    sample with the status `decode_error`.

    Raises:
        DatasetError: If the source, a column, a label or a path is wrong, ids are not unique, or
            no sample is left.
    """
    _refuse_unused_settings(config)
    listing = _LISTINGS[config.kind](config)
    table, selection = select_rows(listing, config)
    table = with_segments(table, config)
    sources = table["source"].tolist()
    if config.audio is not None:
        sources = [split_source(source)[0] for source in sources]
    marks = listing.fingerprints(sources)
    table["fingerprint"] = pd.array(marks, dtype="string")
    extra = list(dict.fromkeys(config.extra_columns))
    table = table[[*COLUMNS, *extra]]
    lost = marks.count("missing") + marks.count("unreadable")
    return Manifest(
        table=table,
        class_names=listing.class_names,
        digest=_digest(_rows(table, extra)),
        sample_ids_digest=_digest([sample_id] for sample_id in table["sample_id"]),
        description="; ".join(
            [listing.summary, selection, *([f"{lost} missing or unreadable"] if lost else [])]
        ),
    )


def _refuse_unused_settings(config: DatasetConfig) -> None:
    for setting, kinds, advice in (
        ("manifest", ("table",), "Use kind: table to read it, or remove it."),
        ("split", ("huggingface", "arrays"), "Use where: {split: …} with a split_column."),
    ):
        if getattr(config, setting) is not None and config.kind not in kinds:
            raise DatasetError(
                f"dataset.{setting} belongs to dataset.kind: {' or '.join(kinds)}, but the kind is "
                f"{config.kind}. {advice}"
            )


def _rows(table: pd.DataFrame, extra: Sequence[str]) -> Iterable[list[object]]:
    names = ("sample_id", "source", "label", "target", "fingerprint", *extra)
    columns = (table[name] for name in names)
    for sample_id, source, label, target, mark, *cells in zip(*columns, strict=True):
        classes = [None if index is pd.NA else int(index) for index in (label, target)]
        texts = [None if cell is pd.NA else cell for cell in cells]
        yield [sample_id, source, *classes, mark, *texts]


def _digest(rows: Iterable[list[object]]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()
