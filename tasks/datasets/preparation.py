"""From decoded pixels to the model's size and channels, with Pillow.

The accuracy of a model depends on these rules to the pixel, so where fractions of a pixel fall is
part of the recorded preprocessing (`geometry`). With `torchvision` everything is exactly what
torchvision does on Pillow images: the longer side is truncated and crop offsets round half to even.
With `rounded` the longer side is rounded and offsets are floored. An image smaller than the crop is
laid on black.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from tasks.datasets.images import unit_interval
from tasks.datasets.sample import BadSampleError, Signal
from tasks.preprocessing import Preprocessing

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def prepare_image(
    planes: Sequence[Image.Image],
    preprocessing: Preprocessing,
    *,
    preprocessed: bool = False,
    max_pixels: int = 178_956_970,
) -> Signal:
    """Bring an image to the model's channels and size; values in [0, 1].

    Grey is repeated for models with several channels. Colour becomes luminance (ITU-R 601: 0.299
    red, 0.587 green, 0.114 blue) for models with one, before resizing. Deep images are resized
    channel by channel in float with the same filter, and what it overshoots is clipped, as it is
    in 8 bits.

    Args:
        planes: One `RGB` image, or one `F` image with values in [0, 1] per channel.
        preprocessed: Nothing is resized; another size than the model's is a shape error.
        max_pixels: A larger resized image is refused before it is made.

    Raises:
        BadSampleError: With status shape_error.
    """
    channels, *space = preprocessing.input_shape
    if len(space) != 2:
        raise BadSampleError(
            "shape_error",
            f"expected a signal with {len(space)} spatial axes for the model's input "
            f"{preprocessing.input_shape}, got an image",
        )
    planes = _with_channels(planes, channels)
    if not preprocessed:
        planes = [_fitted(plane, preprocessing, max_pixels) for plane in planes]
    width, height = planes[0].size
    if [height, width] != space:
        raise BadSampleError("shape_error", _wrong_size(preprocessing, (height, width)))
    return _signal(planes, channels)


def resized_size(
    size: tuple[int, int], resize: int | tuple[int, int], geometry: str = "torchvision"
) -> tuple[int, int]:
    """(width, height) after resizing.

    Args:
        size: (width, height) before.
        resize: Shorter side, or (height, width).
        geometry: As in `Preprocessing`.

    Example:
        >>> resized_size((500, 300), 256)
        (426, 256)
        >>> resized_size((500, 300), 256, "rounded")
        (427, 256)
    """
    if not isinstance(resize, int):
        return resize[1], resize[0]
    whole = int if geometry == "torchvision" else round
    width, height = size
    if width <= height:
        return resize, whole(resize * height / width)
    return whole(resize * width / height), resize


def _with_channels(planes: Sequence[Image.Image], channels: int) -> list[Image.Image]:
    if planes[0].mode == "RGB":
        if channels == 3:
            return list(planes)
        if channels == 1:
            return [planes[0].convert("L")]
    elif len(planes) in (1, channels):
        return list(planes)
    elif len(planes) == 3 and channels == 1:
        stack = np.stack([np.asarray(plane) for plane in planes], axis=-1)
        return [Image.fromarray(stack @ _LUMINANCE)]
    raise BadSampleError(
        "shape_error",
        f"expected an image for a model with {channels} channels, got "
        f"{3 if planes[0].mode == 'RGB' else len(planes)}; only grey is repeated, and only red, "
        "green and blue are averaged",
    )


def _fitted(plane: Image.Image, preprocessing: Preprocessing, max_pixels: int) -> Image.Image:
    if preprocessing.resize is not None:
        size = resized_size(plane.size, preprocessing.resize, preprocessing.geometry)
        if size[0] * size[1] > max_pixels:
            raise BadSampleError(
                "shape_error",
                f"expected at most {max_pixels} pixels (dataset.decoding.max_pixels) after "
                f"resizing, got {size[0]} x {size[1]} from {plane.width} x {plane.height}",
            )
        if size != plane.size:
            plane = plane.resize(size, _FILTERS[preprocessing.interpolation])
    if preprocessing.crop is None:
        return plane
    return _centre_crop(plane, preprocessing.crop, preprocessing.geometry)


def _centre_crop(plane: Image.Image, crop: tuple[int, int], geometry: str) -> Image.Image:
    height, width = crop
    left = _offset(plane.width, width, geometry)
    top = _offset(plane.height, height, geometry)
    # Pillow fills with zeros what lies outside.
    return plane.crop((left, top, left + width, top + height))


def _offset(length: int, wanted: int, geometry: str) -> int:
    if wanted > length:
        return -((wanted - length) // 2)
    spare = length - wanted
    return round(spare / 2.0) if geometry == "torchvision" else spare // 2


def _signal(planes: Sequence[Image.Image], channels: int) -> Signal:
    if planes[0].mode == "RGB":
        values = np.moveaxis(np.asarray(planes[0]), -1, 0)
    else:
        values = np.stack([np.asarray(plane) for plane in planes])
    if values.dtype.kind == "f":
        values = np.clip(values, 0, 1)
    if len(values) != channels:
        values = np.repeat(values, channels, axis=0)
    return np.ascontiguousarray(unit_interval(values))


def _wrong_size(preprocessing: Preprocessing, got: tuple[int, int]) -> str:
    height, width = preprocessing.spatial_shape
    return (
        f"expected height x width of {height} x {width}, got {got[0]} x {got[1]} (resize: "
        f"{preprocessing.resize}, crop: {preprocessing.crop}, or dataset.preprocessed: true)"
    )
