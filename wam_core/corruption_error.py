"""Errors under corruption over those of a reference model (Hendrycks and Dietterich, ICLR 2019).

CE_c = sum over severities of E_c over that of the reference, mCE their mean over corruptions;
relative CE_c = sum of (E_c - E_clean) over that of the reference: what corruption adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ReferenceErrors:
    """Top-1 errors of a fixed model on fixed data; a correction would be another reference.

    Attributes:
        clean: Error without corruption.
        corrupted: Mean error over the five severities, by corruption.
    """

    name: str
    clean: float
    corrupted: Mapping[str, float]

    def corruption_error(self, corruption: str, error: FloatArray) -> FloatArray:
        """CE of one corruption, from the mean error over its five severities.

        Raises:
            KeyError: If the reference does not know the corruption.
        """
        return np.asarray(error / self.corrupted[corruption])

    def relative_corruption_error(
        self, corruption: str, error: FloatArray, clean: FloatArray
    ) -> FloatArray:
        """Relative CE, from the mean error over severities and the clean error.

        Raises:
            KeyError: If the reference does not know the corruption.
        """
        return np.asarray((error - clean) / (self.corrupted[corruption] - self.clean))


ALEXNET = ReferenceErrors(
    name="AlexNet on ImageNet-C, 2019",
    clean=0.43478,
    corrupted={
        "gaussian_noise": 0.886428,
        "shot_noise": 0.894468,
        "impulse_noise": 0.922640,
        "defocus_blur": 0.819880,
        "glass_blur": 0.826268,
        "motion_blur": 0.785948,
        "zoom_blur": 0.798360,
        "snow": 0.866816,
        "frost": 0.826572,
        "fog": 0.819324,
        "brightness": 0.564592,
        "contrast": 0.853204,
        "elastic_transform": 0.646056,
        "pixelate": 0.717840,
        "jpeg_compression": 0.606500,
    },
)
"""What the published mean corruption error is divided by, for images of 224 points; the clean error
is that of torchvision's weights."""

REFERENCES = {reference.name: reference for reference in (ALEXNET,)}
