"""`download.json`: what was put into a folder and whence, so that a complete dataset is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tasks.downloads.registry import Dataset

RECORD = "download.json"


def write_record(dataset: Dataset, folder: Path) -> None:
    """Record origin, terms, and every file with its size; written last.

    Raises:
        OSError: If the disk refuses.
    """
    content = {
        "dataset": dataset.name,
        "url": dataset.file.url,
        "checksum": dataset.file.checksum,
        "licence": dataset.licence,
        "citation": dataset.citation,
        "homepage": dataset.homepage,
        "files": {
            file.relative_to(folder).as_posix(): file.stat().st_size
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        },
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    (folder / RECORD).write_text(text, encoding="utf-8")


def what_is_wrong(dataset: Dataset, folder: Path) -> str | None:
    """Why a folder is not this dataset as we put it there; None if it is, by names and sizes."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        origin = (record["dataset"], record["url"], record["checksum"])
        files: dict[str, Any] = dict(record["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"it has no readable {RECORD}, so this command did not write it"
    if origin != (dataset.name, dataset.file.url, dataset.file.checksum):
        return f"its {RECORD} names another origin: {origin[0]} from {origin[1]}"
    for name, size in files.items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size} bytes instead of {size}"
    return None
