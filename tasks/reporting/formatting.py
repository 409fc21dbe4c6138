"""Numbers and foreign strings as text that can be shown: no NaN, no control characters."""

from __future__ import annotations

import math
import re
from typing import Any

import pandas as pd

MISSING = "–"
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]"
)


def printable(text: str) -> str:
    r"""Replace what cannot be encoded, or would reorder or hide the text around it.

    File names may hold lone surrogates; bidirectional overrides can disguise a name.

    Example:
        >>> printable("cat\x00\udcff.png") == "cat\ufffd\ufffd.png"
        True
    """
    return _UNPRINTABLE.sub("\ufffd", text)


def shortened(text: str, length: int) -> str:
    """At most `length` characters, on one line, the middle left out.

    Example:
        >>> shortened("photographs/cat.png", 11)
        'photo…t.png'
    """
    line = " ".join(printable(text).split())
    if len(line) <= length:
        return line
    tail = (length - 1) // 2
    return f"{line[: length - 1 - tail]}…{line[len(line) - tail :]}"


def finite(value: Any) -> float | None:
    """`value` as a float, or None when it is missing, NaN or infinite."""
    if value is None or pd.isna(value):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def percent(value: Any, digits: int = 1) -> str:
    """A fraction in percent.

    Example:
        >>> percent(0.4123).replace(chr(160), " "), percent(None)
        ('41.2 %', '–')
    """
    number = finite(value)
    return MISSING if number is None else f"{100 * number:.{digits}f}\u00a0%"


def significant(value: Any, digits: int = 3) -> str:
    """A number with `digits` significant digits, written out between 0.0001 and 1,000,000.

    Example:
        >>> significant(12.3456), significant(0.00123), significant(1234567.0), significant(None)
        ('12.3', '0.00123', '1.23e+06', '–')
    """
    number = finite(value)
    if number is None:
        return MISSING
    if number and not 1e-4 <= abs(number) < 1e6:
        return f"{number:.{digits - 1}e}"
    decimals = digits - 1 - (math.floor(math.log10(abs(number))) if number else digits - 1)
    return f"{number:,.{max(decimals, 0)}f}"


def quantity(value: Any, unit: str) -> str:
    """A number with its unit; fractions in percent, ratios as bare numbers."""
    if finite(value) is None:
        return MISSING
    if unit == "fraction":
        return percent(value)
    if unit == "multiple":
        return f"{significant(value)}×"
    if unit == "ratio":
        return significant(value)
    return f"{significant(value)}\u00a0{unit}".strip()


def bounds(low: Any, high: Any, unit: str) -> str:
    """An interval in brackets, in the estimate's unit; nothing when a bound is missing.

    Example:
        >>> bounds(0.39, 0.431, "fraction")
        '[39.0, 43.1]'
    """
    if finite(low) is None or finite(high) is None:
        return ""
    if unit == "fraction":
        return f"[{100 * float(low):.1f}, {100 * float(high):.1f}]"
    return f"[{significant(low)}, {significant(high)}]"


def with_bounds(value: Any, low: Any, high: Any, unit: str) -> str:
    """A number with its unit and interval, as one phrase."""
    return f"{quantity(value, unit)} {bounds(low, high, unit)}".strip()


def whole(value: Any) -> str:
    """A count with thousands separators."""
    number = finite(value)
    return MISSING if number is None else f"{round(number):,}"


def setting(value: Any) -> str:
    """A configuration value as a person would write it.

    Example:
        >>> setting(None), setting(True), setting([224, 224]), setting({})
        ('not set', 'yes', '224, 224', 'none')
    """
    if value is None or value == "":
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(setting(entry) for entry in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {setting(entry)}" for key, entry in value.items()) or "none"
    return str(value)
