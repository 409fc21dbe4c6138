"""Placeholders in paths: `${WAM_DATA_ROOT}`, `${WAM_MODEL_ROOT}` and `${package:NAME}`.

Paths stay unexpanded in the configuration, so that the same audit has the same digest on every
machine; the module that opens a path expands it.
"""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

from tasks.errors import ConfigError

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
_ROOTS = {
    "WAM_DATA_ROOT": "the folder with the datasets",
    "WAM_MODEL_ROOT": "the folder with the model weights",
}


def expand(text: str) -> str:
    """Replace every placeholder in a path or URL.

    Args:
        text: Path or URL; `${package:NAME}` is the folder of an installed Python package.

    Raises:
        ConfigError: If a placeholder is unknown, its variable is unset, or its package is missing.
    """
    return _PLACEHOLDER.sub(lambda match: _value(match.group(1), text), text)


def _value(name: str, text: str) -> str:
    if name.startswith("package:"):
        return _package_folder(name.removeprefix("package:"), text)
    if name not in _ROOTS:
        known = ", ".join(f"${{{root}}}" for root in _ROOTS)
        raise ConfigError(
            f"'{text}' holds the unknown placeholder ${{{name}}}; known are {known} and "
            "${package:NAME}. Environment variables are not read otherwise."
        )
    value = os.environ.get(name)
    if not value:
        raise ConfigError(
            f"'{text}' needs {name} ({_ROOTS[name]}), which is not set. "
            f"Set it (export {name}=/path/to/it), or write the path itself in the configuration."
        )
    return value


def _package_folder(package: str, text: str) -> str:
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        raise ConfigError(
            f"'{text}' needs the Python package '{package}', which is not installed. "
            "Install the demo extra (pip install 'wam-audit[demo]') or the package itself."
        )
    return str(Path(spec.origin).parent)
