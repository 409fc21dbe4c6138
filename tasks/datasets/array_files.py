"""Single arrays: from bytes in NumPy's format, and to the axes of a signal."""

from __future__ import annotations

import io

import numpy as np

from tasks.datasets.sample import Array, BadSampleError

NPY_MAGIC = b"\x93NUMPY"


def read_npy(content: bytes) -> Array:
    """The array of a .npy file; pickled objects are refused.

    Raises:
        BadSampleError: If it is damaged or holds objects.
    """
    try:
        array: Array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError, SyntaxError) as error:
        raise BadSampleError(
            "decode_error", f"expected an array in NumPy's format, got one NumPy refuses: {error}"
        ) from error
    return array


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
