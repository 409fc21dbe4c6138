"""The reference networks for volumes: size, shapes, what reaches them, and what they were worth."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from tasks.config_files import load_config
from tasks.datasets import SampleReader, build_manifest
from tasks.models import load_model
from tasks.models.reference.volume_resnet import volume_resnet
from tasks.models.reference.volume_transformer import volume_transformer
from tasks.training.config import load_training_config
from tasks.training.measures import area_under_curve
from wam_core.basis import WaveletBasis
from wam_core.transform import decompose

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("WAM_DATA_ROOT") or ROOT.parent / "shared" / "data")
WEIGHTS = ROOT / "tasks" / "models" / "reference" / "weights"
MODELS = {"adrenal_resnet3d": volume_resnet, "adrenal_transformer3d": volume_transformer}


@pytest.mark.parametrize(
    ("factory", "wanted"), [(volume_resnet, 442_890), (volume_transformer, 382_202)]
)
def test_number_of_parameters(factory, wanted):
    assert sum(weight.numel() for weight in factory().parameters()) == wanted


@pytest.mark.parametrize("factory", MODELS.values())
def test_every_level_of_the_input_reaches_the_scores(factory):
    model = factory().eval()
    torch.manual_seed(0)
    volume = torch.rand(2, 1, 64, 64, 64, requires_grad=True)
    scores = model(volume)
    assert scores.shape == (2, 2)
    (gradient,) = torch.autograd.grad((scores[:, 1] - scores[:, 0]).sum(), volume)
    coefficients = decompose(gradient, WaveletBasis("haar", 5))
    layout = coefficients.layout
    for name in layout.level_names:
        parts = [coefficients[band].abs().sum((1, 2, 3, 4)) for band in layout.bands_of(name)]
        assert bool((torch.stack(parts).sum(0) > 0).all()), name


def test_samples_of_a_batch_do_not_touch_each_other():
    volumes = torch.rand(3, 1, 64, 64, 64)
    for factory in MODELS.values():
        model = factory().eval()
        with torch.no_grad():
            alone = torch.cat([model(volume[None]) for volume in volumes])
            torch.testing.assert_close(model(volumes), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(32, 32, 32), (9, 40, 21)])
def test_the_residual_network_takes_any_size(shape):
    assert volume_resnet().eval()(torch.rand(1, 1, *shape)).shape == (1, 2)


def test_the_transformer_takes_the_size_it_was_made_for():
    model = volume_transformer(size=(33, 16, 20)).eval()
    assert model(torch.rand(2, 1, 33, 16, 20)).shape == (2, 2)
    with pytest.raises(RuntimeError):
        model(torch.rand(2, 1, 64, 64, 64))


@pytest.mark.parametrize("name", MODELS)
def test_recipe_and_audit_speak_of_the_same_model(name):
    recipe = load_training_config(ROOT / "configs" / "train" / f"{name}.yaml")
    audit = load_config(ROOT / "configs" / f"{name}.yaml")
    assert audit.model.checkpoint == recipe.weights
    assert audit.model.model_copy(update={"checkpoint": None}) == recipe.model
    assert (recipe.training_dataset().split, recipe.test_dataset().split) == ("train", "val")
    assert audit.dataset.split == "val"


@pytest.mark.parametrize("name", MODELS)
def test_shipped_weights_are_small_and_come_from_the_recipe(name):
    assert (WEIGHTS / f"{name}.safetensors").stat().st_size < 1_000_000
    recorded = json.loads((WEIGHTS / f"{name}.json").read_text())
    recipe = load_training_config(ROOT / "configs" / "train" / f"{name}.yaml")
    for part in ("optimisation", "augmentations", "model", "seed", "threads"):
        assert recorded["config"][part] == recipe.model_dump(mode="json")[part]
    assert recorded["test"]["auc"] >= 0.85
    assert recorded["test"]["n"] == 98


@pytest.mark.real_data
@pytest.mark.parametrize("name", MODELS)
def test_shipped_weights_reach_the_stated_area_under_the_curve(name, monkeypatch):
    if not (DATA / "adrenalmnist3d_64.npz").exists():
        pytest.skip(f"{DATA / 'adrenalmnist3d_64.npz'} is not there; set WAM_DATA_ROOT")
    monkeypatch.setenv("WAM_DATA_ROOT", str(DATA))
    config = load_config(ROOT / "configs" / f"{name}.yaml")
    model = load_model(config.model, device=torch.device("cpu"))
    manifest = build_manifest(config.dataset)
    reader = SampleReader(config.dataset, manifest, model.preprocessing)
    signals = torch.stack(
        [torch.from_numpy(reader.read(row).signal) for row in range(len(manifest.table))]
    )
    with torch.no_grad():
        scores = torch.cat([model.module(chunk) for chunk in signals.split(14)])
    labels = torch.tensor(manifest.table["label"].to_numpy(dtype="int64"))
    area = area_under_curve((scores[:, 1] - scores[:, 0]).double(), labels == 1)
    recorded = json.loads((WEIGHTS / f"{name}.json").read_text())["test"]["auc"]
    assert area >= 0.85
    assert area == pytest.approx(recorded, abs=0.005)
