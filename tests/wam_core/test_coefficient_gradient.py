"""The fast path from input gradients to coefficient gradients is the chain rule, exactly."""

from __future__ import annotations

import typing

import pytest
import torch
from torch import nn

from wam_core import (
    ClassScore,
    CoefficientLayout,
    WaveletBasis,
    coefficient_gradient,
    decompose,
    gradient,
    reconstruct,
)
from wam_core.attribution import gradient_through_coefficients
from wam_core.basis import BoundaryMode

MODES = list(typing.get_args(BoundaryMode))
ORTHOGONAL = ["haar", "db2", "db4", "sym4", "coif1"]
BIORTHOGONAL = ["bior2.2", "rbio1.3", "bior3.1", "dmey"]
SPACES = [(64,), (29,), (24, 24), (19, 30), (16, 15, 18)]


def _basis(wavelet: str, space: tuple[int, ...], mode: str = "zero") -> WaveletBasis:
    levels = min(2, WaveletBasis(wavelet, 1).max_levels(space))
    return WaveletBasis(wavelet, max(1, levels), typing.cast(BoundaryMode, mode))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wavelet", ORTHOGONAL + BIORTHOGONAL[:-1])
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_equals_automatic_differentiation_through_the_inverse(make_signal, space, wavelet, mode):
    layout = CoefficientLayout(space, _basis(wavelet, space, mode))
    input_gradient = make_signal(2, *space, seed=1)
    coefficients = decompose(make_signal(2, *space), layout.basis)
    flat = coefficients.flat.requires_grad_()
    (expected,) = torch.autograd.grad(
        reconstruct(coefficients.replace(flat)), flat, grad_outputs=input_gradient
    )
    actual = coefficient_gradient(input_gradient, layout)
    torch.testing.assert_close(actual.flat, expected, atol=1e-9, rtol=0)


