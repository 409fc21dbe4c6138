"""What a model says with half of the features: measures of audio interpretability.

All are read from the middle point of the curves over the count, so they cost no pass of their own.
With p the probability of the explained class for the signal, o for its more important half alone
and q for what is left without that half:

* Faithfulness of Spectra = p - q (Parekh et al., NeurIPS 2022); its median over samples counts;
* Input Fidelity = 1 if the more important half is predicted as the signal is (Paissan et al. 2023);
* Average Drop = max(0, p - o) / p, Average Gain = max(0, o - p) / (1 - p), Average Increase =
  1 if o > p (Zhang et al. 2023), as fractions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from wam_core.faithfulness.curves import Curves


@dataclass(frozen=True)
class Halves:
    """The measures of each sample.

    Attributes:
        spectra: In [-1, 1]; higher is better.
        input_fidelity: 0 or 1; higher is better.
        drop: In [0, 1]; lower is better; NaN where p is 0.
        increase: 0 or 1; higher is better.
        gain: In [0, 1]; higher is better; NaN where p is 1.
    """

    spectra: Float64[Tensor, " batch"]
    input_fidelity: Float64[Tensor, " batch"]
    drop: Float64[Tensor, " batch"]
    increase: Float64[Tensor, " batch"]
    gain: Float64[Tensor, " batch"]


def halves(curves: Curves) -> Halves:
    """Read the measures off curves over the count; their first class is the explained one.

    Raises:
        ValueError: If the curves are over the energy, or have no point in the middle.
    """
    if curves.axis != "count" or curves.n_steps % 2:
        raise ValueError(
            "half of the features is the middle of curves over the count with an even number of "
            f"steps; got curves over the {curves.axis} with {curves.n_steps}"
        )
    middle = curves.n_steps // 2
    whole = curves.insertion[:, 0, -1]
    with_half = curves.insertion[:, 0, middle]
    without_half = curves.deletion[:, 0, middle]
    same = curves.insertion_predicted[:, middle] == curves.insertion_predicted[:, -1]
    return Halves(
        spectra=whole - without_half,
        input_fidelity=same.double(),
        drop=_ratio((whole - with_half).clamp(min=0), whole),
        increase=(with_half > whole).double(),
        gain=_ratio((with_half - whole).clamp(min=0), 1 - whole),
    )


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole, torch.nan)
