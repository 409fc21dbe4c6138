"""Corruptions by name, for every number of spatial dimensions."""

from __future__ import annotations

from collections.abc import Mapping

from wam_core.corruptions.contract import Corruption
from wam_core.corruptions.images import IMAGE_CORRUPTIONS
from wam_core.corruptions.sounds import SOUND_CORRUPTIONS
from wam_core.corruptions.volumes import VOLUME_CORRUPTIONS

_BY_DIMENSION: Mapping[int, tuple[Corruption, ...]] = {
    1: SOUND_CORRUPTIONS,
    2: IMAGE_CORRUPTIONS,
    3: VOLUME_CORRUPTIONS,
}


def corruptions_for(ndim: int, n_channels: int) -> dict[str, Corruption]:
    """Those that exist for signals of so many spatial dimensions and channels, by name."""
    return {
        corruption.name: corruption
        for corruption in _BY_DIMENSION[ndim]
        if corruption.exists_for(n_channels)
    }
