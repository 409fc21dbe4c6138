"""Volumes in files: NIfTI, DICOM series and TIFF stacks, told apart by their content.

=================== ==============================================================================
NIfTI-1, NIfTI-2    single files, gzipped or not; the header's slope and intercept are applied;
                    a fourth axis holds channels; an unknown unit of length counts as mm
DICOM series        a folder with one single-frame file per slice; slices are sorted along their
                    common normal by position, or by instance number where there is no position;
                    each slice's rescale slope and intercept are applied; MONOCHROME1 is not
                    inverted; two series in one folder, gaps, doubled and damaged slices are decode
                    errors; where files end in .dcm, others in the folder are ignored
TIFF stack          all pages of the first series; spacing from ImageJ's or OME's own entries
=================== ==============================================================================

Axes are named x, y, z. Where a file says how it lies in the patient, `orientation: canonical`
turns and flips its axes to the nearest of right, front and head.
"""

from __future__ import annotations

import gzip
import importlib
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from tasks.datasets.sample import Array, BadSampleError
from tasks.errors import DatasetError

VOLUME_SUFFIXES = frozenset({".nii", ".nii.gz", ".tif", ".tiff", ".npy"})
SLICE_SUFFIX = ".dcm"

_GZIP = b"\x1f\x8b"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_LENGTHS = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "meter": 1000.0, "inch": 25.4, "unknown": 1.0}
_LENGTHS |= dict.fromkeys(("µm", "μm", "um", "micron", "microns", "\\u00B5m", "micrometer"), 1e-3)
_LENGTHS |= {"nm": 1e-6}
_UNEVEN = 0.05  # relative difference between the steps of two slices that means a missing one


@dataclass(frozen=True)
class StoredVolume:
    """A volume whose header has been read.

    Attributes:
        shape: Voxels along x, y and z as `axes` orders them.
        axes: Names of the spatial axes, such as "xyz".
        spacing: Millimetres per voxel in the order of `axes`; None where the file does not say.
        read: The values, shape (*space) or (channel, *space), in the file's units.
    """

    shape: tuple[int, ...]
    axes: str
    spacing: tuple[float, ...] | None
    read: Callable[[], Array]


def open_volume(content: bytes | Sequence[bytes], orientation: str) -> StoredVolume:
    """Read the header of a file, or of the files of a folder.

    Raises:
        BadSampleError: If it is none of the known formats, damaged, or not one volume.
        DatasetError: If the library for the format is not installed.
    """
    try:
        if not isinstance(content, bytes):
            return _open_series(content, orientation)
        if content[128:132] == b"DICM":
            return _open_series([content], orientation)
        if content[:4] in _TIFF:
            return _open_tiff(content)
        return _open_nifti(content, orientation)
    except (BadSampleError, DatasetError):
        raise
    except Exception as error:
        raise _damaged(error) from error


def canonical(
    values: Array, affine: Array, spacing: Sequence[float]
) -> tuple[Array, tuple[float, ...]]:
    """Turn and flip the first three axes to right, front and head.

    Args:
        affine: From voxel to patient coordinates that grow to the right, the front and the head.
        spacing: Of the axes as they are.
    """
    orientations = _library("nibabel.orientations", "turning volumes")
    turn = orientations.io_orientation(affine)
    turned: Array = orientations.apply_orientation(values, turn)
    order = np.argsort(turn[:, 0])
    return turned, tuple(float(spacing[axis]) for axis in order)


