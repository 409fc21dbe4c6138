"""Sections of the report that analyses add, in their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tasks.reporting.band_removal import band_removal_section
from tasks.reporting.corruptions import corruption_section
from tasks.reporting.critical_bands import critical_bands_section
from tasks.reporting.cue_conflict import conflict_figures
from tasks.reporting.environment import environment
from tasks.reporting.faithfulness import faithfulness_section
from tasks.reporting.fourier import fourier_section
from tasks.reporting.hybrid import example_pictures, hybrid_rows
from tasks.reporting.metric_table import MetricTable
from tasks.reporting.minimal import MASK_COLUMNS, minimal_section
from tasks.reporting.sanity import sanity_section
from tasks.reporting.separation import mixture_sections
from tasks.reporting.shortcuts import shortcuts_section
from tasks.reporting.suppression import suppression_table


@dataclass(frozen=True)
class SectionContext:
    """What a section is made of.

    Attributes:
        bands: Frequencies of each level, in words.
        confidence: Of the intervals, such as "95 %".
        examples: What analyses kept of single samples, by section of the configuration.
        settings: The section `analyses` of the audit's configuration.
        trust: The list `trust` of summary.json: how every method was judged.
    """

    table: MetricTable
    bands: Mapping[str, str]
    confidence: str
    examples: Mapping[str, Any]
    settings: Mapping[str, Any]
    trust: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class AnalysisSection:
    """One section: its anchor, its name in the contents, and its content."""

    anchor: str
    title: str
    content: Markup


def analysis_sections(context: SectionContext) -> list[AnalysisSection]:
    """The sections of the analyses that were made."""
    sections = [make(context) for make in _SECTIONS]
    return [section for section in sections if section is not None]


def _rendered(
    context: SectionContext, anchor: str, title: str, template: str, **values: Any
) -> AnalysisSection:
    page = environment().get_template(template).render(confidence=context.confidence, **values)
    # Rendered by a template that escapes: safe as it is.
    return AnalysisSection(anchor, title, Markup(page))


def _band_removal(context: SectionContext) -> AnalysisSection | None:
    section = band_removal_section(context.table, context.bands)
    if section is None:
        return None
    return _rendered(context, "bands", "Levels removed", "band_removal.html.j2", section=section)


def _critical_bands(context: SectionContext) -> AnalysisSection | None:
    section = critical_bands_section(context.table, context.bands)
    if section is None:
        return None
    return _rendered(context, "noise", "Noise in levels", "critical_bands.html.j2", section=section)


def _fourier(context: SectionContext) -> AnalysisSection | None:
    noise = (context.settings.get("fourier_sensitivity") or {}).get("noise")
    section = fourier_section(context.table, context.bands, noise)
    if section is None:
        return None
    return _rendered(context, "fourier", "Frequencies", "fourier.html.j2", section=section)


def _shortcuts(context: SectionContext) -> AnalysisSection | None:
    section = shortcuts_section(context.table, context.settings.get("shortcuts"))
    if section is None:
        return None
    return _rendered(context, "shortcuts", "Shortcuts", "shortcuts.html.j2", section=section)


def _minimal(context: SectionContext) -> AnalysisSection | None:
    section = minimal_section(context.table, context.bands, context.examples)
    if section is None:
        return None
    return _rendered(
        context,
        "minimal",
        "Minimal signals",
        "minimal.html.j2",
        section=section,
        mask_columns=[title for title, _ in MASK_COLUMNS],
    )


def _mixtures(context: SectionContext) -> AnalysisSection | None:
    mixtures = mixture_sections(context.table, context.examples.get("separation", ()))
    if not mixtures:
        return None
    return _rendered(context, "mixtures", "Mixtures", "separation.html.j2", mixtures=mixtures)


def _suppression(context: SectionContext) -> AnalysisSection | None:
    table = suppression_table(context.table)
    if table is None:
        return None
    return _rendered(context, "suppression", "Cues", "suppression.html.j2", table=table)


def _cue_conflicts(context: SectionContext) -> AnalysisSection | None:
    conflicts = conflict_figures(context.table)
    if conflicts is None:
        return None
    return _rendered(
        context, "cue-conflict", "Shape or texture", "cue_conflict.html.j2", conflicts=conflicts
    )


def _hybrids(context: SectionContext) -> AnalysisSection | None:
    rows = hybrid_rows(context.table, context.bands)
    if not rows:
        return None
    examples = [example_pictures(example) for example in context.examples.get("hybrid", ())]
    return _rendered(context, "hybrids", "Hybrids", "hybrid.html.j2", rows=rows, examples=examples)


def _corruptions(context: SectionContext) -> AnalysisSection | None:
    section = corruption_section(context.table, context.bands, context.settings)
    if section is None:
        return None
    return _rendered(context, "damage", "Damage", "corruptions.html.j2", section=section)


def _faithfulness(context: SectionContext) -> AnalysisSection | None:
    section = faithfulness_section(context.table, context.examples.get("faithfulness", ()))
    if section is None:
        return None
    return _rendered(
        context, "faithfulness", "Faithfulness", "faithfulness.html.j2", section=section
    )


def _sanity(context: SectionContext) -> AnalysisSection | None:
    limits = (context.settings.get("sanity") or {}).get("limits") or {}
    section = sanity_section(context.table, context.trust, limits.get("similarity"))
    if section is None:
        return None
    return _rendered(context, "sanity", "Sanity checks", "sanity.html.j2", section=section)


_SECTIONS: tuple[Callable[[SectionContext], AnalysisSection | None], ...] = (
    _band_removal,
    _critical_bands,
    _fourier,
    _shortcuts,
    _minimal,
    _cue_conflicts,
    _hybrids,
    _suppression,
    _mixtures,
    _corruptions,
    _faithfulness,
    _sanity,
)
