"""From stored voxels to the model's: intensity, grid, and arrays named by split."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.config import DatasetConfig
from tasks.datasets import SampleReader, build_manifest
from tasks.datasets.spacing import voxel_grid
from tasks.datasets.volumes import unit_values
from tasks.errors import DatasetError
from tasks.preprocessing import Preprocessing
from tasks.volume_config import VolumeConfig


@pytest.fixture
def read(tmp_path):
    def read(values, space, **volume):
        np.savez(tmp_path / "set.npz", val_images=values[None], val_labels=np.zeros((1, 1)))
        config = DatasetConfig(
            kind="arrays",
            root=str(tmp_path / "set.npz"),
            split="val",
            volume=VolumeConfig(**volume),
        )
        manifest, rules = build_manifest(config), Preprocessing(input_shape=(1, *space))
        sample = SampleReader(config, manifest, rules).read(0)
        return sample, voxel_grid(config, manifest, rules)

    return read


def smooth(shape, spacing=(1.0, 1.0, 1.0)):
    """A wide bump about the centre, sampled at a spacing."""
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, spacing, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return np.exp(-(z**2 / 300 + y**2 / 200 + x**2 / 100)).astype(np.float32)


def test_odd_and_unequal_sizes_are_cut_and_padded_about_the_centre(read):
    values = np.random.default_rng(0).random((7, 6, 10), dtype=np.float32)
    sample, _ = read(values, (5, 9, 10), fit="pad_crop")
    assert sample.signal.shape == (1, 5, 9, 10)
    np.testing.assert_array_equal(sample.signal[0, :, 1:7], values[1:6])
    assert not sample.signal[0, :, 0].any()
    assert not sample.signal[0, :, 7:].any()


def test_resampling_keeps_what_lies_where_in_millimetres(read):
    coarse = smooth((21, 30, 41), (2.0, 1.5, 1.0))
    sample, voxels = read(
        coarse, (42, 45, 40), spacing=(2.0, 1.5, 1.0), resample_spacing=(1.0, 1.0, 1.0)
    )
    expected = smooth((42, 45, 40))
    inside = (slice(2, -2),) * 3
    np.testing.assert_allclose(sample.signal[0][inside], expected[inside], atol=0.01)
    assert voxels.spacing == (1.0, 1.0, 1.0)


def test_resampling_beyond_the_volume_gives_zero(read):
    sample, _ = read(
        np.ones((4, 4, 4), np.uint8) * 255,
        (8, 8, 8),
        spacing=(2.0, 1.0, 1.0),
        resample_spacing=(2.0, 2.0, 2.0),
    )
    inside = sample.signal[0] > 0.5
    assert inside.sum() == 4 * 2 * 2
    assert not sample.signal[0, 0].any()


def test_stretching_changes_the_size_of_a_voxel(read):
    sample, voxels = read(smooth((20, 40, 40)), (40, 20, 40), spacing=(3.0, 1.0, 0.5), fit="resize")
    assert sample.signal.shape == (1, 40, 20, 40)
    assert voxels.spacing == (1.5, 2.0, 0.5)
    peak = np.unravel_index(sample.signal[0].argmax(), (40, 20, 40))
    assert all(abs(place - (n - 1) / 2) <= 1 for place, n in zip(peak, (40, 20, 40), strict=True))


def test_reducing_does_not_alias(read):
    grating = np.zeros((32, 32, 32), np.float32)
    grating[::2] = 1
    sample, _ = read(grating, (16, 32, 32), fit="resize")
    assert sample.signal[0, 4:-4].std() < 0.3 * grating.std()


def test_another_size_is_refused_unless_told_how(read):
    sample, _ = read(smooth((8, 8, 8)), (8, 8, 9))
    assert sample.status == "shape_error"
    assert "fit: pad_crop" in sample.detail
    sample, _ = read(smooth((8, 8, 8)), (8, 8, 9), resample_spacing=(1, 1, 1))
    assert sample.status == "shape_error"
    assert "dataset.volume.spacing" in sample.detail


def test_intensity_rules():
    values = np.array([-200.0, -100, 0, 100, 200], dtype=np.float32)
    window = VolumeConfig(intensity="window", window=(-100, 100))
    np.testing.assert_allclose(unit_values(values, window), [0, 0, 0.5, 1, 1])
    whole = VolumeConfig(intensity="range")
    np.testing.assert_allclose(unit_values(values, whole), [0, 0.25, 0.5, 0.75, 1])
    inner = VolumeConfig(intensity="percentiles", percentiles=(25, 75))
    np.testing.assert_allclose(unit_values(values, inner), [0, 0, 0.5, 1, 1])
    assert not unit_values(np.full(4, 7.0), whole).any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"intensity": "window"},
        {"window": (0, 1)},
        {"intensity": "window", "window": (1, 1)},
        {"percentiles": (50, 101)},
        {"resample_spacing": (1, 1, 1), "fit": "resize"},
        {"spacing": (0, 1, 1)},
        {"axes": "xxy"},
    ],
)
def test_rules_that_contradict_are_refused(wrong):
    with pytest.raises(ValidationError):
        VolumeConfig(**wrong)


def test_a_split_names_arrays_as_medmnist_does(tmp_path):
    arrays = {
        f"{split}_{what}": np.full((n, 4, 4, 4) if what == "images" else (n, 1), n, np.uint8)
        for split, n in (("train", 5), ("val", 3))
        for what in ("images", "labels")
    }
    np.savez(tmp_path / "set.npz", **arrays, val_scans=np.zeros((3, 4, 4, 4), np.uint8))
    config = DatasetConfig(kind="arrays", root=str(tmp_path / "set.npz"), split="val")
    manifest = build_manifest(config)
    assert manifest.table["label"].tolist() == [3, 3, 3]
    assert manifest.table["sample_id"][0] == "val_images:0"
    other = config.model_copy(update={"signal_key": "scans"})
    assert build_manifest(other).table["sample_id"][2] == "val_scans:2"
    with pytest.raises(DatasetError, match=r"no array 'test_images'.*train_images"):
        build_manifest(config.model_copy(update={"split": "test"}))
    with pytest.raises(DatasetError, match="huggingface or arrays"):
        build_manifest(config.model_copy(update={"kind": "folder", "root": str(tmp_path)}))
