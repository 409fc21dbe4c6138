"""Run a model as an audit must: in evaluation mode, without ever giving its parameters gradients.

No hooks are registered and no layer is replaced, so in-place activations and dense connections run
unmodified.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[nn.Module]:
    """Put every submodule in evaluation mode and freeze all parameters; restore both on leaving."""
    training = {module: module.training for module in model.modules()}
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        model.eval()
        for parameter in trainable:
            parameter.requires_grad = False
        yield model
    finally:
        for module, mode in training.items():
            module.training = mode
        for parameter in trainable:
            parameter.requires_grad = True
