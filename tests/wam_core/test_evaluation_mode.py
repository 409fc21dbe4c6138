"""Models are run in evaluation mode, get no gradients, and are given back as they came."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from wam_core import (
    ClassScore,
    WaveletBasis,
    baseline,
    gradient,
    integrated_gradients,
    smoothgrad,
)
from wam_core.evaluation_mode import evaluation_mode

BASIS = WaveletBasis("db2", 2)


class DenseBlock(nn.Module):
    """Every layer sees all before it, through in-place activations."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(4 * place), nn.ReLU(inplace=True), nn.Conv2d(4 * place, 4, 1)
            )
            for place in (1, 2, 3)
        )
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(16, 3)

    def forward(self, signal):
        features = [self.stem(signal)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        pooled = nn.functional.relu(torch.cat(features, 1), inplace=True).mean((2, 3))
        return self.head(self.drop(pooled))


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DenseBlock().double().train()


@pytest.fixture
def signal(make_signal):
    return make_signal(2, 20, 17, channels=3)


def _state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def _explain_all(model, signal):
    score = ClassScore(model, torch.tensor([0, 2]))
    noise = {"sample_ids": ["a", "b"], "seed": 0, "n_samples": 3, "noise_fraction": 0.1}
    path = {"baseline": baseline("blur", signal), "n_steps": 3}
    return [
        gradient(score, signal, BASIS).flat,
        smoothgrad(score, signal, BASIS, **noise).signed.flat,
        integrated_gradients(score, signal, BASIS, **path).attribution.flat,
    ]


def test_modes_and_frozen_parameters_are_restored(model):
    model.layers[0].eval()
    model.stem.weight.requires_grad = False
    training = [module.training for module in model.modules()]
    trainable = [parameter.requires_grad for parameter in model.parameters()]
    with evaluation_mode(model) as running:
        assert running is model
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
    assert [module.training for module in model.modules()] == training
    assert [parameter.requires_grad for parameter in model.parameters()] == trainable


def test_they_are_restored_after_an_error_too(model):
    def fail():
        with evaluation_mode(model):
            raise KeyError("inside")

    with pytest.raises(KeyError):
        fail()
    assert model.training
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_it_can_be_nested(model):
    with evaluation_mode(model):
        with evaluation_mode(model):
            pass
        assert not model.training
        assert not model.stem.weight.requires_grad
    assert model.training
    assert model.stem.weight.requires_grad


@pytest.mark.parametrize("frozen", [True, False])
def test_w9_parameters_are_never_given_gradients(model, signal, frozen):
    """W9: `loss.backward()` also fills the parameters' gradients, over a whole dataset."""
    if frozen:
        with evaluation_mode(model):
            _explain_all(model, signal)
    else:
        _explain_all(model, signal)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_w9_gradients_the_caller_holds_are_left_alone(model, signal):
    """W9: an optimiser's gradients must survive an audit in between."""
    model(signal).sum().backward()
    before = [parameter.grad.clone() for parameter in model.parameters()]
    with evaluation_mode(model):
        _explain_all(model, signal)
    after = [parameter.grad for parameter in model.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_w10_an_audit_leaves_weights_and_statistics_untouched(model, signal):
    """W10: without evaluation mode every pass would update the batch normalisation."""
    before = _state(model)
    with evaluation_mode(model):
        _explain_all(model, signal)
    after = _state(model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    model(signal)
    assert not torch.equal(
        _state(model)["layers.0.0.running_mean"], before["layers.0.0.running_mean"]
    )


def test_w10_dropout_is_inactive(model, signal):
    """W10: the same map twice, whatever the global generator says."""
    maps = []
    for seed in (1, 2):
        with torch.random.fork_rng(), evaluation_mode(model):
            torch.manual_seed(seed)
            maps.append(_explain_all(model, signal))
    for first, second in zip(*maps, strict=True):
        assert torch.equal(first, second)


def test_in_place_activations_run_unmodified(model, signal):
    """captum needs hooks there, which clash; the map must equal that of the same net without."""
    with evaluation_mode(model):
        in_place = _explain_all(model, signal)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    with evaluation_mode(model):
        copying = _explain_all(model, signal)
    for first, second in zip(in_place, copying, strict=True):
        torch.testing.assert_close(first, second, atol=1e-12, rtol=1e-10)
        assert float(first.abs().max()) > 1e-6


def test_a_first_layer_that_works_in_place_does_not_change_the_signal(signal):
    before = signal.clone()
    tail = nn.Sequential(nn.Flatten(), nn.Linear(3 * 20 * 17, 3), nn.Tanh()).double()
    in_place = _explain_all(nn.Sequential(nn.ReLU(inplace=True), *tail), signal)
    copying = _explain_all(nn.Sequential(nn.ReLU(), *tail), signal)
    assert torch.equal(signal, before)
    for first, second in zip(in_place, copying, strict=True):
        assert torch.equal(first, second)


def test_a_densenet_runs_unmodified_and_without_hooks(make_signal):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torchvision.models.DenseNet(4, (2, 2), 8, num_classes=3).train()
    signal = make_signal(2, 33, 40, channels=3).float()
    hooks = [len(module._backward_hooks) for module in model.modules()]
    with evaluation_mode(model):
        maps = _explain_all(model, signal)
    for flat in maps:
        assert bool(flat.isfinite().all())
        assert float(flat.abs().max()) > 0
    assert [len(module._backward_hooks) for module in model.modules()] == hooks
    assert all(parameter.grad is None for parameter in model.parameters())
