"""Construct a model from each kind of source, on the CPU."""

from __future__ import annotations

import contextlib
import difflib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from tasks.config import ModelConfig
from tasks.errors import AuditError, ModelError
from tasks.models.checkpoints import load_checkpoint
from tasks.models.files import open_model_file
from tasks.models.overrides import apply_overrides
from tasks.models.programs import read_exported, read_torchscript

_LIBRARIES = ("timm", "torchvision")
_FILES = ("torchscript", "export")


@dataclass(frozen=True)
class BuiltModel:
    """A model with its weights, on its device, as its source made it.

    Attributes:
        constants: Tensors the module computes with beyond its state dict.
        is_program: It came as a file with its code: memory format and mode are fixed.
    """

    module: nn.Module
    description: str
    constants: dict[str, Tensor] = field(default_factory=dict)
    is_program: bool = False


def build_model(config: ModelConfig, device: torch.device) -> BuiltModel:
    """Construct the configured model and read its weights.

    Raises:
        ModelError: If the options contradict each other, or the source cannot give the model.
    """
    _check_options(config)
    if config.source in _FILES:
        file = open_model_file(config.name, "model.name")
        read = read_torchscript if config.source == "torchscript" else read_exported
        module, constants = read(file, config.name, device)
        return BuiltModel(module, f"{config.source} file {config.name}", constants, is_program=True)
    with _fixed_seed():
        module = _CONSTRUCTORS[config.source](config)
    apply_overrides(module, config.state_overrides)
    load_checkpoint(module, config)
    module.eval()
    return BuiltModel(module.to(device), f"{config.source} {config.name}, {_weights(config)}")


def import_library(name: str) -> ModuleType:
    """Import timm or torchvision, which are extras.

    Raises:
        ModelError: If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ModelError(
            f"model.source: {name} needs the package {name}, which cannot be imported ({error}). "
            "Install the images extra: pip install 'wam-audit[images]'."
        ) from error


def unknown_name(source: str, name: str, known: list[str]) -> ModelError:
    """The error for a model name the library does not know."""
    close = difflib.get_close_matches(name, known, n=3)
    advice = f"did you mean {', '.join(close)}?" if close else f"it knows {len(known)} others."
    return ModelError(f"model.name: {source} has no model '{name}'; {advice}")


def _check_options(config: ModelConfig) -> None:
    if config.pretrained and config.source not in _LIBRARIES:
        raise ModelError(
            f"model.pretrained: true is for {' and '.join(_LIBRARIES)}, got source: "
            f"{config.source}; give a checkpoint, or let the factory load its own weights"
        )
    if config.source not in _FILES:
        return
    for option in ("arguments", "checkpoint", "state_overrides"):
        if getattr(config, option):
            raise ModelError(
                f"model.{option} does not apply to source: {config.source}, whose file holds "
                "architecture and weights; remove it"
            )


def _from_timm(config: ModelConfig) -> nn.Module:
    timm = import_library("timm")
    return _constructed(
        config,
        lambda: timm.create_model(config.name, pretrained=config.pretrained, **config.arguments),
    )


def _from_torchvision(config: ModelConfig) -> nn.Module:
    models = import_library("torchvision").models
    arguments = dict(config.arguments)
    weights = arguments.pop("weights", "DEFAULT")
    if "weights" in config.arguments and not config.pretrained:
        raise ModelError(
            f"model.arguments.weights is {weights!r} but model.pretrained is false; "
            "set pretrained: true to download torchvision's weights"
        )
    return _constructed(
        config,
        lambda: models.get_model(
            config.name, weights=weights if config.pretrained else None, **arguments
        ),
    )


def _from_factory(config: ModelConfig) -> nn.Module:
    factory = _find_factory(config.name)
    model = _constructed(config, lambda: factory(**config.arguments))
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"model.name: the factory '{config.name}' must return a torch.nn.Module, got "
            f"{type(model).__name__}"
        )
    return model


def _find_factory(name: str) -> Callable[..., Any]:
    module_name, separator, function = name.partition(":")
    if not (module_name and separator and function):
        raise ModelError(f"model.name: a factory is written package.module:function, got '{name}'")
    try:
        factory = getattr(importlib.import_module(module_name), function, None)
    except Exception as error:
        raise ModelError(
            f"model.name: the module '{module_name}' of the factory '{name}' cannot be imported "
            f"({type(error).__name__}: {error}). Install its package, or put its folder on "
            "PYTHONPATH."
        ) from error
    if not callable(factory):
        raise ModelError(f"model.name: '{module_name}' has no function '{function}'")
    return factory


def _constructed(config: ModelConfig, construct: Callable[[], Any]) -> Any:
    try:
        return construct()
    except AuditError:
        raise
    except Exception as error:
        # Whatever the library or the user's own code raises is about name and arguments.
        given = f" with arguments {config.arguments}" if config.arguments else ""
        wanted = " and pretrained weights" if config.pretrained else ""
        raise ModelError(
            f"{config.source} could not construct '{config.name}'{given}{wanted}: "
            f"{type(error).__name__}: {error}"
        ) from error


@contextlib.contextmanager
def _fixed_seed() -> Iterator[None]:
    """Weights that a checkpoint does not replace are the same in every process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _weights(config: ModelConfig) -> str:
    if config.checkpoint:
        return f"weights from {config.checkpoint} by {config.checkpoint_mapping}"
    if config.pretrained:
        return "the library's pretrained weights"
    return "weights of the factory" if config.source == "factory" else "random weights"


_CONSTRUCTORS: dict[str, Callable[[ModelConfig], nn.Module]] = {
    "timm": _from_timm,
    "torchvision": _from_torchvision,
    "factory": _from_factory,
}
