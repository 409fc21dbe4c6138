"""Put datasets into the data folder: each appears whole, under its name, or not at all.

Everything on its way lies in `.downloads` inside the data folder, so that the last step is a
rename on one disk.
"""

from __future__ import annotations

import difflib
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import pooch

from tasks.downloads.errors import DownloadError, disk_failure
from tasks.downloads.extraction import extract
from tasks.downloads.record import what_is_wrong, write_record
from tasks.downloads.registry import DATASETS, GROUPS, Dataset
from tasks.downloads.transfer import Advance, fetch
from tasks.errors import ConfigError

WORKSHOP = ".downloads"

Report = Callable[[Advance], None]


@dataclass(frozen=True)
class Placed:
    """A dataset that is in its place.

    Attributes:
        downloaded: False if it was there before.
    """

    dataset: Dataset
    path: Path
    downloaded: bool


def place_datasets(
    names: Sequence[str],
    root: Path,
    *,
    registry: Mapping[str, Dataset] = DATASETS,
    groups: Mapping[str, tuple[str, ...]] = GROUPS,
    report: Report = lambda advance: None,
) -> list[Placed]:
    """Download what is missing of the named datasets.

    Args:
        names: Of datasets or groups.
        root: The data folder; made if it is missing.
        registry: What can be downloaded, by name.
        groups: Names that stand for several datasets.
        report: Told how far each step is.

    Raises:
        ConfigError: If a name is unknown, or something else lies where a dataset belongs. Nothing
            is downloaded then.
        DownloadError: If a dataset could not be completed. Those before it are in place, and the
            same command continues.
    """
    datasets = _named(names, registry, groups)
    with _understood(root):
        present = {dataset.name: _is_present(dataset, root) for dataset in datasets}
        try:
            for dataset in datasets:
                if not present[dataset.name]:
                    _place(dataset, root, report)
            for dataset in datasets:  # at the end: datasets may share an archive
                (root / WORKSHOP / dataset.file.name).unlink(missing_ok=True)
        finally:
            with suppress(OSError):  # it stays while it holds what a later command continues
                (root / WORKSHOP).rmdir()
    return [
        Placed(dataset, root / dataset.place, downloaded=not present[dataset.name])
        for dataset in datasets
    ]


def _named(
    names: Sequence[str], registry: Mapping[str, Dataset], groups: Mapping[str, tuple[str, ...]]
) -> list[Dataset]:
    known = [*registry, *groups]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise ConfigError(
                f"there is no dataset '{name}' to download{hint} Known are {', '.join(known)}."
            )
    single = [member for name in names for member in groups.get(name, (name,))]
    return [registry[name] for name in dict.fromkeys(single)]


def _is_present(dataset: Dataset, root: Path) -> bool:
    """Whether the dataset is in place and complete.

    Raises:
        ConfigError: If something else is there: it is never overwritten.
    """
    path = root / dataset.place
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return False
    wrong: str | None
    if dataset.arrange is not None:
        wrong = what_is_wrong(dataset, path) if path.is_dir() else "it is no folder"
    elif not path.is_file():
        wrong = "it is no file"
    else:
        algorithm, expected = dataset.file.checksum.split(":")
        found = pooch.file_hash(str(path), alg=algorithm)
        wrong = None if found == expected else f"its {algorithm} is {found} instead of {expected}"
    if wrong is None:
        return True
    raise ConfigError(
        f"{path} is there, but is not {dataset.name} as it would be downloaded: {wrong}. Nothing "
        "was changed. Move it away, or choose another folder (--to)."
    )


def _place(dataset: Dataset, root: Path, report: Report) -> None:
    workshop = root / WORKSHOP
    workshop.mkdir(parents=True, exist_ok=True)
    told = partial(_tell, report, dataset.name)
    file = fetch(dataset.file, workshop, partial(told, "download"))
    if dataset.arrange is None:
        file.rename(root / dataset.place)
        return
    bench = workshop / dataset.name
    shutil.rmtree(bench, ignore_errors=True)  # of a command that was killed
    unpacked, arranged = bench / "unpacked", bench / "arranged"
    try:
        unpacked.mkdir(parents=True)
        arranged.mkdir()
        top = extract(file, unpacked, partial(told, "unpack"))
        _check_content(dataset, file, top)
        dataset.arrange(top, arranged)
        write_record(dataset, arranged)
        arranged.rename(root / dataset.place)
    finally:
        shutil.rmtree(bench, ignore_errors=True)


def _tell(
    report: Report, name: str, step: Literal["download", "unpack"], done: int, total: int | None
) -> None:
    report(Advance(name, step, done, total))


def _check_content(dataset: Dataset, archive: Path, top: Path) -> None:
    """For an archive that its server packs anew: its known bytes, or else its known content."""
    content = dataset.content
    if dataset.file.reproducible or content is None:
        return
    algorithm, expected = dataset.file.checksum.split(":")
    if pooch.file_hash(str(archive), alg=algorithm) == expected:
        return
    lines = [
        f"{hashlib.md5(file.read_bytes()).hexdigest()}  {file.relative_to(top).as_posix()}\n"
        for file in sorted(top.glob(content.pattern))
    ]
    found = hashlib.sha256("".join(lines).encode()).hexdigest()
    if found != content.checksum:
        archive.unlink()
        raise DownloadError(
            f"{dataset.file.url}: the {len(lines)} files {content.pattern} of the archive are not "
            f"as published by {content.source}: the digest of their checksums is {found} instead "
            f"of {content.checksum}. The download was removed. Run the same command again; if it "
            f"repeats, look at {dataset.homepage} for what changed."
        )


@contextmanager
def _understood(root: Path) -> Iterator[None]:
    """Turn what the disk and the keyboard say into messages."""
    try:
        yield
    except OSError as error:
        raise disk_failure(error, root) from error
    except KeyboardInterrupt as error:
        raise DownloadError(
            f"interrupted; what has come is kept in {root / WORKSHOP}. Run the same command again: "
            "it continues there."
        ) from error
