"""Categories of classes: what a cue-conflict image shows, in classes that the model knows."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tasks.config import AuditConfig
from tasks.datasets.storage import file_beside_root, read_file
from tasks.errors import ConfigError

_SETTING = "analyses.cue_conflict.categories"


@dataclass(frozen=True)
class Categories:
    """Names of categories with the model's class indices of each.

    Attributes:
        digest: SHA-256 over names and indices.
    """

    classes: dict[str, tuple[int, ...]]
    digest: str

    @property
    def names(self) -> tuple[str, ...]:
        """All categories, in the order of the file."""
        return tuple(self.classes)

    def probabilities(self, probabilities: Tensor) -> Tensor:
        """Mean probability of each category's classes, shape (batch, category), in float64.

        The mean and not the sum: categories have from one class to more than a hundred, and each
        counts alike, as in Geirhos et al. 2019.

        Args:
            probabilities: Of the model's classes, shape (batch, class).

        Raises:
            ConfigError: If a category has a class that the model does not know.
        """
        n_classes = probabilities.shape[1]
        for name, indices in self.classes.items():
            if max(indices) >= n_classes:
                raise ConfigError(
                    f"{_SETTING}: '{name}' has class {max(indices)}, but the model has "
                    f"{n_classes} classes, 0 to {n_classes - 1}"
                )
        means = [
            probabilities[:, list(indices)].double().mean(1) for indices in self.classes.values()
        ]
        return torch.stack(means, dim=1)


def read_categories(config: AuditConfig) -> Categories:
    """The categories of the configured file: a JSON object of names and lists of class indices.

    Raises:
        DatasetError: If the file cannot be read.
        ConfigError: If it holds something else, fewer than two categories, or a class twice.
    """
    url = file_beside_root(config.dataset, config.analyses.cue_conflict.categories)
    where = f"{_SETTING} {url}"
    try:
        content = json.loads(read_file(url, _SETTING))
    except ValueError as error:
        raise ConfigError(f"{where} is no valid JSON: {error}") from error
    classes = _checked(content, where)
    listed = json.dumps(list(classes.items()), separators=(",", ":"))
    return Categories(classes, hashlib.sha256(listed.encode()).hexdigest())


def _checked(content: Any, where: str) -> dict[str, tuple[int, ...]]:
    if not isinstance(content, dict) or len(content) < 2:
        raise ConfigError(
            f'{where}: expected an object of two or more categories, such as {{"cat": [281, 282], '
            f'"car": [436]}}, got {_excerpt(content)}'
        )
    for name, indices in content.items():
        if not isinstance(indices, list) or not indices or not all(map(_is_index, indices)):
            raise ConfigError(
                f"{where}: expected a list of class indices (0 or more) for '{name}', got "
                f"{_excerpt(indices)}"
            )
    counts = Counter(index for indices in content.values() for index in indices)
    twice = [index for index, count in counts.items() if count > 1]
    if twice:
        raise ConfigError(
            f"{where}: class {twice[0]} stands in more than one place; categories must not overlap"
        )
    return {name: tuple(indices) for name, indices in content.items()}


def _is_index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _excerpt(content: object) -> str:
    text = json.dumps(content)
    return text if len(text) <= 60 else f"{text[:60]}…"
