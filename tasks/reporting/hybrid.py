"""Hybrids of two samples as a section of the report: figures and pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from tasks.reporting.metric_table import MetricTable

_COLUMNS = ("coarse_bias", "coverage", "coarse_match", "fine_match")


@dataclass(frozen=True)
class HybridExample:
    """Pictures of one sample, its partner and their hybrids.

    Attributes:
        sample_id: Of the sample that gives the coarse levels.
        other_id: Of the sample that gives the fine ones.
        pictures: Caption and content of a PNG file.
    """

    sample_id: str
    other_id: str
    pictures: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True)
class HybridRow:
    """The figures of one cut, in the order of the columns."""

    title: str
    band: str
    n: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class ExamplePictures:
    """Pictures of one example as data URIs."""

    title: str
    pictures: tuple[tuple[str, str], ...]


def hybrid_rows(table: MetricTable, bands: Mapping[str, str]) -> tuple[HybridRow, ...]:
    """One row per cut, ascending.

    Args:
        bands: Frequencies of each level, in words.
    """
    cuts = {metric.labels["cut"] for metric in table.named("texture/hybrid_coverage")}
    return tuple(_row(table, cut, bands) for cut in sorted(cuts, key=int))


def example_pictures(example: HybridExample) -> ExamplePictures:
    """The pictures of an example, as the report embeds them."""
    return ExamplePictures(
        f"{example.sample_id} with {example.other_id}",
        tuple(
            (caption, f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}")
            for caption, content in example.pictures
        ),
    )


def _row(table: MetricTable, cut: str, bands: Mapping[str, str]) -> HybridRow:
    metrics = [table.one(f"texture/hybrid_{column}", {"cut": cut}) for column in _COLUMNS]
    coverage = metrics[_COLUMNS.index("coverage")]
    return HybridRow(
        title="Level 1" if cut == "1" else f"Levels 1 to {cut}",
        band=bands.get(cut, ""),
        n=coverage.n if coverage else 0,
        cells=tuple("–" if metric is None else metric.phrase for metric in metrics),
    )
