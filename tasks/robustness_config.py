"""Samples that are changed and classified again: damage, noise by scale or frequency, lost cues."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from tasks.schema import Frozen


class SuppressionConfig(Frozen):
    """Which cues the model needs: one is suppressed at a time, and the others are kept."""

    enabled: bool = Field(False, description="Pass samples again with one cue suppressed.")
    samples: PositiveInt | None = Field(
        200, description="Samples taken, the same share of every class; null: all."
    )
    suppressions: dict[str, tuple[float, ...]] = Field(
        default_factory=dict,
        description="Strengths by suppression, such as patch_shuffle: [4, 8]; an empty list stands "
        "for all of its strengths. Without any, the usual ones for the model's input.",
    )


class CorruptionsConfig(Frozen):
    """How the model stands damage, and whether its reliance explains where it breaks."""

    enabled: bool = Field(False, description="Damage samples and classify them again.")
    samples: PositiveInt | None = Field(
        100, description="Samples taken, the same share of every class; null: all."
    )
    corruptions: tuple[str, ...] = Field(
        (),
        description="Kinds of damage, such as gaussian_noise; without any, all that exist for the "
        "model's input.",
    )
    severities: tuple[Annotated[int, Field(ge=1, le=5)], ...] = Field(
        (1, 2, 3, 4, 5), min_length=1, description="Of each kind of damage, 1 (weakest) to 5."
    )
    reference: Literal["auto", "alexnet", "none"] = Field(
        "auto",
        description="What errors are divided by in the mean corruption error: those of AlexNet, "
        "for images of the ImageNet classes; auto: where the classes are those; none: nothing.",
    )

    @model_validator(mode="after")
    def _increasing(self) -> CorruptionsConfig:
        if any(second <= first for first, second in pairwise(self.severities)):
            raise ValueError(f"severities must increase; got {list(self.severities)}")
        if len(set(self.corruptions)) < len(self.corruptions):
            raise ValueError(f"corruptions names one twice: {', '.join(self.corruptions)}")
        return self


class CriticalBandsConfig(Frozen):
    """How much noise in each level the model stands."""

    enabled: bool = Field(
        False, description="Put noise into one level at a time and classify again."
    )
    samples: PositiveInt | None = Field(
        200, description="Samples taken, the same share of every class; null: all."
    )
    noise_levels: tuple[PositiveFloat, ...] = Field(
        (0.01, 0.03, 0.1, 0.3, 1.0),
        min_length=2,
        description="Root mean square of the noise over each sample's range, increasing; "
        "thresholds are interpolated in its logarithm.",
    )

    @model_validator(mode="after")
    def _increasing(self) -> CriticalBandsConfig:
        if any(second <= first for first, second in pairwise(self.noise_levels)):
            raise ValueError(f"noise_levels must increase; got {list(self.noise_levels)}")
        return self


class FourierSensitivityConfig(Frozen):
    """At which frequencies the model errs."""

    enabled: bool = Field(
        False, description="Add waves of one frequency, and noise of one octave, and classify."
    )
    samples: PositiveInt | None = Field(
        50, description="Samples taken, the same share of every class; null: all."
    )
    lattice: Literal["octaves", "even"] = Field(
        "octaves",
        description="Frequencies of the waves: octaves spreads them evenly in octaves, so that "
        "each has some; even takes those next to zero, one cycle apart, as published.",
    )
    frequencies_per_axis: PositiveInt | None = Field(
        None,
        ge=3,
        description="Of the lattice; null: 32 in one dimension, 15 in two, 5 in three; published: "
        "even, 63. Half of the lattice is passed: opposite frequencies are the same wave.",
    )
    noise: PositiveFloat = Field(
        0.07,
        description="Root mean square of a wave over the sample's range; 0.07 is the published "
        "norm of 15.7 in each channel of 224 x 224 pixels.",
    )
    ring_noises: tuple[PositiveFloat, ...] = Field(
        (0.03, 0.1, 0.3), description="The same of noise in one octave of frequencies."
    )
