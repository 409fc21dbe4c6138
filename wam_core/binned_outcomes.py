"""Does a number tell which samples an event befalls? From counts per bin of that number.

Samples are sorted into bins of a predictor; all that is kept of a bin is how many samples it has
and which part of them the event befalls. Such counts add up over shards and bootstrap replicates,
and the area under the curve and the logistic fit that they give are exactly those of the binned
predictor: samples of one bin count as ties.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LIMIT = 16.0
"""Predictors beyond count as this; in logits, a part of 1e-7."""

_STEPS = 60
_LONGEST_STEP = 1.0
_CONVERGED = 1e-9


def log_odds(part: FloatArray) -> FloatArray:
    """Logarithm of part / (1 - part), which spreads parts near 0 and 1; within ±`LIMIT`.

    Example:
        >>> log_odds(np.array([0.5, 0.0, 1.0]))
        array([  0., -16.,  16.])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(np.log(part) - np.log1p(-part), -LIMIT, LIMIT)


def bin_numbers(predictor: FloatArray, width: float) -> IntArray:
    """Number of each value's bin; bin k reaches from k width to (k + 1) width.

    Args:
        predictor: Finite values.

    Example:
        >>> bin_numbers(np.array([-0.01, 0.0, 0.26]), 0.1)
        array([-1,  0,  2])
    """
    most = math.ceil(LIMIT / width)
    numbers = np.floor(np.round(predictor / width, 9)).astype(np.int64)
    return np.clip(numbers, -most, most - 1)


def area_under_curve(rate: FloatArray, count: FloatArray) -> FloatArray:
    """Probability that a sample with the event has the larger predictor; ties count half.

    Args:
        rate: Part of each bin that the event befalls, shape (row, bin), bins in increasing order;
            where a bin has no sample it may be NaN.
        count: Samples of each bin, shape (row, bin).

    Returns:
        Shape (row,); NaN where the event befalls all or none.

    Example:
        >>> area_under_curve(np.array([[0.0, 0.5, 1.0]]), np.array([[2.0, 2.0, 2.0]]))
        array([0.94444444])
    """
    with_event, without = _split(rate, count)
    below = np.cumsum(without, axis=1) - without
    ordered = (with_event * (below + 0.5 * without)).sum(1)
    pairs = with_event.sum(1) * without.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(pairs > 0, ordered / pairs, np.nan))


def logistic_slope(place: FloatArray, rate: FloatArray, count: FloatArray) -> FloatArray:
    """Change of the event's log odds per standard deviation of the predictor.

    The maximum of the likelihood of log odds = a + b (x - mean) / deviation, by Newton's method;
    the likelihood is concave. Parts of an event count as such (quasi-binomial).

    Args:
        place: Predictor of each bin, shape (bin,), increasing.
        rate: See `area_under_curve`; so is `count`.

    Returns:
        b, shape (row,); NaN where no finite maximum exists: one value of the predictor parts the
        samples with the event from those without, or the predictor does not vary.
    """
    with_event, without = _split(rate, count)
    n = count.sum(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (count * place).sum(1, keepdims=True) / n
        deviation = np.sqrt((count * (place - mean) ** 2).sum(1, keepdims=True) / n)
        standard = (place - mean) / deviation
    exists = _overlaps(with_event, without) & (deviation[:, 0] > 0)
    slope = np.full(len(rate), np.nan)
    if exists.any():
        slope[exists] = _newton(standard[exists], with_event[exists], count[exists])
    return slope


def _newton(x: FloatArray, with_event: FloatArray, count: FloatArray) -> FloatArray:
    part = with_event.sum(1) / count.sum(1)
    intercept, slope = np.log(part / (1 - part)), np.zeros(len(x))
    for _ in range(_STEPS):
        expected = count / (1 + np.exp(-(intercept[:, None] + slope[:, None] * x)))
        missing = with_event - expected
        weight = expected * (1 - expected / np.where(count > 0, count, 1))
        first, second = missing.sum(1), (missing * x).sum(1)
        h11, h12, h22 = weight.sum(1), (weight * x).sum(1), (weight * x * x).sum(1)
        determinant = np.maximum(h11 * h22 - h12**2, 1e-12 * h11 * h22 + 1e-300)
        step_intercept = (h22 * first - h12 * second) / determinant
        step_slope = (h11 * second - h12 * first) / determinant
        length = np.maximum(np.abs(step_intercept), np.abs(step_slope))
        shorter = np.minimum(1.0, _LONGEST_STEP / np.maximum(length, 1e-300))
        intercept, slope = intercept + shorter * step_intercept, slope + shorter * step_slope
        if float(length.max()) < _CONVERGED:
            break
    return slope


def _split(rate: FloatArray, count: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Samples of each bin with the event, and without."""
    with_event = np.where(count > 0, np.nan_to_num(rate) * count, 0.0)
    return with_event, count - with_event


def _overlaps(with_event: FloatArray, without: FloatArray) -> NDArray[np.bool_]:
    """Whether neither kind lies wholly on one side of the other, ties included."""
    bins = np.arange(with_event.shape[1])

    def ends(samples: FloatArray) -> tuple[FloatArray, FloatArray]:
        present = samples > 1e-12
        return (
            np.where(present, bins, np.inf).min(1),
            np.where(present, bins, -np.inf).max(1),
        )

    lowest, highest = ends(with_event)
    lowest_other, highest_other = ends(without)
    return np.asarray((lowest < highest_other) & (lowest_other < highest))
