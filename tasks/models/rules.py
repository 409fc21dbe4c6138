"""The preprocessing rules of a model: its library's own, each overridden by the configuration.

A wrong mean or crop costs points of accuracy without any error, so nothing is guessed: what
neither the library nor the configuration says is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from tasks.config import ModelConfig, PreprocessingConfig
from tasks.errors import ModelError
from tasks.models.library_rules import library_rules, missing_rule
from tasks.preprocessing import Preprocessing


def resolve_preprocessing(config: ModelConfig) -> Preprocessing:
    """The rules from a decoded sample to the model's input; no weights are loaded.

    Raises:
        ModelError: If a rule is neither known from the model nor given, or rules contradict.
    """
    known = library_rules(config)
    given = _given(config.preprocessing)
    _check_scale(known, given)
    if config.preprocessing.size is not None:
        known.pop("resize", None)
        known.pop("crop", None)
    rules = known | given
    channels = rules.pop("channels", None)
    space = _spatial_shape(rules, config)
    rules.pop("size", None)
    if channels is None:
        raise missing_rule(config, "channels", "the number of channels of the input")
    _check_statistics(rules, channels, config)
    try:
        return Preprocessing(input_shape=(channels, *space), **rules)
    except ValidationError as error:
        problems = "; ".join(
            problem["msg"].removeprefix("Value error, ") for problem in error.errors()
        )
        raise ModelError(f"model.preprocessing: {problems}") from error


def _given(config: PreprocessingConfig) -> dict[str, Any]:
    given = config.model_dump(exclude_none=True)
    if isinstance(given.get("crop"), int):
        given["crop"] = (given["crop"], given["crop"])
    return given


def _spatial_shape(rules: Mapping[str, Any], config: ModelConfig) -> tuple[int, ...]:
    resize, crop, size = rules.get("resize"), rules.get("crop"), rules.get("size")
    resized = resize if isinstance(resize, tuple) else None
    _check_crop_within(resize, crop)
    space = crop or resized or size
    if space is None:
        raise missing_rule(
            config, "crop", "the size of the input (or size, where samples already have it)"
        )
    if size is not None and tuple(space) != size:
        raise ModelError(
            f"model.preprocessing: size is {size}, but resize and crop give {tuple(space)}; "
            "remove one of them"
        )
    return tuple(space)


def _check_crop_within(resize: int | tuple[int, int] | None, crop: tuple[int, int] | None) -> None:
    if resize is None or crop is None:
        return
    height, width = resize if isinstance(resize, tuple) else (resize, resize)
    fits = (
        min(crop) <= resize if isinstance(resize, int) else crop[0] <= height and crop[1] <= width
    )
    if not fits:
        raise ModelError(
            f"model.preprocessing: a crop of {crop[0]} x {crop[1]} does not fit images resized to "
            f"{resize}; give a larger resize, or a smaller crop"
        )


def _check_scale(known: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    inherited = [name for name in ("mean", "std") if name in known and name not in given]
    if given.get("scale", 1) != 1 and inherited:
        raise ModelError(
            f"model.preprocessing: scale is {given['scale']}, but {' and '.join(inherited)} would "
            f"come from the library, for values in [0, 1]: "
            f"{', '.join(f'{name} {known[name]}' for name in inherited)}. Give mean and std in "
            "units of the scaled values."
        )


def _check_statistics(rules: dict[str, Any], channels: int, config: ModelConfig) -> None:
    """Statistics of a library are for three channels; equal ones hold for any number."""
    for name in ("mean", "std"):
        values = rules.get(name, ())
        if len(values) in (0, 1, channels) or getattr(config.preprocessing, name) is not None:
            continue
        if len(set(values)) > 1:
            raise missing_rule(config, name, f"{channels} channels (the library's are {values})")
        rules[name] = values[:1]
