"""WAM_IG: complete, exact where the rule is, and equal to captum in the domain of the signal."""

from __future__ import annotations

import inspect
import itertools

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, Saliency
from torch import nn

from wam_core import (
    ClassScore,
    WaveletBasis,
    baseline,
    coefficient_gradient,
    decompose,
    gradient,
    integrated_gradients,
)
from wam_core.attribution import quadrature

RULES = ["midpoint", "gauss_legendre"]
CAPTUM_METHOD = {"midpoint": "riemann_middle", "gauss_legendre": "gausslegendre"}
SPACES = [((30,), "db2"), ((12, 17), "bior2.2"), ((8, 10, 12), "haar")]
EXACT = {"atol": 1e-12, "rtol": 1e-10}


@pytest.fixture
def explain(make_score):
    def explain(signal, basis, *, activation=None, start="zero", n_steps=16, **options):
        return integrated_gradients(
            make_score(signal, activation),
            signal,
            basis,
            baseline=baseline(start, signal, (0.3, -0.2)),
            n_steps=n_steps,
            **options,
        )

    return explain


@pytest.mark.parametrize("start", ["zero", "mean", "blur"])
@pytest.mark.parametrize(("space", "wavelet"), SPACES, ids=str)
def test_attributions_sum_to_the_difference_of_scores(make_signal, explain, space, wavelet, start):
    signal = make_signal(3, *space)
    basis = WaveletBasis(wavelet, 1, "reflect")
    result = explain(signal, basis, start=start, rule="gauss_legendre", n_steps=32)
    difference = result.score_input - result.score_baseline
    total = result.attribution.flat.sum((1, 2))
    torch.testing.assert_close(total, difference, atol=1e-8, rtol=1e-7)
    assert float(result.completeness_gap.max()) < 1e-6
    assert result.n_passes == 32


def test_the_scores_are_those_of_the_ends(make_signal, make_score, explain):
    signal = make_signal(3, 24)
    score = make_score(signal)
    result = explain(signal, WaveletBasis("haar", 1), start="blur")
    rows = torch.arange(3)
    torch.testing.assert_close(result.score_input, score(signal, rows).detach(), **EXACT)
    start = baseline("blur", signal)
    torch.testing.assert_close(result.score_baseline, score(start, rows).detach(), **EXACT)


def test_the_midpoint_error_falls_with_the_square_of_the_steps(make_signal, explain):
    signal, basis = make_signal(3, 24, 20), WaveletBasis("db2", 2)
    gaps = [explain(signal, basis, n_steps=n).completeness_gap for n in (32, 64, 128)]
    for coarse, fine in itertools.pairwise(gaps):
        np.testing.assert_allclose((coarse / fine).numpy(), 4.0, rtol=0.15)


def test_few_gauss_legendre_nodes_reach_rounding_on_a_smooth_model(make_signal, explain):
    signal, basis = 0.3 * make_signal(3, 24, 20), WaveletBasis("db2", 2)
    midpoint = explain(signal, basis, n_steps=24).completeness_gap
    legendre = explain(signal, basis, n_steps=24, rule="gauss_legendre").completeness_gap
    assert float(legendre.max()) < 1e-11
    assert float(midpoint.min()) > 1e-7


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n_steps", [1, 2, 3, 25])
@pytest.mark.parametrize("wavelet", ["db2", "bior2.2"])
def test_a_linear_model_is_exact_with_any_number_of_steps(make_signal, rule, n_steps, wavelet):
    signal, start = make_signal(2, 14, 11), make_signal(2, 14, 11, seed=9)
    weights = make_signal(1, 14, 11, seed=4)[0]
    result = integrated_gradients(
        lambda rows, _: (rows * weights).flatten(1).sum(1) + 3.0,
        signal,
        WaveletBasis(wavelet, 1),
        baseline=start,
        n_steps=n_steps,
        rule=rule,
    )
    layout = result.attribution.layout
    expected = decompose(signal - start, layout.basis).flat
    expected = expected * coefficient_gradient(weights[None], layout).flat
    torch.testing.assert_close(result.attribution.flat, expected, **EXACT)
    assert float(result.completeness_gap.max()) < 1e-10


