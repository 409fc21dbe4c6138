"""NIfTI, DICOM series and TIFF stacks, written here and read back."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.config import DatasetConfig
from tasks.datasets import SampleReader, build_manifest
from tasks.datasets.spacing import voxel_grid
from tasks.preprocessing import Preprocessing
from tasks.volume_config import VolumeConfig

nibabel = pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")
tifffile = pytest.importorskip("tifffile")

# Voxels along z, y, x: no cube, no even number, no two alike.
SHAPE = (5, 7, 9)
SPACING = (2.5, 0.8, 0.7)
VOXELS = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
UNIT = VOXELS.astype(np.float32) / np.float32(255)


def dataset(root, **volume):
    return DatasetConfig(kind="folder", root=str(root), volume=VolumeConfig(**volume))


def read(config, space=SHAPE):
    manifest = build_manifest(config)
    rules = Preprocessing(input_shape=(1, *space))
    reader = SampleReader(config, manifest, rules)
    samples = [reader.read(row) for row in range(len(manifest.table))]
    return samples, voxel_grid(config, manifest, rules)


def save_nifti(path, values=VOXELS, *, affine=None, unit="mm", spacing=SPACING, **header):
    """`values` are z, y, x; the file holds x, y, z."""
    path.parent.mkdir(parents=True, exist_ok=True)
    diagonal = np.diag([*reversed(spacing), 1.0])
    image = nibabel.Nifti1Image(values.transpose(2, 1, 0), diagonal if affine is None else affine)
    image.header.set_xyzt_units(unit)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_is_read_with_its_spacing(tmp_path, suffix):
    save_nifti(tmp_path / "mass" / f"one{suffix}")
    (sample,), voxels = read(dataset(tmp_path))
    assert sample.status == "ok", sample.detail
    np.testing.assert_array_equal(sample.signal, UNIT[None])
    assert sample.signal.flags.writeable
    np.testing.assert_allclose(voxels.spacing, SPACING, rtol=1e-6)
    assert voxels.axes == "zyx"


def test_axes_may_be_ordered_otherwise(tmp_path):
    save_nifti(tmp_path / "mass" / "one.nii")
    (sample,), voxels = read(dataset(tmp_path, axes="xyz"), SHAPE[::-1])
    np.testing.assert_array_equal(sample.signal, UNIT[None].transpose(0, 3, 2, 1))
    np.testing.assert_allclose(voxels.spacing, SPACING[::-1], rtol=1e-6)


def test_a_flipped_and_turned_nifti_is_the_same_volume_when_canonical(tmp_path):
    save_nifti(tmp_path / "mass" / "plain.nii")
    image = nibabel.load(tmp_path / "mass" / "plain.nii")
    turned = image.as_reoriented(np.array([[2, 1], [0, -1], [1, -1]]))
    nibabel.save(turned, tmp_path / "mass" / "turned.nii")
    samples, voxels = read(dataset(tmp_path))
    np.testing.assert_array_equal(samples[0].signal, samples[1].signal)
    np.testing.assert_allclose(voxels.spacing, SPACING, rtol=1e-6)
    samples, _ = read(dataset(tmp_path, orientation="stored"))
    assert [sample.status for sample in samples] == ["ok", "shape_error"]


def test_slope_intercept_and_units_of_length_are_applied(tmp_path):
    tissue = (VOXELS.astype(np.int16) - 100) * 4
    save_nifti(tmp_path / "ct" / "one.nii", tissue, unit="meter", spacing=(0.0025, 0.0008, 0.0007))
    (sample,), voxels = read(dataset(tmp_path, intensity="window", window=(-160, 240)))
    expected = np.clip((tissue.astype(np.float32) + 160) / 400, 0, 1)
    np.testing.assert_allclose(sample.signal[0], expected, atol=1e-6)
    np.testing.assert_allclose(voxels.spacing, SPACING, rtol=1e-5)
    (sample,), _ = read(dataset(tmp_path))
    assert sample.status == "decode_error"
    assert "intensity: window" in sample.detail


def test_volumes_of_different_spacing_have_no_common_one(tmp_path):
    save_nifti(tmp_path / "mass" / "one.nii")
    save_nifti(tmp_path / "mass" / "two.nii", spacing=(5, 0.8, 0.7))
    _, voxels = read(dataset(tmp_path))
    assert voxels.spacing is None
    assert "2.5–5 x" in voxels.detail
    assert "resample_spacing" in voxels.detail
    samples, voxels = read(dataset(tmp_path, resample_spacing=(2.5, 0.8, 0.7)))
    assert voxels.spacing == (2.5, 0.8, 0.7)
    np.testing.assert_array_equal(samples[0].signal, UNIT[None])
    assert {sample.status for sample in samples} == {"ok"}


def write_series(folder, values, *, spacing=SPACING, first=-10.0, slope=1.0, intercept=0.0, **more):
    """Slices of (z, y, x) that run to the head; rows to the patient's back, columns to the left."""
    folder.mkdir(parents=True)
    for index, plane in enumerate(values):
        piece = pydicom.Dataset()
        piece.file_meta = pydicom.dataset.FileMetaDataset()
        piece.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        piece.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
        piece.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        piece.SOPClassUID = pydicom.uid.CTImageStorage
        piece.SOPInstanceUID = piece.file_meta.MediaStorageSOPInstanceUID
        piece.SeriesInstanceUID = more.get("series", "1.2.3")
        piece.Modality = "CT"
        piece.InstanceNumber = index + 1
        piece.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        piece.ImagePositionPatient = [0, 0, first + index * spacing[0]]
        piece.PixelSpacing = [spacing[1], spacing[2]]
        piece.RescaleSlope, piece.RescaleIntercept = slope, intercept
        piece.SamplesPerPixel, piece.PhotometricInterpretation = 1, "MONOCHROME2"
        piece.Rows, piece.Columns = plane.shape
        piece.BitsAllocated = piece.BitsStored = 16
        piece.HighBit, piece.PixelRepresentation = 15, 0
        piece.PixelData = plane.astype("<u2").tobytes()
        # Names in the opposite order: position decides, not the name.
        piece.save_as(
            folder / f"{more.get('prefix', 's')}{99 - index}.dcm", enforce_file_format=True
        )


