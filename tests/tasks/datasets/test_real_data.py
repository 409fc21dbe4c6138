"""The shared data sets, when they are there."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from tasks.config import DatasetConfig
from tasks.datasets import SampleReader, build_manifest
from tasks.preprocessing import Preprocessing

DATA = Path(os.environ.get("WAM_DATA_ROOT") or Path(__file__).parents[3].parent / "shared" / "data")
pytestmark = pytest.mark.real_data


def needed(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not there; set WAM_DATA_ROOT")
    return path


def test_all_of_the_imagenet_sample_is_read_with_its_labels():
    root = needed("imagenet-sample")
    config = DatasetConfig(
        kind="table", root=str(root), manifest="manifest.csv", class_names="classes.csv"
    )
    manifest = build_manifest(config)
    rules = Preprocessing(
        resize=256, crop=(224, 224), interpolation="bicubic", input_shape=(3, 224, 224)
    )
    reader = SampleReader(config, manifest, rules)
    with (root / "manifest.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert manifest.table["label"].tolist() == [int(row["label"]) for row in rows]
    assert [manifest.class_names[label] for label in manifest.table["label"]] == [
        row["name"] for row in rows
    ]
    assert len(rows) == 500
    assert {reader.read(row).status for row in range(500)} == {"ok"}


def test_adrenal_volumes_are_read():
    config = DatasetConfig(
        kind="arrays",
        root=str(needed("adrenalmnist3d_64.npz")),
        signal_key="val_images",
        label_column="val_labels",
    )
    manifest = build_manifest(config)
    assert (len(manifest.table), int(manifest.table["label"].sum())) == (98, 22)
    reader = SampleReader(config, manifest, Preprocessing(input_shape=(1, 64, 64, 64)))
    assert {reader.read(row).status for row in range(98)} == {"ok"}
    assert reader.read(0).signal.max() == 1.0
