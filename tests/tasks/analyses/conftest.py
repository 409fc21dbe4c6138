"""Planted models: the band that decides is known, in any dimension."""

import importlib
import sys

import numpy as np
import pytest

from tasks.aggregate import summarise
from tasks.session import AuditSession
from tasks.store import AuditFolder

MODULE = "wam_audit_planted_models"
MODELS = '''
import torch
from torch import nn

from wam_core.basis import WaveletBasis
from wam_core.transform import decompose


class Banded(nn.Module):
    """Class 1 where the energy of one level (or band) is above a threshold, else class 0."""

    def __init__(self, level, filters, levels, wavelet, threshold, steepness):
        super().__init__()
        self.level, self.filters = str(level), filters
        self.basis = WaveletBasis(wavelet, levels)
        self.threshold, self.steepness = threshold, steepness

    def forward(self, x):
        coefficients = decompose(x, self.basis)
        bands = [
            band
            for band in coefficients.layout.bands_of(self.level)
            if self.filters is None or band.filters == self.filters
        ]
        energy = sum(coefficients[band].square().flatten(1).sum(1) for band in bands)
        margin = self.steepness * (energy / x[0].numel() - self.threshold)
        return torch.stack([-margin, margin], 1)


class Channelled(nn.Module):
    """Class 1 where what a Gaussian channel over octaves lets through is above a threshold."""

    def __init__(self, centre, deviation, levels, wavelet, threshold):
        super().__init__()
        self.basis = WaveletBasis(wavelet, levels)
        self.threshold = threshold
        places = torch.arange(1, levels + 1)
        self.gain = torch.exp(-0.5 * ((places - centre) / deviation) ** 2)

    def forward(self, x):
        coefficients = decompose(x, self.basis)
        layout = coefficients.layout
        energy = sum(
            gain**2 * coefficients[band].square().flatten(1).sum(1)
            for level, gain in enumerate(self.gain, start=1)
            for band in layout.bands_of(str(level))
        )
        margin = 400 * (energy / x[0].numel() - self.threshold)
        return torch.stack([-margin, margin], 1)


class Eager(nn.Module):
    """Class 1 and 2 where the left or the right half is lighter; class 0 where there is anything
    fine and neither half is much lighter: fine structure alone decides for class 0."""

    def forward(self, x):
        coarse = nn.functional.avg_pool2d(x, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
        grain = (x - coarse).square().flatten(1).mean(1)
        half = x.shape[-1] // 2
        tilt = (x[..., :half] - x[..., half:]).flatten(1).mean(1)
        grey = torch.full_like(tilt, 5.0)  # a fourth class, which nothing speaks for
        return torch.stack([4 * (grain / 1e-3).log1p(), 60 * tilt, -60 * tilt, grey], 1)


class Switched(nn.Module):
    """Class 1 where there is energy: of the finest level in light pictures, of the coarsest level
    of detail in dark ones."""

    def forward(self, x):
        coefficients = decompose(x, WaveletBasis("haar", 3))
        energy = [
            sum(
                coefficients[band].square().flatten(1).sum(1)
                for band in coefficients.layout.bands_of(level)
            )
            for level in ("1", "3")
        ]
        light = (60 * (x.flatten(1).mean(1) - 0.5)).sigmoid()
        seen = light * energy[0] + (1 - light) * energy[1]
        margin = 600 * (seen / x[0].numel() - 0.005)
        return torch.stack([-margin, margin], 1)


def eager():
    return Eager()


def switched():
    return Switched()


def channelled(centre=2.5, deviation=1.0, levels=5, wavelet="haar", threshold=0.0025):
    return Channelled(centre, deviation, levels, wavelet, threshold)


def banded(level=1, filters=None, levels=2, wavelet="haar", threshold=0.01, steepness=400.0):
    return Banded(level, filters, levels, wavelet, threshold, steepness)
'''


@pytest.fixture(scope="session", autouse=True)
def planted_package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted-package")
    (folder / f"{MODULE}.py").write_text(MODELS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        importlib.invalidate_caches()
        yield folder
    sys.modules.pop(MODULE, None)


@pytest.fixture
def planted_config(tmp_path, toy_config):
    """An audit of a planted model on grey pictures with labels; sections are laid over it."""

    def config(pictures, labels, model=None, factory="banded", **sections):
        root = tmp_path / "planted.npz"
        values = np.round(np.clip(pictures, 0, 1) * 255).astype(np.uint8)
        np.savez(root, image=values, label=labels)
        planted = {
            "name": f"{MODULE}:{factory}",
            "arguments": model or {},
            "preprocessing": {
                "size": list(values.shape[1:3]), "crop": None, "channels": 1, "mean": [0.0],
                "std": [1.0],
            },
        }  # fmt: skip
        dataset = {"root": str(root), "id_column": None}
        return toy_config(dataset=dataset, model=planted, **sections)

    return config


@pytest.fixture
def summary_of(compute_all):
    """The summary of a whole audit, and its metrics by name and sorted labels."""

    def summary(config):
        session = AuditSession(config)
        folder = AuditFolder(str(compute_all(config)))
        record = summarise(config, folder, session.shards, session.completed()).record
        return record, {
            (entry["name"], tuple(sorted(entry["labels"].items()))): entry
            for entry in record["metrics"]
        }

    return summary
