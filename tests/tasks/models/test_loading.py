import pytest
import torch
from torch import nn

from tasks.config import ModelConfig
from tasks.errors import ModelError
from tasks.models import LoadedModel, load_model
from tasks.models.digest import weights_digest

CPU = torch.device("cpu")
SMALL = {"crop": 8, "channels": 3}


def load(name: str, *, preprocessing=SMALL, channels_last=False, **fields) -> LoadedModel:
    config = ModelConfig(source="factory", name=name, preprocessing=preprocessing, **fields)
    return load_model(config, device=CPU, channels_last=channels_last)


def test_a_loaded_model_is_frozen_in_evaluation_mode_and_described(factories):
    model = load(f"{factories}:tiny", arguments={"n_classes": 5})
    assert not any(module.training for module in model.module.modules())
    assert not any(parameter.requires_grad for parameter in model.module.parameters())
    signal = torch.rand(2, 3, 8, 8)
    assert model.module(signal).shape == (2, 5)
    assert torch.equal(model.module(signal), model.module(signal))
    assert model.n_parameters == 3 * 4 * 9 + 4 + 8 + 4 * 5 + 5
    assert model.head == "multiclass"
    assert model.description == f"factory {factories}:tiny, weights of the factory"
    assert model.preprocessing.input_shape == (3, 8, 8)


def test_an_audited_model_never_leaves_evaluation_mode(factories):
    model = load(f"{factories}:tiny")
    model.module.train()
    assert not any(module.training for module in model.module.modules())


def test_gradients_reach_the_signal_and_no_parameter(factories):
    model = load(f"{factories}:tiny")
    signal = torch.rand(2, 3, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.module(signal).sum(), signal)
    assert gradient.abs().sum() > 0
    assert all(parameter.grad is None for parameter in model.module.parameters())


def test_normalisation_scales_subtracts_and_divides_in_the_model_s_order(factories):
    rules = SMALL | {"scale": 255, "mean": (104, 117, 123), "std": (1, 2, 4)}
    signal = torch.rand(2, 3, 8, 8)
    red, green, blue = (signal[:, channel] * 255 for channel in range(3))
    in_order = torch.stack([red - 104, (green - 117) / 2, (blue - 123) / 4], dim=1)
    reversed_order = torch.stack([blue - 104, (green - 117) / 2, (red - 123) / 4], dim=1)
    for channel_order, expected in (("rgb", in_order), ("bgr", reversed_order)):
        model = load(
            f"{factories}:identity", preprocessing=rules | {"channel_order": channel_order}
        )
        # One rounding of values up to 255.
        assert torch.allclose(model.module(signal), expected.flatten(1), atol=1e-4)


@pytest.mark.parametrize("channel_order", ["rgb", "bgr"])
def test_the_mean_in_data_space_becomes_zero(factories, channel_order):
    rules = SMALL | {"scale": 255, "mean": (104, 117, 123), "std": (1,)}
    model = load(f"{factories}:identity", preprocessing=rules | {"channel_order": channel_order})
    mean = torch.tensor(model.preprocessing.data_mean()).reshape(1, 3, 1, 1)
    assert model.module(mean.expand(1, 3, 8, 8)).abs().max() < 1e-4


def test_the_gradient_of_the_normalisation_is_exact(factories):
    rules = SMALL | {"scale": 255, "mean": (104, 117, 123), "std": (1, 2, 4)}
    model = load(f"{factories}:identity", preprocessing=rules | {"channel_order": "bgr"})
    signal = torch.rand(1, 3, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.module(signal).sum(), signal)
    expected = torch.tensor([255 / 4, 255 / 2, 255.0]).reshape(1, 3, 1, 1)
    assert torch.equal(gradient, expected.expand_as(gradient))


@pytest.mark.parametrize("rules", [{}, {"mean": (0.5,), "std": (0.5,)}])
def test_a_model_that_writes_its_input_leaves_the_signal_alone(factories, rules):
    model = load(f"{factories}:writes_its_input", preprocessing=SMALL | rules)
    signal = torch.rand(2, 3, 8, 8, requires_grad=True)
    before = signal.detach().clone()
    model.module(signal).sum().backward()
    assert torch.equal(signal.detach(), before)


def test_channels_last_changes_no_score_beyond_rounding(factories):
    name = f"{factories}:tiny"
    signal = torch.rand(2, 3, 8, 8)
    plain, last = load(name), load(name, channels_last=True)
    assert torch.allclose(plain.module(signal), last.module(signal), atol=1e-5)
    assert plain.weights_digest == last.weights_digest
    weight = dict(last.module.named_parameters())["model.conv.weight"]
    assert weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("factory", "output"), [("returns_dict", "scores"), ("returns_logits", None)]
)
def test_scores_are_taken_from_outputs_of_any_kind(factories, factory, output):
    model = load(f"{factories}:{factory}", output=output)
    assert model.module(torch.rand(2, 3, 8, 8)).shape == (2, 3)


def test_a_missing_output_is_found_while_loading(factories):
    with pytest.raises(ModelError, match=r"features: tensor \(1, 3\), scores: tensor \(1, 3\)"):
        load(f"{factories}:returns_dict")


def test_one_logit_needs_the_binary_head(factories):
    name, arguments = f"{factories}:tiny", {"n_classes": 1}
    with pytest.raises(ModelError, match="Use head: binary"):
        load(name, arguments=arguments)
    model = load(name, arguments=arguments, head="binary")
    assert model.module(torch.rand(2, 3, 8, 8)).shape == (2, 1)


def test_a_batch_axis_lost_for_one_sample_is_found_while_loading(factories):
    with pytest.raises(ModelError, match=r"batch 1, got \(3,\)"):
        load(f"{factories}:squeezes")


def test_an_input_that_does_not_fit_is_named_with_its_shape(factories):
    with pytest.raises(ModelError, match=r"input of shape \(1, 1, 8, 8\).*expected input") as error:
        load(f"{factories}:tiny", preprocessing={"crop": 8, "channels": 1})
    assert "model.preprocessing" in str(error.value)


def test_loading_leaves_the_global_random_state_alone(factories):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = load(f"{factories}:tiny")
    assert torch.equal(torch.rand(3), expected)
    assert load(f"{factories}:tiny").weights_digest == first.weights_digest


def test_the_digest_ignores_order_and_notices_one_bit():
    state = nn.Linear(3, 2).state_dict()
    changed = {name: tensor.clone() for name, tensor in state.items()}
    assert weights_digest(changed) == weights_digest(dict(reversed(state.items())))
    changed["weight"].view(torch.int32)[1, 2] ^= 1
    assert weights_digest(changed) != weights_digest(state)


def test_the_digest_covers_names_types_and_shapes():
    zeros = torch.zeros(2, 2)
    variants = [
        {"a": zeros},
        {"b": zeros},
        {"a": zeros.reshape(4)},
        {"a": zeros.int()},
        {"a": zeros.bfloat16()},
        {"a": zeros[:, :1]},
        {"a": zeros[:0]},
        {"a": torch.tensor(0.0)},
        {"a": zeros, "b": torch.zeros(0)},
    ]
    assert len({weights_digest(state) for state in variants}) == len(variants)


def test_the_digest_sees_values_not_strides():
    weight = torch.rand(3, 4)
    assert weights_digest({"w": weight.T}) == weights_digest({"w": weight.T.contiguous()})
