"""Image files to pixel values, by rules that are stated here and nowhere else.

===================== ============================================================================
formats               BMP, GIF, JPEG, JPEG 2000, PNG, PPM family, TIFF, WebP; nothing else is opened
orientation           turned as EXIF says, unless `exif_orientation: false`; Pillow turns TIFF
                      itself in either case; unreadable EXIF data counts as none
1-bit, grey           0 to 255 in all three channels
palette               looked up; transparent entries are transparent pixels
alpha (RGBA, LA, …)   laid on `alpha: white` or `black`; `drop` keeps the stored colours as they are
CMYK, YCCK, YCbCr     converted by Pillow's formulas; Adobe's inverted CMYK is recognised
16-bit grey           over 65535, whatever part of the range is used; its transparency is ignored
16-bit colour         the upper eight bits, which is all that Pillow reads
32-bit integer        as 16-bit grey; values outside 0 to 65535 are decode errors
float (TIFF, PFM)     values are taken as they are; outside [0, 1] they are decode errors,
                      NaN and infinity make the sample nonfinite
animation             the first frame
colour profiles       ignored, as in the libraries that trained the models
truncated file        a decode error, never half an image
huge image            more than `max_pixels` is a decode error before any pixel is decoded;
                      Pillow's own limit of 178,956,970 holds as well
===================== ============================================================================
"""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from tasks.config import DecodingConfig
from tasks.datasets.sample import Array, BadSampleError, Signal

FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
IMAGE_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("bmp", "gif", "jp2", "jpeg", "jpg", "png", "tif", "tiff", "webp"),
        *("pbm", "pfm", "pgm", "pnm", "ppm"),
    )
)

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_UNREADABLE_EXIF = (ValueError, KeyError, TypeError, SyntaxError, OSError, struct.error)
_DEEP_MAXIMUM = 65535


def decode_image(content: bytes, decoding: DecodingConfig) -> Image.Image:
    """Decode an image file by the rules of this module.

    Returns:
        An 8-bit `RGB` image, or an `F` image (one channel, values in [0, 1]) for deep files.

    Raises:
        BadSampleError: If it is no image, damaged, too large, or has values without a rule.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _refuse_large(image, decoding.max_pixels)
            # Other libraries switch this on for the whole process.
            ImageFile.LOAD_TRUNCATED_IMAGES = False
            image.load()
            return _plain(_upright(image) if decoding.exif_orientation else image, decoding)
    except BadSampleError:
        raise
    except UnidentifiedImageError:
        raise BadSampleError(
            "decode_error",
            f"expected an image ({', '.join(FORMATS)}), got {len(content)} bytes that are none",
        ) from None
    except Exception as error:
        # Pillow's decoders raise many types on damaged files; each is one bad sample.
        raise BadSampleError(
            "decode_error",
            f"expected a whole image, got one that cannot be decoded: {error or type(error)}",
        ) from error


def unit_interval(values: Array, *, bounded: bool = True) -> Signal:
    """Stored values as float32 in [0, 1]: booleans, 8-bit, 16-bit, or floats as they are.

    Args:
        bounded: Whether floats outside [0, 1] are refused.

    Raises:
        BadSampleError: If the type has no stated range, or values leave it.
    """
    if values.dtype.kind == "b":
        return values.astype(np.float32)
    if values.dtype.kind == "u" and values.dtype.itemsize <= 2:
        return values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)
    if values.dtype.kind != "f":
        raise BadSampleError(
            "decode_error",
            f"expected uint8, uint16, bool or floats in [0, 1], got {values.dtype}, whose range "
            "is not stated; convert it to one of these",
        )
    signal = values.astype(np.float32)
    finite = np.isfinite(signal)
    if not finite.all():
        raise BadSampleError(
            "nonfinite",
            f"expected finite values, got {int((~finite).sum())} of {signal.size} NaN or infinite",
        )
    if bounded and signal.size and (signal.min() < 0 or signal.max() > 1):
        raise BadSampleError(
            "decode_error",
            f"expected float values in [0, 1], got {signal.min():g} to {signal.max():g}; rescale "
            "them, and state the model's normalisation as model.preprocessing",
        )
    return signal


def _refuse_large(image: Image.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise BadSampleError(
            "decode_error",
            f"expected at most {max_pixels} pixels (dataset.decoding.max_pixels), got "
            f"{image.width} x {image.height}",
        )


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except _UNREADABLE_EXIF:
        return image
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _plain(image: Image.Image, decoding: DecodingConfig) -> Image.Image:
    if image.mode == "F":
        return Image.fromarray(unit_interval(np.asarray(image)))
    if image.mode.startswith("I"):
        return Image.fromarray(unit_interval(_deep(np.asarray(image))))
    return _rgb(image, decoding.alpha)


def _deep(values: Array) -> Array:
    if values.size and (values.min() < 0 or values.max() > _DEEP_MAXIMUM):
        raise BadSampleError(
            "decode_error",
            f"expected integer values of 0 to {_DEEP_MAXIMUM}, got {values.min()} to "
            f"{values.max()}; convert the file to 16 bits",
        )
    return values.astype(np.uint16)


def _rgb(image: Image.Image, alpha: str) -> Image.Image:
    premultiplied = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)
    if premultiplied:
        image = image.convert(premultiplied)
    if alpha == "drop" or not image.has_transparency_data:
        image.info.pop("transparency", None)
        return image.convert("RGB")
    ground = Image.new("RGBA", image.size, alpha)
    return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
