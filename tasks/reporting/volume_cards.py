"""What the report shows of a volume beyond flat maps: slices to leaf through, surfaces in space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.reporting.explanation import FloatArray, SampleExplanation
from tasks.reporting.formatting import finite, percent
from tasks.reporting.pictures import COLORMAP, dimmed, map_uri, picture_uri
from tasks.reporting.surfaces import surface_picture
from tasks.reporting.volume_views import VolumeView, view_of
from tasks.reporting.wording import level_title, method_title, ordered_levels, ordered_methods

_TILE = 96  # pixels of one slice at most


@dataclass(frozen=True)
class SliceMap:
    """All slices of one level's map, on one sheet."""

    title: str
    share: str
    uri: str


@dataclass(frozen=True)
class SliceGroup:
    """The sheets of one method, fine to coarse, and its surface (an empty URI without one)."""

    title: str
    maps: tuple[SliceMap, ...]
    surface: str


@dataclass(frozen=True)
class VolumeCard:
    """Sheets of slices, all cut alike, to be moved through together.

    Attributes:
        columns: Slices side by side on a sheet; `rows` below each other.
        first: Slice shown at first: the one nearest to the centre of mass.
        names: What each slice is called.
        ratio: Width over height of a slice.
        base: The dimmed volume that lies under every map.
    """

    columns: int
    rows: int
    first: int
    names: tuple[str, ...]
    ratio: float
    base: str
    groups: tuple[SliceGroup, ...]

    @property
    def size(self) -> int:
        """Characters of its pictures in the page."""
        sheets = sum(len(sheet.uri) for group in self.groups for sheet in group.maps)
        return len(self.base) + sheets + sum(len(group.surface) for group in self.groups)

    @property
    def place(self) -> tuple[float, float]:
        """CSS background position of the first slice, in percent."""
        return (
            round(100 * (self.first % self.columns) / max(1, self.columns - 1), 3),
            round(100 * (self.first // self.columns) / max(1, self.rows - 1), 3),
        )


def volume_card(explanation: SampleExplanation) -> VolumeCard | None:
    """The card of a volume; None for other signals."""
    signal = explanation.signal
    if signal is None or signal.ndim != 4:
        return None
    view = view_of(explanation)
    volume = np.clip(np.nan_to_num(signal.mean(axis=0)), 0.0, 1.0)
    columns, rows = view.sheet_size(volume)
    shown = view.shown(volume)
    sheet = view.sheet(volume)
    side = _TILE * max(columns, rows)
    return VolumeCard(
        columns=columns,
        rows=rows,
        first=min(view.centre[0] // shown.step, len(shown) - 1),
        names=tuple(_name(place, view, explanation) for place in shown),
        ratio=round((sheet.shape[1] / columns) / (sheet.shape[0] / rows), 4),
        base=picture_uri(dimmed(np.repeat(sheet[..., None], 3, axis=-1)), side),
        groups=tuple(
            _group(explanation, method, view, signal, side)
            for method in ordered_methods(set(explanation.maps))
        ),
    )


def _group(
    explanation: SampleExplanation, method: str, view: VolumeView, signal: FloatArray, side: int
) -> SliceGroup:
    maps, shares = explanation.maps[method], explanation.shares.get(method, {})
    surface = surface_picture(signal, total_importance(maps), view, COLORMAP)
    return SliceGroup(
        method_title(method),
        tuple(
            SliceMap(
                level_title(level),
                percent(finite(shares.get(level))),
                map_uri(view.sheet(maps[level]), side),
            )
            for level in ordered_levels(set(maps))
        ),
        "" if surface is None else picture_uri(surface, max(surface.shape)),
    )


def total_importance(maps: dict[str, FloatArray]) -> FloatArray:
    """Importance summed over levels."""
    total: FloatArray = np.nan_to_num(np.stack(list(maps.values()))).sum(axis=0)
    return total


def _name(place: int, view: VolumeView, explanation: SampleExplanation) -> str:
    depth = (explanation.signal.shape[1 + view.order[0]]) if explanation.signal is not None else 0
    name = f"z {place + 1} of {depth}"
    if explanation.spacing is None:
        return name
    return f"{name}, {(place + 0.5) * explanation.spacing[view.order[0]]:.4g} mm from the lowest"
