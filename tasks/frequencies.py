"""What the levels of a basis are in the world: octaves and structure sizes, with their units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wam_core.basis import CoefficientLayout, frequency_range


def frequency_labels(
    layout: CoefficientLayout,
    spacing: tuple[float, ...] | None = None,
    axes: str = "zyx",
    *,
    sample_rate: int | None = None,
) -> dict[str, str]:
    """Octave and structure size of every level, in words for axes and tables.

    Args:
        spacing: Millimetres per voxel along each axis of a volume; None for steps of the grid.
        axes: Name of each axis.
        sample_rate: Samples per second of a waveform, in Hz.

    Example:
        >>> from wam_core.basis import WaveletBasis
        >>> volume = CoefficientLayout((16, 32, 32), WaveletBasis("haar", 1))
        >>> frequency_labels(volume, (2.5, 0.8, 0.8))["1"]
        'z 0.1–0.2, yx 0.312–0.625 cycles/mm (z 2.5–5, yx 0.8–1.6 mm)'
    """
    if sample_rate is not None:
        return {name: _in_hertz(name, layout, sample_rate) for name in layout.level_names}
    if spacing is not None:
        return {name: _in_millimetres(name, layout, spacing, axes) for name in layout.level_names}
    unit, element = {1: ("cycles/sample", "samples"), 2: ("cycles/pixel", "px")}.get(
        layout.ndim, ("cycles/voxel", "voxels")
    )
    labels = {}
    for name in layout.level_names:
        low, high = frequency_range(name, layout.basis.levels)
        if name == "approximation":
            size = f"above {2**layout.basis.levels} {element}"
            labels[name] = f"below {high:.3g} {unit} ({size})"
        else:
            size = f"{2 ** (int(name) - 1)}–{2 ** int(name)} {element}"
            labels[name] = f"{low:.3g}–{high:.3g} {unit} ({size})"
    return labels


def hertz_bands(layout: CoefficientLayout, sample_rate: int) -> dict[str, list[float]]:
    """Octave of every level of a waveform, in Hz.

    Example:
        >>> from wam_core.basis import WaveletBasis
        >>> hertz_bands(CoefficientLayout((64,), WaveletBasis("haar", 1)), 8000)
        {'1': [2000.0, 4000.0], 'approximation': [0.0, 2000.0]}
    """
    return {
        name: [edge * sample_rate for edge in frequency_range(name, layout.basis.levels)]
        for name in layout.level_names
    }


def frequency_bands(
    layout: CoefficientLayout, spacing: tuple[float, ...], axes: str
) -> dict[str, dict[str, Any]]:
    """Octave of every level along every axis of a volume, in cycles per mm."""
    return {
        name: {
            axis: [edge / step for edge in frequency_range(name, layout.basis.levels)]
            for axis, step in zip(axes, spacing, strict=True)
        }
        for name in layout.level_names
    }


def _in_hertz(name: str, layout: CoefficientLayout, sample_rate: int) -> str:
    levels = layout.basis.levels
    low, high = frequency_range(name, levels)
    step = 1000 / sample_rate
    if name == "approximation":
        return f"below {high * sample_rate:.4g} Hz (above {2**levels * step:.3g} ms)"
    shortest = 2 ** (int(name) - 1) * step
    octave = f"{low * sample_rate:.5g}–{high * sample_rate:.5g} Hz"
    return f"{octave} ({shortest:.3g}–{2 * shortest:.3g} ms)"


def _in_millimetres(
    name: str, layout: CoefficientLayout, spacing: tuple[float, ...], axes: str
) -> str:
    levels = layout.basis.levels
    low, high = frequency_range(name, levels)
    if name == "approximation":
        octaves = _by_axis(lambda step: f"{high / step:.3g}", spacing, axes)
        sizes = _by_axis(lambda step: f"{2**levels * step:.3g}", spacing, axes)
        return f"below {octaves} cycles/mm (above {sizes} mm)"
    octaves = _by_axis(lambda step: f"{low / step:.3g}–{high / step:.3g}", spacing, axes)
    smallest = 2 ** (int(name) - 1)
    sizes = _by_axis(lambda step: f"{smallest * step:.3g}–{2 * smallest * step:.3g}", spacing, axes)
    return f"{octaves} cycles/mm ({sizes} mm)"


def _by_axis(words: Callable[[float], str], spacing: tuple[float, ...], axes: str) -> str:
    """One text where all axes are alike, else one for each group of axes."""
    groups: dict[str, str] = {}
    for axis, step in zip(axes, spacing, strict=True):
        text = words(step)
        groups[text] = groups.get(text, "") + axis
    if len(groups) == 1:
        return next(iter(groups))
    return ", ".join(f"{named} {text}" for text, named in groups.items())
