"""Where a network last has a map of its features: the layer that GradCAM takes by convention.

"The last convolutional layer" (Selvaraju et al. 2017) stands for the last feature map before the
pooling or flattening that ends the spatial axes. In a residual network that is what the last block
puts out, not the convolution that its code defines last, which may be a shortcut. It is found by
watching one pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import prod

import torch
from torch import Tensor, nn

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_Call = tuple[str, nn.Module, tuple[int, ...]]
"""Name, module and shape of the output, in the order in which calls end."""


def last_feature_map(
    forward: Callable[[Tensor], Tensor], module: nn.Module, example: Tensor, n_axes: int
) -> str | None:
    """Name of the module that puts out the last feature map; None if there is none to be seen.

    Taken is the last output, by the order in which calls end, that has the axes of the last
    convolution's output, each longer than 1 and none longer than there: later outputs are pooled,
    flattened, or tokens. A block ends after its parts, so that of modules with one and the same
    output the outermost is named. Modules that are called more than once, such as an activation
    shared by several layers, are passed over: a hook could not tell their calls apart.

    Tokens are no map: of a transformer this is the embedding of its patches. Compiled modules and
    exported programs take no hooks and show nothing.

    Args:
        forward: From signals to the model's output; passes through `module`.
        module: Holds the layers; hooks are hung into it, so it must be a copy of its own where
            other threads pass through the model.
        example: One signal or more, shape (batch, channel, *space).
        n_axes: Fewest spatial axes of the map.
    """
    calls = _calls(forward, module, example)
    anchor = _last_convolution(calls, n_axes)
    if anchor is None:
        return None
    _, convolution, shape = calls[anchor]
    once = Counter(id(called) for _, called, _ in calls)
    for name, called, output in reversed(calls[anchor:]):
        is_map = called is convolution or _is_map(output, shape)
        if is_map and name and once[id(called)] == 1:
            return name
    return None


def _calls(forward: Callable[[Tensor], Tensor], module: nn.Module, example: Tensor) -> list[_Call]:
    calls: list[_Call] = []

    def noting(name: str) -> Callable[..., None]:
        def note(called: nn.Module, _: object, output: object) -> None:
            if isinstance(output, Tensor):
                calls.append((name, called, tuple(output.shape)))

        return note

    handles = [
        part.register_forward_hook(noting(name))
        for name, part in module.named_modules()
        if not isinstance(part, torch.jit.ScriptModule)
    ]
    try:
        with torch.no_grad():
            forward(example)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _last_convolution(calls: list[_Call], n_axes: int) -> int | None:
    """Place of the last call of a convolution over at least so many axes that are longer than 1."""
    for place in range(len(calls) - 1, -1, -1):
        _, called, shape = calls[place]
        space = shape[2:]
        if isinstance(called, _CONVOLUTIONS) and len(space) >= n_axes and min(space) > 1:
            return place
    return None


def _is_map(output: tuple[int, ...], convolution: tuple[int, ...]) -> bool:
    """Whether an output still has the axes of the convolution's, channels before them."""
    # Gated units halve the channels; a map of attention between places has one per head.
    if len(output) != len(convolution) or 2 * output[1] < convolution[1]:
        return False
    pairs = zip(output[2:], convolution[2:], strict=True)
    if any(not 1 < extent <= before for extent, before in pairs):
        return False
    # Over one axis (batch, token, width) has as many axes as (batch, channel, place).
    n_places, n_channels = prod(convolution[2:]), convolution[1]
    as_tokens = output[2:] == (n_channels,) and output[1] >= n_places
    return not as_tokens
