"""Gradients of scores with respect to signals, in passes of a bounded number of rows.

Methods pass many versions of every sample through the model: noisy copies, points of a path,
coalitions of coefficients. Versions of several samples share a pass; a gradient does not depend on
what shares it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor

from wam_core.scores import ScoreFn

_NO_GRADIENT = (
    "the score does not depend on the input: no gradient reaches it. Is the model run under "
    "no_grad, on detached or integer data, or through a non-differentiable step?"
)


def input_gradient(score_fn: ScoreFn, signal: Tensor, sample: Int[Tensor, " row"]) -> Tensor:
    """Gradient of each row's score with respect to the row; parameters are left alone.

    Raises:
        ValueError: If there is not one score per row, or no gradient reaches the signal.
    """
    with torch.enable_grad():
        leaf = signal.detach().requires_grad_()
        # A copy, because the first layer may work in place, which a leaf does not allow.
        scores = score_fn(leaf.clone(), sample)
        _check_scores(scores, signal)
        (gradient,) = torch.autograd.grad(scores.sum(), leaf, allow_unused=True)
    if gradient is None:
        raise ValueError(_NO_GRADIENT)
    return gradient.detach()


def score_without_gradient(
    score_fn: ScoreFn, signal: Tensor, sample: Int[Tensor, " row"]
) -> Tensor:
    """Score of each row."""
    with torch.no_grad():
        return score_fn(signal.clone(), sample)  # the first layer may work in place


def sample_chunks(signal: Tensor, max_batch: int | None) -> Iterator[slice]:
    """The samples of a batch in parts of at most `max_batch`; all at once without a bound.

    Raises:
        ValueError: If the bound is below 1.
    """
    if max_batch is not None and max_batch < 1:
        raise ValueError(f"max_batch must be at least 1, or None for no bound; got {max_batch}")
    size = max_batch or max(1, len(signal))
    for start in range(0, len(signal), size):
        yield slice(start, min(start + size, len(signal)))


def versions_per_pass(versions: range, n_rows: int, max_batch: int | None) -> Iterator[range]:
    """Versions of `n_rows` samples in parts that share a pass."""
    size = len(versions) if max_batch is None else max(1, max_batch // n_rows)
    for start in range(versions.start, versions.stop, size):
        yield range(start, min(start + size, versions.stop))


def positions(rows: slice, signal: Tensor) -> Int[Tensor, " row"]:
    """Positions of a chunk's samples in the batch, on the signal's device."""
    return torch.arange(rows.start, rows.stop, device=signal.device)


def per_version(values: Tensor, signal: Tensor) -> Tensor:
    """One number per version, to be multiplied with (version, *shape of the signal)."""
    return values.reshape(-1, *[1] * signal.ndim)


def sum_dtype(signal: Tensor) -> torch.dtype:
    """Half precision signals are summed in float32: squares of small gradients would vanish."""
    return torch.promote_types(signal.dtype, torch.float32)


def _check_scores(scores: Tensor, signal: Tensor) -> None:
    if scores.shape != (len(signal),):
        raise ValueError(
            f"the score function must return one score per row, shape ({len(signal)},); got "
            f"{tuple(scores.shape)}"
        )
    if not scores.requires_grad:
        raise ValueError(_NO_GRADIENT)
