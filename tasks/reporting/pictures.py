"""Signals and importance maps as pictures: RGB arrays, and small data URIs for the report."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image

from tasks.reporting.explanation import FloatArray, SampleExplanation
from tasks.reporting.sound_views import view_of_sound
from tasks.reporting.volume_views import view_of

COLORMAP = "inferno"
SCALE_PERCENTILE = 99.5
SCALING_RULE = (
    "Each map has its own colour scale, from 0 to the map's 99.5th percentile: colour compares "
    "places within one level. How much a level matters as a whole is its share."
)
_DIM = 0.5
_COLOURS = 48

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Renderer:
    """How signals of one number of axes become pictures of shape (height, width[, 3]).

    Attributes:
        signal: From (channel, *space) in [0, 1] to (height, width, 3) in [0, 1].
        importance: From (*space) to (height, width).
    """

    signal: Callable[[FloatArray], FloatArray]
    importance: Callable[[FloatArray], FloatArray]


def _image(signal: FloatArray) -> FloatArray:
    """Colour for three channels, grey otherwise."""
    channels = signal if signal.shape[0] == 3 else signal.mean(axis=0, keepdims=True)
    picture = np.broadcast_to(channels, (3, *channels.shape[1:]))
    return np.clip(np.nan_to_num(np.moveaxis(picture, 0, -1)), 0.0, 1.0)


def _image_importance(importance: FloatArray) -> FloatArray:
    return np.nan_to_num(importance, posinf=0.0, neginf=0.0)


def _image_renderer(_explanation: SampleExplanation) -> Renderer:
    return Renderer(_image, _image_importance)


def _sound_renderer(explanation: SampleExplanation) -> Renderer:
    view = view_of_sound(explanation)
    return Renderer(view.signal, view.importance)


def _volume_renderer(explanation: SampleExplanation) -> Renderer:
    view = view_of(explanation)
    return Renderer(view.signal, view.importance)


# The one place that knows dimensions.
_RENDERERS: dict[int, Callable[[SampleExplanation], Renderer]] = {
    1: _sound_renderer,
    2: _image_renderer,
    3: _volume_renderer,
}


def can_picture(signal: FloatArray) -> bool:
    """Whether a signal (channel, *space) of this number of axes can be pictured."""
    return signal.ndim - 1 in _RENDERERS


def renderer(explanation: SampleExplanation) -> Renderer:
    """The renderer for a sample's signal (channel, *space) and the maps that belong to it.

    Raises:
        ValueError: There is none for its number of axes.
    """
    signal = explanation.signal
    if signal is None or not can_picture(signal):
        raise ValueError(
            f"expected a signal (channel, *space) with {sorted(_RENDERERS)} spatial axes, got "
            f"shape {None if signal is None else signal.shape}; pictures of other signals are not "
            "available"
        )
    return _RENDERERS[signal.ndim - 1](explanation)


def scaled_importance(importance: FloatArray) -> FloatArray:
    """Values in [0, 1] after the stated rule; all zero when the map is empty."""
    top = float(np.percentile(importance, SCALE_PERCENTILE)) or float(importance.max(initial=0.0))
    return np.clip(importance / top, 0.0, 1.0) if top > 0 else np.zeros_like(importance)


def dimmed(picture: FloatArray) -> FloatArray:
    """The picture in dark grey, to lie under a map; shape (height, width, 3)."""
    grey = picture @ np.array([0.299, 0.587, 0.114])
    return np.repeat((_DIM * grey)[..., None], 3, axis=-1)


def overlay(picture: FloatArray, importance: FloatArray) -> FloatArray:
    """The map's colours shining over the dimmed picture (both screened, so black adds nothing)."""
    colours = matplotlib.colormaps[COLORMAP](scaled_importance(importance))[..., :3]
    mixed: FloatArray = 1 - (1 - dimmed(picture)) * (1 - colours)
    return mixed


def picture_uri(picture: FloatArray, side: int) -> str:
    """A photograph as a JPEG data URI, its longer side at most `side` pixels."""
    image = Image.fromarray(_bytes(picture))
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _uri(image, "JPEG", quality=82, optimize=True)


def map_uri(importance: FloatArray, side: int) -> str:
    """A map as a PNG data URI in few colours of the colour scale, which keeps it small."""
    scaled = Image.fromarray(_bytes(scaled_importance(importance)))
    scaled.thumbnail((side, side), Image.Resampling.BOX)
    steps = np.asarray(scaled, dtype=np.uint16) * (_COLOURS - 1) // 255
    image = Image.fromarray(steps.astype(np.uint8))
    image.putpalette(_palette())
    return _uri(image, "PNG", optimize=True)


def colour_scale_css() -> str:
    """The colour scale as the stops of a CSS gradient."""
    return ", ".join(palette(COLORMAP, 9))


def palette(colormap: str, count: int, first: float = 0.0, last: float = 1.0) -> list[str]:
    """`count` colours evenly along a part of a colour scale, as #rrggbb."""
    stops = matplotlib.colormaps[colormap](np.linspace(first, last, count))
    return [matplotlib.colors.to_hex(stop) for stop in stops]


def _palette() -> list[int]:
    colours = matplotlib.colormaps[COLORMAP](np.linspace(0, 1, _COLOURS))[:, :3]
    return [int(value) for value in _bytes(colours).ravel()]


def _bytes(values: FloatArray) -> Pixels:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _uri(image: Image.Image, kind: str, **options: int | bool) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    payload = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{payload}"
