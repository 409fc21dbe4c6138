"""The shipped image configurations against the figures in shared/models/README.md."""

import os
from pathlib import Path

import pytest
import torch

from tasks.config_files import load_config
from tasks.datasets import SampleReader, build_manifest
from tasks.models import load_model

REPOSITORY = Path(__file__).parents[3]
SHARED = REPOSITORY.parent / "shared"
BATCH = 25

pytestmark = pytest.mark.real_data


@pytest.fixture(autouse=True)
def roots(monkeypatch):
    for variable, folder in (("WAM_DATA_ROOT", "data"), ("WAM_MODEL_ROOT", "models")):
        root = Path(os.environ.get(variable) or SHARED / folder)
        if not root.is_dir():
            pytest.skip(f"{root} is not there; set {variable}")
        monkeypatch.setenv(variable, str(root))


def audit(name):
    return load_config(REPOSITORY / "configs" / f"{name}.yaml")


@pytest.mark.parametrize(
    ("name", "digest", "input_shape"),
    [
        ("imagenet_sample", "7163131e", (3, 224, 224)),
        ("imagenet_sample_mobilenetv2", "0de54ef9", (3, 224, 224)),
        ("imagenet_sample_squeezenet", "a05b8a20", (3, 227, 227)),
    ],
)
def test_the_shipped_configurations_load_the_weights_they_name(name, digest, input_shape):
    model = load_model(audit(name).model, device=torch.device("cpu"), channels_last=True)
    assert model.weights_digest.startswith(digest)
    assert model.preprocessing.input_shape == input_shape


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n_correct"),
    [
        ("imagenet_sample", 446),  # 0.892
        ("imagenet_sample_mobilenetv2", 445),  # 0.890
        ("imagenet_sample_squeezenet", 312),  # 0.624
    ],
)
def test_top1_on_the_imagenet_sample_is_the_published_one(name, n_correct):
    config = audit(name)
    model = load_model(config.model, device=torch.device("cpu"), channels_last=True)
    manifest = build_manifest(config.dataset)
    reader = SampleReader(config.dataset, manifest, model.preprocessing)
    labels = torch.tensor(manifest.table["label"].tolist())
    assert len(labels) == 500

    correct = 0
    for start in range(0, len(labels), BATCH):
        rows = range(start, min(start + BATCH, len(labels)))
        signals = [torch.from_numpy(reader.read(row).signal) for row in rows]
        with torch.no_grad():
            predicted = model.module(torch.stack(signals)).argmax(dim=1)
        correct += int((predicted == labels[start : rows.stop]).sum())
    assert correct == n_correct
