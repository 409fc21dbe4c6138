"""Settings that hold for every test, and a toy audit: a tiny model on tiny images."""

import hashlib
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import settings

# No deadline: the first transform of a shape is slow. The same examples in every run.
settings.register_profile("wam-audit", deadline=None, derandomize=True)
settings.load_profile("wam-audit")

TOY_MODULE = "wam_audit_toy_models"
TOY_MODELS = '''
import time

import torch
from torch import nn


class Toy(nn.Module):
    """Two convolutions and a linear head; weights from a seed, any image size."""

    def __init__(self, n_classes, seed, delay):
        super().__init__()
        self.delay = delay
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Conv2d(3, 4, 3, padding=1)
            self.second = nn.Conv2d(4, 8, 3, stride=2, padding=1)
            self.head = nn.Linear(8, n_classes)

    def forward(self, x):
        if self.delay:
            time.sleep(self.delay)
        features = torch.relu(self.second(torch.relu(self.first(x))))
        return self.head(features.mean((2, 3)))


class NanWhenDark(Toy):
    """The output is not finite for dark images."""

    def forward(self, x):
        scores = super().forward(x)
        dark = x.mean((1, 2, 3)) < -1
        return torch.where(dark[:, None], torch.nan, scores)


class Blind(Toy):
    """The input reaches the output through zeros only: every map is zero."""

    def forward(self, x):
        return super().forward(x) * 0 + torch.arange(3.0)


class FailsWhenDark(Toy):
    """Raises on a batch that holds a dark image."""

    def forward(self, x):
        if bool((x.mean((1, 2, 3)) < -1).any()):
            raise RuntimeError("too dark to see")
        return super().forward(x)


class LittleMemory(Toy):
    """Has no room for more than two rows at a time."""

    def forward(self, x):
        if len(x) > 2:
            raise torch.OutOfMemoryError("no room")
        return super().forward(x)


class MixesSamples(Toy):
    """Centres features over the batch, so that a sample's scores depend on its neighbours."""

    def forward(self, x):
        features = torch.relu(self.second(torch.relu(self.first(x)))).mean((2, 3))
        return self.head(features - 0.5 * features.mean(0, keepdim=True))


class FunctionalNormalisation(Toy):
    """Normalises by a function, not a layer, and reads the result as tokens."""

    def forward(self, x):
        features = self.second(torch.relu(self.first(x))).contiguous()
        mean, variance = torch.linspace(-1, 1, 8), torch.linspace(0.5, 4, 8)
        tokens = nn.functional.batch_norm(features, mean, variance).flatten(2).transpose(1, 2)
        weight = torch.linspace(-1, 2, tokens[0].numel()).reshape(tokens[0].shape)
        return self.head((tokens * weight).mean(1))


def toy(n_classes=3, seed=0, delay=0.0):
    return Toy(n_classes, seed, delay)


def nan_when_dark():
    return NanWhenDark(3, 0, 0.0)


def blind():
    return Blind(3, 0, 0.0)


def mixes_samples():
    return MixesSamples(3, 0, 0.0)


def functional_normalisation():
    return FunctionalNormalisation(3, 0, 0.0)


def little_memory():
    return LittleMemory(3, 0, 0.0)


def fails_when_dark():
    return FailsWhenDark(3, 0, 0.0)
'''