@pytest.mark.parametrize(
    ("rule", "n_steps", "degree"),
    [("midpoint", 1, 1)] + [("gauss_legendre", n, 2 * n - 1) for n in (1, 2, 5)],
)
def test_quadrature_is_exact_up_to_its_degree(rule, n_steps, degree):
    nodes, weights = map(np.array, quadrature(rule, n_steps))
    assert np.all((nodes > 0) & (nodes < 1))
    for power in range(degree + 1):
        assert weights @ nodes**power == pytest.approx(1 / (power + 1), rel=1e-12)
    assert weights @ nodes ** (degree + 1) != pytest.approx(1 / (degree + 2), rel=1e-9)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("start", ["zero", "mean", "blur"])
@pytest.mark.parametrize(("space", "wavelet"), SPACES, ids=str)
def test_equals_captum_in_the_domain_of_the_signal(
    make_signal, make_score, explain, space, wavelet, start, rule
):
    signal, basis, n_steps = make_signal(3, *space), WaveletBasis(wavelet, 1, "reflect"), 12
    score = make_score(signal)
    result = explain(signal, basis, start=start, rule=rule, n_steps=n_steps)
    begin = baseline(start, signal, (0.3, -0.2))
    captum = IntegratedGradients(score.model).attribute(
        signal,
        baselines=begin,
        target=score.targets,
        n_steps=n_steps,
        method=CAPTUM_METHOD[rule],
    )
    # captum keeps its nodes in float32.
    rounding = {"atol": 1e-6, "rtol": 1e-6}
    # What is explained per channel is the same in both domains ...
    torch.testing.assert_close(
        result.attribution.flat.sum(-1), captum.flatten(2).sum(-1), **rounding
    )
    # ... and so is the mean gradient on the path, once transformed.
    mean_gradient = captum / (signal - begin)
    expected = coefficient_gradient(mean_gradient, result.attribution.layout).flat
    expected = expected * decompose(signal - begin, basis).flat
    torch.testing.assert_close(result.attribution.flat, expected, **rounding)


def test_the_gradient_equals_captums_saliency(make_signal, make_score):
    signal, basis = make_signal(3, 15, 17), WaveletBasis("db4", 1, "reflect")
    score = make_score(signal, nn.ReLU())
    leaf = signal.clone().requires_grad_()
    saliency = Saliency(score.model).attribute(leaf, target=score.targets, abs=False)
    attribution = gradient(score, signal, basis)
    expected = coefficient_gradient(saliency, attribution.layout)
    torch.testing.assert_close(attribution.flat, expected.flat, **EXACT)


