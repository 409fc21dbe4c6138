"""Tiny models behind factories, as a user's own package would offer them."""

import importlib
import sys
from pathlib import Path

import pytest

FACTORIES = '''
import collections
import torch
from torch import nn


class Tiny(nn.Module):
    """Convolution, batch norm, in-place activation, dropout; any spatial size."""

    def __init__(self, n_classes=3, channels=3):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.activation = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(4, n_classes)

    def forward(self, x):
        features = self.activation(self.norm(self.conv(x))).mean((2, 3))
        return self.head(self.dropout(features))


class Wrapped(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.inner, self.wrap = Tiny(), wrap

    def forward(self, x):
        scores = self.inner(x)
        return self.wrap(scores)


class Identity(nn.Module):
    """No parameters: the normalised input itself, one class per value."""

    def forward(self, x):
        return x.flatten(1)


class WritesItsInput(nn.Module):
    def forward(self, x):
        return x.mul_(2).flatten(1)


Output = collections.namedtuple("Output", "features logits")


def tiny(**arguments):
    return Tiny(**arguments)


def identity():
    return Identity()


def writes_its_input():
    return WritesItsInput()


def returns_dict():
    return Wrapped(lambda scores: {"features": scores * 2, "scores": scores})


def returns_logits():
    return Wrapped(lambda scores: Output(scores * 2, scores))


def squeezes():
    return Wrapped(lambda scores: scores.squeeze(0))


def not_a_model():
    return {"weights": 1}


def breaks():
    raise ZeroDivisionError("the user's own mistake")
'''


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of an importable module with factories."""
    folder = tmp_path / "package"
    folder.mkdir()
    name = "wam_audit_test_factories"
    (folder / f"{name}.py").write_text(FACTORIES)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    return name
