"""Optimised masks against convex optimisation, and on models that use known coefficients."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import nn

from wam_core import (
    Band,
    CoefficientLayout,
    WaveletBasis,
    WaveletCoefficients,
    reconstruct,
)
from wam_core.mask_optimisation import START_LOGIT, MaskSettings, optimise_mask
from wam_core.masked_signals import MaskedSignal, composition, read_masked
from wam_core.readings import ClassReader

HAAR = WaveletBasis("haar", 2)
LAYOUT = CoefficientLayout((48,), HAAR)


class Linear(nn.Module):
    """Two classes; the margin of class 1 is a weighted sum of coefficients plus a bias.

    The basis is orthonormal: weights of coefficients are, synthesised, weights of points.
    """

    def __init__(self, layout, used, bias, scale):
        super().__init__()
        generator = torch.Generator().manual_seed(4)
        random = scale * torch.randn(layout.size, generator=generator, dtype=torch.float64)
        self.weight, self.bias = torch.zeros_like(random), bias
        for band in used:
            self.weight[layout.slices[band]] = random[layout.slices[band]]
        points = reconstruct(WaveletCoefficients(self.weight[None], layout))
        self.points = nn.Parameter(points.flatten())

    def forward(self, signal):
        margin = signal.sum(1).flatten(1) @ self.points + self.bias
        return torch.stack([-margin / 2, margin / 2], dim=1)


@pytest.fixture
def masked(make_signal):
    return _taken_apart(make_signal(3, *LAYOUT.space))


def _model(used=None, bias=0.0, scale=1.0, layout=LAYOUT):
    """Random weights on the coefficients of some bands, or of all."""
    return Linear(layout, used or layout.bands, bias, scale)


def _taken_apart(signal):
    return MaskedSignal.of(signal, torch.zeros_like(signal), HAAR)


def _read(model, batch=3, **arguments):
    return ClassReader(model, torch.ones(batch, dtype=torch.long), **arguments)


def _contribution(masked, model):
    return (masked.coefficients.flat * model.weight).sum(1)


def _convex_optimum(contribution, alpha):
    """Lowest log(1 + exp(-c m)) + alpha mean(m) over m in [0, 1], by a method with bounds."""

    def objective(mask):
        margin = contribution @ mask
        gradient = -contribution / (1 + np.exp(margin)) + alpha / len(mask)
        return np.logaddexp(0, -margin) + alpha * mask.mean(), gradient

    found = optimize.minimize(
        objective, np.ones(len(contribution)), jac=True, bounds=[(0, 1)] * len(contribution)
    )
    return found.fun


@pytest.mark.parametrize("optimiser", ["adam", "nadam"])
def test_a_convex_objective_reaches_its_optimum(masked, optimiser):
    model, alpha = _model(scale=0.5), 4.0
    settings = MaskSettings(alpha, optimiser=optimiser, n_steps=50, learning_rate=0.2)
    found = optimise_mask(_read(model), masked, settings)
    reached = -found.probability.log() + alpha * (1 - found.sparsity)
    for row, contribution in enumerate(_contribution(masked, model).numpy()):
        optimum = _convex_optimum(contribution, alpha)
        assert optimum - 1e-9 < float(reached[row]) < optimum + 0.02
    assert bool((found.sparsity > 0.3).all())


@pytest.mark.parametrize(
    ("space", "parametrisation"),
    [((48,), "sigmoid"), ((8, 12), "clamp"), ((4, 8, 4), "clamp")],
    ids=str,
)
def test_what_the_class_uses_stays_and_what_it_does_not_goes(make_signal, space, parametrisation):
    """Of the logit the gradient stays what it is while the mask shrinks: the optimum is 0 or 1."""
    layout = CoefficientLayout(space, HAAR)
    masked = _taken_apart(make_signal(3, *space))
    fine = [band for band in layout.bands if band.level == 1]
    model = _model(fine[-1:], scale=3.0, layout=layout)
    gain = _contribution(masked, model) / 2
    settings = MaskSettings(2.0, parametrisation=parametrisation, n_steps=45)
    found = optimise_mask(_read(model, kind="logit"), masked, settings)
    price = 2.0 / layout.size
    assert float(found.mask[gain == 0].max()) < 0.05
    assert float(found.mask[gain < 0.5 * price].max()) < 0.05
    assert float(found.mask[gain > 2 * price].min()) > 0.95
    assert torch.equal(found.binary_mask, found.mask >= 0.5)
    assert found.binary_kept.tolist() == found.kept.tolist() == [True, True, True]
    shares = composition(found.binary_mask, masked.coefficients).coefficient_share
    assert shares[:, 0].tolist() == [1.0, 1.0, 1.0]


def test_destroying_removes_what_speaks_for_the_class_only(masked):
    model = _model([Band(2, "a"), Band(1, "d")], bias=1.0, scale=3.0)
    gain = _contribution(masked, model) / 2
    settings = MaskSettings(2.0, objective="destroy", n_steps=45)
    found = optimise_mask(_read(model, kind="logit"), masked, settings)
    assert float(found.mask[gain > 4.0 / LAYOUT.size].max()) < 0.05
    assert float(found.mask[gain <= 0].min()) > 0.95
    whole = read_masked(_read(model), masked, torch.ones_like(gain))
    assert bool((found.probability < whole.probability).all())


def test_masks_start_at_one_and_a_higher_price_leaves_less(masked):
    model = _model(bias=0.5, scale=0.3)
    sweep = [
        optimise_mask(_read(model), masked, MaskSettings(alpha, n_steps=30))
        for alpha in (0.3, 30.0)
    ]
    whole = read_masked(_read(model), masked, torch.ones(3, LAYOUT.size)).probability
    for found in sweep:
        assert found.sparsity_path.shape == found.probability_path.shape == (31, 3)
        assert found.sparsity_path[0].tolist() == [0.0, 0.0, 0.0]
        torch.testing.assert_close(found.probability_path[0], whole)
        assert bool(((found.mask >= 0) & (found.mask <= 1)).all())
    cheap, dear = sweep
    assert bool((cheap.sparsity < dear.sparsity).all())
    assert bool((cheap.probability > dear.probability).all())
    soft = optimise_mask(
        _read(model), masked, MaskSettings(1.0, parametrisation="sigmoid", n_steps=1)
    )
    start = 1 - 1 / (1 + math.exp(-START_LOGIT))
    torch.testing.assert_close(soft.sparsity_path[0], torch.full((3,), start).double())


def test_a_mask_is_optimised_as_if_it_were_alone(make_signal, make_net):
    """Also where its neighbours are done at other steps."""
    signal, net = make_signal(3, 20), make_net(1)
    targets = net(signal).argmax(1)
    settings = MaskSettings(1.0, n_steps=60, patience=3, tolerance=0.02)

    together = optimise_mask(ClassReader(net, targets), _taken_apart(signal), settings, max_batch=2)
    assert len(set(together.n_steps.tolist())) > 1
    for row in range(3):
        one = slice(row, row + 1)
        alone = optimise_mask(ClassReader(net, targets[one]), _taken_apart(signal[one]), settings)
        torch.testing.assert_close(alone.mask, together.mask[one])
        assert torch.equal(alone.n_steps, together.n_steps[one])
        torch.testing.assert_close(
            alone.probability_path[:, 0], together.probability_path[:, row], equal_nan=True
        )


def test_a_sample_whose_objective_no_longer_falls_is_done(masked):
    """At this price everything goes, which takes twenty steps of 0.05."""
    model = _model(bias=3.0, scale=0.1)
    found = optimise_mask(_read(model), masked, MaskSettings(300.0, n_steps=60, patience=5))
    assert bool((found.mask == 0).all())
    for row, steps in enumerate(found.n_steps.tolist()):
        assert 20 < steps < 40
        path = found.sparsity_path[:, row]
        assert bool(path[: steps + 1].isfinite().all())
        assert bool(path[steps + 1 :].isnan().all())


@pytest.mark.parametrize("optimiser", ["adam", "nadam"])
def test_the_first_step_is_the_optimisers(masked, optimiser):
    """Adam's first step is its rate; NAdam looks ahead by the momenta of steps one and two."""
    settings = MaskSettings(300.0, optimiser=optimiser, n_steps=1, learning_rate=0.03)
    found = optimise_mask(_read(_model(scale=0.1)), masked, settings)
    now, following = (0.9 * (1 - 0.5 * 0.96 ** (0.004 * step)) for step in (1, 2))
    ahead = 1 + following * 0.1 / (1 - now * following)
    expected = 0.03 * (1 if optimiser == "adam" else ahead)
    torch.testing.assert_close(found.sparsity_path[1], torch.full((3,), expected).double())


