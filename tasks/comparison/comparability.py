"""What must agree before the numbers of two audits mean the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.errors import IdentityError

_BELONGS_TO_THE_MODEL = {"mean", "std", "scale", "channel_order"}
_SETTINGS = (
    ("config", "basis"),
    ("config", "attribution"),
    ("config", "analyses", "reliance"),
    ("config", "dataset", "audio"),
    ("config", "dataset", "volume"),
    ("config", "dataset", "decoding"),
    ("preprocessing",),
    ("frequency_labels",),
    ("versions", "wam-audit"),
    ("dtype",),
)
_NOTED = (("dataset", "digest"), ("device",), ("versions", "torch"))


@dataclass(frozen=True)
class Difference:
    """A field of `audit.json` with another value in each audit."""

    field: str
    first: Any
    second: Any

    def __str__(self) -> str:
        return f"{self.field}: {self.first!r} against {self.second!r}"


def differing_settings(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    """Fields that decide what a number means, and differ.

    Weights, architecture and the normalisation that belongs to them may differ: they are what is
    compared. So may the samples, which decide whether the comparison is paired.
    """
    return _differences(first, second, _SETTINGS)


def noted_differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    """Fields that do not forbid a comparison, but that its reader should know of."""
    return _differences(first, second, _NOTED)


def require_comparable(first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
    """Refuse audits whose numbers do not mean the same.

    Raises:
        IdentityError: Names every field that differs, with both values.
    """
    differences = differing_settings(first, second)
    if differences:
        lines = "\n".join(f"  {difference}" for difference in differences)
        raise IdentityError(
            f"{first['name']} and {second['name']} cannot be compared; these settings differ:\n"
            f"{lines}\nRun one of them with the settings of the other, or compare all the same "
            "with --force, which lists them in the comparison."
        )


def _differences(
    first: Mapping[str, Any], second: Mapping[str, Any], paths: tuple[tuple[str, ...], ...]
) -> list[Difference]:
    found: list[Difference] = []
    for path in paths:
        left, right = _flat(_at(first, path), path), _flat(_at(second, path), path)
        found += [
            Difference(field, left.get(field), right.get(field))
            for field in sorted(left.keys() | right.keys())
            if left.get(field) != right.get(field)
        ]
    return found


def _at(record: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = record
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _flat(value: Any, path: tuple[str, ...]) -> dict[str, Any]:
    """Dotted fields; a section that is switched off says only that."""
    if not isinstance(value, Mapping):
        return {".".join(path).removeprefix("config."): value}
    if value.get("enabled") is False:
        value = {"enabled": False}
    flat: dict[str, Any] = {}
    for key, entry in value.items():
        if path[0] == "preprocessing" and key in _BELONGS_TO_THE_MODEL:
            continue
        flat |= _flat(entry, (*path, str(key)))
    return flat
