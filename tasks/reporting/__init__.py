"""Pictures and pages for people: report.html, one sample's picture, figures for MLflow."""

from __future__ import annotations

from tasks.reporting.document import write_report
from tasks.reporting.explanation import SampleExplanation
from tasks.reporting.metric_figures import profile_figures
from tasks.reporting.sample_picture import sample_figure
from tasks.reporting.separation import MixtureSounds

__all__ = [
    "MixtureSounds",
    "SampleExplanation",
    "profile_figures",
    "sample_figure",
    "write_report",
]
