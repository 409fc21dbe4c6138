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
        predictor: No NaN; beyond ±`LIMIT` it counts as that.

    Example:
        >>> bin_numbers(np.array([-0.01, 0.0, 0.26]), 0.1)
        array([-1,  0,  2])
    """
    most = math.ceil(LIMIT / width)
    limited = np.clip(predictor, -LIMIT, LIMIT)
    numbers = np.floor(np.round(limited / width, 9)).astype(np.int64)
    return np.clip(numbers, -most, most - 1)


def area_under_curve(rate: FloatArray, count: FloatArray) -> FloatArray:
    """Probability that a sample with the event has the larger predictor; ties count half.

    Pairs are formed within a stratum (such as one severity of a damage) and added up over strata.

    Args:
        rate: Part of each bin that the event befalls, shape (row, stratum, bin), bins in increasing
            order; where a bin has no sample it may be NaN.
        count: Samples of each bin, shape (row, stratum, bin).

    Returns:
        Shape (row,); NaN where the event befalls all or none in every stratum.

    Example:
        >>> area_under_curve(np.array([[[0.0, 0.5, 1.0]]]), np.array([[[2.0, 2.0, 2.0]]]))
        array([0.94444444])
    """
    with_event, without = _split(rate, count)
    below = np.cumsum(without, axis=-1) - without
    ordered = (with_event * (below + 0.5 * without)).sum((-2, -1))
    pairs = (with_event.sum(-1) * without.sum(-1)).sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(pairs > 0, ordered / pairs, np.nan))


def logistic_slope(place: FloatArray, rate: FloatArray, count: FloatArray) -> FloatArray:
    """Change of the event's log odds per standard deviation of the predictor.

    The maximum of the likelihood of log odds = a_s + b (x - mean) / deviation, with an intercept
    for every stratum s and one slope, by Newton's method; the likelihood is concave. Parts of an
    event count as such (quasi-binomial).

    Args:
        place: Predictor of each bin, shape (bin,), increasing.
        rate: See `area_under_curve`; so is `count`.

    Returns:
        b, shape (row,); NaN where no finite maximum exists: in every stratum some value of the
        predictor parts the samples with the event from those without, all the same way round, or
        the predictor does not vary.
    """
    with_event, without = _split(rate, count)
    informative = (with_event.sum(-1) > 0) & (without.sum(-1) > 0)
    n = count.sum((-2, -1))[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (count * place).sum((-2, -1))[:, None] / n
        variance = (count * (place - mean[..., None]) ** 2).sum((-2, -1))[:, None] / n
        standard = (place - mean) / np.sqrt(variance)
    exists = _overlaps(with_event, without, informative) & (variance[:, 0] > 1e-18)
    slope = np.full(len(rate), np.nan)
    if exists.any():
        kept = informative[exists][..., None]
        slope[exists] = _newton(
            standard[exists][:, None], with_event[exists] * kept, count[exists] * kept
        )
    return slope


def _newton(x: FloatArray, with_event: FloatArray, count: FloatArray) -> FloatArray:
    """Shapes (row, 1, bin) and (row, stratum, bin); strata without a sample have no intercept."""
    n = count.sum(-1)
    part = np.where(n > 0, with_event.sum(-1) / np.where(n > 0, n, 1), 0.5)
    intercept, slope = np.log(part / (1 - part)), np.zeros(len(x))
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-(intercept[..., None] + slope[:, None, None] * x)))
        missing, weight = with_event - count * chance, count * chance * (1 - chance)
        first, own = missing.sum(-1), np.maximum(weight.sum(-1), 1e-12)
        mixed = (weight * x).sum(-1)
        curvature = (weight * x * x).sum((-2, -1)) - (mixed**2 / own).sum(-1)
        gradient = (missing * x).sum((-2, -1)) - (mixed * first / own).sum(-1)
        step = gradient / np.maximum(curvature, 1e-12)
        step *= np.minimum(1.0, _LONGEST_STEP / np.maximum(np.abs(step), 1e-300))
        change = np.clip((first - mixed * step[:, None]) / own, -_LONGEST_STEP, _LONGEST_STEP)
        slope, intercept = slope + step, intercept + change
        if max(float(np.abs(step).max()), float(np.abs(change).max())) < _CONVERGED:
            break
    return slope


def _split(rate: FloatArray, count: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Samples of each bin with the event, and without."""
    with_event = np.where(count > 0, np.nan_to_num(rate) * count, 0.0)
    return with_event, count - with_event


def _overlaps(
    with_event: FloatArray, without: FloatArray, informative: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Whether the strata are not all parted the same way round, ties included; shape (row,)."""
    bins = np.arange(with_event.shape[-1])

    def ends(samples: FloatArray) -> tuple[FloatArray, FloatArray]:
        present = samples > 1e-12
        lowest = np.where(present, bins, np.inf).min(-1)
        return lowest, np.where(present, bins, -np.inf).max(-1)

    lowest, highest = ends(with_event)
    lowest_other, highest_other = ends(without)
    rising = (lowest >= highest_other) | ~informative
    falling = (highest <= lowest_other) | ~informative
    return np.asarray(~rising.all(-1) & ~falling.all(-1))
