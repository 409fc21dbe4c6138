"""From what is stored for a sample (image, .npy file, array) to the signal the model takes."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tasks.config import DatasetConfig
from tasks.datasets.array_files import NPY_MAGIC, channel_first, read_npy
from tasks.datasets.images import decode_image, unit_interval
from tasks.datasets.preparation import prepare_image
from tasks.datasets.sample import Array, BadSampleError, Payload, Signal
from tasks.datasets.volumes import volume_signal
from tasks.errors import ConfigError
from tasks.preprocessing import Preprocessing


def signal_of(payload: Payload, preprocessing: Preprocessing, config: DatasetConfig) -> Signal:
    """The signal of a sample, float32 of the model's input shape.

    Raises:
        BadSampleError: If it cannot be decoded, does not fit, or is not finite.
    """
    if len(preprocessing.spatial_shape) == 3:
        return volume_signal(payload, preprocessing, config)
    if isinstance(payload, tuple):
        raise BadSampleError(
            "shape_error",
            f"expected one file for the model's input {preprocessing.input_shape}, got a folder of "
            f"{len(payload)} files",
        )
    if isinstance(payload, np.ndarray):
        return _from_array(payload, preprocessing, config)
    if payload.startswith(NPY_MAGIC):
        return _from_array(read_npy(payload), preprocessing, config)
    if len(preprocessing.spatial_shape) == 1:
        raise ConfigError(
            "the model takes series, and samples are files that are no arrays; for sound state "
            "dataset.audio.sample_rate, the rate of the model's input"
        )
    image = decode_image(payload, config.decoding)
    return _prepared([image], preprocessing, config)


def _from_array(values: Array, preprocessing: Preprocessing, config: DatasetConfig) -> Signal:
    values = channel_first(values, preprocessing.input_shape)
    if not values.size:
        raise BadSampleError("shape_error", f"expected values, got an empty array {values.shape}")
    if len(preprocessing.spatial_shape) == 2:
        return _prepared(_planes(values), preprocessing, config)
    return _unresized(values, preprocessing.input_shape)


def _planes(values: Array) -> list[Image.Image]:
    """8-bit grey and colour as image files give them, anything else as float planes."""
    if values.dtype == np.uint8 and len(values) in (1, 3):
        pixels = np.ascontiguousarray(np.moveaxis(values, 0, -1))
        return [Image.fromarray(pixels if len(values) == 3 else pixels[..., 0]).convert("RGB")]
    return [Image.fromarray(np.ascontiguousarray(plane)) for plane in unit_interval(values)]


def _prepared(
    planes: list[Image.Image], preprocessing: Preprocessing, config: DatasetConfig
) -> Signal:
    return prepare_image(
        planes,
        preprocessing,
        preprocessed=config.preprocessed,
        max_pixels=config.decoding.max_pixels,
    )


def _unresized(values: Array, input_shape: tuple[int, ...]) -> Signal:
    """Series and volumes keep their size. Amplitudes of series are not bound to [0, 1]."""
    if values.shape[1:] != input_shape[1:] or len(values) not in (1, input_shape[0]):
        raise BadSampleError(
            "shape_error",
            f"expected the model's input {input_shape}, got {values.shape}; series and volumes "
            "are not resized, and only a single channel is repeated",
        )
    signal = unit_interval(values, bounded=len(input_shape) > 2)
    return np.ascontiguousarray(np.broadcast_to(signal, input_shape))
