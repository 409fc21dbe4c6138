"""What the report holds of a sound beyond flat maps: maps over time and frequency, and players."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tasks.reporting.explanation import SampleExplanation
from tasks.reporting.pictures import map_uri
from tasks.reporting.sound_views import scalogram
from tasks.reporting.wording import level_title, method_title, ordered_levels, ordered_methods
from tasks.sounds import audible, loudest_stretch, sound_uri

EXCERPT_S = 2.0
_ROW = 22  # pixels of one level


@dataclass(frozen=True)
class Scalogram:
    """One method's importance over time and level.

    Attributes:
        rows: Name of each level and its octave, from the highest frequencies down.
    """

    title: str
    rows: tuple[tuple[str, str], ...]
    uri: str


@dataclass(frozen=True)
class SoundCard:
    """Maps and players of one sound.

    Attributes:
        ticks: Times below the maps, evenly spaced from the beginning to the end.
        players: Caption and data URI.
        level_players: As players, of what is kept of each level.
        excerpt: What stretch the players hold.
    """

    scalograms: tuple[Scalogram, ...]
    ticks: tuple[str, ...]
    players: tuple[tuple[str, str], ...]
    level_players: tuple[tuple[str, str], ...]
    excerpt: str

    @property
    def size(self) -> int:
        """Characters of its pictures and sounds in the page."""
        sounds = (*self.players, *self.level_players)
        return sum(len(card.uri) for card in self.scalograms) + sum(len(uri) for _, uri in sounds)


def sound_card(explanation: SampleExplanation) -> SoundCard | None:
    """The card of a sound; None for other signals, and for series without a sample rate."""
    signal, rate = explanation.signal, explanation.sample_rate
    if signal is None or signal.ndim != 2 or rate is None:
        return None
    duration = signal.shape[1] / rate
    start, stop = loudest_stretch(signal, round(EXCERPT_S * rate))
    whole = {"Input": signal} | {
        f"Rebuilt from the most important {caption}": rebuilt
        for caption, rebuilt in explanation.reconstructions.items()
    }
    levels = {
        _level_words(explanation, level): rebuilt
        for level, rebuilt in explanation.level_reconstructions.items()
    }
    waveforms = audible(whole | levels)

    def players(captions: Iterable[str]) -> tuple[tuple[str, str], ...]:
        return tuple(
            (caption, sound_uri(waveforms[caption][:, start:stop], rate)) for caption in captions
        )

    return SoundCard(
        scalograms=tuple(
            _scalogram(explanation, method) for method in ordered_methods(set(explanation.maps))
        ),
        ticks=tuple(f"{duration * step / 5:.3g} s" for step in range(6)),
        players=players(whole),
        level_players=players(levels),
        excerpt=f"{start / rate:.2f} to {stop / rate:.2f} s of {duration:.3g} s, the loudest "
        "stretch; all with one gain",
    )


def _level_words(explanation: SampleExplanation, level: str) -> str:
    octave = explanation.frequency_labels.get(level, "").partition(" (")[0]
    return f"{level_title(level)}: {octave}" if octave else level_title(level)


def _scalogram(explanation: SampleExplanation, method: str) -> Scalogram:
    maps = explanation.maps[method]
    picture = np.repeat(scalogram(maps), _ROW, axis=0)
    return Scalogram(
        method_title(method),
        tuple(
            (level_title(level), explanation.frequency_labels.get(level, "").partition(" (")[0])
            for level in ordered_levels(set(maps))
        ),
        map_uri(picture, max(picture.shape)),
    )
