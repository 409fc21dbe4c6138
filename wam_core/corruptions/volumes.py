"""Corruptions of volumes."""

from __future__ import annotations

from wam_core.corruptions.contract import Corruption

VOLUME_CORRUPTIONS: tuple[Corruption, ...] = ()
