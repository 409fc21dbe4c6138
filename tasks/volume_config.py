"""The rules from a stored volume (NIfTI, DICOM, TIFF, array) to the model's voxels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.schema import Frozen

Millimetres = Annotated[float, Field(gt=0)]
Spacing = tuple[Millimetres, Millimetres, Millimetres]


class VolumeConfig(Frozen):
    """How volumes are read, scaled to [0, 1] and laid on the model's grid of voxels."""

    axes: Literal["zyx", "zxy", "yzx", "yxz", "xzy", "xyz"] = Field(
        "zyx",
        description="Order of the axes of the model's input; files are transposed to it, arrays "
        "have it already. x runs to the patient's right, y to the front, z to the head.",
    )
    orientation: Literal["canonical", "stored"] = Field(
        "canonical",
        description="canonical: axes are turned and flipped to the nearest of the patient's, where "
        "the file has its position; stored: the file's own order and direction.",
    )
    intensity: Literal["stored", "window", "range", "percentiles"] = Field(
        "stored",
        description="How values reach [0, 1]: by the range of the stored type (8 or 16 bits, or "
        "floats in [0, 1]), by a fixed window, or by each volume's own range or percentiles.",
    )
    window: tuple[float, float] | None = Field(
        None,
        description="Values that become 0 and 1 for intensity: window, in the file's units after "
        "its own slope and intercept (Hounsfield units in CT); what lies outside is clipped.",
    )
    percentiles: tuple[float, float] = Field(
        (0.5, 99.5), description="Percentiles that become 0 and 1 for intensity: percentiles."
    )
    spacing: Spacing | None = Field(
        None,
        description="Millimetres per voxel in the order of axes, for files and arrays that do not "
        "say; it changes frequency labels, never a number.",
    )
    resample_spacing: Spacing | None = Field(
        None,
        description="Millimetres per voxel to which every volume is resampled about its centre; "
        "what the model's grid does not cover is cut off, what it covers beyond is 0.",
    )
    fit: Literal["exact", "pad_crop", "resize"] = Field(
        "exact",
        description="Volumes of another size than the model's: refused, cut and padded with 0 "
        "about the centre, or stretched to it whatever their proportions.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> VolumeConfig:
        if (self.intensity == "window") != (self.window is not None):
            raise ValueError("intensity: window and window belong together; give both or none")
        for name, bounds in (("window", self.window), ("percentiles", self.percentiles)):
            if bounds is not None and not bounds[0] < bounds[1]:
                raise ValueError(f"{name} must be two growing numbers, got {list(bounds)}")
        if not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ValueError(f"percentiles lie in 0 to 100, got {list(self.percentiles)}")
        if self.resample_spacing is not None and self.fit == "resize":
            raise ValueError(
                "resample_spacing and fit: resize both decide the size of a voxel; give one"
            )
        return self
