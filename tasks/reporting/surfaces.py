"""A volume's surface in space, coloured by how important the voxels next to it are."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from scipy import ndimage

from tasks.reporting.explanation import FloatArray
from tasks.reporting.volume_views import VolumeView

SURFACE_RULE = (
    "The surface lies halfway between the volume's darkest and brightest smoothed value; a face "
    "has the colour of the importance within about one voxel, summed over all levels."
)
_FINEST = 64  # voxels along the longest axis beyond which the surface gets coarser
_LIGHT = (-0.2, -0.8, 0.75)
_FROM = 0.2  # colours below this part of the scale are too dark to show form


def can_draw_surfaces() -> bool:
    """Whether scikit-image, an extra, is installed."""
    return importlib.util.find_spec("skimage") is not None


def surface_picture(
    signal: FloatArray, importance: FloatArray, view: VolumeView, colormap: str, side: int = 240
) -> FloatArray | None:
    """The surface of a volume from an oblique side, as (height, width, 3) in [0, 1].

    Args:
        signal: Shape (channel, *space).
        importance: Shape (*space).

    Returns:
        None where there is no surface, or scikit-image is missing.
    """
    if not can_draw_surfaces():
        return None
    from skimage.measure import marching_cubes

    volume = view.turned(signal.mean(axis=0))
    stride = math.ceil(max(volume.shape) / _FINEST)
    smooth = ndimage.gaussian_filter(np.pad(volume, 1), 0.7 * stride)
    low, high = float(smooth.min()), float(smooth.max())
    if high <= low:
        return None
    corners, faces, _, _ = marching_cubes(smooth, (low + high) / 2, step_size=stride)
    corners -= 1
    near = ndimage.gaussian_filter(view.turned(importance), 1.0)
    middles = corners[faces].mean(axis=1)
    values = ndimage.map_coordinates(near, middles.T, order=1, mode="nearest")
    top = float(np.percentile(values, 99.5)) or 1.0
    shares = _FROM + (1 - _FROM) * np.clip(values / top, 0, 1)
    return _drawn(corners[faces], mpl.colormaps[colormap](shares), view.spacing, side)


def _drawn(
    triangles: FloatArray, colours: FloatArray, spacing: Sequence[float], side: int
) -> FloatArray:
    """Triangles with corners (z, y, x), x to the right and z up."""
    placed = (triangles * np.array(spacing))[..., ::-1]
    figure = Figure(figsize=(side / 100, side / 100), dpi=100, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes: Any = figure.add_axes((0, 0, 1, 1), projection="3d", computed_zorder=False)
    axes.add_collection3d(Poly3DCollection(placed, facecolors=_lit(placed, colours), linewidths=0))
    low, high = placed.min(axis=(0, 1)), placed.max(axis=(0, 1))
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    axes.set_box_aspect(np.maximum(high - low, 1e-6), zoom=1.1)
    axes.view_init(elev=22, azim=-60)
    axes.set_axis_off()
    canvas.draw()
    pixels: FloatArray = np.asarray(canvas.buffer_rgba())[..., :3].astype(np.float32) / 255
    return pixels


def _lit(triangles: FloatArray, colours: FloatArray) -> FloatArray:
    """Colours dimmed where a face turns away from a light at the upper left, behind the viewer."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    light = np.array(_LIGHT) / np.linalg.norm(_LIGHT)
    facing = np.abs((normals / np.maximum(lengths, 1e-12)) @ light)[:, None]
    lit = colours.copy()
    lit[:, :3] = np.clip(colours[:, :3] * (0.55 + 0.6 * facing), 0, 1)
    return lit
