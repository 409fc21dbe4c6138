"""What the model does without levels, as a section of the report: charts and matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.reporting.charts import Axis, RowChart, change_axis, fraction_axis, row_chart
from tasks.reporting.formatting import MISSING, percent
from tasks.reporting.metric_table import Metric, MetricTable, Profile
from tasks.reporting.profiles import level_rows, spoken, spread
from tasks.reporting.wording import NORMALISATIONS, level_title, method_title, ordered_levels

_MEASURES = (
    ("shapley", "Shapley value"),
    ("ablation", "loss when removed"),
    ("only", "gain when alone"),
)
_ORIENTATIONS = {
    "da": "rows: variation along the first axis",
    "ad": "columns: variation along the second axis",
    "dd": "diagonal",
}


@dataclass(frozen=True)
class Exhibit:
    """One chart with its title, what it says, and its series."""

    title: str
    reading: str
    chart: RowChart
    series: tuple[str, ...]
    n: int


@dataclass(frozen=True)
class Cell:
    """One entry of the matrix of interactions.

    Attributes:
        weight: From -1 (against each other) to 1 (together), of the largest in the matrix.
    """

    text: str
    tip: str
    weight: float


@dataclass(frozen=True)
class Matrix:
    """Interactions of every pair of levels; the diagonal is empty."""

    levels: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]


@dataclass(frozen=True)
class Agreement:
    """How a method's profiles rank the levels against the causal measures, by normalisation."""

    method: str
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class BandRemovalSection:
    """Everything about removed levels."""

    facts: tuple[tuple[str, str], ...]
    exhibits: tuple[Exhibit, ...]
    matrix: Matrix | None
    agreement: tuple[Agreement, ...]
    measures: tuple[str, ...]
    orientations: tuple[tuple[str, str, str, str], ...]


def band_removal_section(table: MetricTable, bands: Mapping[str, str]) -> BandRemovalSection | None:
    """The section, or nothing where no level was removed."""
    if table.one("ablation/accuracy", {"kind": "clean"}) is None and not table.profile(
        "ablation/probability_drop", {}
    ):
        return None
    exhibits = [_ablation(table, bands), _curves(table, bands), _shapley(table, bands)]
    return BandRemovalSection(
        facts=_facts(table),
        exhibits=tuple(exhibit for exhibit in exhibits if exhibit is not None),
        matrix=_matrix(table),
        agreement=_agreement(table),
        measures=tuple(title for _, title in _MEASURES),
        orientations=_orientations(table),
    )


def _ablation(table: MetricTable, bands: Mapping[str, str]) -> Exhibit | None:
    profiles = {
        "without the level": table.profile("ablation/accuracy", {"kind": "without"}),
        "the level alone": table.profile("ablation/accuracy", {"kind": "only"}),
    }
    return _exhibit(
        "Accuracy without a level, and with it alone",
        "A short upper bar: the model needs the level. A long lower bar: the level suffices.",
        fraction_axis("accuracy (%)", spread(profiles.values())),
        profiles,
        bands,
    )


def _curves(table: MetricTable, bands: Mapping[str, str]) -> Exhibit | None:
    profiles = {
        "low-pass: this and all finer levels removed": table.profile(
            "pass/accuracy", {"kind": "low_pass"}
        ),
        "high-pass: this and all finer levels alone": table.profile(
            "pass/accuracy", {"kind": "high_pass"}
        ),
    }
    return _exhibit(
        "Low-pass and high-pass accuracy",
        "From top to bottom more and more of the fine levels are taken away (upper bars) or used "
        "alone (lower bars).",
        fraction_axis("accuracy (%)", spread(profiles.values())),
        profiles,
        bands,
    )


def _shapley(table: MetricTable, bands: Mapping[str, str]) -> Exhibit | None:
    profiles = {"": table.profile("shapley/value", {})}
    return _exhibit(
        "Shapley value of each level",
        "The level's fair part of what the whole input adds to the probability of the explained "
        "class; bars to the left speak against it. Exact: all combinations of levels were tried.",
        change_axis("change of the class's probability (%)", spread(profiles.values())),
        profiles,
        bands,
    )


