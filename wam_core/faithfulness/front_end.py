"""A model in two parts: what its front end makes of a signal, and what the rest makes of that.

Published evaluations of sound remove cells of the mel spectrogram. With the parts apart that is an
`InputDomain` over the front end's output, read by the rest.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class FrontEnd:
    """A model and the name of the part of it that comes first, such as a mel spectrogram.

    The parts are told apart by hooks: a model that other threads pass through needs `own_copy`.

    Attributes:
        name: Of a submodule through which every signal passes exactly once.
        example: A signal with which the model is run while its front end is bypassed, shape (1,
            channel, *space).
    """

    model: nn.Module
    name: str
    example: Tensor

    def features(self, signal: Tensor) -> Tensor:
        """Output of the front end.

        Raises:
            ValueError: If signals do not pass through it once.
        """
        seen: list[Tensor] = []
        handle = self._module.register_forward_hook(lambda _, __, output: seen.append(output))
        try:
            with torch.no_grad():
                self.model(signal)
        finally:
            handle.remove()
        if len(seen) != 1:
            raise ValueError(
                f"a front end is passed exactly once; '{self.name}' was passed {len(seen)} times"
            )
        return seen[0]

    def rest(self, features: Tensor) -> Tensor:
        """Output of the model for outputs of its front end; differentiable."""
        handle = self._module.register_forward_hook(lambda *_: features)
        try:
            example = self.example.expand(len(features), *self.example.shape[1:])
            output: Tensor = self.model(example)
        finally:
            handle.remove()
        return output

    @property
    def _module(self) -> nn.Module:
        return self.model.get_submodule(self.name)


def own_copy(model: nn.Module) -> nn.Module:
    """A model with the same parameters that nobody else passes through, to hang hooks into.

    Parameters and buffers are shared, not copied; modules are.

    Raises:
        ValueError: If the model cannot be copied.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    try:
        return copy.deepcopy(model, shared)
    except Exception as error:  # whatever the user's modules hold
        raise ValueError(f"the model cannot be copied: {type(error).__name__}: {error}") from error
