"""What accuracies in the noise of single levels say: thresholds, and the channel they draw.

One computation serves the metrics with their intervals, the sentences and the report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.variables import Variable
from wam_core.critical_bands import FEWEST_LEVELS, ChannelFit, fit_channel, threshold_noise
from wam_core.intervals import FloatArray

ACCURACY = "critical_band/accuracy"
CRITERION = "critical_band/criterion"
THRESHOLD = "critical_band/threshold"
CENTRE = "critical_band/centre"
CYCLES = "critical_band/centre_frequency"
HERTZ = "critical_band/centre_hertz"
WIDTH = "critical_band/width"

APPROXIMATION = "approximation"

Criterion = Callable[[FloatArray], FloatArray]
"""From accuracies without noise to those at which a threshold lies."""


def noise_label(noise: float) -> str:
    """How labels name a strength of noise.

    Example:
        >>> noise_label(0.30)
        '0.3'
    """
    return f"{noise:g}"


CLEAN = Variable.of(ACCURACY, noise=noise_label(0.0))
"""Accuracy without noise of the samples that are put into it."""


def criterion(clean: float, chance: float) -> Criterion:
    """Half of the accuracy without noise; where that is no more than chance, halfway to chance.

    With two classes a model that sees nothing is right half of the time: half of its accuracy would
    never be reached. NaN where there is nothing to lose, because accuracy is not above chance.

    Example:
        >>> criterion(0.9, 0.1)(np.array([0.9])), criterion(0.9, 0.5)(np.array([0.9]))
        (array([0.45]), array([0.7]))
    """
    floor = 0.0 if clean / 2 > chance else chance

    def lost(accuracy: FloatArray) -> FloatArray:
        return np.asarray(np.where(accuracy > chance, (accuracy + floor) / 2, np.nan))

    return lost


def is_half(at: float, clean: float) -> bool:
    """Whether a threshold lies at half of the accuracy without noise, not halfway to chance."""
    return abs(at - clean / 2) < 1e-9


def level_names(n_levels: int) -> tuple[str, ...]:
    """Names of the levels of a basis, finest first, the approximation last."""
    return (*(str(level) for level in range(1, n_levels + 1)), APPROXIMATION)


@dataclass(frozen=True, eq=False)
class Masking:
    """Thresholds of the levels, and the channel fitted to those of the levels of detail.

    Attributes:
        level_names: Finest first, the approximation last.
        noises: Strengths of noise, increasing.
        thresholds: Per level, at the ends of `noises` where they lie beyond.
        fit: The channel; None where nothing was fitted.
        no_centre: Why the channel is not identified, or "".
        no_width: Why its width is not, or "".
    """

    level_names: tuple[str, ...]
    noises: FloatArray
    thresholds: FloatArray
    fit: ChannelFit | None
    no_centre: str
    no_width: str

    def is_beyond(self, place: int) -> bool:
        """Whether a level stands even the strongest noise."""
        return bool(self.thresholds[place] >= self.noises[-1])

    def is_below(self, place: int) -> bool:
        """Whether the weakest noise is too much for a level."""
        return bool(self.thresholds[place] <= self.noises[0])

    def is_within(self, place: int) -> bool:
        """Whether a level has its threshold within the noises."""
        return bool(self.noises[0] < self.thresholds[place] < self.noises[-1])


def masking(accuracy: Mapping[tuple[str, float], float], lost_at: float, n_levels: int) -> Masking:
    """What mean accuracies say.

    The channel is fitted to one over the thresholds of the levels of detail; the approximation is
    no octave and takes no part.

    Args:
        accuracy: By level and noise, of all levels in the same noises.
        lost_at: Accuracy at the threshold.
        n_levels: Levels of detail.
    """
    names = level_names(n_levels)
    noises = np.array(sorted({noise for _, noise in accuracy}))
    values = np.array([[accuracy[name, noise] for noise in noises] for name in names])
    thresholds = threshold_noise(values[None], np.array([lost_at]), noises)
    fit = fit_channel(1 / thresholds[:, :n_levels]) if n_levels >= FEWEST_LEVELS else None
    found = Masking(names, noises, thresholds[0], fit, "", "")
    no_centre = _why_no_centre(found)
    return replace(found, no_centre=no_centre, no_width=no_centre or _why_no_width(found))


def _why_no_centre(found: Masking) -> str:
    details = range(len(found.level_names) - 1)
    if found.fit is None:
        return (
            f"a channel is fitted to {FEWEST_LEVELS} levels of detail or more, and the basis has "
            f"{len(details)}"
        )
    below = [found.level_names[place] for place in details if found.is_below(place)]
    if below:
        return (
            f"{listed_levels(below)} {'is' if len(below) == 1 else 'are'} lost in the weakest "
            f"noise already; add weaker ones to analyses.critical_bands.noise_levels"
        )
    if all(found.is_beyond(place) for place in details):
        return "no level of detail is lost in the strongest noise"
    if found.fit.is_flat:
        return "the model is about equally sensitive to all levels of detail"
    if found.fit.end:
        return (
            f"sensitivity rises up to the {found.fit.end} level of detail, and its peak may lie "
            "beyond it"
        )
    return ""


def _why_no_width(found: Masking) -> str:
    within = [place for place in range(len(found.level_names) - 1) if found.is_within(place)]
    if found.fit is not None and not found.fit.has_flank:
        return "sensitivity does not fall to half of its peak within the levels of detail"
    if len(within) == 1 or (found.fit is not None and found.fit.is_narrowest):
        return "narrower than levels an octave apart can tell"
    return ""


def listed_levels(names: Sequence[str]) -> str:
    """Levels in words.

    Example:
        >>> listed_levels(["1"]), listed_levels(["3", "4", "approximation"])
        ('level 1', 'levels 3 and 4 and the approximation')
    """
    numbers = [name for name in names if name != APPROXIMATION]
    parts = [f"level{'s' * (len(numbers) > 1)} {_joined(numbers)}"] if numbers else []
    return " and ".join(parts + ["the approximation"] * (APPROXIMATION in names))


def _joined(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
