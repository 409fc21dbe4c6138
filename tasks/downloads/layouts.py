"""From an unpacked archive to the folder that our configurations read, with its `manifest.csv`.

Columns are those of the datasets the shipped configurations were written for; labels count from 0.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from tasks.downloads.errors import DownloadError

MANIFEST = "manifest.csv"

# ESC-10's own labels 0 to 9, in order, as (name, label in ESC-50).
ESC10_CLASSES = (
    ("dog", 0),
    ("rain", 10),
    ("sea_waves", 11),
    ("crying_baby", 20),
    ("clock_tick", 38),
    ("sneezing", 21),
    ("helicopter", 40),
    ("chainsaw", 41),
    ("rooster", 1),
    ("crackling_fire", 12),
)

# WordNet id to (name, index among ImageNet's 1000 classes).
IMAGENETTE_CLASSES = {
    "n01440764": ("tench", 0),
    "n02102040": ("English springer", 217),
    "n02979186": ("cassette player", 482),
    "n03000684": ("chain saw", 491),
    "n03028079": ("church", 497),
    "n03394916": ("French horn", 566),
    "n03417042": ("garbage truck", 569),
    "n03425413": ("gas pump", 571),
    "n03445777": ("golf ball", 574),
    "n03888257": ("parachute", 701),
}


def arrange_esc50(source: Path, target: Path) -> None:
    """All clips; `path,fold,label,name,source`, label 0 to 49, source the Freesound id.

    Args:
        source: Top folder of the archive; files are moved out of it.
        target: Empty folder.

    Raises:
        DownloadError: If `meta/esc50.csv` and the clips do not agree.
        OSError: If the disk refuses.
    """
    clips = _esc_clips(source)
    _move(source, target, ["LICENSE", "README.md", "meta", *(clip["path"] for clip in clips)])
    rows = [
        (clip["path"], clip["fold"], clip["target"], clip["category"], clip["src_file"])
        for clip in clips
    ]
    _write_manifest(target, ("path", "fold", "label", "name", "source"), rows)


def arrange_esc10(source: Path, target: Path) -> None:
    """The clips of ten classes; `path,fold,label,name,esc50_label,source`, label 0 to 9.

    Args:
        source: Top folder of the archive; files are moved out of it.
        target: Empty folder.

    Raises:
        DownloadError: If `meta/esc50.csv` and the clips do not agree.
        OSError: If the disk refuses.
    """
    labels = {str(esc50): (label, name) for label, (name, esc50) in enumerate(ESC10_CLASSES)}
    clips = [clip for clip in _esc_clips(source) if clip["target"] in labels]
    _move(source, target, ["LICENSE", "README.md", *(clip["path"] for clip in clips)])
    rows = [
        (clip["path"], clip["fold"], *labels[clip["target"]], clip["target"], clip["src_file"])
        for clip in clips
    ]
    _write_manifest(target, ("path", "fold", "label", "name", "esc50_label", "source"), rows)


def arrange_imagenette(source: Path, target: Path) -> None:
    """`train/` and `val/` as they are; `path,label,wnid,name,split`, label 0 to 999 as in ImageNet.

    Args:
        source: Top folder of the archive; files are moved out of it.
        target: Empty folder.

    Raises:
        DownloadError: If a class is missing from a split.
        OSError: If the disk refuses.
    """
    _move(source, target, ["train", "val"])
    rows = []
    for split in ("train", "val"):
        for wnid, (name, label) in IMAGENETTE_CLASSES.items():
            files = sorted((target / split / wnid).glob("*.JPEG"))
            if not files:
                raise _unknown_content(f"{split}/{wnid} holds no images ({name})")
            rows += [(f"{split}/{wnid}/{file.name}", label, wnid, name, split) for file in files]
    _write_manifest(target, ("path", "label", "wnid", "name", "split"), rows)


def _esc_clips(source: Path) -> list[dict[str, str]]:
    """Rows of ESC-50's table with their path, ordered by it; fold and class must be the name's."""
    table = source / "meta" / "esc50.csv"
    if not table.is_file():
        raise _unknown_content("meta/esc50.csv is missing")
    with table.open(encoding="utf-8", newline="") as opened:
        clips = list(csv.DictReader(opened))
    if not clips:
        raise _unknown_content("meta/esc50.csv is empty")
    missing = {"filename", "fold", "target", "category", "src_file"} - clips[0].keys()
    if missing:
        raise _unknown_content(f"meta/esc50.csv lacks the columns {', '.join(sorted(missing))}")
    for clip in clips:
        clip["path"] = f"audio/{clip['filename']}"
        fold, *_, target = Path(clip["filename"]).stem.split("-")
        if (fold, target) != (clip["fold"], clip["target"]):
            raise _unknown_content(
                f"meta/esc50.csv says fold {clip['fold']} and class {clip['target']} of "
                f"{clip['filename']}"
            )
    listed = {clip["filename"] for clip in clips}
    present = {file.name for file in (source / "audio").glob("*.wav")}
    if listed != present:
        raise _unknown_content(
            f"meta/esc50.csv lists {len(listed)} clips, the archive holds {len(present)}; "
            f"{len(listed ^ present)} are in one of them only"
        )
    return sorted(clips, key=lambda clip: clip["path"])


def _move(source: Path, target: Path, names: Iterable[str]) -> None:
    for name in names:
        if not (source / name).exists():
            raise _unknown_content(f"{name} is missing")
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).rename(target / name)


def _write_manifest(folder: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with (folder / MANIFEST).open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _unknown_content(what: str) -> DownloadError:
    return DownloadError(
        f"the archive's content is not as published: {what}. Nothing was put in place; look at the "
        "dataset's homepage for what changed."
    )
