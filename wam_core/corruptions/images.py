"""Corruptions of images."""

from __future__ import annotations

from wam_core.corruptions.contract import Corruption

IMAGE_CORRUPTIONS: tuple[Corruption, ...] = ()