def _open_nifti(content: bytes, orientation: str) -> StoredVolume:
    stream: Any = io.BytesIO(content)
    if content[:2] == _GZIP:
        stream = gzip.GzipFile(fileobj=stream)
    start = stream.read(348)
    stream.seek(0)
    kinds = {b"n+1\0": "Nifti1Image", b"n+2\0": "Nifti2Image"}
    kind = kinds.get(start[344:348]) or kinds.get(start[4:8])
    if kind is None:
        raise BadSampleError(
            "decode_error",
            f"expected a volume (NIfTI, DICOM, TIFF or NumPy), got {len(content)} bytes that are "
            "none of them",
        )
    image = getattr(_library("nibabel", "NIfTI files"), kind).from_stream(stream)
    unit = _LENGTHS[image.header.get_xyzt_units()[0]]
    spacing = tuple(float(step) * unit for step in image.header.get_zooms()[:3])
    has_position = any(int(image.header[code]) > 0 for code in ("qform_code", "sform_code"))
    if len(image.shape) < 3:
        raise BadSampleError("shape_error", f"expected three axes, got an image of {image.shape}")

    def read() -> Array:
        values = np.asarray(image.dataobj)
        values = values.reshape(values.shape[:3] + tuple(n for n in values.shape[3:] if n != 1))
        if orientation == "canonical" and has_position:
            values, _ = canonical(values, image.affine, spacing)
        return values if values.ndim == 3 else np.moveaxis(values, -1, 0)

    shape = np.array(image.shape[:3])
    if orientation == "canonical" and has_position:
        order, spacing = canonical(np.broadcast_to(0, image.shape[:3]), image.affine, spacing)
        shape = np.array(order.shape)
    return StoredVolume(tuple(shape.tolist()), "xyz", _known(spacing), read)


def _open_series(contents: Sequence[bytes], orientation: str) -> StoredVolume:
    pydicom = _library("pydicom", "DICOM series")
    slices = [pydicom.dcmread(io.BytesIO(content)) for content in contents]
    if not slices or not all("PixelData" in piece for piece in slices):
        raise BadSampleError(
            "decode_error", f"expected {len(contents)} DICOM slices, got files without pixels"
        )
    _check_series(slices)
    slices, direction, spacing = _sorted_slices(slices)

    def read() -> Array:
        values = np.stack([_rescaled(piece) for piece in slices])
        if orientation == "canonical" and direction is not None and spacing is not None:
            values, _ = canonical(values, direction, spacing)
        return values

    shape = (len(slices), int(slices[0].Rows), int(slices[0].Columns))
    if orientation == "canonical" and direction is not None and spacing is not None:
        turned, spacing = canonical(np.broadcast_to(0, shape), direction, spacing)
        return StoredVolume(turned.shape, "xyz", spacing, read)
    return StoredVolume(shape, "zyx", spacing, read)


def _check_series(slices: Sequence[Any]) -> None:
    for what, kinds in (
        ("series", {str(piece.get("SeriesInstanceUID", "")) for piece in slices}),
        ("slice sizes", {(int(piece.Rows), int(piece.Columns)) for piece in slices}),
    ):
        if len(kinds) > 1:
            raise BadSampleError(
                "decode_error",
                f"expected one volume in {len(slices)} DICOM files, got {len(kinds)} {what}",
            )
    if any(
        int(piece.get("NumberOfFrames", 1) or 1) > 1 or int(piece.get("SamplesPerPixel", 1)) > 1
        for piece in slices
    ):
        raise BadSampleError(
            "decode_error",
            "expected one grey slice per DICOM file; files with several frames or colours are not "
            "read. Convert them to NIfTI.",
        )


