"""Damage of signals, and what it does to their spectrum."""

from wam_core.corruptions.contract import SEVERITIES, Corruption, Surroundings
from wam_core.corruptions.registry import corruptions_for

__all__ = ["SEVERITIES", "Corruption", "Surroundings", "corruptions_for"]
