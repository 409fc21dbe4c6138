"""Download public datasets from a terminal: what there is, progress, and terms of use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from tasks.downloads import DATASETS, GROUPS, Advance, Dataset, Placed, place_datasets
from tasks.errors import ConfigError
from tasks.locations import expand

DEFAULT_FOLDER = "data"


def data_folder(to: Path | None) -> Path:
    """Where datasets go: the folder asked for, else `WAM_DATA_ROOT`, else `./data`; absolute."""
    return (to or _configured_folder() or Path(DEFAULT_FOLDER)).expanduser().absolute()


def _configured_folder() -> Path | None:
    try:
        return Path(expand("${WAM_DATA_ROOT}"))
    except ConfigError:
        return None


def run_downloads(
    names: Sequence[str],
    root: Path,
    *,
    quiet: bool = False,
    registry: Mapping[str, Dataset] = DATASETS,
    groups: Mapping[str, tuple[str, ...]] = GROUPS,
) -> list[Placed]:
    """Bring datasets into their places, with progress on standard error.

    Raises:
        ConfigError: If a name is unknown, or something else lies where a dataset belongs.
        DownloadError: If a dataset could not be completed; the same command continues.
    """
    console = Console(stderr=True, quiet=quiet)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        _AmountColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    bars: dict[tuple[str, str], Any] = {}

    def show(advance: Advance) -> None:
        key = (advance.name, advance.step)
        if key not in bars:
            words = f"{advance.step} {advance.name}"
            bars[key] = progress.add_task(words, total=advance.total, step=advance.step)
            if not console.is_terminal:
                console.print(f"{words} …")
        progress.update(bars[key], completed=advance.done, total=advance.total)

    with progress:
        return place_datasets(names, root, registry=registry, groups=groups, report=show)


class _AmountColumn(ProgressColumn):
    """Bytes while downloading, files while unpacking."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes, self._files = DownloadColumn(), MofNCompleteColumn()

    def render(self, task: Task) -> Text:
        """The amount, as rich writes it."""
        if task.fields["step"] == "download":
            return self._bytes.render(task)
        return self._files.render(task)


def describe_datasets(
    registry: Mapping[str, Dataset] = DATASETS, groups: Mapping[str, tuple[str, ...]] = GROUPS
) -> str:
    """What can be downloaded, in lines for a terminal."""
    blocks = [
        "\n".join(
            [
                f"{dataset.name}: {dataset.title}",
                f"  holds     {dataset.holds}",
                f"  size      {_size(dataset)}",
                f"  licence   {dataset.licence}",
                f"  from      {dataset.homepage}",
                f"  checked   {_check(dataset)}",
                f"  put into  {dataset.place}",
            ]
        )
        for dataset in registry.values()
    ]
    blocks += [f"{name}: all of {', '.join(members)}" for name, members in groups.items()]
    blocks.append("Download with: wam-audit data NAME [NAME ...] [--to FOLDER]")
    return "\n\n".join(blocks)


def describe_placed(placed: Sequence[Placed], root: Path) -> str:
    """Where the datasets are and under which terms, in lines for a terminal."""
    lines = []
    for one in placed:
        state = "downloaded and checked" if one.downloaded else "already there, nothing downloaded"
        lines += [
            f"{one.dataset.name}: {state}",
            f"  path      {one.path}",
            f"  licence   {one.dataset.licence}",
            f"  cite      {one.dataset.citation}",
            "",
        ]
    if root != _configured_folder():
        lines.append(f"The configurations find them after: export WAM_DATA_ROOT={root}")
    return "\n".join(lines).rstrip()


def as_records(placed: Sequence[Placed]) -> list[dict[str, Any]]:
    """The same as plain data, for scripts."""
    return [
        {
            "name": one.dataset.name,
            "path": str(one.path),
            "downloaded": one.downloaded,
            "licence": one.dataset.licence,
            "citation": one.dataset.citation,
            "homepage": one.dataset.homepage,
        }
        for one in placed
    ]


def _size(dataset: Dataset) -> str:
    if dataset.file.size is not None:
        return decimal(dataset.file.size)
    if dataset.unpacked_size is not None:
        return f"at most {decimal(dataset.unpacked_size)} (its arrays before compression)"
    return "unknown before the download"


def _check(dataset: Dataset) -> str:
    algorithm = dataset.file.checksum.split(":")[0].upper().replace("SHA256", "SHA-256")
    words = f"{algorithm} by {dataset.file.checksum_source}"
    if dataset.content is not None:
        words += f", or else the content by {dataset.content.source}"
    return words
