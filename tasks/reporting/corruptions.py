"""How the model stands damage, as a section of the report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tasks.analyses.corrupted_samples import ACCURACY, BRIER, FLIP_RATE, NLL
from tasks.analyses.corruption_choice import CLEAN
from tasks.analyses.corruption_conclusions import (
    CORRUPTION_ERROR,
    ECE,
    MEAN_CORRUPTION_ERROR,
    NO_REFERENCE,
    RETENTION,
)
from tasks.analyses.corruption_footprints import CENTROID, FOOTPRINT, GAIN, SIZE
from tasks.reporting.damage_charts import CellChart, CellValue, cell_chart
from tasks.reporting.formatting import percent, significant
from tasks.reporting.fragility import LinkSection, link_section
from tasks.reporting.metric_table import Metric, MetricTable
from tasks.reporting.wording import level_title
from wam_core.footprints import FrequencyClass, frequency_class

_CLEAN = {"corruption": CLEAN}
_ABBREVIATED = re.compile(r"\b(jpeg|mp3)\b", re.IGNORECASE)


@dataclass(frozen=True)
class DamageRow:
    """One kind of damage over all severities, its figures in the order of the columns."""

    title: str
    frequency: str
    cells: tuple[str, ...]
    n: int


@dataclass(frozen=True)
class CertaintyRow:
    """Accuracy and losses at one severity."""

    title: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class CorruptionSection:
    """Everything about damage.

    Attributes:
        outcome: What the cells of the first chart say: accuracy, or answers changed.
        severity: At which footprints are shown.
    """

    facts: tuple[tuple[str, str], ...]
    outcome: str
    outcomes: CellChart
    severity: str
    footprints: CellChart
    levels: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    rows: tuple[DamageRow, ...]
    certainty: tuple[CertaintyRow, ...]
    link: LinkSection | None
    n: int


def corruption_section(
    table: MetricTable, bands: Mapping[str, str], settings: Mapping[str, Any]
) -> CorruptionSection | None:
    """The section, or nothing where no sample was damaged."""
    return _Damage(table, bands, settings).section()


@dataclass(frozen=True)
class _Damage:
    table: MetricTable
    bands: Mapping[str, str]
    settings: Mapping[str, Any]

    def section(self) -> CorruptionSection | None:
        if not self.names:
            return None
        middle = self.severities[len(self.severities) // 2]
        return CorruptionSection(
            facts=self._facts(),
            outcome="accuracy" if self.has_labels else "answers changed",
            outcomes=self._outcomes(),
            severity=middle,
            footprints=self._footprints(middle),
            levels=tuple((level_title(level), self.bands.get(level, "")) for level in self.levels),
            columns=tuple(title for title, _, _ in self._columns),
            rows=tuple(self._row(name) for name in self.names),
            certainty=self._certainty(),
            link=link_section(self.table, self.frequencies),
            n=max(metric.n for metric in self.table.named(FLIP_RATE)),
        )

    @cached_property
    def has_labels(self) -> bool:
        return self.table.one(ACCURACY) is not None

    @cached_property
    def outcome(self) -> str:
        return ACCURACY if self.has_labels else FLIP_RATE

    @cached_property
    def names(self) -> list[str]:
        """Kinds of damage, the worst first."""
        found = {
            metric.labels["corruption"]: metric.estimate or 0.0
            for metric in self.table.named(self.outcome)
            if metric.labels.keys() == {"corruption"} and metric.labels != _CLEAN
        }
        return sorted(found, key=lambda name: found[name], reverse=not self.has_labels)

    @cached_property
    def severities(self) -> list[str]:
        found = {
            metric.labels["severity"]
            for metric in self.table.named(self.outcome)
            if "severity" in metric.labels
        }
        return sorted(found)

    @cached_property
    def levels(self) -> tuple[str, ...]:
        for name in self.names:
            labels = {"corruption": name, "severity": self.severities[0]}
            found = tuple(self.table.profile(FOOTPRINT, labels))
            if found:
                return found
        return ()

    @cached_property
    def frequencies(self) -> dict[str, FrequencyClass]:
        """Class of frequency of each kind of damage, by its measured footprint."""
        fine_levels = int((self.settings.get("reliance") or {}).get("fine_levels") or 1)
        classes = {}
        for name in self.names:
            profiles = [
                self.table.profile(FOOTPRINT, {"corruption": name, "severity": severity})
                for severity in self.severities
            ]
            shares = [[metric.estimate for metric in own.values()] for own in profiles if own]
            if shares:
                classes[name] = frequency_class(np.array(shares, dtype=float), fine_levels)
        return classes

    @cached_property
    def _columns(self) -> list[tuple[str, str, dict[str, str]]]:
        """Title, metric and further labels of the figures of each kind of damage."""
        columns: list[tuple[str, str, dict[str, str]]] = []
        if self.has_labels:
            columns += [("Accuracy", ACCURACY, {}), ("Of the clean accuracy", RETENTION, {})]
        columns.append(("Answers changed", FLIP_RATE, {}))
        columns += [
            (f"Error over {reference}", CORRUPTION_ERROR, {"reference": reference})
            for reference in self._references
        ]
        return [*columns, ("Centroid of the damage", CENTROID, {})]

    @cached_property
    def _references(self) -> list[str]:
        named = {metric.labels["reference"] for metric in self.table.named(MEAN_CORRUPTION_ERROR)}
        return sorted(named - {NO_REFERENCE})

    def _row(self, name: str) -> DamageRow:
        metrics = [
            self.table.one(metric, {"corruption": name} | labels)
            for _, metric, labels in self._columns
        ]
        return DamageRow(
            spoken(name),
            self.frequencies.get(name, ""),
            tuple(metric.phrase if metric else "" for metric in metrics),
            max(metric.n for metric in metrics if metric is not None),
        )

    def _facts(self) -> tuple[tuple[str, str], ...]:
        candidates = [
            ("Accuracy of the samples as they are", ACCURACY, _CLEAN),
            ("Mean accuracy under damage", ACCURACY, {}),
            ("Part of the accuracy that is kept", RETENTION, {}),
            ("Mean rate of changed answers", FLIP_RATE, {}),
        ]
        candidates += [
            (f"Mean corruption error, over {name}", MEAN_CORRUPTION_ERROR, {"reference": name})
            for name in self._references
        ]
        candidates += [
            (f"Accuracy under {kind}-frequency damage", ACCURACY, {"frequency": kind})
            for kind in ("high", "mid", "low")
        ]
        found = [(title, self.table.one(name, labels)) for title, name, labels in candidates]
        return tuple((title, metric.phrase) for title, metric in found if metric is not None)

    def _outcomes(self) -> CellChart:
        rows = []
        for name in self.names:
            cells = [
                self._outcome_cell(name, severity, self.table.one(self.outcome, labels))
                for severity in self.severities
                for labels in [{"corruption": name, "severity": severity}]
            ]
            rows.append((spoken(name), cells))
        what = "Accuracy" if self.has_labels else "Answers changed"
        return cell_chart(
            f"{what} by kind and severity of damage; the table below has the numbers.",
            [f"severity {severity}" for severity in self.severities],
            rows,
            series=1,
        )

    def _outcome_cell(self, name: str, severity: str, metric: Metric | None) -> CellValue | None:
        if metric is None or metric.estimate is None:
            return None
        bad = 1 - metric.estimate if self.has_labels else metric.estimate
        tip = f"{spoken(name)}, severity {severity}: {metric.phrase}, n = {metric.n}"
        return CellValue(bad, percent(metric.estimate, 0), tip)

    def _footprints(self, severity: str) -> CellChart:
        profiles = {
            name: self.table.profile(FOOTPRINT, {"corruption": name, "severity": severity})
            for name in self.names
        }
        known = [name for name, profile in profiles.items() if profile]
        rows = [
            (spoken(name), [self._footprint_cell(name, severity, level) for level in self.levels])
            for name in sorted(known, key=self._centroid)
        ]
        return cell_chart(
            f"Energy of each kind of damage by level at severity {severity}, from fine damage to "
            "coarse.",
            ["Approx." if level == "approximation" else level_title(level)
             for level in self.levels],
            rows,
            series=0,
        )  # fmt: skip

    def _footprint_cell(self, name: str, severity: str, level: str) -> CellValue | None:
        labels = {"corruption": name, "severity": severity, "level": level}
        share, gain = self.table.one(FOOTPRINT, labels), self.table.one(GAIN, labels)
        if share is None or share.estimate is None:
            return None
        tip = f"{spoken(name)}, {level_title(level)}: {share.phrase} of the damage"
        if gain is not None:
            tip += f"; the level's own energy becomes {significant(gain.estimate)} of what it was"
        size = self.table.one(SIZE, {"corruption": name, "severity": severity})
        if size is not None:
            tip += f"; size {significant(size.estimate)} (root mean square), n = {size.n}"
        return CellValue(share.estimate, percent(share.estimate, 0), tip)

    def _centroid(self, name: str) -> float:
        metric = self.table.one(CENTROID, {"corruption": name})
        return 0.0 if metric is None or metric.estimate is None else metric.estimate

    def _certainty(self) -> tuple[CertaintyRow, ...]:
        if not self.has_labels or self.table.one(ECE, _CLEAN) is None:
            return ()
        groups = [("As they are", _CLEAN)]
        groups += [(f"Severity {value}", {"severity": value}) for value in self.severities]
        rows = []
        for title, labels in groups:
            metrics = [self.table.one(name, labels) for name in (ACCURACY, NLL, BRIER, ECE)]
            rows.append(
                CertaintyRow(title, tuple(metric.phrase if metric else "" for metric in metrics))
            )
        return tuple(rows)


def spoken(name: str) -> str:
    """A kind of damage in words.

    Example:
        >>> spoken("gaussian_noise")
        'Gaussian noise'
        >>> spoken("jpeg_compression")
        'JPEG compression'
    """
    words = name.replace("_", " ").capitalize()
    return _ABBREVIATED.sub(lambda match: match.group().upper(), words)
