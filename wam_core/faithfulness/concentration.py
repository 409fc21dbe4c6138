"""Sparseness of a map: is importance in few features or in all?"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor


def gini(importance: Float[Tensor, "batch feature"]) -> Float64[Tensor, " batch"]:
    """Gini index of |importance|: 0 if all are equal, 1 - 1/n if one feature has it all.

    NaN for a map of zeros. Chalasani et al. (ICML 2020).

    Example:
        >>> gini(torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 5.0]])).tolist()
        [0.0, 0.75]
    """
    values = importance.abs().cpu().double().sort(dim=1).values
    n = values.shape[1]
    place = torch.arange(1, n + 1, dtype=torch.float64)
    total = values.sum(1)
    index = ((2 * place - n - 1) * values).sum(1) / (n * total)
    return torch.where(total > 0, index, torch.nan)


def hoyer(importance: Float[Tensor, "batch feature"]) -> Float64[Tensor, " batch"]:
    """(sqrt(n) - |v|_1 / |v|_2) / (sqrt(n) - 1): 0 if all are equal, 1 if one has it all.

    NaN for a map of zeros. Hoyer (JMLR 2004).

    Example:
        >>> hoyer(torch.tensor([[2.0, 2.0, 2.0, 2.0], [0.0, 0.0, 0.0, 5.0]])).tolist()
        [0.0, 1.0]
    """
    values = importance.abs().cpu().double()
    root = math.sqrt(values.shape[1])
    norm = values.square().sum(1).sqrt()
    index = (root - values.sum(1) / norm) / (root - 1)
    return torch.where(norm > 0, index, torch.nan)
