"""The size of a voxel of the model's input, where the volumes of a dataset agree on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.config import DatasetConfig
from tasks.datasets.manifest import Manifest
from tasks.datasets.reader import SampleReader
from tasks.frequencies import frequency_bands
from tasks.preprocessing import Preprocessing
from tasks.volume_config import VolumeConfig
from wam_core.basis import CoefficientLayout

_MOST_HEADERS = 64
_SAME = 0.01  # relative difference of two spacings that still count as one


@dataclass(frozen=True)
class VoxelGrid:
    """The grid of the model's input.

    Attributes:
        axes: Name of each axis, such as "zyx".
        spacing: Millimetres per voxel along each axis; None where it is unknown or not one.
        detail: How the spacing is known, or why it is not.
    """

    axes: str
    spacing: tuple[float, ...] | None
    detail: str

    def record(self, layout: CoefficientLayout) -> dict[str, Any]:
        """As plain JSON data, for `audit.json`, with the octave of every level along every axis."""
        known = self.spacing is not None
        steps = self.spacing or (1.0,) * len(self.axes)
        return {
            "axes": self.axes,
            "spacing_mm": list(steps) if known else None,
            "detail": self.detail,
            "frequency_unit": "cycles/mm" if known else "cycles/voxel",
            "frequency_bands": frequency_bands(layout, steps, self.axes),
        }


def voxel_grid(
    config: DatasetConfig, manifest: Manifest, preprocessing: Preprocessing
) -> VoxelGrid | None:
    """The voxels of a dataset's volumes as the model sees them; None for other signals.

    The headers of up to 64 volumes, spread over the manifest, are read. It decides what
    frequencies are called, never a number.
    """
    if len(preprocessing.spatial_shape) != 3:
        return None
    rules = config.volume or VolumeConfig()
    if rules.resample_spacing is not None:
        return VoxelGrid(rules.axes, rules.resample_spacing, "every volume is resampled to it")
    reader = SampleReader(config, manifest, preprocessing)
    wanted = np.linspace(0, len(manifest.table) - 1, min(_MOST_HEADERS, len(manifest.table)))
    found = [reader.spacing(row) for row in np.unique(wanted.astype(int)).tolist()]
    known = np.array([spacing for spacing in found if spacing is not None])
    if len(known) < len(found) or not len(found):
        detail = f"{len(found) - len(known)} of {len(found)} volumes do not say"
        return VoxelGrid(rules.axes, None, f"{detail}; state it as dataset.volume.spacing")
    middle = np.median(known, axis=0)
    if np.abs(known / middle - 1).max() > _SAME:
        detail = f"{_range(known)} mm over {len(found)} volumes; frequencies are per voxel unless "
        return VoxelGrid(rules.axes, None, f"{detail}dataset.volume.resample_spacing is given")
    return VoxelGrid(
        rules.axes, tuple(round(float(step), 6) for step in middle), f"of {len(found)} volumes"
    )


def _range(known: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    return " x ".join(
        f"{low:g}–{high:g}" for low, high in zip(known.min(0), known.max(0), strict=True)
    )