def test_a_dicom_series_is_one_sample_sorted_by_position(tmp_path):
    write_series(tmp_path / "mass" / "patient", VOXELS, slope=2.0, intercept=-100.0)
    config = dataset(tmp_path, intensity="window", window=(-100, 410))
    manifest = build_manifest(config)
    assert manifest.table["source"].tolist() == ["mass/patient"]
    assert len(manifest.table["fingerprint"][0]) == 64
    (sample,), voxels = read(config)
    assert sample.status == "ok", sample.detail
    # Canonical: x to the right and y to the front, both opposite to DICOM's.
    np.testing.assert_allclose(sample.signal[0], UNIT[:, ::-1, ::-1], atol=1e-6)
    np.testing.assert_allclose(voxels.spacing, SPACING, rtol=1e-6)
    (stored,), _ = read(
        config.model_copy(
            update={"volume": config.volume.model_copy(update={"orientation": "stored"})}
        )
    )
    np.testing.assert_allclose(stored.signal[0], UNIT, atol=1e-6)


def test_dicom_and_nifti_of_one_patient_give_the_same_volume(tmp_path):
    write_series(tmp_path / "mass" / "dicom", VOXELS)
    affine = np.diag([-SPACING[2], -SPACING[1], SPACING[0], 1.0])
    save_nifti(tmp_path / "mass" / "nifti.nii", VOXELS, affine=affine)
    samples, _ = read(dataset(tmp_path, intensity="range"))
    np.testing.assert_allclose(samples[0].signal, samples[1].signal, atol=1e-6)


