"""All analyses, in the order in which they run and are reported."""

from __future__ import annotations

from tasks.analyses.band_removal import BandRemoval
from tasks.analyses.contract import Analysis
from tasks.analyses.corruptions import Corruptions
from tasks.analyses.critical_bands import CriticalBands
from tasks.analyses.cue_conflict import CueConflict
from tasks.analyses.faithfulness import Faithfulness
from tasks.analyses.fourier_sensitivity import FourierSensitivity
from tasks.analyses.hybrid import Hybrid
from tasks.analyses.input_faithfulness import Benchmark
from tasks.analyses.minimal import Minimal
from tasks.analyses.minimal_masks import MinimalMasks
from tasks.analyses.sanity import Sanity
from tasks.analyses.separation import Separation
from tasks.analyses.shortcuts import Shortcuts
from tasks.analyses.suppression import CueSuppression
from tasks.config import AuditConfig

ANALYSES: tuple[type[Analysis], ...] = (
    BandRemoval,
    CriticalBands,
    FourierSensitivity,
    Shortcuts,
    Minimal,
    MinimalMasks,
    CueConflict,
    Hybrid,
    CueSuppression,
    Separation,
    Corruptions,
    Faithfulness,
    Benchmark,
    Sanity,
)


def enabled_analyses(config: AuditConfig) -> list[Analysis]:
    """The analyses that a configuration switches on."""
    analyses = [analysis(config) for analysis in ANALYSES]
    return [analysis for analysis in analyses if analysis.settings.enabled]
