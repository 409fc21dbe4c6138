"""WAM_CG: exact for linear scores, Shapley values for multilinear ones, and each sample alone."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch
from torch import Tensor

from wam_core import (
    CoefficientLayout,
    WaveletBasis,
    coalition_gradients,
    decompose,
    gradient,
    integrated_gradients,
)

HAAR = WaveletBasis("haar", 1, "zero")
SPACES = [((32,), "db2"), ((12, 18), "bior2.2"), ((8, 10, 12), "haar")]
EXACT = {"atol": 1e-11, "rtol": 1e-9}


def ids(signal: Tensor) -> list[str]:
    return [f"sample {place}" for place in range(len(signal))]


def explain(score, signal, basis, **options):
    defaults = {"baseline": torch.zeros_like(signal), "sample_ids": ids(signal), "seed": 7}
    return coalition_gradients(score, signal, basis, **(defaults | options))


@pytest.fixture
def linear_score(make_signal):
    weights = {}

    def make(signal):
        weights["w"] = make_signal(1, *signal.shape[2:], seed=5)[0]
        return lambda rows, sample: (rows * weights["w"]).flatten(1).sum(1)

    return make


@pytest.mark.parametrize(("space", "wavelet"), SPACES, ids=str)
@pytest.mark.parametrize("keep", [True, False])
def test_a_linear_score_is_explained_exactly(make_signal, linear_score, space, wavelet, keep):
    signal, start = make_signal(2, *space), 0.3 * make_signal(2, *space, seed=1)
    basis = WaveletBasis(wavelet, 1, "reflect")
    score = linear_score(signal)
    result = explain(score, signal, basis, baseline=start, n_samples=4, keep_approximation=keep)
    path = integrated_gradients(score, signal, basis, baseline=start, n_steps=1)
    torch.testing.assert_close(result.attribution.flat, path.attribution.flat, **EXACT)
    torch.testing.assert_close(result.magnitude.flat, path.attribution.flat.abs(), **EXACT)
    assert result.n_passes == 4


def shapley_values(game, n_players):
    """By the definition: the mean over orders of what a player adds."""
    value = torch.zeros(n_players, dtype=torch.float64)
    for player in range(n_players):
        others = [other for other in range(n_players) if other != player]
        for size in range(n_players):
            weight = 1 / (n_players * math.comb(n_players - 1, size))
            for coalition in combinations(others, size):
                value[player] += weight * (game({*coalition, player}) - game(set(coalition)))
    return value


def test_coalitions_of_every_size_estimate_shapley_values_of_a_multilinear_score(make_signal):
    signal = make_signal(1, 6, channels=1)
    flat = decompose(signal, HAAR).flat[0, 0]
    n_players = len(flat)

    def polynomial(z):
        return z[..., 0] * z[..., 1] * z[..., 4] + 2 * z[..., 2] * z[..., 3] - z[..., 5]

    def score(rows, sample):
        return polynomial(decompose(rows, HAAR).flat[:, 0])

    def game(members):
        present = torch.tensor([float(player in members) for player in range(n_players)])
        return polynomial(flat * present)

    result = explain(
        score, signal, HAAR, n_samples=6000, lowest_presence=0.0, keep_approximation=False
    )
    expected = shapley_values(game, n_players)
    spread = float(flat.abs().max()) ** 3 / math.sqrt(6000)
    torch.testing.assert_close(result.attribution.flat[0, 0], expected, atol=5 * spread, rtol=0.0)
    assert abs(float(expected.sum()) - float(polynomial(flat))) < 1e-12


def test_presence_is_spread_from_the_lowest_to_one_and_the_approximation_stays(make_signal):
    signal = torch.ones(1, 1, 4096, dtype=torch.float64)
    layout = CoefficientLayout((4096,), HAAR)
    signal += 0.1 * make_signal(1, 4096, channels=1)
    whole = decompose(signal, HAAR).flat
    seen = []

    def score(rows, sample):
        seen.append((decompose(rows.detach(), HAAR).flat / whole).round().bool())
        return rows.flatten(1).sum(1)

    explain(score, signal, HAAR, n_samples=8, lowest_presence=0.6, max_batch=1)
    details = slice(layout.level_size("approximation"), None)
    present = torch.cat(seen)[:, 0]
    assert present[:, : details.start].all()
    shares = present[:, details].double().mean(1)
    expected = torch.tensor([0.65, 0.65, 0.75, 0.75, 0.85, 0.85, 0.95, 0.95]).double()
    torch.testing.assert_close(shares, expected, atol=0.05, rtol=0.0)
    # Pairs use opposite ends of the same numbers: what both leave out cannot overlap above 1/2.
    assert (present[0::2, details] | present[1::2, details]).all()


def test_a_sample_is_explained_alike_alone_in_any_batch_and_in_any_pass(make_signal, make_score):
    signal = make_signal(3, 24)
    basis = WaveletBasis("haar", 2, "zero")
    together = explain(make_score(signal), signal, basis, n_samples=6)
    small = explain(make_score(signal), signal, basis, n_samples=6, max_batch=2)
    torch.testing.assert_close(small.attribution.flat, together.attribution.flat, **EXACT)
    alone = explain(
        lambda rows, sample: make_score(signal)(rows, sample + 1),
        signal[1:2],
        basis,
        n_samples=6,
        sample_ids=["sample 1"],
    )
    torch.testing.assert_close(alone.attribution.flat[0], together.attribution.flat[1], **EXACT)
    torch.testing.assert_close(alone.magnitude.flat[0], together.magnitude.flat[1], **EXACT)


def test_doubt_is_resolved_in_favour_and_the_approximation_can_lead(make_signal, make_score):
    signal = make_signal(2, 32)
    result = explain(make_score(signal, torch.nn.ReLU()), signal, HAAR)
    plain, doubtful = result.importance(0.0), result.importance(1.0)
    torch.testing.assert_close(plain, result.attribution.flat.sum(1))
    assert (doubtful >= -1e-12).all()
    assert (result.magnitude.flat >= result.attribution.flat.abs() - 1e-12).all()
    led = result.importance(0.0, approximation_first=True)
    n_coarse = result.attribution.layout.level_size("approximation")
    assert led[:, :n_coarse].min(1).values.gt(led[:, n_coarse:].max(1).values).all()
    torch.testing.assert_close(led[:, n_coarse:], plain[:, n_coarse:])


def test_coalitions_that_are_full_are_the_gradient_at_the_signal(make_signal, make_score):
    signal = make_signal(2, 16)
    score = make_score(signal)
    result = explain(score, signal, HAAR, n_samples=2, lowest_presence=1 - 1e-9)
    expected = decompose(signal, HAAR).flat * gradient(score, signal, HAAR).flat
    torch.testing.assert_close(result.attribution.flat, expected, **EXACT)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_samples": 3}, "must be even, got 3"),
        ({"n_samples": 0}, "must be even, got 0"),
        ({"lowest_presence": 1.0}, r"in \[0, 1\), got 1.0"),
        ({"sample_ids": ["one"]}, "expected 2 ids, got 1"),
    ],
)
def test_arguments_out_of_range_are_refused(make_signal, make_score, options, message):
    signal = make_signal(2, 16)
    with pytest.raises(ValueError, match=message):
        explain(make_score(signal), signal, HAAR, **options)


def test_a_negative_benefit_of_doubt_is_refused(make_signal, make_score):
    signal = make_signal(1, 16)
    with pytest.raises(ValueError, match=r"at least 0, got -0\.5"):
        explain(make_score(signal), signal, HAAR).importance(-0.5)
