import pytest
import torch
from torch import nn

from tasks.errors import ModelError
from tasks.models.overrides import apply_overrides


@pytest.fixture
def model():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU(), nn.Conv2d(4, 2, 1)))


def test_an_attribute_of_a_submodule_is_set_and_used(model):
    apply_overrides(model, {"1.1.padding": [1, 1], "0.stride": [2, 2]})
    assert model[1][1].padding == (1, 1)
    assert model(torch.zeros(1, 3, 9, 9)).shape == (1, 2, 6, 6)


def test_an_attribute_of_the_model_itself_is_set(model):
    model.threshold = 0.1
    apply_overrides(model, {"threshold": 0.5})
    assert model.threshold == 0.5


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("0.paddings", "Conv2d has no attribute 'paddings'; did you mean 'padding'"),
        ("1.2.padding", "no submodule '1.2'; did you mean '1"),
        ("encoder.padding", "no submodule 'encoder'; known are 0, 1"),
        ("0.weight", "is a tensor or submodule"),
        ("1.0", "is a tensor or submodule"),
    ],
)
def test_paths_that_lead_nowhere_are_refused(model, path, message):
    with pytest.raises(ModelError, match=message):
        apply_overrides(model, {path: 1})
