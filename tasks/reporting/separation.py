"""What the model hears in mixtures, as a section of the report: figures and players."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.analyses.mixtures import EVIDENCE, MODEL_FREE, WHOLE
from tasks.reporting.explanation import FloatArray
from tasks.reporting.formatting import percent
from tasks.reporting.metric_table import Metric, MetricTable
from tasks.reporting.wording import METHODS, method_title
from tasks.sounds import loudest_stretch, sound_uri

EXCERPT_S = 1.5

_SELECTIONS = {
    WHOLE: "The mixture itself",
    EVIDENCE: "Integrated gradients, evidence for the class only",
    "magnitude": "Largest coefficients (no model)",
    "random": "Random coefficients (no model)",
}
_COLUMNS = (
    "si_sdr_target",
    "si_sdr_gain",
    "si_sdr_gain_over_magnitude",
    "si_sdr_gain_over_random",
    "si_sdr_interference",
    "contrast_gain",
    "snr_target",
    "snr_interference",
    "probability_target",
)


@dataclass(frozen=True, eq=False)
class MixtureSounds:
    """Versions of one mixture of one sample, all with one gain, by what they are.

    Attributes:
        sounds: Title to waveform (channel, sample).
    """

    mixture: str
    sample_id: str
    sample_rate: int
    sounds: dict[str, FloatArray]


@dataclass(frozen=True)
class MixtureRow:
    """One version of a mixture, its figures in the order of the columns."""

    title: str
    fraction: str
    cells: tuple[str, ...]
    n: int


@dataclass(frozen=True)
class MixturePlayers:
    """Players of one sample's mixture."""

    sample_id: str
    excerpt: str
    players: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class MixtureSection:
    """Everything about one kind of mixture."""

    title: str
    rows: tuple[MixtureRow, ...]
    examples: tuple[MixturePlayers, ...]


def mixture_sections(
    table: MetricTable, examples: Sequence[MixtureSounds]
) -> tuple[MixtureSection, ...]:
    """One section per kind of mixture, in the order of the summary."""
    found = [metric.labels for metric in table.named("separation/si_sdr_target")]
    names = list(dict.fromkeys(labels["mixture"] for labels in found))
    return tuple(
        MixtureSection(
            name[:1].upper() + name[1:],
            tuple(
                _row(table, labels)
                for labels in sorted(found, key=_order)
                if labels["mixture"] == name
            ),
            tuple(_players(sounds) for sounds in examples if sounds.mixture == name),
        )
        for name in names
    )


def selection_title(selection: str, fraction: str = "") -> str:
    """How the coefficients of a version were chosen, in words.

    Example:
        >>> selection_title("random", "0.2").replace(chr(160), " ")
        'Random coefficients (no model), 20 %'
    """
    title = _SELECTIONS.get(selection) or method_title(selection)
    return f"{title}, {percent(float(fraction), 0)}" if fraction else title


def _row(table: MetricTable, labels: dict[str, str]) -> MixtureRow:
    metrics = [table.one(f"separation/{column}", labels) for column in _COLUMNS]
    first = metrics[0]
    return MixtureRow(
        title=selection_title(labels["method"]),
        fraction=percent(labels.get("fraction", 1.0), 0),
        cells=tuple(_cell(metric) for metric in metrics),
        n=first.n if first else 0,
    )


def _cell(metric: Metric | None) -> str:
    """Decibels with one decimal, their unit in the head of the column; the rest as everywhere."""
    if metric is None:
        return ""
    if metric.unit != "dB" or metric.low is None or metric.high is None:
        return metric.phrase.removesuffix("\u00a0dB")
    values = (metric.estimate or 0.0, metric.low, metric.high)
    estimate, low, high = (f"{round(value, 1) + 0.0:.1f}" for value in values)
    return f"{estimate} [{low}, {high}]"


def _order(labels: dict[str, str]) -> tuple[float, int]:
    ranks = [WHOLE, *METHODS, EVIDENCE, *MODEL_FREE]
    method = labels["method"]
    rank = ranks.index(method) if method in ranks else len(ranks)
    return float(labels.get("fraction", 0)), rank


def _players(example: MixtureSounds) -> MixturePlayers:
    rate = example.sample_rate
    first = next(iter(example.sounds.values()))
    start, stop = loudest_stretch(first, round(EXCERPT_S * rate))
    return MixturePlayers(
        example.sample_id,
        f"{start / rate:.2f} to {stop / rate:.2f} s, where the clean sound is loudest; all with "
        "one gain",
        tuple(
            (title, sound_uri(sound[:, start:stop], rate))
            for title, sound in example.sounds.items()
        ),
    )
