"""Long recordings as several samples: one row of the manifest for every stretch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from tasks.config import DatasetConfig
from tasks.datasets.audio import n_segments
from tasks.datasets.storage import DataRoot, open_root

_MARK = "#segment="
_THREADS = 4


def split_source(source: str) -> tuple[str, int]:
    """The stored file of a source, and which segment of it is meant.

    Example:
        >>> split_source("birds/dawn.flac#segment=3")
        ('birds/dawn.flac', 3)
        >>> split_source("birds/dawn.flac")
        ('birds/dawn.flac', 0)
    """
    path, mark, index = source.rpartition(_MARK)
    return (path, int(index)) if mark and index.isdecimal() else (source, 0)


def with_segments(table: pd.DataFrame, config: DatasetConfig) -> pd.DataFrame:
    """One row per segment of every file, where the configuration cuts long recordings.

    Segments of one recording are resampled together, unless a group column says otherwise.
    """
    audio = config.audio
    if audio is None or audio.longer != "segment" or audio.duration_s is None:
        return table
    root = open_root(config.root)
    length = round(audio.duration_s * audio.sample_rate)

    def count(source: str) -> int:
        content = _content(root, source)
        return 1 if content is None else n_segments(content, audio, length)

    with ThreadPoolExecutor(_THREADS) as pool:
        counts = list(pool.map(count, table["source"]))
    repeated = table.loc[table.index.repeat(counts)].reset_index(drop=True)
    numbers = [number for n_rows in counts for number in range(n_rows)]
    repeated["group"] = repeated["group"].fillna(repeated["sample_id"])
    for column in ("sample_id", "source"):
        repeated[column] = pd.array(
            [
                f"{name}{_MARK}{number}"
                for name, number in zip(repeated[column], numbers, strict=True)
            ],
            dtype="string",
        )
    return repeated


def _content(root: DataRoot, source: str) -> bytes | None:
    try:
        return root.read(source)
    except OSError:
        return None
