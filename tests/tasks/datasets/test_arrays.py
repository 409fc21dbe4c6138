"""NPZ files and .npy files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tasks.config import DatasetConfig
from tasks.datasets import SampleReader, build_manifest
from tasks.errors import DatasetError
from tasks.preprocessing import Preprocessing

IMAGES = np.arange(12 * 6 * 8, dtype=np.uint8).reshape(12, 6, 8)
LABELS = (np.arange(12) % 3).astype(np.uint8)


@pytest.fixture
def npz(tmp_path):
    def npz(**arrays):
        path = tmp_path / "set.npz"
        np.savez(path, **arrays)
        return DatasetConfig(
            kind="arrays", root=str(path), signal_key="train_images", label_column="train_labels"
        )

    return npz


def read_all(config, input_shape, **rules):
    manifest = build_manifest(config)
    reader = SampleReader(config, manifest, Preprocessing(input_shape=input_shape, **rules))
    return [reader.read(row) for row in range(len(manifest.table))]


def test_medmnist_files_are_read_with_their_column_of_labels(npz):
    config = npz(train_images=IMAGES, train_labels=LABELS[:, None], val_labels=LABELS[:2])
    manifest = build_manifest(config)
    assert manifest.table["label"].tolist() == LABELS.tolist()
    assert manifest.table["sample_id"].tolist()[::11] == ["train_images:00", "train_images:11"]
    for sample, image in zip(read_all(config, (3, 6, 8)), IMAGES, strict=True):
        expected = np.repeat(image[None].astype(np.float32) / np.float32(255), 3, axis=0)
        np.testing.assert_array_equal(sample.signal, expected)


@pytest.mark.parametrize(
    ("shape", "input_shape"),
    [
        ((4, 6, 8, 3), (3, 6, 8)),
        ((4, 3, 6, 8), (3, 6, 8)),
        ((4, 6, 8, 3), (1, 6, 8)),
        ((4, 6, 8, 5), (5, 6, 8)),
        ((4, 5, 6, 7), (1, 5, 6, 7)),
        ((4, 5, 6, 7), (3, 5, 6, 7)),
        ((4, 5, 6, 7, 1), (1, 5, 6, 7)),
        ((4, 2, 5, 6, 7), (2, 5, 6, 7)),
        ((4, 100), (1, 100)),
        ((4, 2, 100), (2, 100)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.bool_, np.float64])
def test_dimensions_follow_the_models_input(npz, shape, input_shape, dtype):
    values = np.random.default_rng(0).random(shape)
    stored = values if dtype == np.float64 else (values * 2).astype(dtype)
    samples = read_all(npz(train_images=stored, train_labels=LABELS[:4]), input_shape)
    for sample in samples:
        assert sample.status == "ok", sample.detail
        assert sample.signal.shape == input_shape
        assert sample.signal.dtype == np.float32
        assert sample.signal.flags.c_contiguous


def test_channels_last_and_first_give_the_same_signal(npz):
    values = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3), dtype=np.uint8)
    last = read_all(npz(train_images=values, train_labels=LABELS[:4]), (3, 6, 8))
    first = read_all(
        npz(train_images=np.moveaxis(values, -1, 1), train_labels=LABELS[:4]), (3, 6, 8)
    )
    for one, two in zip(last, first, strict=True):
        np.testing.assert_array_equal(one.signal, two.signal)


def test_images_are_resized_and_volumes_are_not(npz):
    config = npz(train_images=IMAGES, train_labels=LABELS)
    (sample, *_) = read_all(config, (3, 12, 12), resize=12, crop=(12, 12))
    assert sample.status == "ok"
    volumes = npz(train_images=IMAGES.reshape(2, 6, 6, 8), train_labels=LABELS[:2])
    (sample, _) = read_all(volumes, (1, 8, 8, 8), resize=8)
    assert sample.status == "shape_error"
    assert "set.npz/train_images:0: expected the model's input (1, 8, 8, 8), got (1, 6, 6, 8)" in (
        sample.detail
    )


def test_floats_outside_the_unit_interval_are_bad_images_but_good_waveforms(npz):
    config = npz(train_images=np.full((2, 6, 8), -0.5), train_labels=LABELS[:2])
    assert read_all(config, (1, 6, 8))[0].status == "decode_error"
    waves = npz(train_images=np.full((2, 48), -0.5), train_labels=LABELS[:2])
    assert read_all(waves, (1, 48))[0].signal.min() == -0.5
    holes = npz(train_images=np.full((2, 48), np.nan), train_labels=LABELS[:2])
    assert read_all(holes, (1, 48))[0].status == "nonfinite"


def test_a_pair_of_npy_files_reads_like_an_archive(npz, tmp_path):
    archive = npz(train_images=IMAGES, train_labels=LABELS)
    np.save(tmp_path / "train_images.npy", IMAGES)
    np.save(tmp_path / "train_labels.npy", LABELS)
    pair = archive.model_copy(update={"root": str(tmp_path)})
    assert build_manifest(pair).digest == build_manifest(archive).digest
    for one, two in zip(read_all(pair, (1, 6, 8)), read_all(archive, (1, 6, 8)), strict=True):
        np.testing.assert_array_equal(one.signal, two.signal)


def test_other_arrays_are_columns(npz):
    config = npz(
        train_images=IMAGES,
        train_labels=LABELS,
        patient=np.array([f"p{index // 2}" for index in range(12)]),
        fold=np.repeat([1, 2], 6),
    ).model_copy(update={"group_column": "patient", "where": {"fold": 2}})
    manifest = build_manifest(config)
    assert manifest.table["group"].tolist() == ["p3", "p3", "p4", "p4", "p5", "p5"]
    assert manifest.table["sample_id"][0] == "train_images:06"


def test_the_file_is_loaded_once_per_process_and_again_when_it_changes(npz, monkeypatch):
    config = npz(train_images=IMAGES, train_labels=LABELS)
    loads = []
    load = np.load
    monkeypatch.setattr(
        np, "load", lambda *args, **kwargs: loads.append(1) or load(*args, **kwargs)
    )
    for _ in range(3):
        read_all(config, (1, 6, 8))
    assert len(loads) == 2  # signals and labels
    before = build_manifest(config).digest
    npz(train_images=IMAGES[::-1], train_labels=LABELS)
    assert build_manifest(config).digest != before


def test_fingerprints_follow_content_or_size(npz):
    config = npz(train_images=IMAGES, train_labels=LABELS)
    assert build_manifest(config).table["fingerprint"].is_unique
    sized = build_manifest(config.model_copy(update={"fingerprint": "size"}))
    assert set(sized.table["fingerprint"]) == {"size:48"}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": IMAGES, "train_labels": LABELS}, r"no array 'train_images'.*present: x, train_lab"),
        ({"train_images": IMAGES}, r"no array 'train_labels', which dataset\.label_column names"),
        ({"train_images": IMAGES, "train_labels": LABELS[:5]}, "5 values, but there are 12"),
        ({"train_images": IMAGES, "train_labels": np.eye(12)}, "multi-label"),
        ({"train_images": IMAGES, "train_labels": LABELS + 0.5}, "row 0 is wrong.*whole number"),
        ({"train_images": IMAGES.astype(np.int64), "train_labels": LABELS}, "type int64"),
        ({"train_images": IMAGES[:, 0, 0], "train_labels": LABELS}, r"shape \(12,\)"),
        ({"train_images": IMAGES.astype(object), "train_labels": LABELS}, "Pickled objects"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(npz, arrays, message):
    with pytest.raises(DatasetError, match=message):
        build_manifest(npz(**arrays))


def test_labels_may_be_names_or_missing(npz):
    names = np.array(["cat", "dog"] * 6)
    config = npz(train_images=IMAGES, train_labels=names)
    mapped = config.model_copy(update={"class_map": {"cat": 1, "dog": 0}})
    assert build_manifest(mapped).table["label"].tolist() == [1, 0] * 6
    gaps = npz(train_images=IMAGES, train_labels=np.where(LABELS == 0, np.nan, LABELS))
    assert build_manifest(gaps).table["label"][:2].tolist() == [pd.NA, 1]


@pytest.mark.parametrize("key", ["../secret", "/etc/secret"])
def test_a_key_that_leaves_the_root_is_refused(tmp_path, key):
    config = DatasetConfig(kind="arrays", root=str(tmp_path), signal_key=key)
    with pytest.raises(DatasetError, match=r"below dataset\.root"):
        build_manifest(config)


def test_a_missing_or_damaged_file_is_named(tmp_path):
    for name, content in (("none.npz", None), ("bad.npz", b"PK\x03\x04 no archive")):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(DatasetError, match=name):
            build_manifest(DatasetConfig(kind="arrays", root=str(tmp_path / name)))


def test_extra_arrays_are_read_and_labels_may_be_left_out(npz):
    shapes = np.array(["cat", "dog", ""] * 4)
    config = npz(train_images=IMAGES, shape=shapes).model_copy(
        update={"label_column": None, "extra_columns": ("shape",)}
    )
    manifest = build_manifest(config)
    assert manifest.table["shape"].tolist()[:3] == ["cat", "dog", pd.NA]
    assert manifest.table["label"].isna().all()
