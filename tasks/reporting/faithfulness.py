"""Whether maps rank what the model uses, as a section of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.analyses.faithfulness_measures import (
    GAINS,
    GAP,
    RELIABILITY,
    SPARSENESS,
    SPECTRA,
    STEPS,
    SUBSETS,
)
from tasks.analyses.mixtures import EVIDENCE, MODEL_FREE
from tasks.mean_curves import KINDS, MeanCurve
from tasks.reporting.curve_charts import CurveChart, CurveValues, curve_chart
from tasks.reporting.formatting import whole
from tasks.reporting.metric_table import Metric, MetricTable
from tasks.reporting.separation import selection_title
from tasks.reporting.wording import METHODS

_ENERGY_GAIN = GAINS[MODEL_FREE[0]]

_PROOF: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("Faith over the energy", "faithfulness/energy_faith", {}),
    ("Gained over |z|, other signals' coefficients", _ENERGY_GAIN, {"removal": "replacement"}),
    ("Class contrast", "faithfulness/class_contrast", {}),
    ("Gap to random weights", "faithfulness/random_weights_gap", {}),
    ("Gained over |z|, as published", _ENERGY_GAIN, {}),
)
"""Columns of measures that an order by energy cannot win."""

_PUBLISHED: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("Insertion", "faithfulness/insertion", {}),
    ("Deletion", "faithfulness/deletion", {}),
    ("Faith", "faithfulness/faith", {}),
    ("Faith, other signals' coefficients", "faithfulness/replacement_faith", {}),
    ("mu-Fidelity", "faithfulness/mu_fidelity", {}),
    ("Faithfulness of Spectra (median)", SPECTRA, {}),
    ("Input Fidelity", "faithfulness/input_fidelity", {}),
    ("Average Drop", "faithfulness/drop", {}),
    ("Average Increase", "faithfulness/increase", {}),
    ("Average Gain", "faithfulness/gain", {}),
    ("Sparseness (Gini)", SPARSENESS, {"index": "gini"}),
)

_AXES = {
    "energy": "part of the energy of the details (%)",
    "replacement": "part of the details (%)",
    "count": "part of the coefficients (%)",
}
_TITLES = {
    "energy": "Over the fraction of energy",
    "replacement": "Other signals' coefficients in place of removed ones",
    "count": "As published: over the count, removed to the baseline",
}


@dataclass(frozen=True)
class OrderRow:
    """One order of the coefficients, its figures in the order of the columns."""

    title: str
    is_control: bool
    cells: tuple[str, ...]
    n: int


@dataclass(frozen=True)
class CurvePanel:
    """Mean curves of one way to remove, insertion and deletion."""

    title: str
    charts: tuple[tuple[str, CurveChart], ...]
    n: int


@dataclass(frozen=True)
class FaithfulnessSection:
    """Everything about the faithfulness of maps.

    Attributes:
        proof_columns: Heads of the columns of `proof`; so for `published`.
        legend: Title, colour and whether it is a control, of every order in the curves.
    """

    facts: tuple[tuple[str, str], ...]
    proof_columns: tuple[str, ...]
    proof: tuple[OrderRow, ...]
    published_columns: tuple[str, ...]
    published: tuple[OrderRow, ...]
    panels: tuple[CurvePanel, ...]
    legend: tuple[tuple[str, int, bool], ...]


def faithfulness_section(
    table: MetricTable, curves: Sequence[MeanCurve]
) -> FaithfulnessSection | None:
    """The section, or nothing where no map was judged."""
    orders = _orders(table)
    if not orders:
        return None
    proof, published = (_with_numbers(table, columns) for columns in (_PROOF, _PUBLISHED))
    return FaithfulnessSection(
        facts=_facts(table),
        proof_columns=tuple(title for title, _, _ in proof),
        proof=_rows(table, orders, proof),
        published_columns=tuple(title for title, _, _ in published),
        published=_rows(table, orders, published),
        panels=_panels(orders, curves),
        legend=tuple(
            (selection_title(order), place, order in MODEL_FREE)
            for place, order in enumerate(orders)
        ),
    )


def _orders(table: MetricTable) -> list[str]:
    known = {
        metric.labels["method"]
        for metric in table.metrics
        if metric.name.startswith("faithfulness/")
        and metric.name != RELIABILITY
        and "method" in metric.labels
    }
    order = [EVIDENCE, *METHODS, *MODEL_FREE]
    return sorted(known, key=lambda name: order.index(name) if name in order else len(order))


def _with_numbers(
    table: MetricTable, columns: Sequence[tuple[str, str, dict[str, str]]]
) -> list[tuple[str, str, dict[str, str]]]:
    return [
        column
        for column in columns
        if any(column[2].items() <= metric.labels.items() for metric in table.named(column[1]))
    ]


def _rows(
    table: MetricTable,
    orders: Sequence[str],
    columns: Sequence[tuple[str, str, dict[str, str]]],
) -> tuple[OrderRow, ...]:
    rows = []
    for order in orders:
        found = [table.one(name, labels | {"method": order}) for _, name, labels in columns]
        rows.append(
            OrderRow(
                selection_title(order),
                order in MODEL_FREE,
                tuple(map(_cell, found)),
                max((metric.n for metric in found if metric), default=0),
            )
        )
    return tuple(rows)


def _cell(metric: Metric | None) -> str:
    """Three decimals, as the literature states these measures."""
    if metric is None or metric.estimate is None:
        return "–"
    if metric.low is None or metric.high is None:
        return f"{metric.estimate:.3f}"
    return f"{metric.estimate:.3f} [{metric.low:.3f}, {metric.high:.3f}]"


def _facts(table: MetricTable) -> tuple[tuple[str, str], ...]:
    wanted: Mapping[str, tuple[str, dict[str, str]]] = {
        "Reliability of WAM_SG's signed map (split half)": (
            RELIABILITY,
            {"method": "smoothgrad_signed"},
        ),
        "Largest difference at the ends of curves (mean)": (GAP, {}),
    }
    facts = [
        (title, f"{_cell(metric)}, n = {metric.n}")
        for title, (name, labels) in wanted.items()
        if (metric := table.one(name, labels)) is not None
    ]
    for title, name in (("Steps of every curve", STEPS), ("Random subsets", SUBSETS)):
        metric = table.one(name)
        if metric is not None:
            facts.append((title, whole(metric.estimate)))
    return tuple(facts)


def _panels(orders: Sequence[str], curves: Sequence[MeanCurve]) -> tuple[CurvePanel, ...]:
    panels = []
    for removal, title in _TITLES.items():
        here = {(c.method, c.kind): c for c in curves if c.removal == removal}
        if not here:
            continue
        charts = tuple((kind, _chart(orders, here, removal, kind)) for kind in KINDS)
        n = max(point.n for curve in here.values() for point in curve.points)
        panels.append(CurvePanel(title, charts, n))
    return tuple(panels)


def _chart(
    orders: Sequence[str],
    curves: Mapping[tuple[str, str], MeanCurve],
    removal: str,
    kind: str,
) -> CurveChart:
    values = [
        _values(selection_title(order), place, order in MODEL_FREE, curves[order, kind])
        for place, order in enumerate(orders)
        if (order, kind) in curves
    ]
    spoken = "; ".join(f"{v.title} {100 * v.values[len(v.values) // 2]:.0f} %" for v in values)
    return curve_chart(
        f"{kind.capitalize()}, {_TITLES[removal]}. Probability of the class halfway: {spoken}.",
        (f"{kind}: {_AXES[removal]}", "probability of the class (%)"),
        values,
    )


def _values(title: str, series: int, is_control: bool, curve: MeanCurve) -> CurveValues:
    bounded = all(point.low is not None for point in curve.points)
    return CurveValues(
        title,
        [point.estimate or 0.0 for point in curve.points],
        [point.low or 0.0 for point in curve.points] if bounded else (),
        [point.high or 0.0 for point in curve.points] if bounded else (),
        series,
        is_control,
    )