@pytest.fixture(scope="session")
def toy_package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on the import path, here and in child processes, with factories of toy models."""
    folder = tmp_path_factory.mktemp("toy-package")
    (folder / f"{TOY_MODULE}.py").write_text(TOY_MODELS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(folder))
        importlib.invalidate_caches()
        yield folder
    sys.modules.pop(TOY_MODULE, None)


def toy_pictures(n_samples: int, size: int = 16) -> np.ndarray:
    """Coloured noise over a ramp, different for each sample."""
    rng = np.random.default_rng(7)
    ramp = np.linspace(40, 160, size)[None, :, None, None]
    noise = rng.integers(0, 90, (n_samples, size, size, 3))
    return (noise + ramp).astype(np.uint8)


@pytest.fixture
def save_toys(tmp_path: Path) -> Callable[..., Path]:
    """Writes toy pictures, labels, ids and groups as one NPZ file."""

    def save(pictures: np.ndarray, name: str = "toys.npz", **columns: Any) -> Path:
        n_samples = len(pictures)
        content = {
            "image": pictures,
            "label": np.arange(n_samples) % 3,
            "id": np.array([f"toy-{index:03d}" for index in range(n_samples)]),
            "group": np.array([f"group-{index // 2}" for index in range(n_samples)]),
        }
        np.savez(tmp_path / name, **(content | columns))
        return tmp_path / name

    return save


@pytest.fixture
def pictures() -> Callable[..., np.ndarray]:
    """See `toy_pictures`."""
    return toy_pictures


@pytest.fixture
def toy_values(
    tmp_path: Path, toy_package: Path, save_toys: Callable[..., Path]
) -> Callable[..., dict[str, Any]]:
    """The plain data of a toy audit; sections given as keywords are laid over it."""

    def values(
        n_samples: int = 11, **sections: Mapping[str, Any] | Sequence[Any]
    ) -> dict[str, Any]:
        from tasks.config_files import merge

        root = tmp_path / "toys.npz"
        if not root.exists():
            save_toys(toy_pictures(n_samples))
        base = {
            "name": "toy",
            "dataset": {"kind": "arrays", "root": str(root), "id_column": "id"},
            "model": {
                "source": "factory",
                "name": f"{TOY_MODULE}:toy",
                "preprocessing": {"crop": 16, "channels": 3, "mean": [0.5], "std": [0.25]},
            },
            "basis": {"wavelet": "haar", "levels": 2},
            "attribution": {
                "smoothgrad": {"n_samples": 3},
                "integrated_gradients": {"n_steps": 3},
            },
            "analyses": {"intervals": {"n_resamples": 50}, "gallery_size": 2},
            "store": {"url": str(tmp_path / "audits"), "shard_size": 4},
            # One thread: tiny operations on a busy machine only wait for each other.
            "execution": {"device": "cpu", "max_batch": 8, "torch_threads": 1},
            "tracking": {"enabled": False},
        }
        return merge(base, sections)

    return values


@pytest.fixture
def toy_config(toy_values: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    """The validated configuration of a toy audit."""

    def config(*arguments: Any, **sections: Any) -> Any:
        from tasks.config_files import validate_config

        return validate_config(toy_values(*arguments, **sections), where="the test")

    return config


@pytest.fixture
def toy_file(tmp_path: Path, toy_values: Callable[..., dict[str, Any]]) -> Callable[..., Path]:
    """A toy audit as a configuration file."""

    def write(*arguments: Any, name: str = "toy.yaml", **sections: Any) -> Path:
        path = tmp_path / name
        path.write_text(yaml.safe_dump(toy_values(*arguments, **sections)))
        return path

    return write


class StoredTables:
    """The content of an audit folder, for comparisons."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def table(self, name: str) -> pd.DataFrame:
        """All parts of a table in the order of their shards."""
        parts = sorted((self.folder / "tables" / name).glob("part-*.parquet"))
        return pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True)

    def maps(self, method: str) -> np.ndarray:
        """All coefficients of a method."""
        import zarr

        return np.asarray(zarr.open_array(self.folder / "coefficients.zarr" / method)[:])

    def checksums(self) -> dict[str, str]:
        """SHA-256 of every file of the tables and coefficients."""
        files = [
            path
            for part in ("tables", "coefficients.zarr")
            for path in (self.folder / part).rglob("*")
            if path.is_file()
        ]
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(files)
        }


@pytest.fixture
def stored() -> type[StoredTables]:
    """See `StoredTables`."""
    return StoredTables


@pytest.fixture
def compute_all() -> Callable[..., Path]:
    """Computes the pending shards of an audit without Prefect; returns the audit folder."""

    def compute_all(config: Any, shards: Sequence[int] | None = None) -> Path:
        from tasks.compute import compute_shard
        from tasks.session import AuditSession

        session = AuditSession(config)
        session.prepare_folder()
        done = session.completed()
        for shard in session.shards:
            if shard.index not in done and (shards is None or shard.index in shards):
                compute_shard(session, shard)
        return Path(session.folder.path())

    return compute_all