@pytest.mark.parametrize("max_batch", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("rule", RULES)
def test_is_the_same_however_many_rows_share_a_pass(make_signal, make_score, max_batch, rule):
    signal, basis = make_signal(3, 12, 9), WaveletBasis("db2", 1)
    score, largest = make_score(signal), []

    def watched(rows, sample):
        largest.append(len(rows))
        return score(rows, sample)

    options = {"baseline": baseline("blur", signal), "n_steps": 7, "rule": rule}
    whole = integrated_gradients(score, signal, basis, **options)
    chunked = integrated_gradients(watched, signal, basis, max_batch=max_batch, **options)
    assert max(largest) <= max_batch
    torch.testing.assert_close(chunked.attribution.flat, whole.attribution.flat, **EXACT)
    torch.testing.assert_close(chunked.score_input, whole.score_input, **EXACT)
    torch.testing.assert_close(chunked.completeness_gap, whole.completeness_gap, atol=1e-9, rtol=0)


def test_w1_the_map_of_a_sample_ignores_its_batch(make_signal, make_score):
    """W1: the reference takes the mean of the loss over the batch, so maps scale with 1/N."""
    signal, basis = make_signal(4, 12, 9), WaveletBasis("haar", 1)
    model = make_score(signal).model
    targets = torch.tensor([0, 1, 2, 1])

    def explain(chosen):
        part = signal[chosen]
        score = ClassScore(model, targets[chosen])
        start = baseline("blur", part)
        return integrated_gradients(score, part, basis, baseline=start, n_steps=5)

    together = explain([3, 0, 2, 1])
    for place, index in enumerate([3, 0, 2, 1]):
        alone = explain([index])
        torch.testing.assert_close(
            together.attribution.flat[place], alone.attribution.flat[0], **EXACT
        )


def test_w8_values_do_not_grow_with_the_number_of_steps(make_signal, explain):
    """W8: the reference leaves out the step of the rule, so values grow with n_steps - 1."""
    signal, basis = make_signal(2, 24), WaveletBasis("haar", 2)
    few = explain(signal, basis, n_steps=20).attribution.flat
    many = explain(signal, basis, n_steps=200).attribution.flat
    torch.testing.assert_close(few, many, atol=2e-2, rtol=2e-2)
    assert float(few.abs().sum() / many.abs().sum()) == pytest.approx(1.0, abs=0.01)


def test_w8_nan_stays_nan(make_signal):
    """W8: NaN silently turned into zero would enter every mean. One sample, not its neighbours."""
    signal = make_signal(3, 16)
    signal[1, 0, 5] = torch.nan
    result = integrated_gradients(
        lambda rows, _: rows.tanh().flatten(1).sum(1),
        signal,
        WaveletBasis("haar", 2),
        baseline=torch.zeros_like(signal),
        n_steps=4,
    )
    assert bool(result.attribution.flat[1].isnan().any())
    assert bool(result.completeness_gap[1].isnan())
    assert bool(result.attribution.flat[[0, 2]].isfinite().all())
    assert bool(result.completeness_gap[[0, 2]].isfinite().all())


def test_the_gap_of_equal_scores_is_nan(make_signal, make_score):
    signal = make_signal(2, 16)
    result = integrated_gradients(
        make_score(signal),
        signal,
        WaveletBasis("haar", 1),
        baseline=signal,
        n_steps=2,
    )
    assert bool(result.completeness_gap.isnan().all())
    assert result.attribution.flat.count_nonzero() == 0


def test_w6_every_sample_has_its_approximation(make_signal, explain):
    """W6: the reference writes the approximation of the last sample of a batch only."""
    attribution = explain(make_signal(4, 16, 8), WaveletBasis("haar", 2)).attribution
    approximation = attribution[attribution.layout.bands[0]]
    assert bool((approximation.abs().flatten(1).sum(1) > 0).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_signals_are_summed_in_float32(make_signal, dtype):
    signal = make_signal(2, 16).to(dtype)
    result = integrated_gradients(
        lambda rows, _: 1e-3 * rows.float().square().flatten(1).sum(1),
        signal,
        WaveletBasis("haar", 1),
        baseline=torch.zeros_like(signal),
        n_steps=8,
    )
    assert result.attribution.flat.dtype == torch.float32
    assert float(result.completeness_gap.max()) < 0.02


def test_a_baseline_of_another_shape_is_refused(make_signal, make_score):
    signal = make_signal(2, 16)
    with pytest.raises(ValueError, match=r"signal's shape \(2, 2, 16\); got \(1, 2, 16\)"):
        inspect.unwrap(integrated_gradients)(
            make_score(signal), signal, WaveletBasis("haar", 1), baseline=signal[:1], n_steps=2
        )


def test_no_steps_and_unknown_rules_are_refused(make_signal, make_score):
    with pytest.raises(ValueError, match="n_steps must be at least 1, got 0"):
        quadrature("midpoint", 0)
    with pytest.raises(ValueError, match="midpoint or gauss_legendre, got 'simpson'"):
        inspect.unwrap(quadrature)("simpson", 4)
    signal = make_signal(1, 16)
    with pytest.raises(ValueError, match="n_steps must be at least 1"):
        integrated_gradients(
            make_score(signal), signal, WaveletBasis("haar", 1), baseline=signal, n_steps=0
        )
