"""Hybrids and their parents as small PNG files of the audit folder."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

FloatArray = npt.NDArray[np.floating]

PICTURES = "pictures"
"""Folder of an audit that holds pictures."""

_SIDE = 128
_HEIGHT = 96


def hybrid_file(row: int, what: str) -> str:
    """Path below the audit folder of a picture that belongs to a sample's hybrids.

    Args:
        what: `coarse` and `fine` for the parents, `cut-2` for a hybrid.

    Example:
        >>> hybrid_file(7, "cut-2")
        'pictures/hybrid/000007-cut-2.png'
    """
    return f"{PICTURES}/hybrid/{row:06d}-{what}.png"


def signal_png(signal: FloatArray, peak: float) -> bytes:
    """A signal (channel, *space) as a PNG file of at most 128 x 128 pixels, or 128 x 256.

    Images as they are; the middle plane across each axis of a volume; the range of amplitudes over
    time of a sound. What leaves the range of the picture is clipped.

    Args:
        peak: Amplitude at the edge of a sound's picture.
    """
    picture = {2: _image, 3: _planes}.get(signal.ndim - 1)
    values = _envelope(signal, peak) if picture is None else picture(signal)
    image = Image.fromarray(np.rint(np.clip(np.nan_to_num(values), 0, 1) * 255).astype(np.uint8))
    image.thumbnail((_SIDE * (1 if picture is _image else 2), _SIDE), Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _image(signal: FloatArray) -> FloatArray:
    return np.moveaxis(signal, 0, -1) if len(signal) == 3 else signal.mean(axis=0)


def _planes(signal: FloatArray) -> FloatArray:
    """Middle planes side by side, shape (height, width)."""
    volume = signal.mean(axis=0)
    planes = [np.take(volume, size // 2, axis) for axis, size in enumerate(volume.shape)]
    height = max(len(plane) for plane in planes)
    padded = [np.pad(plane, ((0, height - len(plane)), (0, 1))) for plane in planes]
    return np.concatenate(padded, axis=1)


def _envelope(signal: FloatArray, peak: float) -> FloatArray:
    """Smallest to largest amplitude of each stretch, light on black, shape (height, width)."""
    waveform = np.nan_to_num(signal.mean(axis=0))
    columns = min(2 * _SIDE, len(waveform))
    starts = np.arange(columns) * len(waveform) // columns
    low, high = (reduce.reduceat(waveform, starts) for reduce in (np.minimum, np.maximum))
    rows = np.linspace(1, -1, _HEIGHT)[:, None] * peak
    half = peak / _HEIGHT
    return ((rows >= low - half) & (rows <= high + half)).astype(np.float64)
