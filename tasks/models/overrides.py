"""Attributes of submodules that weights were trained with and the constructor does not offer."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from torch import nn

from tasks.errors import ModelError


def apply_overrides(model: nn.Module, overrides: Mapping[str, Any]) -> None:
    """Set attributes on submodules, in place.

    Args:
        model: Freshly constructed model.
        overrides: Path of an existing attribute, such as features.0.padding, to its value; lists
            become tuples.

    Raises:
        ModelError: If a path leads nowhere, or to weights.
    """
    for path, value in overrides.items():
        parent, _, attribute = path.rpartition(".")
        submodule = _submodule(model, parent, path)
        _check_attribute(submodule, attribute, path)
        setattr(submodule, attribute, _as_tuples(value))


def _submodule(model: nn.Module, parent: str, path: str) -> nn.Module:
    try:
        return model.get_submodule(parent)
    except AttributeError as error:
        names = [name for name, _ in model.named_modules() if name]
        raise ModelError(
            f"model.state_overrides: '{path}' leads nowhere, there is no submodule '{parent}'"
            f"{_suggestion(parent, names)}"
        ) from error


def _check_attribute(submodule: nn.Module, attribute: str, path: str) -> None:
    kind = type(submodule).__name__
    if attribute in submodule.state_dict(keep_vars=True) or attribute in submodule._modules:
        raise ModelError(
            f"model.state_overrides: '{path}' is a tensor or submodule of {kind}, not a setting; "
            "weights come from a checkpoint, other layers from a factory"
        )
    if not hasattr(submodule, attribute):
        names = [name for name in vars(submodule) if not name.startswith("_")]
        raise ModelError(
            f"model.state_overrides: '{path}' leads nowhere, {kind} has no attribute "
            f"'{attribute}'{_suggestion(attribute, names)}"
        )


def _as_tuples(value: object) -> object:
    return tuple(_as_tuples(item) for item in value) if isinstance(value, list) else value


def _suggestion(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known are {', '.join(known[:12])}"