def _exhibit(
    title: str,
    reading: str,
    axis: Axis,
    profiles: Mapping[str, Profile],
    bands: Mapping[str, str],
) -> Exhibit | None:
    levels = ordered_levels({level for profile in profiles.values() for level in profile})
    if not levels:
        return None
    description = f"{title}. {spoken(levels, profiles)}"
    n = max(metric.n for profile in profiles.values() for metric in profile.values())
    chart = row_chart(description, axis, level_rows(levels, profiles, bands))
    return Exhibit(title, reading, chart, tuple(name for name in profiles if name), n)


def _facts(table: MetricTable) -> tuple[tuple[str, str], ...]:
    wanted: Sequence[tuple[str, str, dict[str, str]]] = (
        ("Accuracy of the clean samples taken", "ablation/accuracy", {"kind": "clean"}),
        ("Accuracy with every level replaced", "ablation/accuracy", {"kind": "nothing"}),
        ("Low-pass half-accuracy cut-off", "pass/half_accuracy_cutoff", {"kind": "low_pass"}),
        ("High-pass half-accuracy cut-off", "pass/half_accuracy_cutoff", {"kind": "high_pass"}),
        ("Texture reliance T_pass", "texture/t_pass", {}),
        ("Samples with a level that harms", "shapley/harmful_share", {}),
    )
    found = [(title, table.one(name, labels)) for title, name, labels in wanted]
    return tuple(
        (title, f"{metric.phrase}, n = {metric.n}") for title, metric in found if metric is not None
    )


def _matrix(table: MetricTable) -> Matrix | None:
    found = table.named("shapley/interaction")
    if not found:
        return None
    names = {metric.labels[key] for metric in found for key in ("level", "other_level")}
    levels = ordered_levels(names)
    largest = max(abs(metric.estimate or 0.0) for metric in found) or 1.0
    cells: dict[tuple[str, str], Cell] = {}
    for metric in found:
        pair = metric.labels["level"], metric.labels["other_level"]
        cells[pair] = cells[pair[::-1]] = _cell(metric, pair, largest)
    rows = tuple(
        (level_title(level), tuple(cells.get((level, other)) for other in levels))
        for level in levels
    )
    return Matrix(tuple(level_title(level) for level in levels), rows)


def _cell(metric: Metric, pair: tuple[str, str], largest: float) -> Cell:
    value = metric.estimate or 0.0
    names = " and ".join(level_title(level).lower() for level in pair)
    return Cell(
        text=f"{100 * value:+.1f}",
        tip=f"{names}: {metric.phrase}, n = {metric.n}",
        weight=round(value / largest, 3),
    )


def _agreement(table: MetricTable) -> tuple[Agreement, ...]:
    found = []
    for method in table.methods("causality/"):
        rows = [
            (words.title, _correlations(table, {"method": method, "normalisation": words.key}))
            for words in NORMALISATIONS
        ]
        known = tuple(row for row in rows if set(row[1]) != {MISSING})
        if known:
            found.append(Agreement(method_title(method), known))
    return tuple(found)


def _correlations(table: MetricTable, labels: dict[str, str]) -> tuple[str, ...]:
    cells = []
    for name in ("causality/spearman", "causality/spearman_of_means"):
        for measure, _ in _MEASURES:
            metric = table.one(name, labels | {"measure": measure})
            cells.append(MISSING if metric is None else _correlation(metric))
    return tuple(cells)


def _correlation(metric: Metric) -> str:
    text = f"{metric.estimate:.2f}"
    if metric.low is None or metric.high is None:
        return text
    return f"{text} [{metric.low:.2f}, {metric.high:.2f}]"


def _orientations(table: MetricTable) -> tuple[tuple[str, str, str, str], ...]:
    """Level, orientation, accuracy without it, and with it alone."""
    found = [m for m in table.named("ablation/accuracy") if "filters" in m.labels]
    keys = list(dict.fromkeys((m.labels["level"], m.labels["filters"]) for m in found))
    levels = ordered_levels({level for level, _ in keys})
    rows = []
    for level, filters in sorted(keys, key=lambda key: (levels.index(key[0]), key[1])):
        both = [
            table.one("ablation/accuracy", {"level": level, "filters": filters, "kind": kind})
            for kind in ("without", "only")
        ]
        without, alone = (percent(None) if m is None else m.phrase for m in both)
        words = _ORIENTATIONS.get(filters)
        name = filters if words is None else f"{filters} ({words})"
        rows.append((level_title(level), name, without, alone))
    return tuple(rows)
