"""From a decoded sample to the model's input: the resolved rules, recorded with every audit.

The rules are split in two. What happens to the sample (resize, crop, channel count) is done when
it is read and yields a signal in data space, values in [0, 1] for images. What the model wants on
top (channel order, scale, mean, standard deviation) is differentiable and becomes the first layer
of the audited module, so that gradients, noise and baselines are in units of the data.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from pydantic import PositiveInt, model_validator

from tasks.config import Frozen


class Preprocessing(Frozen):
    """Every rule between a decoded sample and the model, with nothing left to a default elsewhere.

    Attributes:
        resize: Shorter side, or (height, width), or None to keep the size.
        crop: Centre crop (height, width), or None.
        geometry: How fractions of a pixel fall: `torchvision` truncates the longer side and rounds
            the crop's offset half to even; `rounded` rounds the side and floors the offset. The
            choice moves accuracy by up to a point.
        input_shape: Shape of the signal the module takes: (channel, *space).
        mean: Per channel, in units of the scaled signal, in the order the model sees channels.
        std: As `mean`.
        scale: The signal in [0, 1] is multiplied by this before the mean is subtracted.
        backend: Library that resizes; libraries differ by points of accuracy.
    """

    resize: PositiveInt | tuple[PositiveInt, PositiveInt] | None = None
    crop: tuple[PositiveInt, PositiveInt] | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    geometry: Literal["torchvision", "rounded"] = "torchvision"
    antialias: bool = True
    backend: Literal["pillow"] = "pillow"
    input_shape: tuple[PositiveInt, ...]
    channel_order: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Preprocessing:
        channels = self.input_shape[0]
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and len(values) not in (1, channels):
                raise ValueError(
                    f"{name} has {len(values)} values but the input has {channels} channels; "
                    "give one value or one per channel"
                )
        if any(value <= 0 for value in self.std):
            raise ValueError(f"std must be above 0 in every channel, got {self.std}")
        return self

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Size of the signal along its spatial axes."""
        return self.input_shape[1:]

    def data_mean(self) -> tuple[float, ...]:
        """The value per channel that the model normalises to zero, in data space and data order."""
        channels = self.input_shape[0]
        mean = self.mean or (0.0,)
        per_channel = mean * channels if len(mean) == 1 else mean
        scaled = tuple(value / self.scale for value in per_channel)
        return scaled[::-1] if self.channel_order == "bgr" else scaled

    def digest(self) -> str:
        """SHA-256 of all rules."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def record(self) -> dict[str, Any]:
        """The rules as plain JSON data, for `audit.json`."""
        return self.model_dump(mode="json")
