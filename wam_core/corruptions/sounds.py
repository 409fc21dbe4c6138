"""Corruptions of sounds."""

from __future__ import annotations

from wam_core.corruptions.contract import Corruption

SOUND_CORRUPTIONS: tuple[Corruption, ...] = ()
