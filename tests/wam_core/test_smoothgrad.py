"""WAM_SG: what its three aggregates are, and that nothing but the sample decides its map."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from wam_core import (
    ClassScore,
    WaveletBasis,
    coefficient_gradient,
    decompose,
    gradient,
    smoothgrad,
)
from wam_core.attribution import band_sums
from wam_core.noise import standard_normal
from wam_core.reliance import band_profile, level_profile, share_standard_error

AGGREGATES = ["signed", "absolute", "squared"]
EXACT = {"atol": 1e-12, "rtol": 1e-10}


def _ids(batch: int) -> list[str]:
    return [f"sample-{index}" for index in range(batch)]


def _smoothgrad(score, signal, basis, **changes):
    arguments = {
        "sample_ids": _ids(len(signal)),
        "seed": 7,
        "n_samples": 6,
        "noise_fraction": 0.2,
        **changes,
    }
    return smoothgrad(score, signal, basis, **arguments)


def _quadratic(signal):
    """score = x' A x / 2 + b' x on each row, whose gradient is linear in x."""
    size = signal[0].numel()
    generator = torch.Generator().manual_seed(5)
    half = torch.randn(size, size, generator=generator, dtype=signal.dtype) / size
    matrix, vector = half + half.T, torch.randn(size, generator=generator, dtype=signal.dtype)

    def score(rows, sample):
        flat = rows.flatten(1)
        return ((flat @ matrix) * flat).sum(1) / 2 + flat @ vector

    return score


@pytest.mark.parametrize(
    ("space", "wavelet"), [((30,), "db2"), ((12, 17), "bior2.2"), ((8, 10, 12), "haar")], ids=str
)
def test_one_clean_draw_is_the_gradient(make_signal, make_score, space, wavelet):
    signal, basis = make_signal(3, *space), WaveletBasis(wavelet, 1)
    score = make_score(signal)
    smoothed = _smoothgrad(score, signal, basis, n_samples=1, first_draw_clean=True)
    expected = gradient(score, signal, basis).flat
    torch.testing.assert_close(smoothed.signed.flat, expected, **EXACT)
    torch.testing.assert_close(smoothed.absolute.flat, expected.abs(), **EXACT)
    torch.testing.assert_close(smoothed.squared.flat, expected.square(), **EXACT)


def test_without_noise_is_the_gradient(make_signal, make_score):
    signal, basis = make_signal(2, 12, 9), WaveletBasis("db2", 1)
    score = make_score(signal)
    smoothed = _smoothgrad(score, signal, basis, noise_fraction=0.0, n_samples=3)
    torch.testing.assert_close(smoothed.signed.flat, gradient(score, signal, basis).flat, **EXACT)


@pytest.mark.parametrize("first_draw_clean", [False, True])
@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("wavelet", ["db2", "bior2.2"])
def test_equals_a_plain_loop_over_the_draws(
    make_signal, make_score, wavelet, antithetic, first_draw_clean
):
    """Equation 6 written out, one sample and one draw at a time."""
    n_samples = 6
    signal, basis = make_signal(3, 13, 16), WaveletBasis(wavelet, 1, "reflect")
    score = make_score(signal)
    smoothed = _smoothgrad(
        score,
        signal,
        basis,
        antithetic=antithetic,
        first_draw_clean=first_draw_clean,
        n_samples=n_samples,
        max_batch=4,
    )
    for index, sample_id in enumerate(_ids(3)):
        sample = signal[index : index + 1]
        draws = []
        for draw in range(n_samples):
            number = draw - 1 if first_draw_clean else draw
            stream, sign = (number // 2, 1 - 2 * (number % 2)) if antithetic else (number, 1)
            noise = torch.zeros_like(sample[0])
            if number >= 0:
                noise = sign * standard_normal(
                    tuple(sample.shape[1:]), seed=7, sample_id=sample_id, draw=stream
                ).to(sample)
            spread = 0.2 * (sample.max() - sample.min())
            own = ClassScore(score.model, score.targets[index : index + 1])
            draws.append(gradient(own, sample + spread * noise, basis).flat[0])
        stacked = torch.stack(draws)
        torch.testing.assert_close(smoothed.signed.flat[index], stacked.mean(0), **EXACT)
        torch.testing.assert_close(smoothed.absolute.flat[index], stacked.abs().mean(0), **EXACT)
        torch.testing.assert_close(smoothed.squared.flat[index], stacked.square().mean(0), **EXACT)
        for kept, each in [
            (smoothed.absolute_draws, stacked.abs()),
            (smoothed.squared_draws, stacked.square()),
        ]:
            torch.testing.assert_close(
                kept[:, index], band_sums(each, smoothed.signed.layout), **EXACT
            )


@pytest.mark.parametrize("max_batch", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("antithetic", [False, True])
def test_is_the_same_however_many_rows_share_a_pass(make_signal, make_score, max_batch, antithetic):
    signal, basis = make_signal(3, 12, 9), WaveletBasis("db2", 1)
    score, largest = make_score(signal), []

    def watched(rows, sample):
        largest.append(len(rows))
        return score(rows, sample)

    options = {"antithetic": antithetic, "first_draw_clean": antithetic, "n_samples": 7}
    whole = _smoothgrad(score, signal, basis, **options)
    chunked = _smoothgrad(watched, signal, basis, max_batch=max_batch, **options)
    assert max(largest) <= max_batch
    assert sum(largest) == 7 * len(signal)
    for aggregate in [*AGGREGATES, "group_means"]:
        torch.testing.assert_close(
            getattr(chunked, aggregate).flat, getattr(whole, aggregate).flat, **EXACT
        )
    torch.testing.assert_close(chunked.absolute_draws, whole.absolute_draws, **EXACT)
    torch.testing.assert_close(chunked.squared_draws, whole.squared_draws, **EXACT)


@given(order=st.permutations(range(4)), size=st.integers(1, 4), max_batch=st.integers(1, 9))
@settings(max_examples=15)
def test_w1_w2_w7_the_map_of_a_sample_ignores_its_batch(order, size, max_batch):
    """W1, W2, W7: batch mean of the loss, maxima over the batch, noise by position in the batch."""
    generator = torch.Generator().manual_seed(0)
    signal = torch.randn(4, 1, 9, 8, generator=generator, dtype=torch.float64)
    signal[2] *= 100.0  # a loud neighbour
    weights = torch.randn(3, 72, generator=generator, dtype=torch.float64)

    def model(rows):
        return (rows.flatten(1) @ weights.T).tanh()

    targets, basis = torch.tensor([0, 1, 2, 0]), WaveletBasis("haar", 2)
    chosen = list(order)[:size]
    together = _smoothgrad(
        ClassScore(model, targets[chosen]),
        signal[chosen],
        basis,
        sample_ids=[_ids(4)[index] for index in chosen],
        max_batch=max_batch,
    )
    for place, index in enumerate(chosen):
        alone = _smoothgrad(
            ClassScore(model, targets[index : index + 1]),
            signal[index : index + 1],
            basis,
            sample_ids=[_ids(4)[index]],
        )
        for aggregate in AGGREGATES:
            torch.testing.assert_close(
                getattr(together, aggregate).flat[place],
                getattr(alone, aggregate).flat[0],
                atol=1e-12,
                rtol=1e-9,
            )


def test_equal_signals_in_a_batch_differ_by_their_id_alone(make_signal, make_score):
    signal = make_signal(1, 12, 9).repeat(3, 1, 1, 1)
    score = ClassScore(make_score(signal).model, torch.zeros(3, dtype=torch.long))
    smoothed = _smoothgrad(score, signal, WaveletBasis("haar", 1), sample_ids=["a", "b", "a"])
    first, second, third = smoothed.signed.flat
    torch.testing.assert_close(first, third, **EXACT)
    assert not torch.allclose(first, second, atol=1e-6)


def test_another_seed_gives_other_draws(make_signal, make_score):
    signal, basis = make_signal(1, 24), WaveletBasis("haar", 1)
    score = make_score(signal)
    maps = [_smoothgrad(score, signal, basis, seed=seed).signed.flat for seed in (1, 2, 1)]
    assert torch.equal(maps[0], maps[2])
    assert not torch.allclose(maps[0], maps[1], atol=1e-6)


@pytest.mark.parametrize("first_draw_clean", [False, True])
def test_antithetic_pairs_cancel_for_a_quadratic_score(make_signal, first_draw_clean):
    """A gradient linear in the noise averages to the clean gradient over each pair, exactly."""
    signal, basis = make_signal(2, 10, 7), WaveletBasis("db2", 1)
    score = _quadratic(signal)
    n_samples = 9 if first_draw_clean else 8
    smoothed = _smoothgrad(
        score,
        signal,
        basis,
        antithetic=True,
        first_draw_clean=first_draw_clean,
        n_samples=n_samples,
        noise_fraction=0.5,
    )
    expected = gradient(score, signal, basis).flat
    torch.testing.assert_close(smoothed.signed.flat, expected, atol=1e-10, rtol=0)
    for group in smoothed.group_means.flat:
        torch.testing.assert_close(group, expected, atol=1e-10, rtol=0)
    plain = _smoothgrad(score, signal, basis, n_samples=8, noise_fraction=0.5)
    assert not torch.allclose(plain.signed.flat, expected, atol=1e-3)


@pytest.mark.parametrize("noise_fraction", [0.0, 0.1, 1.0])
def test_of_a_linear_score_is_its_gradient_whatever_the_noise(make_signal, noise_fraction):
    signal, basis = make_signal(3, 11, 14), WaveletBasis("db2", 1)
    weights = make_signal(1, 11, 14, seed=2)[0]
    smoothed = _smoothgrad(
        lambda rows, _: (rows * weights).flatten(1).sum(1),
        signal,
        basis,
        noise_fraction=noise_fraction,
    )
    expected = coefficient_gradient(weights[None], smoothed.signed.layout).flat.expand(3, -1, -1)
    torch.testing.assert_close(smoothed.signed.flat, expected, **EXACT)
    torch.testing.assert_close(smoothed.absolute.flat, expected.abs(), **EXACT)
    torch.testing.assert_close(smoothed.squared.flat, expected.square(), **EXACT)
    profile = band_profile(smoothed.absolute, decompose(signal, basis))
    torch.testing.assert_close(profile.share, profile.share[:1].expand(3, -1), **EXACT)
    for aggregate in AGGREGATES:
        error = share_standard_error(smoothed, aggregate)
        torch.testing.assert_close(error, torch.zeros_like(error), atol=1e-12, rtol=0)


def test_noise_is_scaled_to_each_samples_own_range(make_signal):
    """A signal ten times as loud gets noise ten times as loud, about any offset."""
    seen = []

    def score(rows, _):
        seen.append(rows.detach().clone())
        return rows.flatten(1).sum(1)

    base = make_signal(1, 16)
    signal = torch.cat([base, 10 * base + 3])
    _smoothgrad(score, signal, WaveletBasis("haar", 1), sample_ids=["a", "a"], n_samples=4)
    rows = torch.cat(seen).unflatten(0, (4, 2)) - signal
    torch.testing.assert_close(rows[:, 1], 10 * rows[:, 0], atol=1e-9, rtol=1e-9)
    assert float(rows[:, 0].std() / (base.max() - base.min())) == pytest.approx(0.2, rel=0.2)


def test_a_constant_signal_gets_no_noise(make_score):
    signal = torch.full((1, 2, 16), 0.5, dtype=torch.float64)
    score, basis = make_score(signal), WaveletBasis("haar", 1)
    smoothed = _smoothgrad(score, signal, basis)
    torch.testing.assert_close(smoothed.signed.flat, gradient(score, signal, basis).flat, **EXACT)


def test_signed_cancels_what_absolute_and_squared_keep(make_signal, make_score):
    signal, basis = make_signal(2, 12, 9), WaveletBasis("haar", 1)
    smoothed = _smoothgrad(make_score(signal), signal, basis, n_samples=12, noise_fraction=0.6)
    slack = 1e-15
    assert bool((smoothed.signed.flat.abs() <= smoothed.absolute.flat + slack).all())
    assert bool((smoothed.absolute.flat.square() <= smoothed.squared.flat + slack).all())


@pytest.mark.parametrize("n_samples", [1, 2, 4, 5, 6, 25])
@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("first_draw_clean", [False, True])
def test_groups_of_draws_average_to_the_signed_map(
    make_signal, make_score, n_samples, antithetic, first_draw_clean
):
    signal, basis = make_signal(1, 16), WaveletBasis("haar", 1)
    smoothed = _smoothgrad(
        make_score(signal),
        signal,
        basis,
        n_samples=n_samples,
        antithetic=antithetic,
        first_draw_clean=first_draw_clean,
    )
    groups = smoothed.group_means.flat
    assert 1 <= len(groups) <= 5
    random = n_samples - first_draw_clean
    units = -(-random // (2 if antithetic else 1))
    assert len(groups) == max(1, min(5, units))
    if len(groups) == 1 or (n_samples % len(groups) == 0 and not (first_draw_clean or antithetic)):
        torch.testing.assert_close(groups.mean(0), smoothed.signed.flat, **EXACT)
    # Whatever the sizes, the signed map is a weighted mean of the groups.
    assert bool((smoothed.signed.flat <= groups.max(0).values + 1e-12).all())
    assert bool((smoothed.signed.flat >= groups.min(0).values - 1e-12).all())


@pytest.mark.parametrize("aggregate", AGGREGATES)
@pytest.mark.parametrize(
    "options",
    [
        {"n_samples": 20},
        {"n_samples": 20, "antithetic": True},
        {"n_samples": 11, "antithetic": True, "first_draw_clean": True},
        {"n_samples": 6, "first_draw_clean": True},
    ],
    ids=str,
)
def test_the_standard_error_of_shares_is_their_scatter_over_seeds(
    make_signal, make_score, aggregate, options
):
    """The same signal 300 times under different ids: 300 independent repetitions in one call."""
    repetitions = 300
    signal = make_signal(1, 32, seed=3).expand(repetitions, -1, -1)
    score = ClassScore(make_score(signal).model, torch.zeros(repetitions, dtype=torch.long))
    basis = WaveletBasis("db2", 2)
    smoothed = _smoothgrad(score, signal, basis, noise_fraction=0.1, **options)
    bands = band_profile(getattr(smoothed, aggregate), decompose(signal, basis))
    share = level_profile(bands, smoothed.signed.layout).share
    scatter = share.std(0)
    estimated = share_standard_error(smoothed, aggregate).square().mean(0).sqrt()
    # A jackknife is biased upward a little; the scatter itself is known to 1/sqrt(600) = 4 %.
    ratio = (estimated / scatter).numpy()
    assert np.all(ratio > 0.75), ratio
    assert np.all(ratio < 1.4), ratio


@pytest.mark.parametrize(
    ("options", "known"),
    [
        ({"n_samples": 1}, False),
        ({"n_samples": 2}, True),
        ({"n_samples": 2, "antithetic": True}, False),
        ({"n_samples": 4, "antithetic": True}, True),
        ({"n_samples": 2, "first_draw_clean": True}, False),
        ({"n_samples": 3, "antithetic": True, "first_draw_clean": True}, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_too_few_draws_have_no_standard_error(make_signal, make_score, options, known, aggregate):
    signal = make_signal(1, 16)
    smoothed = _smoothgrad(make_score(signal), signal, WaveletBasis("haar", 1), **options)
    assert (share_standard_error(smoothed, aggregate) is not None) == known


def test_an_unknown_aggregate_is_refused(make_signal, make_score):
    signal = make_signal(1, 16)
    smoothed = _smoothgrad(make_score(signal), signal, WaveletBasis("haar", 1))
    with pytest.raises(ValueError, match="signed, absolute, squared or energy; got 'median'"):
        share_standard_error(smoothed, "median")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_ids": ["a"]}, "expected 2 ids, got 1"),
        ({"n_samples": 0}, "n_samples must be at least 1, got 0"),
        ({"noise_fraction": -0.1}, r"noise_fraction must be in \[0, 1\], got -0.1"),
        ({"noise_fraction": 1.5}, r"noise_fraction must be in \[0, 1\], got 1.5"),
        ({"max_batch": 0}, "max_batch must be at least 1"),
    ],
    ids=str,
)
def test_arguments_out_of_range_are_refused(make_signal, make_score, changes, message):
    signal = make_signal(2, 16)
    with pytest.raises(ValueError, match=message):
        _smoothgrad(make_score(signal), signal, WaveletBasis("haar", 1), **changes)


def _live_memory(n_samples, signal, net):
    """Most autograd buffers alive between draws, and tensor elements alive at the last draw."""
    alive: weakref.WeakSet[_Saved] = weakref.WeakSet()
    between, elements, calls = [], 0, 0

    def pack(tensor):
        saved = _Saved(tensor)
        alive.add(saved)
        return saved

    def score(rows, sample):
        nonlocal elements, calls
        calls += 1
        between.append(len(alive))
        if calls == n_samples:
            gc.collect()
            tensors = [item for item in gc.get_objects() if type(item) is torch.Tensor]
            elements = sum(tensor.numel() for tensor in tensors)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
            return net(rows)[:, 0]

    _smoothgrad(score, signal, WaveletBasis("db2", 1), n_samples=n_samples, max_batch=len(signal))
    assert calls == n_samples
    return max(between), elements


class _Saved:
    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


def test_memory_does_not_grow_with_the_number_of_draws(make_signal, make_net):
    """captum#632: partial sums that kept their graph. Only a few numbers per draw remain."""
    signal, net = make_signal(2, 64, 64), make_net(2)
    few_buffers, few = _live_memory(5, signal, net)
    many_buffers, many = _live_memory(50, signal, net)
    assert few_buffers == many_buffers == 0
    bands, draws = 4, 45
    assert many - few <= 2 * draws * len(signal) * bands
    assert many - few < signal.numel() / 4


