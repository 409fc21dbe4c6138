"""The layer of GradCAM: what the last block puts out, whatever the order of definition."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from wam_core.faithfulness.feature_map import last_feature_map

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
POOL = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
AXES = pytest.mark.parametrize("ndim", [1, 2, 3])


class Shortcut(nn.Module):
    """A residual block whose code defines the shortcut last and calls it first."""

    def __init__(self, ndim):
        super().__init__()
        self.main = CONV[ndim](4, 6, 3, stride=2, padding=1)
        self.shortcut = CONV[ndim](4, 6, 1, stride=2)

    def forward(self, x):
        passed = self.shortcut(x)
        return functional.relu(self.main(x) + passed)


class Gate(nn.Module):
    """Squeeze and excitation: its convolution sees one place only, and comes last."""

    def __init__(self, ndim):
        super().__init__()
        self.squeeze, self.excite = POOL[ndim](1), CONV[ndim](6, 6, 1)

    def forward(self, x):
        return x * self.excite(self.squeeze(x)).sigmoid()


class Head(nn.Module):
    """Pools by a function, or by a layer, after which a convolution of one place follows."""

    def __init__(self, ndim, functional_pooling):
        super().__init__()
        self.ndim = ndim
        self.pool = None if functional_pooling else POOL[ndim](1)
        self.point = CONV[ndim](6, 5, 1)
        self.linear = nn.Linear(5, 3)

    def forward(self, x):
        space = tuple(range(2, 2 + self.ndim))
        pooled = x.mean(space, keepdim=True) if self.pool is None else self.pool(x)
        return self.linear(self.point(pooled).flatten(1))


class Tokens(nn.Module):
    """A patch embedding and layers over (batch, token, width)."""

    def __init__(self, ndim):
        super().__init__()
        self.embedding = CONV[ndim](2, 8, 4, stride=4)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.linear = nn.Linear(8, 3)

    def forward(self, x):
        tokens = self.embedding(x).flatten(2).transpose(1, 2)
        return self.linear(self.encoder(tokens).mean(1))


class SharedActivation(nn.Module):
    """One activation layer that two convolutions share."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3)
        self.act, self.linear = nn.ReLU(), nn.Linear(4, 3)

    def forward(self, x):
        features = self.act(self.second(self.act(self.first(x))))
        return self.linear(features.mean((2, 3)))


def found(net, ndim, size=16, channels=2):
    net = net.eval()
    return last_feature_map(net, net, torch.rand(1, channels, *[size] * ndim), n_axes=ndim)


@AXES
@pytest.mark.parametrize("functional_pooling", [True, False])
def test_a_residual_block_is_taken_and_not_the_shortcut_defined_last(ndim, functional_pooling):
    net = nn.Sequential(
        CONV[ndim](2, 4, 3, padding=1), Shortcut(ndim), Head(ndim, functional_pooling)
    )
    assert [name for name, part in net.named_modules() if isinstance(part, CONV[ndim])][-2] == (
        "1.shortcut"
    )
    assert found(net, ndim) == "1"


@AXES
def test_convolutions_of_one_place_are_no_map(ndim):
    net = nn.Sequential(
        CONV[ndim](2, 4, 3, padding=1), Shortcut(ndim), Gate(ndim), Head(ndim, True)
    )
    assert found(net, ndim) == "2"


@AXES
def test_tokens_are_no_map(ndim):
    assert found(Tokens(ndim), ndim) == "embedding"


@AXES
def test_activations_and_pooling_that_leave_the_axes_belong_to_the_map(ndim):
    pool = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}[ndim]
    net = nn.Sequential(
        CONV[ndim](2, 4, 3), nn.ReLU(), pool(2), nn.Flatten(), nn.LazyLinear(3)
    )  # fmt: skip
    assert found(net, ndim) == "2"


def test_a_layer_that_is_called_twice_is_passed_over():
    assert found(SharedActivation(), 2) == "second"


def test_the_map_has_the_axes_of_what_is_explained():
    """A spectrogram network whose head convolves over time alone."""

    class OverTime(nn.Module):
        def __init__(self):
            super().__init__()
            self.image, self.time = nn.Conv2d(2, 4, 3), nn.Conv1d(4, 4, 3)
            self.linear = nn.Linear(4, 3)

        def forward(self, x):
            return self.linear(self.time(self.image(x).mean(2)).mean(2))

    net = OverTime()
    assert found(net, 2) == "image"
    assert last_feature_map(net, net, torch.rand(1, 2, 16, 16), n_axes=1) == "time"


@pytest.mark.parametrize(
    ("name", "layer"),
    [("resnet18", "layer4"), ("mobilenet_v3_small", "features"), ("vgg11", "features"),
     ("convnext_tiny", "features"), ("shufflenet_v2_x0_5", "conv5"), ("vit_b_32", "conv_proj")],
)  # fmt: skip
def test_networks_of_torchvision(name, layer):
    size = 224 if name.startswith("vit") else 96
    with torch.random.fork_rng():
        net = torchvision.models.get_model(name, weights=None)
    assert found(net, 2, size=size, channels=3) == layer


def test_no_hook_is_left_and_no_map_is_none():
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.LazyLinear(3))
    found(net, 2)
    assert not any(part._forward_hooks for part in net.modules())
    assert found(nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), 2) is None
    one_place = nn.Sequential(nn.Conv2d(2, 4, 16), nn.Flatten(), nn.LazyLinear(3))
    assert found(one_place, 2) is None
