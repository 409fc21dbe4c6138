"""Hybrids of two signals: the coarse levels of one with the fine levels of the other.

A cue conflict that needs no style transfer and works in one, two and three dimensions: what a
classifier takes the hybrid for says which of the two scales its answer follows.
"""

from __future__ import annotations

from wam_core.transform import WaveletCoefficients


def exchange_fine_levels(
    coarse: WaveletCoefficients, fine: WaveletCoefficients, cut: int
) -> WaveletCoefficients:
    """Levels 1 to `cut` of `fine`; every coarser level and the approximation of `coarse`.

    Raises:
        ValueError: If the two have different layouts, or the cut is not one of their levels.

    Example:
        >>> import torch
        >>> from wam_core.basis import Band, WaveletBasis
        >>> from wam_core.transform import decompose
        >>> basis = WaveletBasis("haar", levels=2)
        >>> level, ramp = torch.ones(1, 1, 4), torch.arange(4.0).reshape(1, 1, 4)
        >>> hybrid = exchange_fine_levels(decompose(level, basis), decompose(ramp, basis), cut=1)
        >>> bool((hybrid[Band(1, "d")] == decompose(ramp, basis)[Band(1, "d")]).all())
        True
    """
    layout = coarse.layout
    if fine.layout != layout:
        raise ValueError(
            f"both signals must have one layout, got {layout.space} in {layout.basis} and "
            f"{fine.layout.space} in {fine.layout.basis}"
        )
    if not 1 <= cut <= layout.basis.levels:
        raise ValueError(f"cut must be a level, 1 to {layout.basis.levels}, got {cut}")
    flat = coarse.flat.clone()
    for band, place in layout.slices.items():
        if not band.is_approximation and band.level <= cut:
            flat[..., place] = fine.flat[..., place]
    return coarse.replace(flat)
