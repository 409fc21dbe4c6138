"""From a stored volume to the model's voxels: axes, intensity, grid.

Cubic or not, even or odd, anisotropic or not, a volume passes as it is when it has the model's
size. Another size is refused (`fit: exact`), cut and padded about the centre (`pad_crop`), or
stretched (`resize`). `resample_spacing` gives every voxel the same size in millimetres first.
Values are interpolated linearly on the three axes; axes that lose resolution are smoothed before
by a Gaussian of half the number of voxels lost per voxel, so that fine structure does not alias.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import ndimage

from tasks.config import DatasetConfig
from tasks.datasets.array_files import NPY_MAGIC, channel_first, read_npy
from tasks.datasets.images import unit_interval
from tasks.datasets.sample import Array, BadSampleError, Payload, Signal
from tasks.datasets.volume_files import StoredVolume, open_volume
from tasks.preprocessing import Preprocessing
from tasks.volume_config import VolumeConfig

_Outside = Literal["grid-constant", "nearest"]


def volume_signal(payload: Payload, preprocessing: Preprocessing, config: DatasetConfig) -> Signal:
    """The signal of a volume, float32 of the model's input shape (channel, *space).

    Raises:
        BadSampleError: If it cannot be decoded, does not fit, or is not finite.
    """
    rules = config.volume or VolumeConfig()
    stored = stored_volume(payload, preprocessing.input_shape, rules)
    voxels = math.prod(stored.shape)
    if voxels > config.decoding.max_pixels:
        raise BadSampleError(
            "decode_error",
            f"expected at most {config.decoding.max_pixels} voxels (dataset.decoding.max_pixels), "
            f"got {voxels} ({_sizes(stored.shape)})",
        )
    if not voxels:
        raise BadSampleError("shape_error", f"expected voxels, got none ({_sizes(stored.shape)})")
    values = _oriented(_read(stored), stored.axes, rules.axes)
    if len(values) not in (1, preprocessing.input_shape[0]):
        raise BadSampleError(
            "shape_error",
            f"expected {preprocessing.input_shape[0]} channels for the model's input "
            f"{preprocessing.input_shape}, got {len(values)}; only a single one is repeated",
        )
    spacing = volume_spacing(stored, rules)
    signal = _on_grid(unit_values(values, rules), spacing, rules, preprocessing.spatial_shape)
    return np.array(np.broadcast_to(signal, preprocessing.input_shape), order="C")


def stored_volume(
    payload: Payload, input_shape: tuple[int, ...], rules: VolumeConfig
) -> StoredVolume:
    """Read what a file says about itself, without its voxels; arrays have the configured axes."""
    if isinstance(payload, bytes) and payload.startswith(NPY_MAGIC):
        payload = read_npy(payload)
    if not isinstance(payload, np.ndarray):
        return open_volume(payload, rules.orientation)
    values = channel_first(payload, input_shape)
    return StoredVolume(values.shape[1:], rules.axes, None, lambda: values)


def volume_spacing(stored: StoredVolume, rules: VolumeConfig) -> tuple[float, ...] | None:
    """Millimetres per stored voxel in the order of the configured axes: the file's, or stated."""
    if stored.spacing is None:
        return rules.spacing
    return tuple(stored.spacing[stored.axes.index(axis)] for axis in rules.axes)


def grid_spacing(
    stored: StoredVolume, rules: VolumeConfig, space: tuple[int, ...]
) -> tuple[float, ...] | None:
    """Millimetres per voxel of the model's input, in the order of its axes."""
    spacing = volume_spacing(stored, rules)
    if spacing is None or rules.resample_spacing is not None:
        return rules.resample_spacing if spacing is not None else None
    if rules.fit != "resize":
        return spacing
    shape = [stored.shape[stored.axes.index(axis)] for axis in rules.axes]
    return tuple(
        step * size / wanted for step, size, wanted in zip(spacing, shape, space, strict=True)
    )


