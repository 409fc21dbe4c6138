"""A sample's input gradient is the same alone and in a batch, whatever the memory format."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from tasks.config_files import load_config
from tasks.models import load_model
from tasks.models.gradient_layout import align_gradients

ROOT = Path(__file__).parents[3]
FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
NORMALISATIONS = {
    "batch": lambda n_axes: (nn.BatchNorm2d, nn.BatchNorm3d)[n_axes - 2](4),
    "instance": lambda n_axes: (nn.InstanceNorm2d, nn.InstanceNorm3d)[n_axes - 2](4, affine=True),
}


class Tokens(nn.Module):
    """Convolution, normalisation, activation, and one token per place, as transformers begin."""

    def __init__(self, n_axes: int, normalisation: str, in_place: bool) -> None:
        super().__init__()
        convolution = (nn.Conv2d, nn.Conv3d)[n_axes - 2]
        self.stem = nn.Sequential(
            convolution(2, 4, 3, padding=1),
            NORMALISATIONS[normalisation](n_axes),
            nn.ReLU(inplace=in_place),
        )
        self.head = nn.Linear(4, 3)
        self.token_weight = nn.Parameter(torch.randn(5**n_axes, 4))

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        tokens = self.stem(signal).flatten(2).transpose(1, 2)
        return self.head((tokens * self.token_weight).sum(1))


def make_tokens(n_axes: int, normalisation: str, in_place: bool = False) -> nn.Module:
    torch.manual_seed(n_axes)
    model = Tokens(n_axes, normalisation, in_place).eval()
    if normalisation == "batch":
        model.stem[1].running_var.uniform_(0.5, 2)
    return model


def input_gradient(model: nn.Module, signal: torch.Tensor) -> torch.Tensor:
    leaf = signal.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(model(leaf)[:, 0].sum(), leaf)
    return gradient


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("n_axes", [2, 3])
def test_gradient_of_one_sample_is_that_of_double_precision(
    n_axes, normalisation, channels_last, in_place
):
    model = make_tokens(n_axes, normalisation, in_place)
    wanted_model = copy.deepcopy(model).double()
    align_gradients(model)
    signal = torch.randn(3, 2, *[5] * n_axes)
    # In double precision and all at once, where PyTorch reads the layout rightly.
    wanted = input_gradient(wanted_model, signal.double()).float()
    if channels_last:
        signal = signal.contiguous(memory_format=FORMATS[signal.ndim])
    alone = torch.cat([input_gradient(model, sample[None]) for sample in signal])
    torch.testing.assert_close(alone, wanted, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(input_gradient(model, signal), wanted, rtol=1e-4, atol=1e-6)


def test_copies_and_pickles_are_aligned_too():
    """Batches work on copies of the model, and other processes on pickles."""
    model = make_tokens(3, "batch")
    align_gradients(model)
    signal = torch.randn(1, 2, 5, 5, 5)
    wanted = input_gradient(model, signal)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(input_gradient(other, signal), wanted, rtol=0, atol=0)


def test_scores_need_no_gradient():
    model = make_tokens(2, "batch")
    signal = torch.randn(1, 2, 5, 5)
    wanted = model(signal)
    align_gradients(model)
    with torch.no_grad():
        torch.testing.assert_close(model(signal), wanted, rtol=0, atol=0)


def test_the_shipped_transformer_explains_a_volume_alone_as_in_a_batch():
    loaded = load_model(
        load_config(ROOT / "configs" / "adrenal_transformer3d.yaml").model,
        device=torch.device("cpu"),
    )
    volumes = torch.rand(2, 1, 64, 64, 64, generator=torch.Generator().manual_seed(0))
    together = input_gradient(loaded.module, volumes)
    alone = torch.cat([input_gradient(loaded.module, volume[None]) for volume in volumes])
    assert float((alone - together).norm() / together.norm()) < 1e-3
