"""Input gradients of normalisation layers that do not depend on the size of the batch.

On CPUs, PyTorch's batch and instance normalisation (seen with 2.14) misread a gradient that lies in
memory otherwise than their input: what comes back from tokens, for a batch of one, looks as if
channels were last, and the gradient of the input is wrong by more than its own size. With more than
one sample the layout is read rightly. The remedy is to hand the gradient over as the output lies.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

_NORMALISATIONS = (nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm2d, nn.InstanceNorm3d)


def align_gradients(model: nn.Module) -> None:
    """Have every batch or instance normalisation receive gradients laid out as its output.

    Values do not change. Reaches layers of two and three dimensions and classes made from them (in
    one dimension PyTorch is right); not normalisations inside exported or scripted programs, nor
    calls of `torch.nn.functional.batch_norm`.
    """
    for module in model.modules():
        if isinstance(module, _NORMALISATIONS):
            module.register_forward_hook(_align)


def _align(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
    if output.requires_grad:
        output.register_hook(partial(_laid_out, strides=output.stride()))


def _laid_out(gradient: Tensor, strides: tuple[int, ...]) -> Tensor:
    if gradient.stride() == strides:
        return gradient
    aligned = torch.empty_strided(
        gradient.shape, strides, dtype=gradient.dtype, device=gradient.device
    )
    return aligned.copy_(gradient)
