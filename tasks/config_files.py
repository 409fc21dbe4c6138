"""Read a configuration: YAML, one `extends`, and `--set` overrides."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from tasks.config import AuditConfig, DatasetConfig
from tasks.errors import ConfigError

ConfigModel = TypeVar("ConfigModel", bound=BaseModel)

_FILES_BESIDE = ("manifest", "class_names")


def load_config(path: Path, overrides: Sequence[str] = ()) -> AuditConfig:
    """Read and validate an audit's configuration file.

    Args:
        path: YAML file; its `extends` names another one, relative to it.
        overrides: `section.key=value` with the value in YAML, applied last.

    Raises:
        ConfigError: If a file or key is wrong; the message names the key, the value and the file.
    """
    config = validate_config(read_values(path, overrides), where=str(path))
    dataset = resolve_dataset_files(config.dataset, path.parent)
    return config.model_copy(update={"dataset": dataset})


def read_values(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The plain data of a file over the one it extends, with overrides applied last.

    Raises:
        ConfigError: If a file cannot be read, or an override is not YAML.
    """
    values = _read_with_parents(path, ())
    for override in overrides:
        values = merge(values, parse_override(override))
    return values


def validate_config(values: Mapping[str, Any], where: str) -> AuditConfig:
    """Validate plain data as the configuration of an audit.

    Raises:
        ConfigError: With one line for each wrong key.
    """
    return validate_as(AuditConfig, values, f"{where} is not a valid audit configuration")


def validate_as(model: type[ConfigModel], values: Mapping[str, Any], complaint: str) -> ConfigModel:
    """Validate plain data as any part of the schema.

    Args:
        complaint: First line of the message when it is wrong.

    Raises:
        ConfigError: With one line for each wrong key.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_explain(dict(problem), model) for problem in error.errors()]
        text = "\n".join(f"  {line}" for line in lines)
        raise ConfigError(f"{complaint}:\n{text}") from error


def parse_override(text: str) -> dict[str, Any]:
    """Turn `a.b=value` into nested data.

    Raises:
        ConfigError: If there is no `=`, or the value is not YAML.

    Example:
        >>> parse_override("attribution.smoothgrad.n_samples=8")
        {'attribution': {'smoothgrad': {'n_samples': 8}}}
    """
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set takes section.key=value, such as dataset.limit=100; got '{text}'")
    try:
        nested: Any = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {key}: '{value}' is not a YAML value ({error})") from error
    for part in reversed(key.strip().split(".")):
        nested = {part: nested}
    result: dict[str, Any] = nested
    return result


def _read_with_parents(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    path = path.resolve()
    if path in seen:
        chain = " -> ".join(str(step) for step in (*seen, path))
        raise ConfigError(f"configurations extend each other in a circle: {chain}")
    values = _with_files_beside(_read_yaml(path), path.parent)
    parent = values.pop("extends", None)
    if parent is None:
        return values
    if not isinstance(parent, str):
        raise ConfigError(f"{path}: extends must be one file name, got {parent!r}")
    return merge(_read_with_parents(path.parent / parent, (*seen, path)), values)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no configuration file {path}. `wam-audit init` writes one for a folder of "
            "your own; those that ship are in configs/."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the configuration {path}: {error}") from error
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path} must hold sections such as dataset: and model:; got {type(values).__name__}"
        )
    return values


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one configuration over another, section by section."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        both_sections = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(below, value) if both_sections else value  # type: ignore[arg-type]
    return merged


def _explain(problem: dict[str, Any], root: type[BaseModel]) -> str:
    location = ".".join(str(part) for part in problem["loc"]) or "the file"
    if problem["type"] == "extra_forbidden":
        return f"{location}: there is no such key{_suggestion(problem['loc'], root)}"
    if problem["type"] == "missing":
        return f"{location}: is required and missing"
    message = str(problem["msg"]).removeprefix("Value error, ")
    got = problem.get("input")
    if not isinstance(got, dict):
        return f"{location}: {message}; got {got!r}"
    # Of a section that contradicts itself the message names the keys.
    keys = "" if problem["type"] == "value_error" else f"; got a section with {', '.join(got)}"
    return f"{location}: {message}{keys}"


def _suggestion(location: tuple[str | int, ...], root: type[BaseModel]) -> str:
    model: type[BaseModel] | None = root
    for part in location[:-1]:
        field = model.model_fields.get(str(part)) if model else None
        annotation = field.annotation if field else None
        model = None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    known = list(model.model_fields) if model else []
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known keys are {', '.join(known)}" if known else ""


def resolve_dataset_files(dataset: DatasetConfig, folder: Path) -> DatasetConfig:
    """Manifest and class names may stand below the dataset's root, or beside the configuration."""
    found = _files_beside({key: getattr(dataset, key) for key in _FILES_BESIDE}, folder)
    return dataset.model_copy(update=found) if found else dataset


def _with_files_beside(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """In a file that is extended from another folder, names still mean files beside it."""
    dataset = values.get("dataset")
    if not isinstance(dataset, Mapping):
        return values
    return values | {"dataset": dict(dataset) | _files_beside(dataset, folder)}


def _files_beside(dataset: Mapping[str, Any], folder: Path) -> dict[str, str]:
    found = {}
    for key in _FILES_BESIDE:
        name = dataset.get(key)
        # Placeholders and URLs are opened, and complained about, where they are used.
        if isinstance(name, str) and name and "://" not in name and "${" not in name:
            beside = folder / name
            if beside.is_file():
                found[key] = str(beside.resolve())
    return found
