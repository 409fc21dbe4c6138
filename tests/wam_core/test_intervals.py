"""Intervals against scipy's, their coverage on simulated data, and their merging."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from wam_core.intervals import (
    Interval,
    ReplicateSums,
    poisson_weights,
    quantile_interval,
    wilson_interval,
)
from wam_core.noise import generator

N_RESAMPLES = 2000


def _keys(n: int) -> list[str]:
    return [f"sample-{index}" for index in range(n)]


def _width(interval: Interval) -> float:
    return interval.high - interval.low


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize(
    ("successes", "n"), [(0, 1), (1, 1), (0, 50), (50, 50), (45, 50), (1, 500), (446, 500)]
)
def test_wilson_equals_scipy(successes, n, confidence):
    interval = wilson_interval(successes, n, confidence)
    expected = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert interval.estimate == successes / n
    assert interval.low == pytest.approx(expected.low, abs=1e-12)
    assert interval.high == pytest.approx(expected.high, abs=1e-12)
    assert interval.n == n


@given(n=st.integers(1, 10**6), share=st.floats(0, 1))
def test_wilson_bounds_enclose_the_estimate_within_zero_and_one(n, share):
    interval = wilson_interval(round(share * n), n)
    assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
    assert interval.low < interval.high


def test_wilson_of_nothing_is_nothing():
    assert wilson_interval(0, 0) == Interval(None, None, None, 0)


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 5)])
def test_wilson_refuses_impossible_counts(successes, n):
    with pytest.raises(ValueError, match=f"0 to n = {n}, got {successes}"):
        wilson_interval(successes, n)


def test_weights_are_poisson_and_equal_for_equal_keys():
    weights = poisson_weights(["a", "b", "a"], 20_000, seed=3)
    assert weights.shape == (3, 20_000)
    assert np.array_equal(weights[0], weights[2])
    counts = np.bincount(weights[0].astype(int), minlength=7)[:7]
    expected = stats.poisson(1).pmf(np.arange(7))
    expected[-1] += stats.poisson(1).sf(6)
    counts[-1] = 20_000 - counts[:-1].sum()
    assert stats.chisquare(counts, 20_000 * expected).pvalue > 0.01
    assert abs(np.corrcoef(weights[0], weights[1])[0, 1]) < 0.03


def test_weights_depend_on_seed_and_key_alone():
    first = poisson_weights(["a", "b"], 50, seed=0)
    assert np.array_equal(first[1:], poisson_weights(["b"], 50, seed=0))
    assert not np.array_equal(first, poisson_weights(["a", "b"], 50, seed=1))
    assert poisson_weights([], 50, seed=0).shape == (0, 50)


def test_weights_do_not_reuse_the_noise_of_the_same_sample():
    """Seed and key may coincide with those of a sample's noise; the streams must not."""
    shared = generator(0, "a", 0).poisson(1.0, 200)
    assert not np.array_equal(poisson_weights(["a"], 200, seed=0)[0], shared)


def test_the_interval_of_a_mean_covers_it_about_as_often_as_it_says():
    """300 independent data sets of 100 normal values; 95 % +- 1.3 % if the interval is exact."""
    rng = np.random.default_rng(0)
    values = rng.normal(3.0, 2.0, (100, 300))
    sums = ReplicateSums.of(values, poisson_weights(_keys(100), N_RESAMPLES, seed=1))
    covered = [interval.low <= 3.0 <= interval.high for interval in sums.intervals()]
    assert 0.905 <= np.mean(covered) <= 0.985


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_of_a_mean_is_as_wide_as_scipys_bootstrap(confidence):
    rng = np.random.default_rng(1)
    values = rng.gamma(2.0, 1.0, (100, 4))
    sums = ReplicateSums.of(values, poisson_weights(_keys(100), N_RESAMPLES, seed=1))
    for column, interval in zip(values.T, sums.intervals(confidence), strict=True):
        expected = stats.bootstrap(
            (column,),
            np.mean,
            n_resamples=N_RESAMPLES,
            confidence_level=confidence,
            method="percentile",
            rng=np.random.default_rng(2),
        ).confidence_interval
        assert interval.estimate == pytest.approx(column.mean(), rel=1e-12)
        assert _width(interval) == pytest.approx(expected.high - expected.low, rel=0.15)
        assert interval.low == pytest.approx(expected.low, abs=0.2 * _width(interval))


