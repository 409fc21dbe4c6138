"""Whole audits of volumes: odd, non-cubic and anisotropic ones, and gratings of known frequency."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.publish import write_results
from tasks.store import AuditFolder

MODULE = "wam_audit_volume_models"
MODELS = '''
import torch
from torch import nn


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv = nn.Conv3d(1, 4, 3, padding=1)
            self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(torch.tanh(self.conv(x)).mean((2, 3, 4)))


class Grating(nn.Module):
    """Scores how much of a plane wave of a given frequency (cycles per mm) is in the signal."""

    def __init__(self, shape, spacing, frequency, axis):
        super().__init__()
        places = (torch.arange(shape[axis]) - shape[axis] / 2) * spacing[axis]
        wave = torch.sin(2 * torch.pi * frequency * places + 0.3)
        form = [-1 if other == axis else 1 for other in range(len(shape))]
        self.register_buffer("wave", wave.reshape(form))

    def forward(self, x):
        amount = (x * self.wave).flatten(1).sum(1)
        return torch.stack([amount, -amount], 1)


def small():
    return Small()


def grating(**arguments):
    return Grating(**arguments)
'''
SHAPE = (9, 12, 15)
SPACING = (2.5, 0.8, 0.8)


@pytest.fixture(scope="module", autouse=True)
def volume_models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volume-models")
    (folder / f"{MODULE}.py").write_text(MODELS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        importlib.invalidate_caches()
        yield
    sys.modules.pop(MODULE, None)


@pytest.fixture
def volume_config(tmp_path, toy_config):
    def config(
        shape=SHAPE, spacing=SPACING, values=None, factory="small", arguments=None, **sections
    ):
        if values is None:
            values = np.random.default_rng(1).integers(0, 256, (5, *shape), dtype=np.uint8)
        path = tmp_path / "volumes.npz"
        np.savez(path, val_images=values, val_labels=(np.arange(len(values)) % 2)[:, None])
        dataset = {"root": str(path), "split": "val", "id_column": None}
        if len(shape) == 3:
            dataset["volume"] = {"spacing": spacing}
        sections = {
            "dataset": dataset,
            "model": {
                "name": f"{MODULE}:{factory}",
                "arguments": arguments or {},
                "preprocessing": {"size": shape, "crop": None, "channels": 1},
            },
        } | sections
        return toy_config(**sections)

    return config


def test_an_anisotropic_odd_sized_volume_passes_the_whole_audit(volume_config, compute_all, stored):
    config = volume_config(analyses={"intervals": {"n_resamples": 50}, "gallery_size": 2})
    folder = compute_all(config)
    samples, levels = (stored(folder).table(name) for name in ("samples", "levels"))
    assert samples["status"].tolist() == ["ok"] * 5
    shares = levels.groupby(["sample_id", "method"])["share"].sum()
    np.testing.assert_allclose(shares, 1)
    bands = stored(folder).table("bands")
    assert set(bands["filters"].str.len()) == {3}
    assert bands.groupby(["sample_id", "method"]).size().unique().tolist() == [1 + 2 * 7]
    audit = json.loads((folder / "audit.json").read_text())
    assert audit["voxels"]["spacing_mm"] == list(SPACING)
    assert audit["voxels"]["frequency_bands"]["1"]["z"] == [0.1, 0.2]
    assert "z 0.1–0.2, yx 0.312–0.625 cycles/mm" in audit["frequency_labels"]["1"]
    outcome = write_results(AuditFolder(str(folder)), config)
    page = (folder / "report.html").read_text()
    assert outcome.summary["complete"]
    assert "voxels of 2.5 x 0.8 x 0.8 mm" in " ".join(outcome.summary["headline"])
    assert 'type="range"' in page
    assert "cycles/mm" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_a_volume_alone_and_among_others_has_the_same_numbers(volume_config, compute_all, stored):
    one_by_one = volume_config(name="one", execution={"max_batch": 1}, store={"shard_size": 1})
    together = volume_config(name="all", store={"shard_size": 5})
    tables, maps = [], []
    for config in (one_by_one, together):
        folder = stored(compute_all(config))
        tables.append(folder.table("levels").sort_values(["sample_id", "method", "level"]))
        maps.append(folder.maps("smoothgrad"))
    pd.testing.assert_frame_equal(*(table.reset_index(drop=True) for table in tables), rtol=1e-4)
    np.testing.assert_allclose(*maps, rtol=1e-4, atol=1e-4 * np.abs(maps[0]).max())


def test_spacing_changes_words_and_no_number(volume_config, compute_all, stored):
    folders = [
        compute_all(volume_config(name=name, spacing=spacing))
        for name, spacing in (("fine", (1.0, 1.0, 1.0)), ("coarse", (2.5, 0.8, 0.8)))
    ]
    first, second = (stored(folder) for folder in folders)
    np.testing.assert_array_equal(first.maps("smoothgrad"), second.maps("smoothgrad"))


@pytest.mark.parametrize(
    ("shape", "spacing", "axis", "frequency"),
    [
        ((48, 32, 32), (2.5, 0.8, 0.8), 0, 0.15),  # 0.375 cycles per voxel of 2.5 mm: level 1
        ((32, 64, 40), (2.5, 0.8, 0.8), 1, 0.23),  # 0.184 cycles per voxel of 0.8 mm: level 2
        ((32, 32, 64), (1.0, 1.0, 1.0), 2, 0.18),
        ((96, 64), (1.0, 1.0), 0, 0.09),
        ((64, 80), (1.0, 1.0), 1, 0.36),
    ],
)
def test_a_grating_puts_its_importance_at_the_level_of_its_frequency(
    volume_config, compute_all, stored, shape, spacing, axis, frequency
):
    """Path integration multiplies gradient by coefficient: here its share is a share of energy."""
    phases = np.arange(shape[axis]) - shape[axis] / 2
    wave = np.sin(2 * np.pi * frequency * spacing[axis] * phases + 0.3)
    form = [-1 if other == axis else 1 for other in range(len(shape))]
    picture = np.broadcast_to(np.rint(127.5 + 127.5 * wave).reshape(form), shape)
    config = volume_config(
        shape,
        spacing,
        values=picture[None].astype(np.uint8),
        factory="grating",
        arguments={"shape": shape, "spacing": spacing, "frequency": frequency, "axis": axis},
        basis={"wavelet": "db4", "levels": 3 if min(shape) >= 56 else 2},
        attribution={
            "gradient": {"enabled": True},
            "smoothgrad": {"enabled": False},
            "integrated_gradients": {"n_steps": 2, "baseline": "zero"},
        },
    )
    folder = compute_all(config)
    expected = str(int(np.floor(-np.log2(frequency * spacing[axis]))))
    levels = stored(folder).table("levels").set_index(["method", "level"])["share"]
    shares = levels["integrated_gradients"]
    assert shares.idxmax() == expected
    assert shares[expected] > 0.6
    energy = stored(folder).maps("gradient")[0, 0] ** 2
    audit = json.loads((folder / "audit.json").read_text())
    by_band = {
        (band["level"], band["filters"]): energy[band["start"] : band["stop"]].sum()
        for band in audit["layout"]
    }
    along = "".join("d" if other == axis else "a" for other in range(len(shape)))
    assert max(by_band, key=by_band.get) == (expected, along)
    assert by_band[expected, along] > 0.6 * energy.sum()
    if len(shape) == 3:
        low, high = audit["voxels"]["frequency_bands"][expected]["zyx"[axis]]
        assert low <= frequency < high


def test_minimal_volumes_are_shown_in_slices(volume_config, compute_all):
    config = volume_config(
        attribution={"target": "predicted", "smoothgrad": {"enabled": False}},
        analyses={
            "gallery_size": 0,
            "minimal": {"enabled": True, "resolution": 1.0, "samples": 3, "examples": 1},
            "minimal_masks": {
                "enabled": True, "samples": 1, "examples": 1, "alphas": [1.0], "n_steps": 3,
            },
        },
    )  # fmt: skip
    folder = AuditFolder(str(compute_all(config)))
    outcome = write_results(folder, config)
    (applicable,) = [
        entry for entry in outcome.summary["metrics"] if entry["name"] == "minimal/applicable"
    ]
    assert (applicable["estimate"], applicable["n"]) == (1.0, 3)
    page = (Path(folder.path()) / "report.html").read_text()
    section = page[page.index('<h2 id="minimal">') :]
    section = section[: section.index("</section>")]
    # The input, and what is left and the rest by four rankings and under one mask.
    assert section.count("<img ") == (1 + 2 * 4) + (1 + 2)
