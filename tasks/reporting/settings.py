"""The methods section: every recorded setting with its meaning, from the schema itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel

from tasks.config import AuditConfig
from tasks.reporting.formatting import percent, setting
from tasks.reporting.wording import OWN_LEVEL_ENERGY


@dataclass(frozen=True)
class Setting:
    """One line of a settings table."""

    name: str
    value: str
    meaning: str = ""


def config_settings(config: Mapping[str, Any]) -> dict[str, list[Setting]]:
    """Every setting of the resolved configuration, grouped by its first key."""
    groups: dict[str, list[Setting]] = {}
    for path, value, meaning in _flattened(config, AuditConfig):
        group = path[0] if len(path) > 1 else "audit"
        name = ".".join(path[1:] if len(path) > 1 else path)
        groups.setdefault(group, []).append(Setting(name, setting(value), meaning))
    return groups


def identity_settings(audit: Mapping[str, Any]) -> dict[str, list[Setting]]:
    """What was audited and on what: the recorded facts beside the configuration."""
    groups = {
        "identity": {
            key: audit.get(key) for key in ("name", "digest", "created_at", "device", "dtype")
        },
        "dataset": audit.get("dataset"),
        "model": audit.get("model"),
        "basis": audit.get("basis"),
        "preprocessing": audit.get("preprocessing"),
        "versions": audit.get("versions"),
    }
    return {
        title: [Setting(str(name), setting(value)) for name, value in facts.items()]
        for title, facts in groups.items()
        if isinstance(facts, Mapping) and facts
    }


def leakage_note(audit: Mapping[str, Any]) -> str:
    """How sharply the wavelet separates octaves; empty for wavelets that were not measured."""
    wavelet = str((audit.get("basis") or {}).get("wavelet", ""))
    own = OWN_LEVEL_ENERGY.get(wavelet)
    if own is None:
        return ""
    return (
        f"The wavelet {wavelet} puts about {percent(own, 0)} of the energy of two-dimensional "
        "octave-band noise into the level of that name; the rest lands in neighbouring levels. "
        "Read the bands as approximate, and never compare profiles across wavelets."
    )


def confidence(audit: Mapping[str, Any]) -> str:
    """The level of every interval, in percent."""
    node: Any = audit.get("config") or {}
    for key in ("analyses", "intervals", "confidence"):
        node = node.get(key) if isinstance(node, Mapping) else None
    return percent(0.95 if node is None else node, 0)


def _flattened(
    values: Mapping[str, Any], schema: type[BaseModel] | None, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any, str]]:
    for key, value in values.items():
        field = schema.model_fields.get(key) if schema else None
        nested = _nested_schema(field.annotation) if field else None
        if isinstance(value, Mapping) and nested is not None:
            yield from _flattened(value, nested, (*path, str(key)))
        else:
            yield (*path, str(key)), value, (field.description or "") if field else ""


def _nested_schema(annotation: Any) -> type[BaseModel] | None:
    """The schema a key holds, also where it may be left out."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
