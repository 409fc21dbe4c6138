"""Signals and small networks for the tests of the core: float64, fixed seeds, any dimension."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from wam_core import ClassScore

CHANNELS, CLASSES = 2, 3

_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads cost more than they save on tiny tensors, the more so on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class SmoothNet(nn.Module):
    """Convolution, activation, mean over space, linear: infinitely differentiable for tanh."""

    def __init__(self, ndim: int, activation: nn.Module) -> None:
        super().__init__()
        self.local = _CONVOLUTIONS[ndim](CHANNELS, 4, 3, padding=1, bias=True)
        self.activation = activation
        self.head = nn.Linear(4, CLASSES)

    def forward(self, signal: Tensor) -> Tensor:
        hidden = self.activation(3.0 * self.local(signal))
        return 10.0 * self.head(hidden.flatten(2).mean(-1))


@pytest.fixture
def make_signal() -> Callable[..., Tensor]:
    """Standard normal signals, shape (batch, CHANNELS, *space)."""

    def make(batch: int, *space: int, channels: int = CHANNELS, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(batch, channels, *space, generator=generator, dtype=torch.float64)

    return make


@pytest.fixture
def make_net() -> Callable[..., nn.Module]:
    """A small network for signals with CHANNELS channels, in evaluation mode."""

    def make(ndim: int, activation: nn.Module | None = None, seed: int = 0) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return SmoothNet(ndim, activation or nn.Tanh()).double().eval()

    return make


@pytest.fixture
def make_score(make_net: Callable[..., nn.Module]) -> Callable[..., ClassScore]:
    """The score of a class per sample under `make_net`; sample i has target i mod CLASSES."""

    def make(signal: Tensor, activation: nn.Module | None = None) -> ClassScore:
        return ClassScore(
            make_net(signal.ndim - 2, activation), torch.arange(len(signal)) % CLASSES
        )

    return make