def test_a_truncated_wavelet_has_an_exact_gradient_too(make_signal):
    layout = CoefficientLayout((130,), WaveletBasis("dmey", 1))
    input_gradient = make_signal(1, 130)
    flat = torch.zeros(1, 2, layout.size, dtype=torch.float64, requires_grad=True)
    signal = reconstruct(decompose(input_gradient, layout.basis).replace(flat))
    (expected,) = torch.autograd.grad(signal, flat, grad_outputs=input_gradient)
    actual = coefficient_gradient(input_gradient, layout)
    torch.testing.assert_close(actual.flat, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("wavelet", ["haar", "db4"])
def test_for_orthogonal_wavelets_is_the_zero_padded_transform_in_any_mode(
    make_signal, space, wavelet, mode
):
    input_gradient = make_signal(1, *space)
    layout = CoefficientLayout(space, _basis(wavelet, space, mode))
    zero_padded = decompose(input_gradient, WaveletBasis(wavelet, layout.basis.levels, "zero"))
    actual = coefficient_gradient(input_gradient, layout)
    torch.testing.assert_close(actual.flat, zero_padded.flat, atol=1e-12, rtol=0)


@pytest.mark.parametrize("wavelet", ["db2", "bior2.2"])
def test_of_a_linear_model_is_its_weights_in_the_wavelet_domain(make_signal, wavelet):
    """score = <w, x> = <w, S z>, so the gradient is the transpose of the synthesis on w."""
    space = (14, 11)
    weights, signal = make_signal(1, *space, seed=3)[0], make_signal(4, *space)
    basis = WaveletBasis(wavelet, 1, "reflect")
    attribution = gradient(lambda rows, _: (rows * weights).flatten(1).sum(1), signal, basis)
    layout = attribution.layout
    unit = torch.eye(layout.size, dtype=torch.float64)[:, None]
    atoms = reconstruct(type(attribution)(unit, layout))[:, 0]
    expected = torch.einsum("khw,chw->ck", atoms, weights)
    for sample in attribution.flat:
        torch.testing.assert_close(sample, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize(
    "activation", [nn.Tanh(), nn.Softplus(), nn.ReLU(inplace=True), nn.SiLU()], ids=str
)
@pytest.mark.parametrize("wavelet", ["haar", "db2", "bior2.2"])
@pytest.mark.parametrize("space", [(33,), (18, 25), (10, 12, 11)], ids=str)
def test_the_fast_path_of_a_network_equals_the_definition(
    make_signal, make_score, space, wavelet, activation
):
    signal = make_signal(3, *space)
    score, basis = make_score(signal, activation), _basis(wavelet, space, "reflect")
    fast = gradient(score, signal, basis)
    literal = gradient_through_coefficients(score, signal, basis)
    torch.testing.assert_close(fast.flat, literal.flat, atol=1e-9, rtol=1e-9)
    assert fast.flat.abs().max() > 1e-3


def test_the_fast_path_of_attention_equals_the_definition(make_signal):
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv2d(2, 8, 4, stride=4)
            self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
            self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)

        def forward(self, signal):
            tokens = self.embed(signal).flatten(2).mT
            mixed, _ = self.attend(tokens, tokens, tokens, need_weights=False)
            return self.head(self.norm(tokens + mixed).mean(1))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Attention().double().eval()
    signal = make_signal(2, 16, 20)
    score = ClassScore(model, torch.tensor([0, 2]), kind="log_probability")
    basis = WaveletBasis("sym4", 1)
    torch.testing.assert_close(
        gradient(score, signal, basis).flat,
        gradient_through_coefficients(score, signal, basis).flat,
        atol=1e-9,
        rtol=1e-9,
    )


def test_the_gradient_is_the_same_however_many_rows_share_a_pass(make_signal, make_score):
    signal = make_signal(5, 12, 9)
    score, basis = make_score(signal), WaveletBasis("db2", 1)
    whole = gradient(score, signal, basis)
    for max_batch in (1, 2, 3, 7):
        chunked = gradient(score, signal, basis, max_batch=max_batch)
        torch.testing.assert_close(chunked.flat, whole.flat, atol=1e-12, rtol=0)


def test_a_mean_of_gradients_is_transformed_once(make_signal):
    """Linearity, on which the speed of WAM_SG and WAM_IG rests."""
    draws = make_signal(6, 13, 16)
    layout = CoefficientLayout((13, 16), WaveletBasis("bior2.2", 1))
    torch.testing.assert_close(
        coefficient_gradient(draws.mean(0), layout).flat,
        coefficient_gradient(draws, layout).flat.mean(0),
        atol=1e-12,
        rtol=0,
    )


@pytest.mark.parametrize("max_batch", [0, -1])
def test_a_batch_bound_below_one_is_refused(make_signal, make_score, max_batch):
    signal = make_signal(2, 8)
    with pytest.raises(ValueError, match="max_batch must be at least 1"):
        gradient(make_score(signal), signal, WaveletBasis("haar", 1), max_batch=max_batch)


@pytest.mark.parametrize(
    ("score", "why"),
    [
        (lambda rows, _: torch.zeros(len(rows)), "constant"),
        (lambda rows, _: rows.detach().flatten(1).sum(1), "detached"),
        (
            lambda rows, _: torch.ones(len(rows), requires_grad=True) * 2,
            "of the parameters alone",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_score_that_no_gradient_reaches_is_refused(make_signal, score, why):
    with pytest.raises(ValueError, match="does not depend on the input"):
        gradient(score, make_signal(2, 8), WaveletBasis("haar", 1))


def test_a_score_of_the_wrong_shape_is_refused(make_signal):
    with pytest.raises(ValueError, match=r"one score per row, shape \(2,\); got \(2, 8\)"):
        gradient(lambda rows, _: rows.sum(1), make_signal(2, 8), WaveletBasis("haar", 1))


def test_gradients_flow_where_the_caller_has_switched_them_off(make_signal, make_score):
    signal = make_signal(2, 12)
    score, basis = make_score(signal), WaveletBasis("bior2.2", 1)
    expected = gradient(score, signal, basis)
    with torch.no_grad():
        assert torch.equal(gradient(score, signal, basis).flat, expected.flat)
    assert not expected.flat.requires_grad