def test_broken_series_are_bad_samples_and_say_why(tmp_path):
    write_series(tmp_path / "mass" / "gap", VOXELS)
    (tmp_path / "mass" / "gap" / "s97.dcm").unlink()
    write_series(tmp_path / "mass" / "two", VOXELS)
    write_series(tmp_path / "other" / "two", VOXELS, series="9.9", prefix="t")
    for path in (tmp_path / "other" / "two").iterdir():
        path.rename(tmp_path / "mass" / "two" / path.name)
    write_series(tmp_path / "mass" / "zero", VOXELS)
    (tmp_path / "mass" / "zero" / "s99.dcm").write_bytes(b"\0" * 128 + b"DICM damaged")
    samples, _ = read(dataset(tmp_path, intensity="range"))
    assert [sample.status for sample in samples] == ["decode_error"] * 3
    assert "missing or doubled" in samples[0].detail
    assert "2 series" in samples[1].detail
    assert "mass/gap" in samples[0].detail


def test_tiff_stacks_are_read_with_what_imagej_and_ome_say(tmp_path):
    (tmp_path / "mass").mkdir()
    tifffile.imwrite(
        tmp_path / "mass" / "a_imagej.tif",
        VOXELS,
        imagej=True,
        resolution=(1 / SPACING[2], 1 / SPACING[1]),
        metadata={"spacing": SPACING[0], "unit": "mm", "axes": "ZYX"},
    )
    tifffile.imwrite(
        tmp_path / "mass" / "b_ome.tif",
        VOXELS,
        ome=True,
        metadata={
            "axes": "ZYX",
            **{f"PhysicalSize{a}": s * 1000 for a, s in zip("ZYX", SPACING, strict=True)},
            **{f"PhysicalSize{axis}Unit": "µm" for axis in "ZYX"},
        },
    )
    samples, voxels = read(dataset(tmp_path))
    for sample in samples:
        np.testing.assert_array_equal(sample.signal, UNIT[None])
    np.testing.assert_allclose(voxels.spacing, SPACING, rtol=1e-4)
    tifffile.imwrite(tmp_path / "mass" / "c_plain.tif", VOXELS)
    _, voxels = read(dataset(tmp_path))
    assert voxels.spacing is None
    assert "1 of 3 volumes do not say" in voxels.detail
    _, voxels = read(dataset(tmp_path, spacing=SPACING))
    np.testing.assert_allclose(voxels.spacing, SPACING, rtol=1e-4)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no volume", "none of them"), (b"\x1f\x8b damaged", "cannot be"), (b"II*\0 cut", "cannot")],
)
def test_files_that_are_no_volumes_are_bad_samples(tmp_path, content, message):
    (tmp_path / "mass").mkdir()
    (tmp_path / "mass" / "one.nii").write_bytes(content)
    (sample,), voxels = read(dataset(tmp_path))
    assert sample.status == "decode_error"
    assert message in sample.detail
    assert voxels.spacing is None


def test_a_cut_nifti_and_a_huge_one_are_bad_samples(tmp_path):
    save_nifti(tmp_path / "mass" / "one.nii")
    path = tmp_path / "mass" / "one.nii"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    (sample,), _ = read(dataset(tmp_path))
    assert sample.status == "decode_error"
    path.write_bytes(whole)
    config = dataset(tmp_path)
    small = config.decoding.model_copy(update={"max_pixels": 100})
    (sample,), _ = read(config.model_copy(update={"decoding": small}))
    assert "at most 100 voxels" in sample.detail


def test_a_table_may_name_a_series_and_size_is_a_fingerprint(tmp_path):
    write_series(tmp_path / "scans" / "patient", VOXELS)
    save_nifti(tmp_path / "scans" / "one.nii.gz")
    (tmp_path / "list.csv").write_text("path,label\nscans/patient,0\nscans/one.nii.gz,1\n")
    config = DatasetConfig(
        kind="table",
        root=str(tmp_path),
        manifest="list.csv",
        fingerprint="size",
        volume=VolumeConfig(intensity="range"),
    )
    samples, _ = read(config)
    assert [sample.status for sample in samples] == ["ok", "ok"]
    marks = build_manifest(config).table["fingerprint"]
    total = sum(path.stat().st_size for path in (tmp_path / "scans" / "patient").iterdir())
    assert marks[0] == f"size:{total}"
