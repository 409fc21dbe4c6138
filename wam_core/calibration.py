"""Whether probabilities are worth what they say: losses of single answers, and calibration.

Log-likelihood and the Brier score are proper for probabilities that sum to one; the expected
calibration error compares confidence and accuracy in bins (Guo et al. 2017), and comes out too
large for few answers.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from wam_core.scores import Head

FloatArray = NDArray[np.float64]

N_BINS = 15
"""Bins of confidence, equally wide."""


def log_loss(
    logits: Float[Tensor, "batch class"], label: Int[Tensor, " batch"], head: Head
) -> Float[Tensor, " batch"]:
    """-log of the label's probability in nats, float64; finite where the probability rounds to 0.

    Args:
        logits: As `class_logits` gives them.
        label: Class index of each; NaN comes back where there is no such class.
        head: NaN for `multilabel`, whose probabilities do not sum to one.
    """
    logits = logits.double()
    known = _known(label, logits)
    place = torch.where(known, label, 0)[:, None]
    if head == "multilabel":
        known = torch.zeros_like(known)
    if head == "multiclass":
        loss = -logits.log_softmax(1).gather(1, place)[:, 0]
    else:
        loss = functional.softplus(-logits.gather(1, place)[:, 0])
    return torch.where(known, loss, torch.nan)


def brier_score(
    probabilities: Float[Tensor, "batch class"], label: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Sum over classes of (p - y)^2, y one for the label and zero else; 0 to 2, float64.

    Args:
        label: Class index of each; NaN comes back where there is no such class.

    Example:
        >>> brier_score(torch.tensor([[0.5, 0.5], [0.0, 1.0]]), torch.tensor([0, 0])).tolist()
        [0.5, 2.0]
    """
    probabilities = probabilities.double()
    known = _known(label, probabilities)
    place = torch.where(known, label, 0)[:, None]
    score = probabilities.square().sum(1) - 2 * probabilities.gather(1, place)[:, 0] + 1
    return torch.where(known, score, torch.nan)


def confidence_gaps(confidence: FloatArray, correct: FloatArray) -> FloatArray:
    """Right or not less confidence, in the bin of the confidence and zero in the others.

    The mean over answers, summed in absolute value over bins, is the expected calibration error:
    it is a function of means, and they can be merged.

    Args:
        confidence: Probability of the answer, any shape; NaN for none.
        correct: 1 or 0; NaN for unknown.

    Returns:
        Shape (*answers, bin); NaN where either is missing.

    Example:
        >>> gaps = confidence_gaps(np.array([0.9, 0.9]), np.array([1.0, 0.0]))
        >>> float(np.abs(gaps.mean(0)).sum().round(6))
        0.4
    """
    gap = correct - confidence
    known = np.isfinite(gap)
    number = np.clip(np.ceil(np.nan_to_num(confidence) * N_BINS) - 1, 0, N_BINS - 1)
    gaps = np.where(number[..., None] == np.arange(N_BINS), gap[..., None], 0.0)
    return np.where(known[..., None], gaps, np.nan)


def _known(label: Tensor, classes: Tensor) -> Tensor:
    return (label >= 0) & (label < classes.shape[1])
