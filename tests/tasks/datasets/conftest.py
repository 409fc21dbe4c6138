"""Small files to make datasets of."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.config import DatasetConfig
from tasks.datasets import LoadedSample, SampleReader, build_manifest
from tasks.preprocessing import Preprocessing

Encode = Callable[..., bytes]


@pytest.fixture
def encode() -> Encode:
    """An image file of an array or Pillow image."""

    def encode(image: np.ndarray | Image.Image, suffix: str = "png", **options: Any) -> bytes:
        stream = io.BytesIO()
        picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
        picture.save(stream, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix), **options)
        return stream.getvalue()

    return encode


@pytest.fixture
def picture() -> Callable[..., np.ndarray]:
    """Colour pixels without symmetry, different for each seed."""

    def picture(height: int = 6, width: int = 8, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)

    return picture


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[Mapping[str, bytes | str]], Path]:
    """Writes files below a fresh folder and returns the folder."""

    def tree(files: Mapping[str, bytes | str]) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return tmp_path

    return tree


@pytest.fixture
def read_file(
    tree: Callable[[Mapping[str, bytes | str]], Path],
) -> Callable[..., LoadedSample]:
    """Reads one file as a sample of a dataset; without rules nothing is resized."""

    def read_file(
        content: bytes,
        input_shape: tuple[int, ...] = (3, 6, 8),
        rules: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> LoadedSample:
        root = tree({"one.png": content, "manifest.csv": "path,label\none.png,0\n"})
        config = DatasetConfig(kind="table", root=str(root), manifest="manifest.csv", **options)
        preprocessing = Preprocessing(input_shape=input_shape, **(rules or {}))
        return SampleReader(config, build_manifest(config), preprocessing).read(0)

    return read_file
