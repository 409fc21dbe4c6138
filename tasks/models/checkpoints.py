"""State dicts: read without running code, matched to a model by name or by position."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors_torch
from torch import Tensor, nn

from tasks.config import ModelConfig
from tasks.errors import ModelError
from tasks.models.files import open_model_file, suffix_of

_PICKLES = (".pt", ".pth", ".bin", ".ckpt")
_NESTED_UNDER = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")
_PARAMETER_NAMES = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
_N_LISTED = 4


def load_checkpoint(model: nn.Module, config: ModelConfig) -> None:
    """Read the configured checkpoint into a model, in place.

    Raises:
        ModelError: If the file is not there, would run code, or does not fit the model.
    """
    if config.checkpoint is None:
        return
    if config.checkpoint_mapping == "order" and suffix_of(config.checkpoint) == ".safetensors":
        raise ModelError(
            f"model.checkpoint_mapping: order cannot be used with '{config.checkpoint}': "
            "safetensors files sort their entries, so positions mean nothing. Use names."
        )
    state = read_state_dict(config.checkpoint, trust_pickle=config.trust_pickle)
    if config.checkpoint_mapping == "order":
        state = _renamed_by_order(state, model, config.checkpoint)
    _check_names(state, model, config.checkpoint)
    _check_shapes(state, model, config.checkpoint)
    model.load_state_dict(state)


def read_state_dict(location: str, *, trust_pickle: bool = False) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on the CPU, in the order of the file.

    What training scripts wrap around them is taken off: the keys state_dict, model_state_dict and
    model, and the prefixes of DataParallel and torch.compile.

    Args:
        location: .safetensors, .pt, .pth, .bin or .ckpt; path or URL, with placeholders.
        trust_pickle: Open it even if that runs code from the file.

    Raises:
        ModelError: If the file cannot be read or holds no state dict.
    """
    suffix = suffix_of(location)
    if suffix not in (".safetensors", *_PICKLES):
        raise ModelError(
            f"model.checkpoint '{location}' has the unknown suffix '{suffix}'; known are "
            f".safetensors, {', '.join(_PICKLES)}"
        )
    file = open_model_file(location, "model.checkpoint")
    content = (
        _read_safetensors(file, location)
        if suffix == ".safetensors"
        else _read_pickle(file, location, trust_pickle=trust_pickle)
    )
    return _without_prefixes(_find_state_dict(content, location))


def _read_safetensors(file: Path | io.BytesIO, location: str) -> dict[str, Tensor]:
    try:
        if isinstance(file, Path):
            return safetensors_torch.load_file(file)
        return safetensors_torch.load(file.getvalue())
    except SafetensorError as error:
        raise ModelError(f"model.checkpoint '{location}' is damaged: {error}") from error


def _read_pickle(file: Path | io.BytesIO, location: str, *, trust_pickle: bool) -> object:
    try:
        return torch.load(file, map_location="cpu", weights_only=not trust_pickle)
    except pickle.UnpicklingError as error:
        if trust_pickle:
            raise ModelError(f"model.checkpoint '{location}' is damaged: {error}") from error
        raise ModelError(
            f"model.checkpoint '{location}' is not a plain state dict: opening it would run code "
            f"from the file ({_reason(error)}). Save a state dict (torch.save(model.state_dict(), "
            "…) or safetensors), or, if you trust whoever made the file, set "
            "model.trust_pickle: true."
        ) from error
    except Exception as error:
        raise ModelError(
            f"model.checkpoint '{location}' cannot be opened as a PyTorch checkpoint "
            f"({type(error).__name__}: {_reason(error)}). TorchScript archives and exported "
            "programs are models, not checkpoints: source: torchscript or export."
        ) from error


def _reason(error: Exception) -> str:
    """The part of PyTorch's long message that names the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if line.startswith("WeightsUnpickler error:")]
    return (named or lines or ["no message"])[0][:200]


def _find_state_dict(content: object, location: str) -> dict[str, Tensor]:
    if isinstance(content, nn.Module):
        return dict(content.state_dict())
    if not isinstance(content, Mapping):
        raise ModelError(
            f"model.checkpoint '{location}' must hold a state dict (tensors by name), got "
            f"{type(content).__name__}"
        )
    for key in _NESTED_UNDER:
        if isinstance(content.get(key), Mapping | nn.Module):
            return _find_state_dict(content[key], location)
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise ModelError(
            f"model.checkpoint '{location}' holds no tensors; its keys are "
            f"{_listed([str(key) for key in content])}. The state dict must be at the top or "
            f"under one of {', '.join(_NESTED_UNDER)}."
        )
    return state


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES * 2:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _renamed_by_order(
    state: dict[str, Tensor], model: nn.Module, location: str
) -> dict[str, Tensor]:
    wanted = _tensors(model)
    pairs = list(zip(state.items(), wanted.items(), strict=False))
    for position, ((name, tensor), (own_name, own)) in enumerate(pairs):
        leaves = {name.rpartition(".")[2], own_name.rpartition(".")[2]}
        swapped = len(leaves) == 2 and leaves <= _PARAMETER_NAMES
        if tensor.shape != own.shape or swapped:
            raise ModelError(
                f"model.checkpoint '{location}' does not fit the model by order: at position "
                f"{position} it has '{name}' {tuple(tensor.shape)}, the model has '{own_name}' "
                f"{tuple(own.shape)}. {_counts(state, wanted)}. Check model.name and "
                "model.arguments."
            )
    if len(state) != len(wanted):
        rest = [*state][len(pairs) :] or [*wanted][len(pairs) :]
        raise ModelError(
            f"model.checkpoint '{location}' does not fit the model by order: "
            f"{_counts(state, wanted)}. Without a counterpart: {_listed(rest)}."
        )
    return dict(zip(wanted, state.values(), strict=True))


def _check_names(state: Mapping[str, Tensor], model: nn.Module, location: str) -> None:
    wanted = _tensors(model)
    missing = [name for name in wanted if name not in state]
    unexpected = [name for name in state if name not in wanted]
    if not missing and not unexpected:
        return
    advice = (
        "If it is the same architecture with other names, model.checkpoint_mapping: order matches "
        "entries by position."
        if len(state) == len(wanted)
        else "Check model.name and model.arguments."
    )
    raise ModelError(
        f"model.checkpoint '{location}' does not fit the model: {_counts(state, wanted)}; "
        f"missing from the checkpoint: {_listed(missing)}; unknown to the model: "
        f"{_listed(unexpected)}. {advice}"
    )


def _check_shapes(state: Mapping[str, Tensor], model: nn.Module, location: str) -> None:
    wrong = [
        f"'{name}' has {tuple(state[name].shape)}, the model wants {tuple(own.shape)}"
        for name, own in _tensors(model).items()
        if own.shape != state[name].shape
    ]
    if wrong:
        raise ModelError(
            f"model.checkpoint '{location}' does not fit the model: "
            f"{'; '.join(wrong[:_N_LISTED])}{' …' if len(wrong) > _N_LISTED else ''}. "
            "Set model.arguments (such as num_classes) as the checkpoint was trained."
        )


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    state: dict[str, Any] = model.state_dict()
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _counts(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    return f"the checkpoint has {len(state)} entries, the model {len(wanted)}"


def _listed(names: list[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - _N_LISTED} more" if len(names) > _N_LISTED else ""
    return ", ".join(f"'{name}'" for name in names[:_N_LISTED]) + more
