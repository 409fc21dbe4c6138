"""What is needed to picture one sample, gathered by the caller."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class SampleExplanation:
    """One sample: its signal, what the model said, and where the importance lies.

    Attributes:
        signal: Shape (channel, *space), values in [0, 1]; None when the sample could not be read.
        maps: Method, then level, to importance at the signal's resolution: shape (*space),
            non-negative, summed over channels and orientations.
        shares: Method, then level, to the level's share of the importance, in [0, 1].
        reconstructions: Caption to the signal rebuilt from the most important coefficients.
        level_reconstructions: Level to what the widest of these reconstructions holds of it; sounds
            only.
        frequency_labels: Level to its frequency band and structure size, in words.
        spacing: Millimetres per voxel along each axis of a volume, where it is known.
        axes: Name of each axis of a volume.
        sample_rate: Samples per second of a sound, in Hz; None for other signals.
    """

    sample_id: str
    source: str
    status: str
    detail: str
    signal: FloatArray | None
    label: int | None
    label_name: str
    predicted: int | None
    predicted_name: str
    probability_label: float | None
    probability_predicted: float | None
    maps: dict[str, dict[str, FloatArray]]
    shares: dict[str, dict[str, float]]
    reconstructions: dict[str, FloatArray]
    frequency_labels: dict[str, str]
    spacing: tuple[float, ...] | None = None
    axes: str = "zyx"
    sample_rate: int | None = None
    level_reconstructions: dict[str, FloatArray] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        """`correct`, `incorrect`, or `unknown` when label or prediction is missing."""
        if self.label is None or self.predicted is None:
            return "unknown"
        return "correct" if self.label == self.predicted else "incorrect"
