"""Examples of minimal and masked signals as pictures and players for the report."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.reporting.explanation import FloatArray, SampleExplanation
from tasks.reporting.formatting import significant
from tasks.reporting.gallery import PICTURE_SIDE, class_words
from tasks.reporting.pictures import can_picture, picture_uri, renderer
from tasks.sounds import audible, loudest_stretch, sound_uri

EXCERPT_S = 1.5


@dataclass(frozen=True, eq=False)
class MaskedVersion:
    """A sample with some of its coefficients.

    Attributes:
        title: How they were chosen.
        part: Their part of all coefficients; of a soft mask, its mean.
        left: The signal with them, shape (channel, *space).
        taken: The signal with all others instead.
    """

    title: str
    part: float
    left: FloatArray
    taken: FloatArray


@dataclass(frozen=True, eq=False)
class MaskedExample:
    """One sample, and versions of it."""

    explanation: SampleExplanation
    versions: tuple[MaskedVersion, ...]


@dataclass(frozen=True)
class ExampleCard:
    """Pictures or sounds of one example.

    Attributes:
        picture: The input.
        pairs: How coefficients were chosen, then data URIs of what is left and what was taken.
        players: Caption and data URI of sounds.
    """

    sample_id: str
    words: str
    picture: str
    pairs: tuple[tuple[str, str, str], ...]
    players: tuple[tuple[str, str], ...]
    excerpt: str
    is_volume: bool


def masked_card(example: MaskedExample) -> ExampleCard:
    """Everything that shows one example."""
    explanation = example.explanation
    signal = explanation.signal
    predicted = class_words(
        explanation.predicted, explanation.predicted_name, explanation.probability_predicted
    )
    picture, pairs = "", []
    if signal is not None and can_picture(signal):
        draw = renderer(explanation).signal
        picture = picture_uri(draw(signal), PICTURE_SIDE)
        pairs = [
            (
                f"{version.title}, {_part(version.part)}",
                picture_uri(draw(version.left), PICTURE_SIDE),
                picture_uri(draw(version.taken), PICTURE_SIDE),
            )
            for version in example.versions
        ]
    players, excerpt = _players(example)
    return ExampleCard(
        sample_id=explanation.sample_id,
        words=f"predicted {predicted}",
        picture=picture,
        pairs=tuple(pairs),
        players=players,
        excerpt=excerpt,
        is_volume=signal is not None and signal.ndim == 4,
    )


def _part(part: float) -> str:
    return f"{significant(100 * part, 2)}\u00a0% of the coefficients"


def _players(example: MaskedExample) -> tuple[tuple[tuple[str, str], ...], str]:
    signal, rate = example.explanation.signal, example.explanation.sample_rate
    if signal is None or signal.ndim != 2 or rate is None:
        return (), ""
    start, stop = loudest_stretch(signal, round(EXCERPT_S * rate))
    sounds = {"Input": signal}
    for version in example.versions:
        title = f"{version.title}, {_part(version.part)}"
        sounds |= {f"{title}: what is left": version.left, f"{title}: the rest": version.taken}
    players = tuple(
        (caption, sound_uri(sound[:, start:stop], rate))
        for caption, sound in audible(sounds).items()
    )
    excerpt = (
        f"{start / rate:.2f} to {stop / rate:.2f} s, where the input is loudest; all with one gain"
    )
    return players, excerpt
