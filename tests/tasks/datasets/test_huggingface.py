"""Data sets of the `datasets` library, from a folder and without network."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from tasks.config import DatasetConfig
from tasks.datasets import SampleReader, build_manifest
from tasks.errors import DatasetError
from tasks.preprocessing import Preprocessing

datasets = pytest.importorskip("datasets", reason="extra 'huggingface' not installed")

RULES = Preprocessing(input_shape=(3, 6, 8))


@pytest.fixture(autouse=True)
def _cached_in_a_fresh_folder(tmp_path_factory, monkeypatch):
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


@pytest.fixture
def images(encode, picture):
    """Four images with class names, a fold, and one unlabelled row."""
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "fold": datasets.Value("int64"),
        }
    )
    rows = {
        "image": [{"bytes": encode(picture(seed=seed)), "path": None} for seed in range(4)],
        "label": [0, 1, 1, -1],
        "fold": [1, 1, 2, 2],
    }
    return datasets.Dataset.from_dict(rows, features=features)


def config(root, **options):
    return DatasetConfig(kind="huggingface", root=str(root), **options)


def read(configuration, row=0, rules=RULES):
    return SampleReader(configuration, build_manifest(configuration), rules).read(row)


def test_a_saved_data_set_is_read_by_our_decoding_rules(images, picture, tmp_path):
    images.save_to_disk(tmp_path / "saved")
    manifest = build_manifest(config(tmp_path / "saved", fold_column="fold"))
    assert manifest.table["label"].tolist() == [0, 1, 1, pd.NA]
    assert manifest.table["fold"].tolist() == ["1", "1", "2", "2"]
    assert manifest.class_names == ("cat", "dog")
    assert "cat -> 0, dog -> 1" in manifest.description
    assert manifest.table["fingerprint"].is_unique
    for row in range(4):
        sample = read(config(tmp_path / "saved"), row)
        expected = np.moveaxis(picture(seed=row), -1, 0).astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(sample.signal, expected)


def test_an_image_folder_gives_the_labels_of_its_folders(tree, encode, picture):
    files = {f"{name}/{i}.png": encode(picture(seed=i)) for name in ("cat", "dog") for i in (0, 1)}
    root = tree(files)
    manifest = build_manifest(config(root))
    assert manifest.table["label"].tolist() == [0, 0, 1, 1]
    assert manifest.table["sample_id"].tolist() == ["train:0", "train:1", "train:2", "train:3"]
    assert read(config(root), 3).status == "ok"


def test_an_image_that_disappears_is_one_bad_sample(tree, encode, picture):
    root = tree({f"{name}/0.png": encode(picture()) for name in ("cat", "dog")})
    reader = SampleReader(config(root), build_manifest(config(root)), RULES)
    assert reader.read(0).status == "ok"
    (root / "dog" / "0.png").unlink()
    assert reader.read(1).status == "decode_error"
    assert reader.read(0).status == "ok"


def test_the_root_may_be_a_link(tree, encode, picture):
    root = tree({f"real/{name}/0.png": encode(picture()) for name in ("cat", "dog")})
    (root / "link").symlink_to(root / "real")
    assert read(config(root / "link")).status == "ok"


def test_parquet_files_are_read(images, tmp_path):
    (tmp_path / "data").mkdir()
    images.to_parquet(tmp_path / "data" / "train.parquet")
    manifest = build_manifest(config(tmp_path / "data", where={"fold": 2}))
    assert manifest.table["sample_id"].tolist() == ["train:2", "train:3"]
    assert read(config(tmp_path / "data"), 2).status == "ok"


def test_a_split_is_chosen_by_name(images, tmp_path):
    both = datasets.DatasetDict({"train": images, "test": images.select([0])})
    both.save_to_disk(tmp_path / "both")
    assert len(build_manifest(config(tmp_path / "both", split="test")).table) == 1
    for split in (None, "val"):
        with pytest.raises(DatasetError, match="has the splits train, test"):
            build_manifest(config(tmp_path / "both", split=split))


def test_class_names_are_mapped_to_the_models_classes(images, tmp_path):
    images.save_to_disk(tmp_path / "saved")
    manifest = build_manifest(config(tmp_path / "saved", class_map={"cat": 281, "dog": 207}))
    assert manifest.table["label"].tolist() == [281, 207, 207, pd.NA]
    assert manifest.class_names[281] == "cat"


@pytest.mark.parametrize("where", ["/etc/passwd", "../../etc/passwd", "s3://bucket/x.png"])
def test_an_image_outside_the_root_is_refused_with_its_row(tmp_path, where):
    features = datasets.Features(
        {"image": datasets.Value("string"), "label": datasets.Value("int8")}
    )
    rows = datasets.Dataset.from_dict({"image": [where], "label": [0]}, features=features)
    rows.save_to_disk(tmp_path / "saved")
    with pytest.raises(DatasetError, match=r"row .*:0 of .*expected a path below"):
        build_manifest(config(tmp_path / "saved"))


def test_arrays_keep_their_type(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 6), dtype=np.uint8)
    features = datasets.Features(
        {"volume": datasets.Array3D((4, 5, 6), "uint8"), "label": datasets.Value("int64")}
    )
    rows = datasets.Dataset.from_dict({"volume": values, "label": [0, 1]}, features=features)
    rows.save_to_disk(tmp_path / "saved")
    sample = read(
        config(tmp_path / "saved", signal_key="volume"), 1, Preprocessing(input_shape=(1, 4, 5, 6))
    )
    np.testing.assert_array_equal(sample.signal[0], values[1].astype(np.float32) / np.float32(255))


def test_missing_columns_are_told_with_those_present(images, tmp_path):
    images.save_to_disk(tmp_path / "saved")
    with pytest.raises(DatasetError, match=r"no column 'img'.*present: image, label, fold"):
        build_manifest(config(tmp_path / "saved", signal_key="img"))
    with pytest.raises(DatasetError, match=r"no column 'class'.*present: label, fold"):
        build_manifest(config(tmp_path / "saved", label_column="class"))


def test_the_hub_is_never_asked(tmp_path):
    with pytest.raises(DatasetError, match="not downloaded"):
        build_manifest(config("mnist"))
    with pytest.raises(DatasetError, match="is no data set"):
        build_manifest(config(tmp_path))


def test_the_missing_library_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DatasetError, match=r"wam-audit\[huggingface\]"):
        build_manifest(config(tmp_path))


def test_labels_may_be_left_out_and_extra_columns_read(images, tmp_path):
    images.rename_column("fold", "part").save_to_disk(tmp_path / "saved")
    options = {"label_column": None, "extra_columns": ("part",)}
    manifest = build_manifest(config(tmp_path / "saved", **options))
    assert manifest.table["label"].isna().all()
    assert manifest.table["part"].tolist() == ["1", "1", "2", "2"]
