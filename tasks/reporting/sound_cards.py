"""What the report holds of a sound beyond flat maps: maps over time and frequency, and players."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tasks.reporting.explanation import FloatArray, SampleExplanation
from tasks.reporting.pictures import map_uri
from tasks.reporting.sound_views import scalogram
from tasks.reporting.wording import level_title, method_title, ordered_levels, ordered_methods

EXCERPT_S = 2.5
_ROW = 22  # pixels of one level
_LOUDEST = 0.9


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
        players: Caption and WAV data URI.
        excerpt: What stretch the players hold.
    """

    scalograms: tuple[Scalogram, ...]
    ticks: tuple[str, ...]
    players: tuple[tuple[str, str], ...]
    excerpt: str

    @property
    def size(self) -> int:
        """Characters of its pictures and sounds in the page."""
        return sum(len(card.uri) for card in self.scalograms) + sum(
            len(uri) for _, uri in self.players
        )


def sound_card(explanation: SampleExplanation) -> SoundCard | None:
    """The card of a sound; None for other signals, and for series without a sample rate."""
    signal, rate = explanation.signal, explanation.sample_rate
    if signal is None or signal.ndim != 2 or rate is None:
        return None
    duration = signal.shape[1] / rate
    start, stop = loudest_stretch(signal, round(EXCERPT_S * rate))
    sounds = {"Input": signal} | {
        f"Rebuilt from the most important {caption}": rebuilt
        for caption, rebuilt in explanation.reconstructions.items()
    }
    waveforms = audible(sounds)
    return SoundCard(
        scalograms=tuple(
            _scalogram(explanation, method) for method in ordered_methods(set(explanation.maps))
        ),
        ticks=tuple(f"{duration * step / 5:.3g} s" for step in range(6)),
        players=tuple(
            (caption, wav_uri(waveform[:, start:stop], rate))
            for caption, waveform in waveforms.items()
        ),
        excerpt=f"{start / rate:.2f} to {stop / rate:.2f} s of {duration:.3g} s, the loudest "
        "stretch; all with one gain",
    )


def loudest_stretch(signal: FloatArray, length: int) -> tuple[int, int]:
    """First and last sample of the stretch with the most energy."""
    n_samples = signal.shape[1]
    if n_samples <= length:
        return 0, n_samples
    energy = np.cumsum(np.square(signal, dtype=np.float64).sum(axis=0))
    within = energy[length - 1 :] - np.concatenate([[0.0], energy[:-length]])
    start = int(within.argmax())
    return start, start + length


def audible(sounds: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """The same sounds with the one gain at which the loudest of them just does not clip."""
    peak = max(float(np.abs(sound).max(initial=0.0)) for sound in sounds.values())
    gain = _LOUDEST / peak if peak else 1.0
    return {caption: gain * sound for caption, sound in sounds.items()}


def wav_bytes(signal: FloatArray, rate: int) -> bytes:
    """A 16-bit WAV file of amplitudes in [-1, 1], shape (channel, sample)."""
    samples = np.rint(np.clip(signal, -1, 1) * 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(len(samples))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.T.tobytes())
    return buffer.getvalue()


def wav_uri(signal: FloatArray, rate: int) -> str:
    """As `wav_bytes`, as a data URI."""
    return f"data:audio/wav;base64,{base64.b64encode(wav_bytes(signal, rate)).decode('ascii')}"


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