def test_gradients_reach_the_mask_only_and_passes_are_counted(masked):
    model, rows = _model(), []

    class Counting(nn.Module):
        def forward(self, signal):
            rows.append(len(signal))
            return model(signal)

    found = optimise_mask(_read(Counting()), masked, MaskSettings(1.0, n_steps=7), max_batch=2)
    assert model.points.grad is None
    assert max(rows) == 2
    assert found.n_backward == 3 * 7
    assert found.n_forward + found.n_backward == sum(rows)


def test_an_output_that_is_not_a_number_leaves_the_mask_and_the_neighbours_alone(masked):
    model = _model(bias=1.0)

    class Breaks(nn.Module):
        """The first of three samples gets an output that is NaN."""

        def forward(self, signal):
            return model(signal) * torch.tensor([[torch.nan], [1.0], [1.0]])

    settings = MaskSettings(3.0, n_steps=20)
    found = optimise_mask(_read(Breaks()), masked, settings)
    torch.testing.assert_close(
        found.mask[1:], optimise_mask(_read(model), masked, settings).mask[1:]
    )
    assert found.probability.isnan().tolist() == [True, False, False]
    assert found.kept.tolist()[0] is False
    assert bool((found.mask[0] == 1).all())


def test_what_does_not_fit_is_refused(masked):
    create = inspect.unwrap(MaskSettings.__init__)
    for name, value in (
        ("objective", "explain"),
        ("parametrisation", "softmax"),
        ("optimiser", "sgd"),
    ):
        with pytest.raises(ValueError, match=f"{name} must be"):
            create(MaskSettings.__new__(MaskSettings), 1.0, **{name: value})
    with pytest.raises(ValueError, match="alpha must not be negative"):
        MaskSettings(-1.0)
    with pytest.raises(ValueError, match="n_steps at least 1"):
        MaskSettings(1.0, n_steps=0)

    def detached(signal):
        return _model()(signal).detach()

    with pytest.raises(ValueError, match="does not depend on the input"):
        optimise_mask(_read(detached), masked, MaskSettings(1.0))