def unit_values(values: Array, rules: VolumeConfig) -> Signal:
    """Stored values in [0, 1] by the configured rule; a constant volume becomes 0."""
    if rules.intensity == "stored":
        try:
            return unit_interval(values)
        except BadSampleError as error:
            raise BadSampleError(
                error.status, f"{error} (or state dataset.volume.intensity: window)"
            ) from error
    signal = values.astype(np.float32)
    if not np.isfinite(signal).all():
        raise BadSampleError("nonfinite", "expected finite voxels, got NaN or infinity among them")
    if rules.window is not None:
        low, high = rules.window
    elif rules.intensity == "range":
        low, high = float(signal.min()), float(signal.max())
    else:
        low, high = np.percentile(signal, rules.percentiles).tolist()
    if high <= low:
        return np.zeros_like(signal)
    return np.clip((signal - np.float32(low)) / np.float32(high - low), 0, 1)


def _read(stored: StoredVolume) -> Array:
    try:
        values = stored.read()
    except BadSampleError:
        raise
    except Exception as error:
        # Decoders raise many types on damaged data; each is one bad sample.
        raise BadSampleError(
            "decode_error",
            f"expected a whole volume, got one that cannot be decoded: {type(error).__name__}: "
            f"{error}",
        ) from error
    return values if values.ndim == 4 else values[np.newaxis]


def _oriented(values: Array, axes: str, wanted: str) -> Array:
    return values.transpose(0, *(1 + axes.index(axis) for axis in wanted))


def _on_grid(
    signal: Signal,
    spacing: tuple[float, ...] | None,
    rules: VolumeConfig,
    space: tuple[int, ...],
) -> Signal:
    shape = signal.shape[1:]
    if rules.resample_spacing is not None:
        if spacing is None:
            raise BadSampleError(
                "shape_error",
                "dataset.volume.resample_spacing needs the size of a voxel, which the file does "
                "not say; state it as dataset.volume.spacing",
            )
        steps = tuple(new / old for new, old in zip(rules.resample_spacing, spacing, strict=True))
        if not np.allclose(steps, 1, rtol=1e-4):
            return _sampled(signal, steps, space, outside="grid-constant")
        return _centred(signal, space)
    if shape == space:
        return signal
    if rules.fit == "pad_crop":
        return _centred(signal, space)
    if rules.fit == "resize":
        steps = tuple(size / wanted for size, wanted in zip(shape, space, strict=True))
        return _sampled(signal, steps, space, outside="nearest")
    raise BadSampleError(
        "shape_error",
        f"expected the model's input {(len(signal), *space)}, got {signal.shape}; volumes are "
        "not resized unless dataset.volume says how (fit: pad_crop or resize, or "
        "resample_spacing)",
    )


def _sampled(
    signal: Signal, steps: Sequence[float], space: tuple[int, ...], outside: _Outside
) -> Signal:
    """Values at steps of so many voxels, both grids having the same centre."""
    blur = [max(0.0, (step - 1) / 2) for step in steps]
    offset = [
        (size - 1) / 2 - step * (wanted - 1) / 2
        for size, step, wanted in zip(signal.shape[1:], steps, space, strict=True)
    ]
    channels = []
    for channel in signal:
        smooth = ndimage.gaussian_filter(channel, blur, mode="nearest") if any(blur) else channel
        channels.append(
            ndimage.affine_transform(
                smooth, np.array(steps), offset, output_shape=space, order=1, mode=outside
            )
        )
    return np.clip(np.stack(channels), 0, 1)


def _centred(signal: Signal, space: tuple[int, ...]) -> Signal:
    """Cut or pad with 0 about the centre, without touching a value."""
    result = np.zeros((len(signal), *space), dtype=np.float32)
    taken, placed = [slice(None)], [slice(None)]
    for size, wanted in zip(signal.shape[1:], space, strict=True):
        length = min(size, wanted)
        taken.append(slice((size - length) // 2, (size - length) // 2 + length))
        placed.append(slice((wanted - length) // 2, (wanted - length) // 2 + length))
    result[tuple(placed)] = signal[tuple(taken)]
    return result


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
