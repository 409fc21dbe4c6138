"""The nineteen corruptions of ImageNet-C (Hendrycks and Dietterich, ICLR 2019), at any size.

Lengths are in points of an image whose shorter side has 224; they scale with the image. At 224
points all constants are the published ones.
"""

from __future__ import annotations

from wam_core.corruptions.contract import Corruption
from wam_core.corruptions.images.blur import BLURS
from wam_core.corruptions.images.digital import DIGITAL
from wam_core.corruptions.images.noise import NOISES
from wam_core.corruptions.images.weather import WEATHER

IMAGE_CORRUPTIONS: tuple[Corruption, ...] = (*NOISES, *BLURS, *WEATHER, *DIGITAL)
