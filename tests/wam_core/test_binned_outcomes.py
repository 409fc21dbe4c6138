"""Areas and slopes from counts are those of the samples, by pairs and by SciPy's optimiser."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from wam_core.agreement import partial_rank_correlation
from wam_core.binned_outcomes import (
    LIMIT,
    area_under_curve,
    bin_numbers,
    log_odds,
    logistic_slope,
)
from wam_core.sensitivity import predicted_sensitivity

samples = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.25, 0.5, 1.0])), min_size=3, max_size=25
)


def counted(rows):
    """Rate and count of every bin from samples of (bin, part with the event); one stratum."""
    places = np.array([place for place, _ in rows])
    parts = np.array([part for _, part in rows])
    count = np.bincount(places, minlength=6).astype(float)
    events = np.bincount(places, parts, minlength=6)
    with np.errstate(invalid="ignore"):
        return (events / count)[None, None], count[None, None]


@given(samples)
def test_the_area_is_the_share_of_ordered_pairs(rows):
    pairs = ordered = 0.0
    for place, part in rows:
        for other, other_part in rows:
            weight = part * (1 - other_part)
            pairs += weight
            ordered += weight * ((place > other) + 0.5 * (place == other))
    (area,) = area_under_curve(*counted(rows))
    if pairs == 0:
        assert np.isnan(area)
    else:
        assert area == pytest.approx(ordered / pairs)


@given(samples)
def test_the_slope_is_that_of_an_optimiser_wherever_a_maximum_exists(rows):
    x = np.array([place for place, _ in rows], dtype=float)
    y = np.array([part for _, part in rows])
    (slope,) = logistic_slope(np.arange(6.0), *counted(rows))
    deviation = x.std()
    with_event, without = x[y > 0], x[y < 1]
    separated = (
        not len(with_event)
        or not len(without)
        or with_event.min() >= without.max()
        or with_event.max() <= without.min()
    )
    assert np.isnan(slope) == bool(separated or deviation == 0)
    if np.isnan(slope):
        return
    standard = (x - x.mean()) / deviation

    def loss(beta):
        score = beta[0] + beta[1] * standard
        return float(np.logaddexp(0, score).sum() - (y * score).sum())

    best = optimize.minimize(loss, [0.0, 0.0], method="BFGS", options={"gtol": 1e-8})
    assert loss([_intercept(loss, slope), slope]) <= best.fun + 1e-6
    assert slope == pytest.approx(best.x[1], abs=2e-3, rel=2e-3)


def _intercept(loss, slope):
    return optimize.minimize_scalar(lambda a: loss([a, slope]), bracket=(-5, 5)).x


@pytest.fixture
def strata():
    """Four rows of three strata, one of which has no event in the last row."""
    rng = np.random.default_rng(0)
    rate, count = rng.uniform(0, 1, (4, 3, 6)), rng.integers(0, 9, (4, 3, 6)).astype(float)
    count[..., :3] += 1
    rate[3, 1] = 0
    return rate, count


def test_rows_are_computed_each_on_its_own(strata):
    rate, count = strata
    together = logistic_slope(np.arange(6.0), rate, count)
    alone = [logistic_slope(np.arange(6.0), rate[[row]], count[[row]])[0] for row in range(4)]
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    areas = [area_under_curve(rate[[row]], count[[row]])[0] for row in range(4)]
    np.testing.assert_array_equal(area_under_curve(rate, count), areas)


def test_a_slope_common_to_strata_is_that_of_an_optimiser(strata):
    rate, count = strata
    x = np.arange(6.0)
    for row, slope in enumerate(logistic_slope(x, rate, count)):
        mean = (count[row] * x).sum() / count[row].sum()
        deviation = np.sqrt((count[row] * (x - mean) ** 2).sum() / count[row].sum())
        used = [stratum for stratum in range(3) if rate[row, stratum].any()]

        def loss(beta, row=row, used=used, standard=(x - mean) / deviation):
            score = beta[1:, None] + beta[0] * standard
            outcome = rate[row, used]
            return float((count[row, used] * (np.logaddexp(0, score) - outcome * score)).sum())

        best = optimize.minimize(loss, np.zeros(1 + len(used)), options={"gtol": 1e-8})
        assert slope == pytest.approx(best.x[0], abs=1e-4)


def test_areas_are_of_pairs_within_a_stratum(strata):
    rate, count = strata
    for row, area in enumerate(area_under_curve(rate, count)):
        with_event = rate[row] * count[row]
        without = count[row] - with_event
        order = np.sign(np.subtract.outer(np.arange(6), np.arange(6))) / 2 + 0.5
        ordered = sum(with_event[s] @ order @ without[s] for s in range(3))
        pairs = sum(with_event[s].sum() * without[s].sum() for s in range(3))
        assert area == pytest.approx(ordered / pairs)


def test_what_parts_every_stratum_the_same_way_has_no_slope():
    count = np.full((1, 2, 4), 3.0)
    parted = np.array([[[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0]]])
    x = np.arange(4.0)
    assert np.isnan(logistic_slope(x, parted, count)[0])
    assert area_under_curve(parted, count)[0] == 1.0
    opposite = np.stack([parted[:, 0], 1 - parted[:, 1]], axis=1)
    assert np.isfinite(logistic_slope(x, opposite, count)[0])


def test_bins_of_log_odds_are_finite_and_hold_their_values():
    odds = log_odds(np.array([0.0, 1e-9, 0.2, 0.5, 0.8, 1.0]))
    np.testing.assert_allclose(odds[2:5], [-np.log(4), 0, np.log(4)])
    assert np.abs(odds).max() == LIMIT
    numbers = bin_numbers(odds, 0.05)
    assert numbers.min() == -320
    assert numbers.max() == 319
    inside = np.abs(odds) < LIMIT
    assert (0.05 * numbers[inside] <= odds[inside] + 1e-9).all()
    assert (odds[inside] <= 0.05 * (numbers[inside] + 1)).all()


def test_partial_correlation_is_that_of_residuals_of_ranks():
    rng = np.random.default_rng(1)
    given_ = rng.normal(size=40)
    left, right = given_ + rng.normal(size=40), given_ + rng.normal(size=40)
    ranks = [stats.rankdata(values) for values in (left, right, given_)]

    def residual(values):
        fit = stats.linregress(ranks[2], values)
        return values - fit.intercept - fit.slope * ranks[2]

    expected = np.corrcoef(residual(ranks[0]), residual(ranks[1]))[0, 1]
    found = partial_rank_correlation(left[None], right[None], given_[None])
    assert found[0] == pytest.approx(expected)
    assert np.isnan(partial_rank_correlation(left[None], right[None], left[None])[0])


def test_sensitivity_is_the_size_of_damage_times_the_reliance_where_it_lies():
    share = np.array([[0.5, 0.3, 0.2]])
    footprint = np.array([[[1, 0, 0], [0, 0, 1], [0.2, 0.3, 0.5]]])
    found = predicted_sensitivity(share, footprint, np.array([[2.0, 2.0, 1.0]]))
    np.testing.assert_allclose(found, [[1.0, 0.4, 0.29]])
