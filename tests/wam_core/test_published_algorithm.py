"""The published algorithm, written anew from its description: equal where it is right.

It decomposes, makes leaves of the coefficients, reconstructs, and derives the batch mean of the
chosen logits. One sample, haar and a square power of two are the cases where that is right; where
we differ on purpose, the tests say by how much.
"""

from __future__ import annotations

import ptwt
import pytest
import torch
from torch import Tensor, nn

from wam_core import (
    Band,
    ClassScore,
    WaveletBasis,
    decompose,
    gradient,
    integrated_gradients,
    smoothgrad,
)
from wam_core.attribution import gradient_through_coefficients
from wam_core.noise import standard_normal

Leaves = dict[tuple[int, str], Tensor]
TRANSFORMS = {
    1: (ptwt.wavedec, ptwt.waverec),
    2: (ptwt.wavedec2, ptwt.waverec2),
    3: (ptwt.wavedec3, ptwt.waverec3),
}
CASES = [(1, (32,), "reflect"), (2, (16, 16), "reflect"), (3, (8, 8, 8), "symmetric")]


def _published_gradient(model, signal, targets, levels, mode, scale=1.0) -> Leaves:
    """Signed gradients of the mean logit by (level, filters), at `scale` times the coefficients."""
    ndim = signal.ndim - 2
    forward, inverse = TRANSFORMS[ndim]
    rows = signal.flatten(0, 1)
    approximation, *details = forward(rows, "haar", mode=mode, level=levels)
    leaves: Leaves = {}

    def leaf(level: int, filters: str, value: Tensor) -> Tensor:
        leaves[level, filters] = (scale * value.detach()).requires_grad_()
        return leaves[level, filters]

    rebuilt = [leaf(levels, "a" * ndim, approximation)]
    for level, detail in zip(range(levels, 0, -1), details, strict=True):
        if ndim == 1:
            rebuilt.append(leaf(level, "d", detail))
        elif ndim == 2:
            named = zip(("da", "ad", "dd"), detail, strict=True)
            rebuilt.append(type(detail)(*(leaf(level, name, value) for name, value in named)))
        else:
            rebuilt.append({name: leaf(level, name, value) for name, value in detail.items()})
    logits = model(inverse(rebuilt, "haar").reshape(signal.shape))
    # The diagonal of all rows by all targets, averaged: as published.
    loss = logits[:, targets].diagonal().mean()
    found = torch.autograd.grad(loss, list(leaves.values()))
    return {
        key: value.reshape(*signal.shape[:2], *value.shape[1:])
        for key, value in zip(leaves, found, strict=True)
    }


@pytest.mark.parametrize(("ndim", "space", "mode"), CASES)
@pytest.mark.parametrize("levels", [1, 3])
def test_the_gradient_of_one_sample_is_the_published_one(
    make_signal, make_net, ndim, space, mode, levels
):
    signal, model, targets = make_signal(1, *space), make_net(ndim, nn.ReLU()), torch.tensor([1])
    attribution = gradient(ClassScore(model, targets), signal, WaveletBasis("haar", levels, mode))
    published = _published_gradient(model, signal, targets, levels, mode)
    assert {(band.level, band.filters) for band in attribution.layout.bands} == set(published)
    for (level, filters), expected in published.items():
        actual = attribution[Band(level, filters)]
        torch.testing.assert_close(actual, expected, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize(("ndim", "space", "mode"), CASES)
def test_w1_the_published_gradient_of_a_batch_shrinks_with_its_size(
    make_signal, make_net, ndim, space, mode
):
    """W1: the mean over a batch of N divides every map by N; ours is the map of the sample."""
    signal, model, targets = make_signal(3, *space), make_net(ndim), torch.tensor([0, 2, 1])
    attribution = gradient(ClassScore(model, targets), signal, WaveletBasis("haar", 2, mode))
    for (level, filters), published in _published_gradient(model, signal, targets, 2, mode).items():
        actual = attribution[Band(level, filters)]
        torch.testing.assert_close(actual, 3 * published, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize(("ndim", "space", "mode"), CASES)
def test_smoothing_of_one_sample_is_the_published_mean(make_signal, make_net, ndim, space, mode):
    """Signed as equation 6 and the released 1D code; absolute as the released 2D code."""
    signal, model, targets = make_signal(1, *space), make_net(ndim), torch.tensor([2])
    smoothed = smoothgrad(
        ClassScore(model, targets),
        signal,
        WaveletBasis("haar", 2, mode),
        sample_ids=["one"],
        seed=42,
        n_samples=5,
        noise_fraction=0.25,
    )
    spread = 0.25 * (signal.max() - signal.min())
    draws = [
        _published_gradient(
            model,
            signal
            + spread
            * standard_normal(tuple(signal.shape[1:]), seed=42, sample_id="one", draw=draw).to(
                signal
            ),
            targets,
            2,
            mode,
        )
        for draw in range(5)
    ]
    for level, filters in draws[0]:
        band = Band(level, filters)
        stacked = torch.stack([each[level, filters] for each in draws])
        torch.testing.assert_close(smoothed.signed[band], stacked.mean(0), atol=1e-12, rtol=1e-9)
        torch.testing.assert_close(
            smoothed.absolute[band], stacked.abs().mean(0), atol=1e-12, rtol=1e-9
        )


@pytest.mark.parametrize(("ndim", "space", "mode"), CASES)
def test_w8_integration_is_the_published_sum_over_its_missing_step(
    make_signal, make_net, ndim, space, mode
):
    """W8: a trapezoid of unit spacing is n - 1 times too large.

    A score of degree two has a gradient linear on the path, on which trapezoid and midpoint agree.
    """
    n_steps = 9

    class Square(nn.Module):
        def forward(self, hidden: Tensor) -> Tensor:
            return hidden.square()

    signal, model, targets = make_signal(1, *space), make_net(ndim, Square()), torch.tensor([1])
    basis = WaveletBasis("haar", 2, mode)
    result = integrated_gradients(
        ClassScore(model, targets),
        signal,
        basis,
        baseline=torch.zeros_like(signal),
        n_steps=n_steps,
    )
    path = [
        _published_gradient(model, signal, targets, 2, mode, scale)
        for scale in torch.linspace(0, 1, n_steps, dtype=torch.float64).tolist()
    ]
    coefficients = decompose(signal, basis)
    for level, filters in path[0]:
        band = Band(level, filters)
        integral = torch.trapezoid(torch.stack([each[level, filters] for each in path]), dim=0)
        published = coefficients[band] * integral
        actual = result.attribution[band]
        torch.testing.assert_close((n_steps - 1) * actual, published, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("wavelet", ["db4", "sym8", "bior4.4"])
@pytest.mark.parametrize("space", [(45,), (33, 40)], ids=str)
def test_w5_the_model_sees_the_size_of_the_signal(make_signal, make_score, space, wavelet):
    """W5: with long filters or odd sizes the reference feeds the model an uncropped signal."""
    signal = make_signal(2, *space)
    score, seen = make_score(signal), set()

    def watched(rows, sample):
        seen.add(tuple(rows.shape[1:]))
        return score(rows, sample)

    gradient_through_coefficients(watched, signal, WaveletBasis(wavelet, 1, "reflect"))
    assert seen == {(2, *space)}
