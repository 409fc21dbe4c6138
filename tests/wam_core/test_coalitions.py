"""The game of levels: against closed forms, brute force over orders, and pywt."""

import itertools
import math

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from wam_core.agreement import crossing, rank_correlation
from wam_core.baselines import sample_mean
from wam_core.basis import CoefficientLayout, WaveletBasis
from wam_core.coalitions import (
    components,
    full,
    only,
    pairs,
    shapley_interactions,
    shapley_values,
    without,
)
from wam_core.transform import decompose

games = st.integers(2, 5).flatmap(
    lambda n: st.tuples(
        st.just(n),
        st.lists(st.floats(-1, 1), min_size=1 << n, max_size=1 << n).map(np.array),
    )
)


def by_orders(values, n_players):
    """Mean marginal contribution over all orders in which the players can arrive."""
    total = np.zeros(n_players)
    for order in itertools.permutations(range(n_players)):
        coalition = 0
        for player in order:
            joined = coalition | 1 << player
            total[player] += values[joined] - values[coalition]
            coalition = joined
    return total / math.factorial(n_players)


@given(games)
def test_shapley_values_are_the_mean_over_all_orders_of_arrival(game):
    n_players, values = game
    np.testing.assert_allclose(
        shapley_values(values[None], n_players)[0], by_orders(values, n_players), atol=1e-12
    )


@given(games)
def test_shapley_values_share_out_exactly_what_there_is(game):
    n_players, values = game
    total = shapley_values(values[None], n_players).sum()
    assert total == pytest.approx(values[full(n_players)] - values[0], abs=1e-12)


@given(games)
def test_an_interaction_is_the_value_of_a_pair_less_those_of_its_members_alone(game):
    """The recursive definition: I_ij is the value of the merged player in the game where the two
    are one, less the value of each in the game without the other."""
    n_players, values = game
    found = shapley_interactions(values[None], n_players)[0]
    for pair, (i, j) in enumerate(pairs(n_players)):
        others = [player for player in range(n_players) if player not in (i, j)]

        def value(members):
            return values[sum(1 << player for player in members)]

        def of_last(extra, others=others, value=value):
            """Shapley value of a player that brings `extra`, among the others."""
            n = len(others) + 1
            result = 0.0
            for size in range(n):
                weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
                for members in itertools.combinations(others, size):
                    result += weight * (value([*members, *extra]) - value(members))
            return result

        expected = of_last([i, j]) - of_last([i]) - of_last([j])
        assert found[pair] == pytest.approx(expected, abs=1e-12)


def test_an_additive_game_has_no_interactions():
    worth = np.array([0.3, -0.2, 0.5])
    values = np.array([sum(worth[p] for p in range(3) if c >> p & 1) for c in range(8)])
    np.testing.assert_allclose(shapley_values(values[None], 3)[0], worth, atol=1e-12)
    np.testing.assert_allclose(shapley_interactions(values[None], 3), 0, atol=1e-12)


def test_values_of_another_number_of_players_are_refused():
    with pytest.raises(ValueError, match="3 players form 8 coalitions, but there are 4 values"):
        shapley_values(np.zeros((1, 4)), 3)


@pytest.mark.parametrize("space", [(33,), (12, 17), (10, 11, 12)])
@pytest.mark.parametrize("wavelet", ["haar", "db3"])
def test_components_sum_to_the_signal(space, wavelet):
    basis = WaveletBasis(wavelet, 1)
    layout = CoefficientLayout(space, basis)
    signal = torch.randn(2, 2, *space, generator=torch.Generator().manual_seed(0))
    parts = components(
        decompose(signal, basis), [layout.bands_of(name) for name in layout.level_names]
    )
    assert parts.shape == (2, 2, *signal.shape[1:])
    torch.testing.assert_close(parts.sum(1), signal, rtol=0, atol=1e-5)


def test_the_component_of_a_level_is_what_pywt_rebuilds_of_it():
    basis = WaveletBasis("db2", 2)
    signal = torch.randn(1, 1, 24, 20, generator=torch.Generator().manual_seed(1)).double()
    layout = CoefficientLayout((24, 20), basis)
    parts = components(
        decompose(signal, basis), [layout.bands_of(name) for name in layout.level_names]
    )
    coarse, level_2, level_1 = pywt.wavedec2(signal[0, 0].numpy(), "db2", "zero", level=2)
    nothing = tuple(np.zeros_like(band) for band in level_2)
    silent = tuple(np.zeros_like(band) for band in level_1)
    expected = [
        pywt.waverec2([np.zeros_like(coarse), nothing, level_1], "db2", "zero"),
        pywt.waverec2([np.zeros_like(coarse), level_2, silent], "db2", "zero"),
        pywt.waverec2([coarse, nothing, silent], "db2", "zero"),
    ]
    np.testing.assert_allclose(parts[0, :, 0].numpy(), expected, atol=1e-10)


def test_the_mean_of_a_sample_ignores_its_padding():
    signal = torch.tensor([[[1.0, 3.0, 9.0]], [[2.0, 2.0, 5.0]]])
    support = torch.tensor([[[1.0, 1.0, 0.0]], [[1.0, 1.0, 1.0]]])
    assert sample_mean(signal, support).tolist() == [[[2.0, 2.0, 0.0]], [[3.0, 3.0, 3.0]]]
    assert sample_mean(signal)[0, 0, 0] == pytest.approx(13 / 3)


def test_coalitions_are_named_by_bits():
    assert [full(3), without(1, 3), only(2)] == [0b111, 0b101, 0b100]


def test_rank_correlation_is_scipys_row_by_row():
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 4, (30, 6)).astype(float), rng.normal(size=(30, 6))
    expected = [
        stats.spearmanr(a, b).statistic if len(set(a)) > 1 else np.nan
        for a, b in zip(left, right, strict=True)
    ]
    np.testing.assert_allclose(rank_correlation(left, right), expected, atol=1e-12)


def test_rank_correlation_of_what_has_no_order_is_not_a_number():
    left = np.array([[1.0, 1.0, 1.0], [1.0, np.nan, 2.0]])
    assert np.isnan(rank_correlation(left, np.array([[1.0, 2.0, 3.0]] * 2))).all()


def test_a_curve_that_never_crosses_has_no_crossing():
    curve = np.array([[0.9, 0.8, 0.7], [0.1, 0.5, 0.9], [0.9, 0.4, 0.9]])
    found = crossing(curve, np.array([0.5, 0.5, 0.65]))
    assert np.isnan(found[0])
    assert found[1:].tolist() == [1.0, 0.5]
