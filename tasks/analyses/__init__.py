"""Analyses beyond attribution; each is switched on by its section of the configuration."""

from tasks.analyses.catalogue import ANALYSES, enabled_analyses
from tasks.analyses.contract import (
    Analysis,
    AuditParts,
    Batch,
    BatchAnalysis,
    Findings,
    Measures,
    Metrics,
    Passes,
    ShardTables,
)

__all__ = [
    "ANALYSES",
    "Analysis",
    "AuditParts",
    "Batch",
    "BatchAnalysis",
    "Findings",
    "Measures",
    "Metrics",
    "Passes",
    "ShardTables",
    "enabled_analyses",
]