def _sorted_slices(
    slices: list[Any],
) -> tuple[list[Any], Array | None, tuple[float, ...] | None]:
    """Slices in order, the 4 x 4 matrix of their directions, and the spacing (z, y, x)."""
    if not all("ImagePositionPatient" in piece for piece in slices):
        numbers = [int(piece.get("InstanceNumber", 0) or 0) for piece in slices]
        if len(set(numbers)) < len(slices):
            raise BadSampleError(
                "decode_error", "slices have neither a position nor instance numbers of their own"
            )
        return [slices[index] for index in np.argsort(numbers)], None, None
    rows, columns = np.array(slices[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
    normal = np.cross(rows, columns)
    places = np.array([np.dot(piece.ImagePositionPatient, normal) for piece in slices])
    order = np.argsort(places, kind="stable")
    steps = np.diff(places[order])
    step = float(np.median(steps)) if len(steps) else float(slices[0].get("SliceThickness", 1) or 1)
    if len(steps) and (step <= 0 or np.abs(steps - step).max() > _UNEVEN * step):
        raise BadSampleError(
            "decode_error",
            f"expected slices at even steps, got steps of {steps.min():g} to {steps.max():g} mm: "
            "one is missing or doubled",
        )
    down, across = (float(value) for value in slices[0].PixelSpacing)
    # DICOM counts to the patient's left and back; our axes grow to the right and the front.
    to_right_front_head = np.diag([-1.0, -1.0, 1.0])
    affine = np.eye(4)
    affine[:3, :3] = to_right_front_head @ np.stack(
        [normal * step, columns * down, rows * across], axis=1
    )
    return [slices[index] for index in order], affine, (step, down, across)


def _rescaled(piece: Any) -> Array:
    values: Array = piece.pixel_array
    slope = float(piece.get("RescaleSlope", 1) or 1)
    intercept = float(piece.get("RescaleIntercept", 0) or 0)
    if (slope, intercept) == (1.0, 0.0):
        return values
    return values.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _open_tiff(content: bytes) -> StoredVolume:
    file = _library("tifffile", "TIFF stacks").TiffFile(io.BytesIO(content))
    series = file.series[0]
    kept = [(name, size) for name, size in zip(series.axes, series.shape, strict=True) if size > 1]
    colours = [index for index, (name, _) in enumerate(kept) if name in "CS"]
    if len(kept) - len(colours) != 3 or len(colours) > 1:
        raise BadSampleError(
            "shape_error",
            f"expected a stack of three axes and perhaps one of channels, got {series.axes} "
            f"{series.shape}",
        )

    def read() -> Array:
        values = series.asarray().reshape([size for _, size in kept])
        return np.moveaxis(values, colours[0], 0) if colours else values

    shape = tuple(size for index, (_, size) in enumerate(kept) if index not in colours)
    return StoredVolume(shape, "zyx", _tiff_spacing(file), read)


def _tiff_spacing(file: Any) -> tuple[float, ...] | None:
    """Millimetres along z, y and x, from what ImageJ or OME write."""
    if file.ome_metadata:
        sizes = [
            _attribute(file.ome_metadata, f"PhysicalSize{axis}", "0", f"PhysicalSize{axis}Unit")
            for axis in "ZYX"
        ]
        return _known(sizes)
    entries = file.imagej_metadata or {}
    unit = _LENGTHS.get(str(entries.get("unit", "")))
    tags = file.pages[0].tags
    if unit is None or "spacing" not in entries:
        return None
    per_pixel = [
        unit * tags[name].value[1] / tags[name].value[0] for name in ("YResolution", "XResolution")
    ]
    return _known([unit * float(entries["spacing"]), *per_pixel])


def _attribute(text: str, name: str, default: str, unit_name: str) -> float:
    value = re.search(rf'\b{name}="([^"]*)"', text)
    unit = re.search(rf'\b{unit_name}="([^"]*)"', text)
    return float(value[1] if value else default) * _LENGTHS.get(unit[1] if unit else "µm", 0.0)


def _known(spacing: Sequence[float]) -> tuple[float, ...] | None:
    usable = all(np.isfinite(step) and step > 0 for step in spacing)
    return tuple(float(step) for step in spacing) if usable else None


def _library(name: str, purpose: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DatasetError(
            f"{purpose} need the package '{name.partition('.')[0]}', which is not installed; "
            "install the extra: pip install 'wam-audit[volumes]'"
        ) from error


def _damaged(error: Exception) -> BadSampleError:
    """Libraries raise many types on damaged files; each is one bad sample."""
    return BadSampleError(
        "decode_error",
        f"expected a whole volume, got one that cannot be read: {type(error).__name__}: {error}",
    )
