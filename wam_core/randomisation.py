"""Networks with some of their layers forgotten, for the model randomisation test.

Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim: "Sanity Checks for Saliency Maps", NeurIPS 2018. An
explanation that stays the same when the layers that the model learned are drawn anew does not
show what was learned.

A layer is a module with parameters of its own (those of its submodules are layers of their own).
The caller's model is never written to: what is randomised is a copy.

What a randomised layer gets depends on (seed, draw, name of the layer) alone, so that a network
randomised in all layers is the same in however many stages it was done, and on every device.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import pairwise

import torch
from torch import Tensor, nn

from wam_core.noise import generator

_drawing = threading.Lock()
"""Layers draw their own initial weights from PyTorch's global generator, one at a time."""


def layers_in_forward_order(model: nn.Module, example: Tensor) -> tuple[str, ...]:
    """Names of the layers, in the order in which a pass of `example` first calls them.

    The order is recorded by hooks on a copy. Modules whose parameters are used without being called
    (the output projection of `nn.MultiheadAttention`, submodules of exported programs and of
    TorchScript) follow the layer that is registered before them.

    Args:
        example: One signal or more, with the batch axis.

    Raises:
        ValueError: If no module has parameters.
    """
    probe = _copied(model)
    names = [
        name for name, module in probe.named_modules() if list(module.parameters(recurse=False))
    ]
    if not names:
        raise ValueError("the model has no parameters, so nothing of it can be randomised")
    calls = _first_calls(probe, names, example)
    places: dict[str, tuple[int, int]] = {}
    called, uncalled = -1, 0
    for name in names:
        if name in calls:
            called, uncalled = calls[name], 0
        else:
            uncalled += 1
        places[name] = called, uncalled
    return tuple(sorted(names, key=places.__getitem__))


def stages_from_the_top(layers: Sequence[str], n_stages: int) -> tuple[tuple[str, ...], ...]:
    """Layers in stages of nearly equal numbers of layers, the output layer alone in the first.

    Args:
        layers: In forward order.
        n_stages: At most so many; no stage is empty.

    Raises:
        ValueError: If there are no layers, or fewer than one stage is asked for.

    Example:
        >>> stages_from_the_top(["a", "b", "c", "d", "head"], 3)
        (('head',), ('c', 'd'), ('a', 'b'))
    """
    if not layers or n_stages < 1:
        raise ValueError(f"expected layers and at least 1 stage; got {len(layers)} and {n_stages}")
    if n_stages == 1 or len(layers) == 1:
        return (tuple(layers),)
    below = layers[:-1]
    n_groups = min(n_stages - 1, len(below))
    edges = [round(part * len(below) / n_groups) for part in range(n_groups, -1, -1)]
    return ((layers[-1],), *(tuple(below[start:stop]) for stop, start in pairwise(edges)))


def randomised(model: nn.Module, layers: Sequence[str], seed: int, draw: int = 0) -> nn.Module:
    """A copy of the model with these layers drawn anew; the model itself is left alone.

    A layer that has `reset_parameters` (every layer of PyTorch) draws as it does at its
    construction. Batch normalisation then has weight 1, bias 0, and running mean and variance 0 and
    1: its statistics were learned too, and belong to the layers that were. Parameters of a
    layer without it (class tokens, position embeddings, scales of residual branches, everything in
    TorchScript and exported programs) are permuted, which keeps their distribution; a constant
    stays what it is, and so do buffers. A parameter that two layers share is drawn with the one
    named last.

    Args:
        layers: Names, as of `layers_in_forward_order`.
        draw: Which of the networks of a seed; they have nothing in common.

    Raises:
        ValueError: If a layer does not exist, or the model cannot be copied.
    """
    changed = _copied(model)
    # TorchScript has no get_submodule.
    modules = dict(changed.named_modules())
    for name in layers:
        if name not in modules:
            raise ValueError(f"the model has no layer '{name}'")
        _draw(modules[name], f"{seed}\0{draw}\0{name}")
    return changed


def randomised_share(model: nn.Module, layers: Sequence[str]) -> float:
    """Part of the model's parameters, by number, that lie in these layers."""
    modules = dict(model.named_modules())
    own = {
        id(parameter): parameter.numel()
        for name in layers
        for parameter in modules[name].parameters(recurse=False)
    }
    return sum(own.values()) / sum(parameter.numel() for parameter in model.parameters())


def _first_calls(probe: nn.Module, names: Sequence[str], example: Tensor) -> dict[str, int]:
    """Which layers a pass calls, numbered in the order of their first call; registers hooks."""
    calls: dict[str, int] = {}

    def record(name: str) -> Callable[..., None]:
        def note(*_: object) -> None:
            calls.setdefault(name, len(calls))

        return note

    modules = dict(probe.named_modules())
    for name in names:
        # Compiled modules take no hooks, and would not call them.
        if not isinstance(modules[name], torch.jit.ScriptModule):
            modules[name].register_forward_pre_hook(record(name))
    with torch.no_grad():
        probe(example)
    return calls


def _draw(layer: nn.Module, key: str) -> None:
    """Give a layer new values, by a key of its own."""
    reset = getattr(layer, "reset_parameters", None)
    own: dict[str, Tensor] = dict(layer.named_parameters(recurse=False))
    fresh: dict[str, Tensor] = {}
    if callable(reset) and not isinstance(layer, torch.jit.ScriptModule):
        drawn = _initialised(layer, key)
        own |= dict(layer.named_buffers(recurse=False))
        fresh |= dict(drawn.named_parameters(recurse=False))
        fresh |= dict(drawn.named_buffers(recurse=False))
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(fresh[name] if name in fresh else _permuted(tensor, f"{key}.{name}"))


def _initialised(layer: nn.Module, key: str) -> nn.Module:
    """A copy of a layer with its parameters as at construction, drawn on the CPU."""
    fresh = _copied(layer).cpu()
    digest = blake2b(key.encode(), digest_size=7).digest()
    with _drawing, torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(digest, "little"))
        fresh.reset_parameters()  # type: ignore[operator]
    return fresh


def _permuted(tensor: Tensor, key: str) -> Tensor:
    order = generator(0, f"randomised\0{key}", draw=0).permutation(tensor.numel())
    flat = tensor.detach().reshape(-1)
    return flat[torch.from_numpy(order).to(tensor.device)].reshape(tensor.shape)


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except (RuntimeError, TypeError, AttributeError, NotImplementedError) as error:
        raise ValueError(
            f"the model cannot be copied, so it cannot be randomised without being changed: {error}"
        ) from error