def test_samples_that_share_a_source_widen_the_interval_as_a_cluster_bootstrap_does():
    n_groups, per_group = 30, 10
    rng = np.random.default_rng(0)
    effects = rng.normal(0, 1, n_groups)
    values = (effects[:, None] + rng.normal(0, 0.3, (n_groups, per_group))).reshape(-1, 1)
    groups = [f"recording-{index}" for index in np.repeat(np.arange(n_groups), per_group)]
    (clustered,) = ReplicateSums.of(values, poisson_weights(groups, N_RESAMPLES, 0)).intervals()
    (single,) = ReplicateSums.of(
        values, poisson_weights(_keys(len(values)), N_RESAMPLES, 0)
    ).intervals()
    group_means = values.reshape(n_groups, per_group).mean(1)
    drawn = rng.integers(0, n_groups, (N_RESAMPLES, n_groups))
    low, high = np.quantile(group_means[drawn].mean(1), [0.025, 0.975])
    assert clustered.estimate == single.estimate == pytest.approx(values.mean())
    assert _width(clustered) == pytest.approx(high - low, rel=0.15)
    assert _width(clustered) > 2.5 * _width(single)


@given(
    parts=st.lists(st.integers(0, 3), min_size=1, max_size=24),
    order=st.randoms(use_true_random=False),
)
@settings(max_examples=50)
def test_shards_merge_in_any_partition_and_order(parts, order):
    """Architecture: any partition of the samples gives the same summary."""
    rng = np.random.default_rng(len(parts))
    values = rng.normal(size=(len(parts), 3))
    values[rng.random(values.shape) < 0.2] = np.nan
    weights = poisson_weights(_keys(len(parts)), 40, seed=5)
    whole = ReplicateSums.of(values, weights)
    shards = [np.flatnonzero(np.array(parts) == part) for part in range(4)]
    order.shuffle(shards)
    merged = ReplicateSums.of(values[:0], weights[:0])
    for rows in shards:
        merged = merged.merge(ReplicateSums.of(values[rows], weights[rows]))
    for name in ("sums", "counts", "weighted_sums", "weighted_counts"):
        np.testing.assert_allclose(
            getattr(merged, name), getattr(whole, name), rtol=1e-12, atol=1e-12
        )
    for one, other in zip(merged.intervals(), whole.intervals(), strict=True):
        assert one.n == other.n
        for bound in ("estimate", "low", "high"):
            first, second = getattr(one, bound), getattr(other, bound)
            assert (first is None) == (second is None)
            assert first is None or first == pytest.approx(second, rel=1e-9, abs=1e-9)


def test_missing_values_change_n_and_are_never_imputed():
    rng = np.random.default_rng(0)
    values = rng.normal(5.0, 1.0, (60, 2))
    values[::3, 1] = np.nan
    weights = poisson_weights(_keys(60), 500, seed=0)
    present = ~np.isnan(values[:, 1])
    complete, partial = ReplicateSums.of(values, weights).intervals()
    (alone,) = ReplicateSums.of(values[present, 1:], weights[present]).intervals()
    assert complete.n == 60
    assert partial.n == alone.n == 40
    for bound in ("estimate", "low", "high"):
        assert getattr(partial, bound) == pytest.approx(getattr(alone, bound), rel=1e-12)


