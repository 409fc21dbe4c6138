"""The preprocessing rules that timm and torchvision state for their models."""

from __future__ import annotations

import math
from typing import Any

from tasks.config import ModelConfig
from tasks.errors import ModelError
from tasks.models.sources import import_library, unknown_name

_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")


def library_rules(config: ModelConfig) -> dict[str, Any]:
    """What the library says about its model, by name of the rule; empty for other sources.

    Raises:
        ModelError: If the library does not know the model, or states a rule that has no like here
            and the configuration does not replace it.
    """
    if config.source == "timm":
        return _timm_rules(config)
    if config.source == "torchvision":
        return _torchvision_rules(config)
    return {}


def missing_rule(config: ModelConfig, name: str, meaning: str) -> ModelError:
    """The error for a rule that neither the library nor the configuration states."""
    return ModelError(
        f"model.preprocessing.{name} is needed: {config.source} '{config.name}' does not say "
        f"{meaning}"
    )


def _timm_rules(config: ModelConfig) -> dict[str, Any]:
    rules = _timm_data_config(config)
    channels, *space = rules["input_size"]
    crop_mode = rules["crop_mode"]
    scaled = tuple(math.floor(side / rules["crop_pct"]) for side in space)
    resolved: dict[str, Any] = {
        "channels": config.arguments.get("in_chans", channels),
        "crop": tuple(space),
        "mean": tuple(rules["mean"]),
        "std": tuple(rules["std"]),
    }
    if crop_mode == "squash":
        resolved["resize"] = scaled
    elif crop_mode == "center" and len(set(scaled)) == 1:
        resolved["resize"] = scaled[0]
    elif config.preprocessing.resize is None and config.preprocessing.size is None:
        raise missing_rule(
            config, "resize", f"how images become {tuple(space)} (timm's crop_mode: {crop_mode})"
        )
    return resolved | _interpolation(rules["interpolation"], config)


def _timm_data_config(config: ModelConfig) -> dict[str, Any]:
    timm = import_library("timm")
    data = import_library("timm.data")
    try:
        if ":" in config.name:
            # Names such as hf-hub:… carry their own configuration, fetched with the model.
            model = timm.create_model(config.name, pretrained=False, **config.arguments)
            return dict(data.resolve_model_data_config(model))
        pretrained = timm.get_pretrained_cfg(config.name)
    except Exception as error:
        raise ModelError(f"model.name: timm '{config.name}': {error}") from error
    if pretrained is None:
        raise unknown_name("timm", config.name, timm.list_models())
    overlay = config.arguments.get("pretrained_cfg_overlay") or {}
    return dict(
        data.resolve_data_config(
            {"img_size": _image_side(config)} if "img_size" in config.arguments else {},
            pretrained_cfg={**pretrained.to_dict(), **overlay},
        )
    )


def _image_side(config: ModelConfig) -> int:
    size = config.arguments["img_size"]
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) != 1:
        raise ModelError(
            f"model.arguments.img_size is {size}; give one number, and model.preprocessing for "
            "input that is not square"
        )
    return int(sides.pop())


def _torchvision_rules(config: ModelConfig) -> dict[str, Any]:
    models = import_library("torchvision").models
    try:
        weights = models.get_model_weights(config.name)
    except ValueError as error:
        raise unknown_name("torchvision", config.name, models.list_models()) from error
    wanted = str(config.arguments.get("weights", "DEFAULT")).rpartition(".")[2]
    if wanted not in weights.__members__:
        raise ModelError(
            f"model.arguments.weights: torchvision has no weights '{wanted}' for {config.name}; "
            f"known are {', '.join(weights.__members__)}"
        )
    transforms = weights[wanted].transforms()
    resolved: dict[str, Any] = {"channels": 3}
    for name, attribute in (("resize", "resize_size"), ("crop", "crop_size")):
        sides = getattr(transforms, attribute, None)
        if sides:
            resolved[name] = sides[0] if name == "resize" and len(sides) == 1 else _pair(sides)
    for name in ("mean", "std"):
        if hasattr(transforms, name):
            resolved[name] = tuple(getattr(transforms, name))
    interpolation = getattr(transforms, "interpolation", None)
    return resolved | _interpolation(getattr(interpolation, "value", "bilinear"), config)


def _pair(sides: list[int]) -> tuple[int, int]:
    return (sides[0], sides[-1])


def _interpolation(name: str, config: ModelConfig) -> dict[str, Any]:
    if name in _INTERPOLATIONS:
        return {"interpolation": name}
    if config.preprocessing.interpolation is None:
        raise missing_rule(config, "interpolation", f"one of {_INTERPOLATIONS} (it says {name})")
    return {}
