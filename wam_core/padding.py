"""Scores of padded signals: what was appended to reach the model's length is not explained.

A short recording is followed by zeros because the model wants one length. Noise there, or a path
through there, would be about samples that do not exist. The score is therefore taken as a function
of the recording alone: everything in the padding is set to zero before the model sees it. Its
gradient in the padding is exactly zero, and no coefficient gains importance from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from wam_core.scores import ScoreFn


@dataclass(frozen=True)
class UnpaddedScore:
    """A score as a function of the samples before the padding.

    Attributes:
        score_fn: Of padded signals.
        support: 1 before the padding and 0 in it, shape (batch, 1, sample).
    """

    score_fn: ScoreFn
    support: Float[Tensor, "batch 1 sample"]

    def __call__(self, signal: Tensor, sample: Tensor) -> Tensor:
        """Scores of shape (row,); see `ScoreFn`."""
        return self.score_fn(signal * self.support[sample], sample)


def support_of(n_valid: Int[Tensor, " batch"], length: int) -> Float[Tensor, "batch 1 sample"]:
    """1 before the padding and 0 in it.

    Example:
        >>> support_of(torch.tensor([2, 3]), 3)
        tensor([[[1., 1., 0.]],
        <BLANKLINE>
                [[1., 1., 1.]]])
    """
    places = torch.arange(length, device=n_valid.device)
    return (places < n_valid[:, None]).float()[:, None]
