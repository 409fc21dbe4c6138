"""How little keeps a class, as a section of the report: tables, scales, and what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.analyses.mixtures import EVIDENCE, MODEL_FREE
from tasks.reporting.charts import RowChart, fraction_axis, row_chart
from tasks.reporting.formatting import significant
from tasks.reporting.metric_table import Metric, MetricTable, Profile
from tasks.reporting.minimal_cards import ExampleCard, MaskedExample, masked_card
from tasks.reporting.profiles import level_rows, spoken, spread
from tasks.reporting.separation import selection_title
from tasks.reporting.wording import METHODS


@dataclass(frozen=True)
class SelectionRow:
    """One ranking of the coefficients, its figures in the order of the columns."""

    title: str
    cells: tuple[str, ...]
    n: int


@dataclass(frozen=True)
class ScalePanel:
    """Where what is kept lies, by level."""

    title: str
    chart: RowChart
    n: int


@dataclass(frozen=True)
class MinimalSection:
    """Everything about minimal signals and masks.

    Attributes:
        columns: Heads of the columns of `rows`.
        masks: One row per price of a mask.
        objective: What masks do to the class: `preserve` or `destroy`.
    """

    facts: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    rows: tuple[SelectionRow, ...]
    panels: tuple[ScalePanel, ...]
    masks: tuple[SelectionRow, ...]
    objective: str
    mask_panels: tuple[ScalePanel, ...]
    examples: tuple[ExampleCard, ...]
    mask_examples: tuple[ExampleCard, ...]


MASK_COLUMNS = (
    ("Sparsity", "minimal/mask_sparsity"),
    ("Probability of the class", "minimal/mask_probability"),
    ("Class predicted", "minimal/mask_success"),
    ("Coefficients at 1/2 or more", "minimal/binary_mask_fraction"),
    ("Probability with these alone", "minimal/binary_mask_probability"),
    ("Class predicted with these alone", "minimal/binary_mask_success"),
)
_SERIES = {"share of the kept coefficients": "kept_share", "of their energy": "kept_energy_share"}
_MASK_SERIES = {"share of the mask": "mask_share", "of its energy": "mask_energy_share"}


def minimal_section(
    table: MetricTable, bands: Mapping[str, str], examples: Mapping[str, Sequence[MaskedExample]]
) -> MinimalSection | None:
    """The section, or nothing where neither minimal signals nor masks were searched."""
    columns = _columns(table)
    rows, masks = _rows(table, columns), _masks(table)
    if not rows and not masks and table.one("minimal/applicable") is None:
        return None
    return MinimalSection(
        facts=_facts(table),
        columns=tuple(columns),
        rows=rows,
        panels=_panels(table, bands),
        masks=masks,
        objective=_objective(table),
        mask_panels=_mask_panels(table, bands),
        examples=tuple(masked_card(example) for example in examples.get("minimal", ())),
        mask_examples=tuple(masked_card(example) for example in examples.get("minimal_masks", ())),
    )


def _facts(table: MetricTable) -> tuple[tuple[str, str], ...]:
    wanted: Sequence[tuple[str, str, dict[str, str]]] = (
        ("Samples whose class is kept by everything", "minimal/applicable", {}),
        ("Of these, kept by nothing but the baseline", "minimal/kept_by_nothing", {}),
        ("Kept by fine levels alone", "minimal/success", {"restriction": "fine"}),
        ("Kept by all other levels alone", "minimal/success", {"restriction": "coarse"}),
        ("Texture reliance T_min", "texture/t_min", {}),
        ("Samples that T_min is about", "texture/t_min_coverage", {}),
    )
    found = [(title, table.one(name, labels)) for title, name, labels in wanted]
    return tuple(
        (title, f"{metric.phrase}, n = {metric.n}") for title, metric in found if metric is not None
    )


def _columns(table: MetricTable) -> dict[str, tuple[str, dict[str, str]]]:
    """Head of each column, and the metric that it shows."""
    parts = {metric.labels["fraction"] for metric in table.named("minimal/within")}
    within = {
        f"{100 * float(part):g} % suffice": ("minimal/within", {"fraction": part})
        for part in sorted(parts, key=float)
    }
    restricted = {
        title: ("minimal/fraction", {"restriction": name})
        for title, name in (("Of fine levels alone", "fine"), ("Of all others alone", "coarse"))
        if any(m.labels.get("restriction") == name for m in table.named("minimal/fraction"))
    }
    return {
        "Coefficients needed": ("minimal/fraction", {}),
        **within,
        "Halvings over magnitude": ("minimal/gain_over_magnitude", {}),
        "Halvings over random": ("minimal/gain_over_random", {}),
        **restricted,
    }


def _rows(
    table: MetricTable, columns: Mapping[str, tuple[str, dict[str, str]]]
) -> tuple[SelectionRow, ...]:
    rows = []
    for selection in _selections(table):
        found = [
            table.one(name, labels | {"method": selection}) for name, labels in columns.values()
        ]
        first = found[0]
        cells = tuple(map(_cell, found))
        rows.append(SelectionRow(selection_title(selection), cells, first.n if first else 0))
    return tuple(rows)


def _selections(table: MetricTable) -> list[str]:
    known = {metric.labels["method"] for metric in table.named("minimal/fraction")}
    order = [*METHODS, EVIDENCE, *MODEL_FREE]
    return sorted(known, key=lambda name: order.index(name) if name in order else len(order))


def _cell(metric: Metric | None) -> str:
    """Percent with the digits that small fractions need."""
    if metric is None:
        return "–"
    if metric.unit != "fraction":
        return metric.phrase.replace(f"\u00a0{metric.unit}", "")
    values = (metric.estimate, metric.low, metric.high)
    estimate, low, high = (
        significant(None if value is None else 100 * value, 2) for value in values
    )
    interval = f" [{low}, {high}]" if metric.low is not None else ""
    return f"{estimate}\u00a0%{interval}"


def _panels(table: MetricTable, bands: Mapping[str, str]) -> tuple[ScalePanel, ...]:
    panels = [
        _panel(
            selection_title(selection),
            {
                title: table.profile(f"minimal/{name}", {"method": selection})
                for title, name in _SERIES.items()
            },
            bands,
        )
        for selection in _selections(table)
        if selection != "random"
    ]
    return tuple(panel for panel in panels if panel is not None)


def _mask_panels(table: MetricTable, bands: Mapping[str, str]) -> tuple[ScalePanel, ...]:
    panels = [
        _panel(
            f"alpha {alpha}",
            {
                title: table.profile(f"minimal/{name}", _labels(table, alpha))
                for title, name in _MASK_SERIES.items()
            },
            bands,
        )
        for alpha in _alphas(table)
    ]
    return tuple(panel for panel in panels if panel is not None)


def _panel(
    title: str, profiles: Mapping[str, Profile], bands: Mapping[str, str]
) -> ScalePanel | None:
    profile = next(iter(profiles.values()))
    if not profile:
        return None
    axis = fraction_axis("share (%)", spread(profiles.values()))
    description = f"{title}. {spoken(tuple(profile), profiles)}"
    chart = row_chart(description, axis, level_rows(tuple(profile), profiles, bands))
    return ScalePanel(title, chart, max(metric.n for metric in profile.values()))


def _alphas(table: MetricTable) -> list[str]:
    return sorted((m.labels["alpha"] for m in table.named("minimal/mask_sparsity")), key=float)


def _objective(table: MetricTable) -> str:
    return next((m.labels["objective"] for m in table.named("minimal/mask_sparsity")), "")


def _labels(table: MetricTable, alpha: str) -> dict[str, str]:
    return {"alpha": alpha, "objective": _objective(table)}


def _masks(table: MetricTable) -> tuple[SelectionRow, ...]:
    rows = []
    for alpha in _alphas(table):
        found = [table.one(name, _labels(table, alpha)) for _, name in MASK_COLUMNS]
        cells = tuple("–" if metric is None else metric.phrase for metric in found)
        rows.append(SelectionRow(alpha, cells, found[0].n if found[0] else 0))
    return tuple(rows)
