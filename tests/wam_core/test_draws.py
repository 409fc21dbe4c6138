"""Drawing until the error is small: of each sample by itself, at fixed counts, without a bias."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wam_core import ClassScore, WaveletBasis, decompose, smoothgrad
from wam_core.draws import DrawSchedule
from wam_core.reliance import (
    band_profile,
    energy_profile,
    level_profile,
    level_sums,
    share_standard_error,
)

BASIS = WaveletBasis("haar", 2)
EXACT = {"atol": 1e-12, "rtol": 1e-10}
TOLERANCE = 0.006


def _ids(batch: int) -> list[str]:
    return [f"sample-{index}" for index in range(batch)]


def _smoothgrad(score, signal, **changes):
    arguments = {
        "sample_ids": _ids(len(signal)),
        "seed": 7,
        "n_samples": 42,
        "noise_fraction": 0.2,
        "tolerance": TOLERANCE,
        **changes,
    }
    return smoothgrad(score, signal, BASIS, **arguments)


@pytest.fixture
def signal(make_signal):
    """Samples that scatter differently: a quiet one needs few draws, a saturated one many."""
    scale = torch.tensor([0.02, 0.1, 0.3, 1.0, 2.0], dtype=torch.float64)
    return make_signal(5, 32) * scale[:, None, None]


def _plain_errors(smoothed):
    """Jackknife of level shares over single draws, one sample at a time, in NumPy."""
    levels = level_sums(smoothed.absolute_draws, smoothed.signed.layout).numpy()
    for index, n in enumerate(smoothed.n_draws.tolist()):
        draws = levels[:n, index]
        without = np.stack([np.delete(draws, left, 0).sum(0) for left in range(n)])
        without /= without.sum(1, keepdims=True)
        yield np.sqrt((n - 1) * without.var(0))


@given(
    n_draws=st.integers(1, 60),
    min_draws=st.integers(1, 60),
    antithetic=st.booleans(),
    first_clean=st.booleans(),
)
def test_blocks_hold_every_draw_once_and_treat_groups_alike(
    n_draws, min_draws, antithetic, first_clean
):
    schedule = DrawSchedule(n_draws, antithetic=antithetic, first_clean=first_clean)
    blocks = list(schedule.blocks(min_draws))
    assert [draw for block in blocks for draw in block] == list(range(n_draws))
    assert blocks[0].stop >= min(min_draws, n_draws)
    for block in blocks[:-1]:
        random = range(block.start + (first_clean and block.start == 0), block.stop)
        groups = [schedule.groups[draw] for draw in random]
        counts = np.bincount(groups, minlength=schedule.n_groups)
        assert counts.min() == counts.max() > 0
        if antithetic:
            assert len(random) % 2 == 0


@given(few=st.integers(5, 40), more=st.integers(0, 40), first_clean=st.booleans())
def test_the_group_of_a_draw_does_not_depend_on_how_many_follow(few, more, first_clean):
    short, long = (
        DrawSchedule(n + first_clean, antithetic=False, first_clean=first_clean)
        for n in (few, few + more)
    )
    assert long.groups[: few + first_clean] == short.groups


def test_a_sample_stops_at_the_first_look_that_finds_its_error_small(signal, make_score):
    smoothed = _smoothgrad(make_score(signal), signal)
    counts = smoothed.n_draws.tolist()
    looks = [10, 15, 20, 25, 30, 35, 40, 42]
    assert set(counts) <= set(looks)
    assert min(counts) == 10
    assert max(counts) == 42
    assert len(set(counts)) >= 3
    for count, error in zip(counts, _plain_errors(smoothed), strict=True):
        assert error.max() <= TOLERANCE or count == 42
    for count in (look for look in looks if look < max(counts)):
        longer = smoothed.n_draws > count
        fixed = _smoothgrad(make_score(signal), signal, n_samples=count, tolerance=None)
        errors = np.stack(list(_plain_errors(fixed))).max(1)
        assert bool((errors[longer.numpy()] > TOLERANCE).all())


@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("first_draw_clean", [False, True])
def test_a_sample_that_stopped_is_the_sample_with_that_number_of_draws(
    signal, make_score, antithetic, first_draw_clean
):
    """Alone, with a fixed number: maps, group means, sums per draw and every standard error."""
    options = {"antithetic": antithetic, "first_draw_clean": first_draw_clean}
    score = make_score(signal)
    smoothed = _smoothgrad(score, signal, max_batch=3, **options)
    assert len(set(smoothed.n_draws.tolist())) > 1
    coefficients = decompose(signal, BASIS)
    energy = energy_profile(smoothed, coefficients)
    for index, n_draws in enumerate(smoothed.n_draws.tolist()):
        one = slice(index, index + 1)
        alone = _smoothgrad(
            ClassScore(score.model, score.targets[one]),
            signal[one],
            sample_ids=_ids(5)[one],
            n_samples=n_draws,
            tolerance=None,
            **options,
        )
        for name in ("signed", "absolute", "squared"):
            torch.testing.assert_close(
                getattr(smoothed, name).flat[one], getattr(alone, name).flat, **EXACT
            )
        torch.testing.assert_close(smoothed.group_means.flat[:, one], alone.group_means.flat)
        assert not smoothed.absolute_draws[n_draws:, index].any()
        torch.testing.assert_close(smoothed.absolute_draws[:n_draws, one], alone.absolute_draws)
        own = decompose(signal[one], BASIS)
        torch.testing.assert_close(energy.share[one], energy_profile(alone, own).share)
        for name in ("signed", "absolute", "squared", "energy"):
            torch.testing.assert_close(
                share_standard_error(smoothed, name)[one], share_standard_error(alone, name)
            )


@pytest.mark.parametrize("max_batch", [1, 2, 4, 12])
@pytest.mark.parametrize("chosen", [[3], [4, 0], [2, 4, 1], [4, 3, 1, 0, 2]], ids=str)
def test_when_a_sample_stops_ignores_its_batch(chosen, max_batch):
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([0.02, 0.1, 0.3, 1.0, 2.0], dtype=torch.float64)
    signal = torch.randn(5, 1, 16, generator=generator, dtype=torch.float64) * scale[:, None, None]
    weights = torch.randn(3, 16, generator=generator, dtype=torch.float64)
    mixing = torch.randn(16, 16, generator=generator, dtype=torch.float64)

    def model(rows):
        return (rows.flatten(1) @ mixing).tanh() @ weights.T

    targets = torch.tensor([0, 1, 2, 0, 1])
    whole = _smoothgrad(ClassScore(model, targets), signal, tolerance=0.015)
    assert len(set(whole.n_draws.tolist())) > 2
    some = _smoothgrad(
        ClassScore(model, targets[chosen]),
        signal[chosen],
        sample_ids=[_ids(5)[index] for index in chosen],
        tolerance=0.015,
        max_batch=max_batch,
    )
    assert some.n_draws.tolist() == whole.n_draws[chosen].tolist()
    torch.testing.assert_close(
        some.absolute.flat, whole.absolute.flat[chosen], atol=1e-12, rtol=1e-9
    )


@pytest.mark.parametrize("max_batch", [1, 3, 5, 64, None])
def test_finished_samples_are_not_passed_again_and_passes_stay_full(signal, make_score, max_batch):
    score, sizes, passed = make_score(signal), [], torch.zeros(5, dtype=torch.long)

    def watched(rows, sample):
        sizes.append(len(rows))
        passed.index_add_(0, sample, torch.ones_like(sample))
        return score(rows, sample)

    smoothed = _smoothgrad(watched, signal, max_batch=max_batch)
    assert passed.tolist() == smoothed.n_draws.tolist()
    if max_batch is not None:
        assert max(sizes) <= max_batch
    if max_batch == 5:
        # One sample alone draws five times in one pass.
        assert len(sizes) < int(smoothed.n_draws.max())


@pytest.mark.parametrize(("tolerance", "expected"), [(1e9, 10), (1e-12, 42)])
def test_a_wide_tolerance_takes_the_fewest_draws_and_a_narrow_one_the_most(
    signal, make_score, tolerance, expected
):
    smoothed = _smoothgrad(make_score(signal), signal, tolerance=tolerance)
    assert smoothed.n_draws.tolist() == [expected] * 5


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"min_samples": 1}, 5),
        ({"min_samples": 6}, 10),
        ({"min_samples": 6, "antithetic": True}, 10),
        ({"min_samples": 11, "antithetic": True}, 20),
        ({"min_samples": 6, "first_draw_clean": True}, 6),
        ({"min_samples": 60}, 42),
        ({"n_samples": 3}, 3),
        ({"n_samples": 1}, 1),
    ],
    ids=str,
)
def test_the_first_look_comes_after_whole_rounds_of_the_groups(
    signal, make_score, options, expected
):
    smoothed = _smoothgrad(make_score(signal), signal, tolerance=1e9, **options)
    assert smoothed.n_draws.tolist() == [expected] * 5


def test_a_map_of_zeros_never_settles(make_signal):
    signal = make_signal(2, 16)
    smoothed = _smoothgrad(lambda rows, _: 0 * rows.flatten(1).sum(1), signal, tolerance=1e9)
    assert smoothed.n_draws.tolist() == [42, 42]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tolerance": 0.0}, r"tolerance must be above 0, or None .*; got 0.0"),
        ({"tolerance": float("nan")}, "tolerance must be above 0"),
        ({"min_samples": 0}, "min_samples must be at least 1, got 0"),
    ],
    ids=str,
)
def test_arguments_out_of_range_are_refused(signal, make_score, changes, message):
    with pytest.raises(ValueError, match=message):
        _smoothgrad(make_score(signal), signal, **changes)


def test_stopping_when_the_error_looks_small_hardly_moves_the_share(make_signal, make_score):
    """Optional stopping: 120 repetitions of one sample, each stopped by its own draws.

    Their mean is compared with that of as many repetitions with the most draws, of other noise.
    """
    repetitions = 120
    signal = make_signal(1, 32, seed=3).expand(repetitions, -1, -1)
    score = ClassScore(make_score(signal).model, torch.zeros(repetitions, dtype=torch.long))
    options = {"n_samples": 40, "noise_fraction": 0.1}
    stopped = _smoothgrad(score, signal, tolerance=0.0065, **options)
    fixed = _smoothgrad(score, signal, tolerance=None, seed=8, **options)
    assert 15 < float(stopped.n_draws.double().mean()) < 35
    assert int((stopped.n_draws < 40).sum()) > 80
    shares = [
        level_profile(
            band_profile(smoothed.absolute, decompose(signal, BASIS)), smoothed.signed.layout
        ).share
        for smoothed in (stopped, fixed)
    ]
    bias = shares[0].mean(0) - shares[1].mean(0)
    chance = (shares[0].var(0) / repetitions + shares[1].var(0) / repetitions).sqrt()
    assert bool((bias.abs() < 0.1 * 0.0065 + 3 * chance).all()), bias
    # And the error of one sample is what was asked for.
    assert float(shares[0].std(0).max()) < 1.3 * 0.0065
