"""Wavelet attribution and reliance statistics on tensors, for one, two and three dimensions.

Nothing here reads files or the environment, chooses a device, or uses global randomness.
"""

from wam_core.attribution import (
    IntegratedGradient as IntegratedGradient,
)
from wam_core.attribution import (
    SmoothedGradient as SmoothedGradient,
)
from wam_core.attribution import (
    gradient as gradient,
)
from wam_core.attribution import (
    integrated_gradients as integrated_gradients,
)
from wam_core.attribution import (
    smoothgrad as smoothgrad,
)
from wam_core.baselines import baseline as baseline
from wam_core.basis import Band as Band
from wam_core.basis import CoefficientLayout as CoefficientLayout
from wam_core.basis import WaveletBasis as WaveletBasis
from wam_core.coalition_gradients import CoalitionGradient as CoalitionGradient
from wam_core.coalition_gradients import coalition_gradients as coalition_gradients
from wam_core.scores import ClassScore as ClassScore
from wam_core.transform import WaveletCoefficients as WaveletCoefficients
from wam_core.transform import coefficient_gradient as coefficient_gradient
from wam_core.transform import decompose as decompose
from wam_core.transform import reconstruct as reconstruct
