"""From what is stored for a sample (image, .npy file, array) to the signal the model takes."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from tasks.config import DatasetConfig
from tasks.datasets.images import decode_image, unit_interval
from tasks.datasets.preparation import prepare_image
from tasks.datasets.sample import Array, BadSampleError, Payload, Signal
from tasks.preprocessing import Preprocessing

_NPY = b"\x93NUMPY"


def signal_of(payload: Payload, preprocessing: Preprocessing, config: DatasetConfig) -> Signal:
    """The signal of a sample, float32 of the model's input shape.

    Raises:
        BadSampleError: If it cannot be decoded, does not fit, or is not finite.
    """
    if isinstance(payload, np.ndarray):
        return _from_array(payload, preprocessing, config)
    if payload.startswith(_NPY):
        return _from_array(_npy(payload), preprocessing, config)
    image = decode_image(payload, config.decoding)
    return _prepared([image], preprocessing, config)


def channel_first(values: Array, input_shape: tuple[int, ...]) -> Array:
    """View an array as (channel, *space).

    Without a channel axis one is added. It is the last axis where that has 1, 3 or the model's
    number of channels, or else the first; an array of exactly the model's shape stays as it is.

    Example:
        >>> channel_first(np.zeros((28, 30, 3)), (3, 224, 224)).shape
        (3, 28, 30)
    """
    counts = {1, 3, input_shape[0]}
    if values.shape == input_shape:
        return values
    if values.ndim == len(input_shape) - 1:
        return values[np.newaxis]
    if values.ndim == len(input_shape) and values.shape[-1] in counts:
        return np.moveaxis(values, -1, 0)
    if values.ndim == len(input_shape) and values.shape[0] in counts:
        return values
    raise BadSampleError(
        "shape_error",
        f"expected {len(input_shape) - 1} spatial axes and perhaps one of channels for the model's "
        f"input {input_shape}, got an array of shape {values.shape}",
    )


def _npy(content: bytes) -> Array:
    try:
        array: Array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError, SyntaxError) as error:
        raise BadSampleError(
            "decode_error", f"expected an array in NumPy's format, got one NumPy refuses: {error}"
        ) from error
    return array


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