def test_no_samples_have_no_estimate_and_one_has_no_bounds():
    values = np.array([[1.0, np.nan, 2.0], [3.0, np.nan, np.nan]])
    intervals = ReplicateSums.of(values, poisson_weights(_keys(2), 200, seed=0)).intervals()
    assert intervals[1] == Interval(None, None, None, 0)
    assert intervals[2] == Interval(2.0, None, None, 1)
    assert intervals[0].low <= intervals[0].estimate <= intervals[0].high
    empty = ReplicateSums.of(values[:0], poisson_weights([], 200, seed=0)).intervals()
    assert empty == [Interval(None, None, None, 0)] * 3


def test_samples_of_one_source_alone_have_no_bounds():
    """All replicates of one group are the same number: an interval of width zero would be false."""
    values = np.random.default_rng(0).normal(size=(40, 2))
    one = poisson_weights(["patient-7"] * 40, 500, seed=0)
    for interval, mean in zip(
        ReplicateSums.of(values, one).intervals(), values.mean(0), strict=True
    ):
        assert interval.estimate == pytest.approx(mean)
        assert interval.low is interval.high is None
        assert interval.n == 40
    two = poisson_weights(["patient-7"] * 20 + ["patient-8"] * 20, 500, seed=0)
    assert all(_width(interval) > 0 for interval in ReplicateSums.of(values, two).intervals())


def test_equal_values_have_an_interval_of_width_zero():
    values = np.full((50, 1), 0.1)
    (interval,) = ReplicateSums.of(values, poisson_weights(_keys(50), 300, seed=0)).intervals()
    assert interval.low == pytest.approx(0.1)
    assert interval.high == pytest.approx(0.1)
    assert interval.low <= interval.estimate <= interval.high


def test_values_and_weights_of_different_samples_are_refused():
    with pytest.raises(ValueError, match="3 rows of values but 2 rows of weights"):
        ReplicateSums.of(np.zeros((3, 1)), np.zeros((2, 5)))


@pytest.mark.parametrize(
    ("probability", "n", "confidence"),
    list(itertools.product([0.5, 0.95], [20, 100], [0.9, 0.95])),
)
def test_the_interval_of_a_quantile_covers_it_at_least_as_often_as_it_says(
    probability, n, confidence
):
    rng = np.random.default_rng(0)
    truth = stats.expon.ppf(probability)
    covered = []
    for values in rng.exponential(size=(600, n)):
        interval = quantile_interval(values, probability, confidence)
        low = -np.inf if interval.low is None else interval.low
        high = np.inf if interval.high is None else interval.high
        covered.append(low <= truth <= high)
    # Two standard errors of a share of 600; order statistics are discrete, so it may be more.
    assert np.mean(covered) >= confidence - 2 * np.sqrt(confidence * (1 - confidence) / 600)


def test_a_quantile_interval_is_made_of_order_statistics():
    values = np.arange(100.0)
    interval = quantile_interval(values, 0.5, 0.95)
    # The 40th and the 61st of 100 values: the textbook interval of a median.
    assert (interval.low, interval.high) == (39.0, 60.0)
    assert interval.estimate == 49.5


def test_the_quantile_of_few_values_has_no_bounds_where_none_can_be_given():
    assert quantile_interval(np.array([2.0]), 0.5, 0.95) == Interval(2.0, None, None, 1)
    few = quantile_interval(np.arange(10.0), 0.95, 0.95)
    assert few.high is None
    assert few.low == pytest.approx(7.0)
    assert quantile_interval(np.array([]), 0.5, 0.95) == Interval(None, None, None, 0)
    assert quantile_interval(np.array([np.nan]), 0.5, 0.95) == Interval(None, None, None, 0)


def test_a_quantile_ignores_missing_values():
    values = np.random.default_rng(0).normal(size=50)
    with_missing = np.concatenate([values[:20], [np.nan] * 7, values[20:]])
    assert quantile_interval(with_missing, 0.5, 0.9) == quantile_interval(values, 0.5, 0.9)
