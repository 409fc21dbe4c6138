"""The rules from a sound file to the waveform a model takes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from tasks.schema import Frozen


class AudioConfig(Frozen):
    """How sound files become waveforms of one rate and one length."""

    sample_rate: PositiveInt = Field(
        description="Samples per second of the model's input, in Hz. Files of another rate are "
        "resampled; arrays are taken to have it."
    )
    channels: Literal["mono", "first", "keep"] = Field(
        "mono", description="mono: mean of all channels; first: the first one; keep: as they are."
    )
    level: Literal["as_is", "peak", "rms"] = Field(
        "as_is",
        description="as_is: amplitudes as stored; peak: divided by the largest |amplitude|; rms: "
        "scaled to rms_level. Measured over what the model hears, without padding.",
    )
    rms_level: PositiveFloat = Field(0.1, description="Root mean square for level: rms.")
    shorter: Literal["pad", "reject"] = Field(
        "pad",
        description="Clips shorter than the input: followed by zeros, which are no part of what is "
        "explained, or refused as shape errors.",
    )
    longer: Literal["crop", "segment", "reject"] = Field(
        "crop",
        description="Clips longer than the input: only the beginning, one sample for every stretch "
        "of the input's length, or refused as shape errors.",
    )
    duration_s: PositiveFloat | None = Field(
        None,
        description="Length of the input in seconds, checked against the model's size; needed for "
        "longer: segment.",
    )
    silent_tail: NonNegativeFloat = Field(
        0.0,
        description="An end in which no |amplitude| exceeds this is padding that the file brings "
        "along, and is treated as padding.",
    )
    max_duration_s: PositiveFloat = Field(
        600.0, description="Longer files are decode errors before they are decoded."
    )

    @model_validator(mode="after")
    def _consistent(self) -> AudioConfig:
        if self.longer == "segment" and self.duration_s is None:
            raise ValueError("longer: segment needs duration_s, the length of a segment")
        return self
