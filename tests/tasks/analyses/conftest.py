"""Planted models: the band that decides is known, in any dimension."""

import importlib
import sys

import numpy as np
import pytest

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

    def config(pictures, labels, model=None, **sections):
        root = tmp_path / "planted.npz"
        values = np.round(np.clip(pictures, 0, 1) * 255).astype(np.uint8)
        np.savez(root, image=values, label=labels)
        planted = {
            "name": f"{MODULE}:banded",
            "arguments": model or {},
            "preprocessing": {
                "size": list(values.shape[1:3]), "crop": None, "channels": 1, "mean": [0.0],
                "std": [1.0],
            },
        }  # fmt: skip
        dataset = {"root": str(root), "id_column": None}
        return toy_config(dataset=dataset, model=planted, **sections)

    return config
