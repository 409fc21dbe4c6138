"""Robustness in sentences for the headline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.config import AuditConfig

Metrics = Sequence[Mapping[str, Any]]


def corruption_sentences(config: AuditConfig, metrics: Metrics) -> list[str]:
    return []
