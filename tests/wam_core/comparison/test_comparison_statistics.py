"""Statistics of comparisons against SciPy, closed forms and simulation."""

import numpy as np
import pytest
from scipy import stats

from wam_core.comparison.compositions import (
    centred_log_ratios,
    centroid_shift_octaves,
    composition_test,
    jensen_shannon,
    sum_by_group,
    wasserstein_octaves,
)
from wam_core.comparison.drift import profile_drift
from wam_core.comparison.paired import (
    cliffs_delta,
    cohens_dz,
    equivalence_p,
    holm,
    mcnemar,
    mean_differences,
    ratio_of_means,
    sign_flip_p,
)


def profiles(n: int, seed: int, weights: tuple[float, ...] = (3.0, 2.0, 1.0)) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.asarray(weights) * 5, n)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (5, 0), (3, 9), (40, 25)])
def test_mcnemar_is_the_binomial_tail(lost: int, gained: int) -> None:
    first = np.array([True] * lost + [False] * gained + [True] * 7)
    second = np.array([False] * lost + [True] * gained + [True] * 7)
    found = mcnemar(first, second)
    expected = min(1.0, 2 * stats.binom.cdf(min(lost, gained), lost + gained, 0.5))
    assert (found.first_only, found.second_only) == (lost, gained)
    assert found.p_value == pytest.approx(expected)


def test_bootstrap_of_differences_agrees_with_scipy_and_the_normal_law() -> None:
    rng = np.random.default_rng(3)
    first = rng.normal(size=(400, 1))
    second = first + rng.normal(0.1, 0.3, (400, 1))
    (found,) = mean_differences(first, second, np.arange(400), n_resamples=4000)
    expected = stats.bootstrap(
        ((second - first)[:, 0],), np.mean, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert found.estimate == pytest.approx(float((second - first).mean()))
    assert found.low == pytest.approx(expected.low, abs=0.004)
    assert found.high == pytest.approx(expected.high, abs=0.004)


def test_interval_of_a_ratio_agrees_with_the_delta_method() -> None:
    rng = np.random.default_rng(5)
    second = rng.uniform(0.2, 0.4, 600)
    first = 1.5 * second + rng.normal(0, 0.05, 600)
    found = ratio_of_means(first, second, np.arange(600), n_resamples=4000)
    ratio = first.mean() / second.mean()
    error = (first - ratio * second).std(ddof=1) / np.sqrt(600) / second.mean()
    assert found.estimate == pytest.approx(ratio)
    assert found.low == pytest.approx(ratio - 1.96 * error, abs=0.1 * 1.96 * error)
    assert found.high == pytest.approx(ratio + 1.96 * error, abs=0.1 * 1.96 * error)


def test_groups_are_resampled_whole() -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=40), 10)[:, None]
    zeros = np.zeros_like(values)
    (alone,) = mean_differences(zeros, values, np.arange(400))
    (grouped,) = mean_differences(zeros, values, np.repeat(np.arange(40), 10))
    widening = (grouped.high - grouped.low) / (alone.high - alone.low)
    assert widening == pytest.approx(np.sqrt(10), rel=0.12)
    (one,) = mean_differences(zeros, values, np.zeros(400, dtype=np.int64))
    assert (one.low, one.high) == (None, None)


def test_intervals_cover_the_true_difference_as_often_as_they_say() -> None:
    covered = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        difference = rng.normal(0.2, 1.0, (80, 1))
        (found,) = mean_differences(
            np.zeros((80, 1)), difference, np.arange(80), n_resamples=400, seed=seed
        )
        covered += found.low <= 0.2 <= found.high
    assert stats.binomtest(covered, 300, 0.95).pvalue > 0.001
    assert covered / 300 > 0.9


def test_effect_sizes_have_their_closed_forms() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.integers(0, 6, 70).astype(float), rng.integers(1, 8, 50).astype(float)
    expected = np.sign(second[:, None] - first[None]).mean()
    assert cliffs_delta(first, second) == pytest.approx(expected)
    difference = rng.normal(0.4, 1, 90)
    t_statistic = stats.ttest_1samp(difference, 0).statistic
    assert cohens_dz(difference) == pytest.approx(t_statistic / np.sqrt(90))
    assert cohens_dz(np.full(9, 0.1)) is None


