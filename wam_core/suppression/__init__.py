"""Operators that take one cue away from a signal and leave the others, for any dimension."""

from wam_core.suppression.registry import SUPPRESSIONS as SUPPRESSIONS
from wam_core.suppression.registry import Suppression as Suppression
from wam_core.suppression.registry import suppressions_for as suppressions_for
