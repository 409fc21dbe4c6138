"""Do two measures order the levels alike, and where does a curve cross a value?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FloatArray = NDArray[np.float64]


def rank_correlation(left: FloatArray, right: FloatArray) -> FloatArray:
    """Spearman's correlation over the last axis, row by row; ties get their mean rank.

    Args:
        left: Shape (row, item); so has `right`.

    Returns:
        Shape (row,); NaN where a row has a value that is not finite, or all its values are equal.

    Example:
        >>> rank_correlation(np.array([[1.0, 2.0, 3.0]]), np.array([[2.0, 1.0, 3.0]]))
        array([0.5])
    """
    sound = np.isfinite(left).all(-1) & np.isfinite(right).all(-1)
    result = np.full(len(left), np.nan)
    if not sound.any():
        return result
    first, second = (_centred(stats.rankdata(side[sound], axis=-1)) for side in (left, right))
    spread = np.sqrt((first**2).sum(-1) * (second**2).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        result[sound] = np.where(spread > 0, (first * second).sum(-1) / spread, np.nan)
    return result


def partial_rank_correlation(left: FloatArray, right: FloatArray, given: FloatArray) -> FloatArray:
    """Spearman's correlation of two measures with what both share with a third taken out.

    (r_lr - r_lg r_rg) / sqrt((1 - r_lg^2) (1 - r_rg^2)), r the rank correlations.

    Args:
        left: Shape (row, item); so have `right` and `given`.

    Returns:
        Shape (row,); NaN where one of the three correlations does not exist, or the third measure
        orders the items as one of the others does.

    Example:
        >>> left, right = np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([[2.0, 1.0, 4.0, 3.0]])
        >>> partial_rank_correlation(left, right, np.array([[1.0, 4.0, 3.0, 2.0]]))
        array([0.66666667])
    """
    both = rank_correlation(left, right)
    first, second = rank_correlation(left, given), rank_correlation(right, given)
    rest = (1 - first**2) * (1 - second**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        partial = (both - first * second) / np.sqrt(rest)
    return np.asarray(np.where(rest > 1e-12, partial, np.nan))


def crossing(curve: FloatArray, threshold: FloatArray) -> FloatArray:
    """Where each row of a curve first crosses a value, by linear interpolation.

    Args:
        curve: Shape (row, point), at positions 0, 1, 2, and so on.
        threshold: Shape (row,).

    Returns:
        Position, shape (row,); NaN where the curve stays on one side.

    Example:
        >>> crossing(np.array([[0.9, 0.7, 0.1]]), np.array([0.4]))
        array([1.5])
    """
    above = curve - threshold[:, None]
    changes = np.sign(above[:, :-1]) * np.sign(above[:, 1:]) <= 0
    found = changes.any(-1)
    first = changes.argmax(-1)
    rows = np.arange(len(curve))
    before, after = above[rows, first], above[rows, first + 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(before == after, 0.0, before / (before - after))
    return np.where(found, first + part, np.nan)


def _centred(ranks: FloatArray) -> FloatArray:
    return ranks - ranks.mean(-1, keepdims=True)
