"""Trained weights as a .safetensors file, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tasks.locations import expand
from tasks.training.config import TrainingConfig


def save_weights(module: nn.Module, config: TrainingConfig) -> Path:
    """Save the state of a module; numbers in the recipe's type, counters as they are."""
    path = Path(expand(config.weights))
    path.parent.mkdir(parents=True, exist_ok=True)
    dtype = {"float32": torch.float32, "float16": torch.float16}[config.weights_dtype]
    state = {
        name: value.detach().cpu().to(dtype if value.is_floating_point() else value.dtype)
        for name, value in module.state_dict().items()
    }
    partial = path.with_suffix(".partial")
    save_file({name: value.contiguous() for name, value in state.items()}, partial)
    partial.chmod(0o644)  # safetensors writes files for their owner alone
    partial.replace(path)
    return path


def read_into(module: nn.Module, path: Path) -> None:
    """Load what was saved, rounded as it was."""
    module.load_state_dict(load_file(path))