def test_results_hold_no_graph(make_signal, make_score):
    signal = make_signal(1, 16)
    smoothed = _smoothgrad(make_score(signal), signal, WaveletBasis("bior2.2", 1))
    for aggregate in [*AGGREGATES, "group_means"]:
        assert not getattr(smoothed, aggregate).flat.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_signals_are_summed_in_float32(make_signal, dtype):
    """Squares of gradients of 1e-4 would be zero in float16."""
    signal = make_signal(1, 16).to(dtype)
    smoothed = _smoothgrad(
        lambda rows, _: 1e-4 * rows.flatten(1).sum(1), signal, WaveletBasis("haar", 1)
    )
    for aggregate in AGGREGATES:
        assert getattr(smoothed, aggregate).flat.dtype == torch.float32
    assert float(smoothed.squared.flat.sum()) == pytest.approx(32 * 1e-8, rel=0.02)


def test_noise_is_the_same_in_float32_and_float64(make_signal, make_score):
    signal = make_signal(2, 24).float()
    score, basis = make_score(signal.double()), WaveletBasis("haar", 1)
    half_score = ClassScore(lambda rows: score.model(rows.double()), score.targets)
    single = _smoothgrad(half_score, signal, basis).signed.flat
    double = _smoothgrad(score, signal.double(), basis).signed.flat
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, atol=1e-5, rtol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_map_is_the_same_on_another_device(make_signal, make_net):
    signal, net = make_signal(2, 16, 12), make_net(2)
    basis, targets = WaveletBasis("db2", 1), torch.tensor([0, 1])
    here = _smoothgrad(ClassScore(net, targets), signal, basis)
    there = _smoothgrad(ClassScore(net.cuda(), targets.cuda()), signal.cuda(), basis)
    for aggregate in AGGREGATES:
        torch.testing.assert_close(
            getattr(there, aggregate).flat.cpu(), getattr(here, aggregate).flat, atol=1e-9, rtol=0
        )
    torch.testing.assert_close(there.absolute_draws, here.absolute_draws, atol=1e-9, rtol=0)


def test_w4_colours_do_not_cancel(make_signal):
    """W4: the reference averages gradients over channels with their sign, here to nothing."""
    weights = make_signal(1, 8, 8, channels=1)[0]
    opposite = torch.cat([weights, -weights])
    signal, basis = make_signal(1, 8, 8), WaveletBasis("haar", 1)
    smoothed = _smoothgrad(lambda rows, _: (rows * opposite).flatten(1).sum(1), signal, basis)
    assert smoothed.signed.flat.mean(1).abs().max() < 1e-12
    total = band_profile(smoothed.signed, decompose(signal, basis)).total
    expected = 2 * decompose(weights[None], basis).flat.abs().sum()
    assert float(total) == pytest.approx(float(expected), rel=1e-10)


def test_dropout_in_training_mode_would_be_the_callers_error(make_signal):
    """The core neither switches modes nor hooks; `evaluation_mode` is there for that."""
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(32, 3)).double().train()
    signal = make_signal(1, 16)
    _smoothgrad(ClassScore(model, torch.tensor([0])), signal, WaveletBasis("haar", 1))
    assert model.training
