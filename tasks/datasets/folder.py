"""A folder with one sub-folder per class; files may lie deeper within it.

Where the dataset holds volumes (`dataset.volume` is given), NIfTI files count as samples, and so
does every folder of DICOM slices (files ending in .dcm) below a class folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import PurePosixPath

import pandas as pd

from tasks.config import DatasetConfig
from tasks.datasets.audio import AUDIO_SUFFIXES
from tasks.datasets.images import IMAGE_SUFFIXES
from tasks.datasets.labels import folder_classes, label_samples
from tasks.datasets.listing import Listing, make_listing
from tasks.datasets.storage import DataRoot, file_fingerprints, open_root
from tasks.datasets.volume_files import SLICE_SUFFIX, VOLUME_SUFFIXES
from tasks.errors import DatasetError

_SUFFIXES = IMAGE_SUFFIXES | {".npy"}


def list_folder(config: DatasetConfig) -> Listing:
    """Every image, volume or .npy array below a class folder, in the order of its path.

    Hidden files and folders are ignored; other files are counted in the summary. Without any
    class folder the files of the root are samples without label.

    Raises:
        DatasetError: If there is no such folder, or no image in it.
    """
    root = open_root(config.root)
    samples, others = _samples(root, config)
    classed = [path for path in samples if "/" in path]
    stray = len(samples) - len(classed) if classed else 0
    paths = classed or samples
    folders = [path.partition("/")[0] if "/" in path else "" for path in paths]
    class_map = folder_classes(sorted(set(folders) - {""}), config)
    columns = pd.DataFrame({"path": paths, "class_name": folders})
    labels = label_samples(
        columns["class_name"], config.model_copy(update={"class_map": class_map}), root.url
    )
    return make_listing(
        config,
        columns.assign(label=labels.indices),
        sources=paths,
        default_ids=paths,
        labels=labels,
        summary=_summary(len(paths), class_map, stray, others, config),
        fingerprints=partial(
            file_fingerprints,
            root,
            kind=config.fingerprint,
            with_folders=config.volume is not None,
        ),
        place=root.url,
    )


def _samples(root: DataRoot, config: DatasetConfig) -> tuple[list[str], Counter[str]]:
    if not root.filesystem.isdir(root.path):
        raise DatasetError(f"dataset.root {root.url} is not a folder, or does not exist")
    visible = [path for path in root.files() if not _hidden(path)]
    series = _series_folders(visible) if config.volume else []
    suffixes = VOLUME_SUFFIXES if config.volume else _SUFFIXES
    if config.audio:
        suffixes = AUDIO_SUFFIXES | {".npy"}
    samples = [path for path in visible if _suffix(path) in suffixes]
    known = {*suffixes, *([SLICE_SUFFIX] if series else [])}
    others = Counter(_suffix(path) for path in visible if _suffix(path) not in known)
    if not samples and not series:
        advice = ". For volumes (NIfTI, DICOM) give dataset.volume, for sound dataset.audio"
        if config.volume or config.audio:
            advice = ""
        raise DatasetError(
            f"dataset.root {root.url} has no image in it: expected class folders with files "
            f"ending in {' '.join(sorted(suffixes))}, found {_counted(others) or 'no files'}"
            f"{advice}"
        )
    return sorted([*samples, *series]), others


def _series_folders(paths: Sequence[str]) -> list[str]:
    """Every folder below a class folder that holds slices: one sample each.

    Example:
        >>> _series_folders(["cat/one/1.dcm", "cat/one/2.dcm", "cat/two.nii"])
        ['cat/one']
    """
    slices = [path for path in paths if _suffix(path) == SLICE_SUFFIX and path.count("/") > 1]
    return sorted({path.rpartition("/")[0] for path in slices})


def _hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _suffix(path: str) -> str:
    suffixes = [suffix.lower() for suffix in PurePosixPath(path).suffixes[-2:]]
    return ".nii.gz" if suffixes == [".nii", ".gz"] else "".join(suffixes[-1:])


def _counted(others: Counter[str]) -> str:
    return ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in others.items())


def _summary(
    count: int,
    class_map: dict[str, int],
    stray: int,
    others: Counter[str],
    config: DatasetConfig,
) -> str:
    parts = [f"folder: {count} files in {len(class_map)} class folders"]
    if _is_misordered(list(class_map), config):
        parts.append("folder names are numbers but ordered as text (10 before 9)")
    if stray:
        parts.append(f"{stray} images outside class folders are not samples")
    if others:
        parts.append(f"not images: {_counted(others)}")
    return "; ".join(parts)


def _is_misordered(folders: Sequence[str], config: DatasetConfig) -> bool:
    """Whether numbered folders get other indices than their numbers' order would give."""
    chosen = config.class_map is not None or config.class_names is not None
    if chosen or config.class_order == "numeric" or not all(map(str.isdecimal, folders)):
        return False
    return sorted(folders) != sorted(folders, key=int)
