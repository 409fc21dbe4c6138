"""Volumes as flat pictures: orthogonal slices, maximum-intensity projections, sheets of slices.

Pictures show a volume with its axes ordered z, y, x; z and y grow upwards, x to the right (not
mirrored). Voxels that are longer along an axis are drawn longer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.reporting.explanation import FloatArray, SampleExplanation

MOST_SLICES = 36
PLANES = "axial, coronal, sagittal slice;\nbelow: maximum along z, y, x"
_GAP = 1


@dataclass(frozen=True)
class VolumeView:
    """How one volume is looked at; its maps are looked at in the same way.

    Attributes:
        order: Axis of the volume that is z, y and x.
        spacing: Size of a voxel along z, y and x, relative to the smallest.
        centre: Slice through the centre of mass along z, y and x.
    """

    order: tuple[int, int, int]
    spacing: tuple[float, float, float]
    centre: tuple[int, int, int]

    def signal(self, signal: FloatArray) -> FloatArray:
        """Slices above projections of a signal (channel, *space), grey, as (height, width, 3)."""
        volume = np.clip(np.nan_to_num(signal.mean(axis=0)), 0.0, 1.0)
        return np.repeat(self.importance(volume)[..., None], 3, axis=-1)

    def importance(self, volume: FloatArray) -> FloatArray:
        """Slices above projections of (*space): axial, coronal and sagittal beside each other."""
        turned = self.turned(volume)
        rows = (
            [np.take(turned, place, axis) for axis, place in enumerate(self.centre)],
            [turned.max(axis) for axis in range(3)],
        )
        return np.concatenate([self._row(planes) for planes in rows], axis=0)

    def sheet_size(self, volume: FloatArray) -> tuple[int, int]:
        """(columns, rows) of a sheet of slices."""
        count = len(self.shown(volume))
        columns = math.ceil(math.sqrt(count))
        return columns, math.ceil(count / columns)

    def shown(self, volume: FloatArray) -> range:
        """Which axial slices a sheet shows: every n-th, so that there are at most 36."""
        depth = volume.shape[self.order[0]]
        return range(0, depth, math.ceil(depth / MOST_SLICES))

    def sheet(self, volume: FloatArray) -> FloatArray:
        """Axial slices of (*space) side by side, row by row."""
        turned = self.turned(volume)
        tiles = [self._plane(turned[place], 0) for place in self.shown(volume)]
        columns, rows = self.sheet_size(volume)
        height, width = tiles[0].shape
        sheet = np.zeros((rows * height, columns * width), dtype=turned.dtype)
        for index, tile in enumerate(tiles):
            top, left = index // columns * height, index % columns * width
            sheet[top : top + height, left : left + width] = tile
        return sheet

    def turned(self, volume: FloatArray) -> FloatArray:
        """The volume (*space) with its axes in the order z, y, x."""
        return np.nan_to_num(volume, posinf=0.0, neginf=0.0).transpose(self.order)

    def _row(self, planes: Sequence[FloatArray]) -> FloatArray:
        drawn = [self._plane(plane, axis) for axis, plane in enumerate(planes)]
        height = max(plane.shape[0] for plane in drawn)
        framed = [
            np.pad(plane, ((height - plane.shape[0], _GAP), (0, _GAP if index < 2 else 0)))
            for index, plane in enumerate(drawn)
        ]
        return np.concatenate(framed, axis=1)

    def _plane(self, plane: FloatArray, across: int) -> FloatArray:
        """A plane across an axis, upright, with pixels repeated where voxels are longer."""
        up, right = (step for axis, step in enumerate(self.spacing) if axis != across)
        rows, columns = plane.shape
        heights = np.arange(max(1, round(rows * up))) * rows // max(1, round(rows * up))
        widths = (
            np.arange(max(1, round(columns * right))) * columns // max(1, round(columns * right))
        )
        return plane[::-1][heights][:, widths]


def view_of(explanation: SampleExplanation) -> VolumeView:
    """The view of a sample's volume.

    Raises:
        ValueError: If the sample has no volume.
    """
    signal = explanation.signal
    if signal is None or signal.ndim != 4:
        raise ValueError(f"expected a volume (channel, *space) in '{explanation.sample_id}'")
    return look_at(signal, explanation.spacing, explanation.axes)


def look_at(
    signal: FloatArray, spacing: Sequence[float] | None = None, axes: str = "zyx"
) -> VolumeView:
    """The view of a volume (channel, *space) through its centre of mass.

    Args:
        spacing: Millimetres per voxel along each axis; None draws cubes.
        axes: Name of each axis.
    """
    order = (axes.index("z"), axes.index("y"), axes.index("x"))
    steps = np.array(spacing or (1.0, 1.0, 1.0))[list(order)]
    relative = (steps / steps.min()).tolist()
    mass = np.nan_to_num(signal.mean(axis=0)).transpose(order)
    mass = mass - mass.min()
    centre = [
        _middle(mass.sum(tuple(other for other in range(3) if other != axis))) for axis in range(3)
    ]
    return VolumeView(
        order, (relative[0], relative[1], relative[2]), (centre[0], centre[1], centre[2])
    )


def _middle(profile: FloatArray) -> int:
    total = float(profile.sum())
    if total <= 0:
        return len(profile) // 2
    return round(float(np.arange(len(profile)) @ profile) / total)
