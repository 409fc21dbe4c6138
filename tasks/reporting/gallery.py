"""Samples of the gallery as cards: pictures as data URIs, words for the template to escape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.reporting.explanation import FloatArray, SampleExplanation
from tasks.reporting.formatting import finite, percent, significant
from tasks.reporting.pictures import Renderer, can_picture, dimmed, map_uri, picture_uri, renderer
from tasks.reporting.sound_cards import SoundCard, sound_card
from tasks.reporting.volume_cards import VolumeCard, volume_card
from tasks.reporting.wording import level_title, method_title, ordered_levels, ordered_methods

PICTURE_SIDE = 224
PICTURE_BUDGET = (
    10_000_000  # characters of data URIs; beyond it samples are listed without pictures
)


@dataclass(frozen=True)
class MapCard:
    """One level's map."""

    title: str
    band: str
    share: str
    share_percent: float
    uri: str
    empty: bool


@dataclass(frozen=True)
class MethodCard:
    """The maps of one method, fine to coarse."""

    title: str
    maps: tuple[MapCard, ...]


@dataclass(frozen=True)
class SampleCard:
    """One sample of the gallery.

    Attributes:
        base: The dimmed picture that lies under every map.
        remark: Why there is no picture, when there is none.
        volume: Slices and surfaces of a volume; None for other signals.
        sound: Maps over time and players of a sound; None for other signals.
    """

    sample_id: str
    source: str
    status: str
    detail: str
    outcome: str
    label: str
    predicted: str
    picture: str
    base: str
    methods: tuple[MethodCard, ...]
    reconstructions: tuple[tuple[str, str], ...]
    remark: str
    volume: VolumeCard | None = None
    sound: SoundCard | None = None

    @property
    def size(self) -> int:
        """Characters of its pictures in the page."""
        maps = sum(len(card.uri) for method in self.methods for card in method.maps)
        rebuilt = sum(len(uri) for _, uri in self.reconstructions)
        volume = self.volume.size if self.volume else 0
        sound = self.sound.size if self.sound else 0
        return len(self.picture) + len(self.base) + maps + rebuilt + volume + sound


def sample_cards(gallery: Sequence[SampleExplanation]) -> list[SampleCard]:
    """One card per sample, in the order given; pictures until the budget is spent."""
    cards: list[SampleCard] = []
    spent = 0
    for explanation in gallery:
        card = _card(explanation, pictured=spent < PICTURE_BUDGET)
        spent += card.size
        cards.append(card)
    return cards


def class_words(index: int | None, name: str, probability: float | None) -> str:
    """A class as `name (index), probability 87.0 %`, leaving out what is not known."""
    if index is None:
        return "not known"
    named = f"{name} ({index})" if name and name != str(index) else f"class {index}"
    known = finite(probability)
    return named if known is None else f"{named}, probability {percent(known)}"


def _card(explanation: SampleExplanation, *, pictured: bool) -> SampleCard:
    signal = explanation.signal
    remark = _remark(signal, pictured=pictured)
    picture = base = ""
    methods: tuple[MethodCard, ...] = ()
    rebuilt: tuple[tuple[str, str], ...] = ()
    if signal is not None and not remark:
        render = renderer(explanation)
        image = render.signal(signal)
        picture, base = picture_uri(image, PICTURE_SIDE), picture_uri(dimmed(image), PICTURE_SIDE)
        methods = tuple(
            _method_card(explanation, method, render)
            for method in ordered_methods(set(explanation.maps))
        )
        rebuilt = tuple(
            (caption, picture_uri(render.signal(array), PICTURE_SIDE))
            for caption, array in explanation.reconstructions.items()
        )
    return SampleCard(
        explanation.sample_id,
        explanation.source,
        explanation.status,
        explanation.detail,
        explanation.outcome,
        class_words(explanation.label, explanation.label_name, explanation.probability_label),
        class_words(
            explanation.predicted, explanation.predicted_name, explanation.probability_predicted
        ),
        picture,
        base,
        methods,
        rebuilt,
        remark,
        None if remark else volume_card(explanation),
        None if remark else sound_card(explanation),
    )


def _remark(signal: FloatArray | None, *, pictured: bool) -> str:
    if signal is None:
        return "No picture: the sample could not be read."
    if not can_picture(signal):
        return f"No picture: signals of shape {tuple(signal.shape)} are not pictured."
    return "" if pictured else "Picture left out to keep the page small; use wam-audit show."


def _method_card(explanation: SampleExplanation, method: str, render: Renderer) -> MethodCard:
    maps, shares = explanation.maps[method], explanation.shares.get(method, {})
    return MethodCard(
        method_title(method),
        tuple(
            _map_card(
                level,
                explanation.frequency_labels.get(level, ""),
                finite(shares.get(level)),
                render.importance(maps[level]),
            )
            for level in ordered_levels(set(maps))
        ),
    )


def _map_card(level: str, band: str, share: float | None, importance: FloatArray) -> MapCard:
    return MapCard(
        title=level_title(level),
        band=band,
        share=percent(share),
        share_percent=round(100 * min(max(share or 0.0, 0.0), 1.0), 1),
        uri=map_uri(importance, PICTURE_SIDE),
        empty=not bool(importance.any()),
    )


def total_weight(cards: Sequence[SampleCard]) -> str:
    """Size of all pictures, in megabytes."""
    return significant(sum(card.size for card in cards) / 1e6, 2)