def test_sign_flips_give_the_exact_p_value_of_few_pairs() -> None:
    difference = np.array([0.3, 1.2, -0.2, 0.8, 0.9, 0.4, 0.7, -0.1])
    exact = stats.permutation_test(
        (difference,), np.mean, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert sign_flip_p(difference, n_permutations=40_000) == pytest.approx(exact, abs=0.005)


def test_holm_is_monotone_and_bounded() -> None:
    p_values = [0.001, 0.2, 0.04, 0.012, 1.0]
    adjusted = holm(p_values)
    # By hand: sorted 0.001*5, 0.012*4, 0.04*3, 0.2*2, 1*1, made increasing.
    assert adjusted == pytest.approx([0.005, 0.4, 0.12, 0.048, 1.0])


def test_equivalence_is_two_one_sided_t_tests() -> None:
    difference = np.random.default_rng(4).normal(0.005, 0.05, 120)
    low = stats.ttest_1samp(difference, -0.02, alternative="greater").pvalue
    high = stats.ttest_1samp(difference, 0.02, alternative="less").pvalue
    assert equivalence_p(difference, 0.02) == pytest.approx(max(low, high))
    with pytest.raises(ValueError, match="positive"):
        equivalence_p(difference, 0.0)


def test_distances_between_profiles_agree_with_scipy() -> None:
    first, second = profiles(2, 1, (1, 2, 3, 4, 1))
    octaves = np.arange(1, 6)
    assert wasserstein_octaves(first, second) == pytest.approx(
        stats.wasserstein_distance(octaves, octaves, first, second)
    )
    assert centroid_shift_octaves(first, second) == pytest.approx(
        second @ octaves - first @ octaves
    )
    middle = (first + second) / 2
    divergence = (stats.entropy(first, middle, 2) + stats.entropy(second, middle, 2)) / 2
    assert jensen_shannon(first, second) == pytest.approx(divergence)


def test_log_ratios_are_centred_and_stand_zeros() -> None:
    shares = np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]])
    ratios = centred_log_ratios(shares)
    np.testing.assert_allclose(ratios.sum(1), 0, atol=1e-12)
    np.testing.assert_allclose(ratios[0], np.log(shares[0] / stats.gmean(shares[0])))
    assert np.isfinite(ratios).all()
    with pytest.raises(ValueError, match="sum to 1"):
        centred_log_ratios(2 * shares)


def test_p_values_are_uniform_without_a_difference() -> None:
    composed, flipped, drifted = [], [], []
    for seed in range(200):
        first, second = profiles(25, 2 * seed), profiles(25, 2 * seed + 1)
        arguments = {"n_permutations": 199, "seed": seed}
        composed.append(composition_test(first, second, np.arange(25), **arguments).p_value)
        flipped.append(sign_flip_p((second - first)[:, 0], **arguments))
        drifted.append(profile_drift(first, second, n_splits=99, seed=seed).p_value)
    for p_values in (composed, flipped, drifted):
        assert stats.kstest(p_values, "uniform").pvalue > 0.001


def test_differences_are_found() -> None:
    first, second = profiles(60, 1), profiles(60, 2, (2.0, 2.0, 2.0))
    assert composition_test(first, second, np.arange(60)).p_value < 0.001
    drift = profile_drift(first, second)
    assert drift.p_value < 0.01
    assert drift.distance_octaves > drift.null_95 > drift.null_median


def test_identical_profiles_have_no_difference() -> None:
    same = profiles(20, 1)
    found = composition_test(same, same, np.arange(20))
    assert (found.distance, found.p_value) == (0.0, 1.0)
    assert sign_flip_p(np.zeros(20)) == 1.0
    assert ratio_of_means(same[:, 0], same[:, 0], np.arange(20)).low == pytest.approx(1.0)


def test_sums_by_group() -> None:
    sums = sum_by_group(np.array([[1.0], [2.0], [4.0]]), np.array([7, 3, 7]))
    np.testing.assert_array_equal(sums, [[2.0], [5.0]])


def test_a_hundred_thousand_samples_fit() -> None:
    values = np.random.default_rng(0).uniform(size=(100_000, 1))
    (found,) = mean_differences(0 * values, values, np.arange(100_000), n_resamples=40)
    assert found.low < 0.5 + 0.01
    assert found.n == 100_000
