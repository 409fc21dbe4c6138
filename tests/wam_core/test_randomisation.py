"""Randomised networks: only what is asked for changes, on a copy, the same every time."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from wam_core.randomisation import (
    layers_in_forward_order,
    randomised,
    randomised_share,
    stages_from_the_top,
)

SIGNAL = torch.rand(1, 2, 16, generator=torch.Generator().manual_seed(1))


class Backwards(nn.Module):
    """Registers its layers from the output to the input, and owns a parameter itself."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(4)
        self.stem = nn.Conv1d(2, 4, 3)
        self.gain = nn.Parameter(torch.linspace(0.5, 2.0, 4))

    def forward(self, x):
        hidden = self.norm(self.stem(x)).relu() * self.gain[:, None]
        return self.head(hidden.mean(2))


class Attentive(nn.Module):
    """The output projection of attention is used without being called."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(2, 1, batch_first=True)
        self.head = nn.Linear(2, 3)

    def forward(self, x):
        tokens = x.movedim(1, 2)
        return self.head(self.attention(tokens, tokens, tokens)[0].mean(1))


def trained(model=Backwards):
    """A network whose weights and statistics are not those of its construction."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = model()
        with torch.no_grad():
            for tensor in (*network.parameters(), *network.buffers()):
                if tensor.is_floating_point():
                    tensor.add_(torch.rand(tensor.shape))
    return network.eval()


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def test_layers_come_in_the_order_of_the_pass():
    assert layers_in_forward_order(trained(), SIGNAL) == ("", "stem", "norm", "head")


def test_what_is_not_called_follows_what_is_registered_before_it():
    names = layers_in_forward_order(trained(Attentive), SIGNAL)
    assert names == ("attention", "attention.out_proj", "head")


@given(n_layers=st.integers(1, 60), n_stages=st.integers(1, 12))
def test_stages_hold_every_layer_once_from_the_top_in_nearly_equal_parts(n_layers, n_stages):
    layers = [f"layer{index}" for index in range(n_layers)]
    stages = stages_from_the_top(layers, n_stages)
    assert [name for stage in reversed(stages) for name in stage] == layers
    assert len(stages) == min(n_stages, n_layers)
    if n_stages > 1:
        assert stages[0] == (layers[-1],)
        sizes = [len(stage) for stage in stages[1:]]
        assert not sizes or max(sizes) - min(sizes) <= 1


def test_the_caller_s_model_is_left_alone():
    model = trained()
    before, output = state(model), model(SIGNAL)
    names = layers_in_forward_order(model, SIGNAL)
    changed = randomised(model, names, seed=3)
    changed(SIGNAL)
    assert same(state(model), before)
    assert torch.equal(model(SIGNAL), output)
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert not torch.allclose(changed(SIGNAL), output)


def test_only_the_layers_named_change():
    model = trained()
    changed = state(randomised(model, ["stem"], seed=3))
    for name, value in state(model).items():
        assert torch.equal(changed[name], value) == (not name.startswith("stem"))


def test_no_global_generator_is_moved_and_none_decides():
    before = torch.get_rng_state()
    first = state(randomised(trained(), ["", "stem", "norm", "head"], seed=3))
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(123)
        assert same(state(randomised(trained(), ["", "stem", "norm", "head"], seed=3)), first)
    for other in ({"seed": 4}, {"seed": 3, "draw": 1}):
        assert not same(state(randomised(trained(), ["", "stem", "norm", "head"], **other)), first)


def test_a_layer_gets_the_same_whatever_else_is_randomised():
    model = trained()
    alone = state(randomised(model, ["head"], seed=3))
    with_others = state(randomised(model, ["stem", "norm", "head"], seed=3))
    assert torch.equal(alone["head.weight"], with_others["head.weight"])
    assert torch.equal(alone["head.bias"], with_others["head.bias"])


def test_threads_do_not_mix_their_draws():
    model = trained()
    expected = [state(randomised(model, ["stem", "head"], seed)) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(randomised, model, ["stem", "head"], seed) for seed in range(8)]
        found = [state(job.result()) for job in jobs]
    assert all(same(left, right) for left, right in zip(found, expected, strict=True))


def test_layers_draw_as_at_their_construction():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(100, 50))
    with torch.no_grad():
        model[0].weight.fill_(7.0)
    weight = randomised(model, ["0"], seed=1)[0].weight.detach()
    # PyTorch draws uniformly between +-1 / sqrt(fan in).
    assert 0.099 < float(weight.abs().max()) <= 0.1
    assert float(weight.std()) == pytest.approx(0.1 / 3**0.5, rel=0.03)


def test_batch_normalisation_forgets_its_statistics():
    model = trained()
    assert float(model.norm.running_var.min()) > 1
    norm = randomised(model, ["norm"], seed=3).norm
    assert torch.equal(norm.weight, torch.ones(4))
    assert torch.equal(norm.running_mean, torch.zeros(4))
    assert torch.equal(norm.running_var, torch.ones(4))


def test_parameters_that_no_layer_draws_are_permuted():
    model = trained()
    gain = randomised(model, [""], seed=3).gain
    assert not torch.equal(gain, model.gain)
    assert torch.equal(gain.sort().values, model.gain.sort().values)


def test_shares_of_parameters():
    model = trained()
    # stem 2 x 4 x 3 + 4, norm 8, head 4 x 3 + 3, gain 4
    assert randomised_share(model, ["head"]) == pytest.approx(15 / 55)
    assert randomised_share(model, ["", "stem", "norm", "head"]) == 1.0


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("kind", ["torchscript", "export"])
def test_programs_are_randomised_by_permuting_what_they_hold(kind):
    model = trained()
    if kind == "torchscript":
        program = torch.jit.trace(model, SIGNAL)
    else:
        program = torch.export.export(model, (SIGNAL,)).module()
    program = nn.Sequential(nn.Identity(), program)
    names = layers_in_forward_order(program, SIGNAL)
    before, output = state(program), program(SIGNAL)
    changed = randomised(program, names, seed=3)
    assert same(state(program), before)
    assert not torch.allclose(changed(SIGNAL), output)
    assert torch.equal(program(SIGNAL), output)


def test_what_cannot_be_randomised_is_refused():
    with pytest.raises(ValueError, match="no parameters"):
        layers_in_forward_order(nn.Flatten(), SIGNAL)
    with pytest.raises(ValueError, match="no layer 'neck'"):
        randomised(trained(), ["neck"], seed=0)
    uncopiable = nn.Linear(2, 2)
    uncopiable.lock = (thing for thing in ())
    with pytest.raises(ValueError, match="cannot be copied"):
        randomised(uncopiable, [""], seed=0)
