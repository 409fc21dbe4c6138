"""Training by recipe: the same weights again, tested as saved, refused where it would cheat."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from safetensors.torch import load_file

from tasks.errors import ConfigError, DatasetError
from tasks.models import resolve_preprocessing
from tasks.training import load_training_config, train
from tasks.training.augmentations import (
    find_augmentation,
    flip,
    gain,
    low_pass,
    mask,
    noise,
    shift,
)
from tasks.training.config import AugmentationConfig, OptimisationConfig
from tasks.training.losses import soft_loss, soft_targets
from tasks.training.measures import area_under_curve
from tasks.training.samples import read_signals
from tasks.training.schedules import make_optimiser, make_schedule

RATE, LENGTH = 4000, 2000
PROBED = """
from torch import nn


class Probed(nn.Module):
    def __init__(self):
        super().__init__()
        local = nn.Sequential(nn.Conv1d(1, 4, 31, 50), nn.ReLU())
        self.embedding = nn.Sequential(local, nn.AvgPool1d(40), nn.Flatten())
        self.head = nn.Linear(4, 2)

    def forward(self, signal):
        return self.head(self.embedding(signal))


def probed(**_arguments):
    return Probed()
"""


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Low and high tones in noise, 16 for training and 8 for the test."""
    folder = tmp_path_factory.mktemp("tones")
    generator = np.random.default_rng(0)
    lines = ["path,label,split,group"]
    for index in range(24):
        label = index % 2
        times = np.arange(LENGTH) / RATE
        tone = np.sin(2 * np.pi * (200, 1200)[label] * times + generator.uniform(0, 6))
        clip = 0.2 * tone + 0.02 * generator.normal(size=LENGTH)
        soundfile.write(folder / f"{index}.wav", clip, RATE, subtype="FLOAT")
        split = "train" if index < 16 else "test"
        lines.append(f"{index}.wav,{label},{split},{split}-{index // 2}")
    (folder / "manifest.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture
def recipe(sounds, tmp_path):
    def load(*overrides):
        values = {
            "name": "tones",
            "dataset": {
                "kind": "table",
                "root": str(sounds),
                "manifest": "manifest.csv",
                "split_column": "split",
                "group_column": "group",
                "class_names": ["low", "high"],
                "audio": {"sample_rate": RATE},
            },
            "train": {"where": {"split": "train"}},
            "test": {"where": {"split": "test"}},
            "model": {
                "source": "factory",
                "name": "tasks.models.reference.audio_resnet:audio_resnet",
                "arguments": {
                    "num_classes": 2,
                    "sample_rate": RATE,
                    "rate": RATE,
                    "n_fft": 128,
                    "hop": 64,
                    "n_mels": 16,
                    "widths": [4, 8],
                },
                "preprocessing": {"size": [LENGTH], "channels": 1},
            },
            "optimisation": {"epochs": 6, "batch_size": 4, "learning_rate": 0.01, "mixup": 0.2},
            "augmentations": [
                {"name": "shift", "arguments": {"fraction": 0.2}},
                {"name": "mask", "at": "front_end", "arguments": {"axis": 2, "width": 2}},
            ],
            "threads": 1,
            "weights": str(tmp_path / "out" / "tones.safetensors"),
            "weights_dtype": "float16",
            "metrics": str(tmp_path / "out" / "tones.json"),
        }
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(values))
        return load_training_config(path, overrides)

    return load


def test_the_same_recipe_gives_the_same_bytes(recipe):
    reports = []
    first = train(recipe(), reports.append)
    content = first.weights.read_bytes()
    torch.manual_seed(99)
    second = train(recipe())
    assert second.weights.read_bytes() == content
    assert [report.epoch for report in reports] == [1, 2, 3, 4, 5, 6]
    assert first.metrics["training"] == second.metrics["training"]
    assert first.metrics["test"] == second.metrics["test"]
    assert train(recipe("seed=1")).weights.read_bytes() != content


def test_what_is_saved_is_what_was_tested(recipe):
    result = train(recipe("optimisation.epochs=12"))
    measures = json.loads(result.metrics_file.read_text())["test"]
    assert measures["n"] == 8
    assert measures["accuracy"] >= 0.75
    assert measures["auc"] >= 0.75
    state = load_file(result.weights)
    assert state["head.weight"].dtype == torch.float16
    assert state["stem.1.num_batches_tracked"].dtype == torch.int64


def test_permuted_labels_are_those_of_the_dataset_dealt_out_by_seed(recipe):
    config = recipe()
    signals = read_signals(
        config.training_dataset(), resolve_preprocessing(config.model), "training"
    )
    permuted = signals.with_permuted_labels(seed=0)
    assert torch.equal(permuted.labels.bincount(), signals.labels.bincount())
    assert 0 < int((permuted.labels != signals.labels).sum()) < len(signals)
    assert not torch.equal(signals.with_permuted_labels(seed=1).labels, permuted.labels)
    assert torch.equal(permuted.signals, signals.signals)
    # Which label a sample gets does not depend on the order of the samples.
    order = torch.arange(len(signals)).flip(0)
    turned = replace(
        signals, ids=signals.ids[::-1], labels=signals.labels[order]
    ).with_permuted_labels(seed=0)
    assert torch.equal(turned.labels, permuted.labels[order])


def test_training_on_permuted_labels_says_how_well_they_were_learned(recipe):
    changes = ("augmentations=[]", "optimisation.mixup=0.0", "optimisation.epochs=60")
    metrics = train(recipe(*changes, "permute_labels=true")).metrics
    assert metrics["training"]["accuracy_on_permuted_labels"] >= 0.8
    assert "accuracy_on_permuted_labels" not in train(recipe()).metrics["training"]


def test_a_teacher_s_features_are_learned_along_with_the_labels(recipe, monkeypatch, tmp_path):
    (tmp_path / "wam_audit_probe_model.py").write_text(PROBED)
    monkeypatch.syspath_prepend(tmp_path)
    teacher = {
        "source": "factory",
        "name": "wam_audit_probe_model:probed",
        "preprocessing": {"size": [LENGTH], "channels": 1},
    }
    distillation = json.dumps({"teacher": teacher, "weight": 2.0})
    plain, taught = train(recipe()), train(recipe(f"distillation={distillation}"))
    # The map to the teacher's features is no part of the student.
    assert sorted(load_file(taught.weights)) == sorted(load_file(plain.weights))
    assert (
        taught.weights.read_bytes()
        == train(recipe(f"distillation={distillation}")).weights.read_bytes()
    )
    losses = taught.metrics["training"]["loss_by_epoch"]
    assert losses[-1] < losses[0]
    assert losses[0] > plain.metrics["training"]["loss_by_epoch"][0]
    for part, key in (("teacher", "embedding"), ("student", "student")):
        wrong = json.dumps({"teacher": teacher, key: "nothing"})
        with pytest.raises(ConfigError, match=f"the {part} has no submodule 'nothing'; it has"):
            train(recipe(f"distillation={wrong}"))


def test_a_probe_trains_and_saves_the_head_alone(recipe, monkeypatch, tmp_path):
    (tmp_path / "wam_audit_probe_model.py").write_text(PROBED)
    monkeypatch.syspath_prepend(tmp_path)
    found = train(recipe("model.name=wam_audit_probe_model:probed", "probe={}", "augmentations=[]"))
    state = load_file(found.weights)
    assert sorted(state) == ["bias", "weight"]
    assert state["weight"].shape == (2, 4)
    with pytest.raises(ConfigError, match="no submodule nothing; it has embedding, head"):
        train(recipe("model.name=wam_audit_probe_model:probed", "probe={embedding: nothing}"))


def test_groups_in_training_and_test_are_refused(recipe, sounds):
    with pytest.raises(DatasetError, match="the same samples"):
        train(recipe("test={where: {split: train}}"))
    with pytest.raises(DatasetError, match="groups are in training and test, such as train-0"):
        train(recipe("test={where: {split: [train, test]}}"))


def test_wrong_keys_are_named(recipe):
    with pytest.raises(ConfigError, match="did you mean epochs"):
        recipe("optimisation.epoch=3")
    with pytest.raises(ConfigError, match="no submodule 'frontend'; it has front_end"):
        train(recipe("augmentations=[{name: mask, at: frontend, arguments: {axis: 2, width: 1}}]"))
    with pytest.raises(ConfigError, match="there is no 'blur'; known are flip"):
        find_augmentation(AugmentationConfig(name="blur"))


def test_augmentations_change_every_sample_on_its_own():
    values = torch.arange(24.0).reshape(4, 1, 6) + 1
    draw = lambda: torch.Generator().manual_seed(0)  # noqa: E731
    assert torch.equal(shift(values, draw(), fraction=0.5).sort(-1).values, values)
    flipped = flip(values, draw(), axes=[-1])
    assert all(
        torch.equal(new, old) or torch.equal(new, old.flip(-1))
        for new, old in zip(flipped, values, strict=True)
    )
    ratio = gain(values, draw(), decibels=6.0) / values
    assert (ratio.amax((1, 2)) - ratio.amin((1, 2))).max() < 1e-6
    assert ratio.max() <= 10**0.3
    assert noise(values, draw(), deviation=0.1).sub(values).abs().max() < 1
    masked = mask(values, draw(), axis=2, width=3, count=1)
    assert torch.equal(
        masked[masked != values],
        values.mean((1, 2), keepdim=True).expand_as(values)[masked != values],
    )


@pytest.mark.parametrize("space", [(50,), (51,), (12, 9), (6, 5, 8)])
def test_a_low_pass_is_butterworth_s_gain_over_radial_frequency(space):
    values = torch.randn(3, 2, *space, dtype=torch.float64)
    found = low_pass(values, torch.Generator().manual_seed(0), lowest=0.3, highest=0.3, order=4)
    along = np.meshgrid(*[np.fft.fftfreq(size, 0.5) for size in space], indexing="ij")
    radius = np.sqrt(sum(frequency**2 for frequency in along))
    axes = tuple(range(2, values.ndim))
    wanted = np.fft.fftn(values.numpy(), axes=axes) / np.sqrt(1 + (radius / 0.3) ** 8)
    np.testing.assert_allclose(found.numpy(), np.fft.ifftn(wanted, axes=axes).real, atol=1e-6)


def test_cutoffs_of_a_low_pass_are_drawn_log_uniformly_for_some_samples():
    noises = torch.randn(1, 1, 4096).expand(400, 1, -1)
    found = low_pass(
        noises, torch.Generator().manual_seed(0), lowest=0.05, highest=0.8, probability=0.75
    )
    kept = found.square().mean((1, 2)) / noises.square().mean((1, 2))
    filtered = kept < 0.999
    assert 0.68 < filtered.double().mean() < 0.82
    assert torch.equal(found[~filtered], noises[~filtered])
    # White noise keeps the share of its energy below the cut-off, in the median at mid octave.
    assert kept[filtered].median() == pytest.approx((0.05 * 0.8) ** 0.5, rel=0.25)
    with pytest.raises(ConfigError, match=r"0 < lowest <= highest, .* got lowest 0 and highest 1"):
        low_pass(noises, torch.Generator(), lowest=0, highest=1)


def test_the_two_shipped_networks_for_sound_differ_in_the_low_pass_alone():
    recipes = Path(__file__).parents[3] / "configs" / "train"
    full = load_training_config(recipes / "esc10_resnet.yaml")
    low = load_training_config(recipes / "esc10_resnet_low_pass.yaml")
    assert [step.name for step in low.augmentations[:1]] == ["low_pass"]
    assert low.augmentations[1:] == full.augmentations
    own = {"name", "weights", "metrics", "augmentations"}
    assert low.model_dump(exclude=own) == full.model_dump(exclude=own)


def test_the_loss_is_pytorch_s_for_hard_labels():
    output, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    loss = soft_loss(output, soft_targets(labels, 3, 0.1), torch.ones(5), "multiclass")
    wanted = torch.nn.functional.cross_entropy(output, labels, label_smoothing=0.1)
    torch.testing.assert_close(loss, wanted)
    binary = soft_loss(output[:, :1], soft_targets(labels % 2, 2, 0), torch.ones(5), "binary")
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(
        # The two logits of a binary head are -l and l.
        output[:, 0],
        (labels % 2).float(),
    )
    torch.testing.assert_close(binary, wanted)


def test_the_area_counts_pairs():
    scores, positive = torch.tensor([0.2, 0.5, 0.5, 0.9]), torch.tensor([False, False, True, True])
    assert area_under_curve(scores, positive) == pytest.approx((1 + 0.5 + 1 + 1) / 4)


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant"])
def test_schedules_rise_to_the_peak_and_end_where_they_say(schedule):
    settings = OptimisationConfig(learning_rate=0.1, schedule=schedule, warmup_fraction=0.2)
    optimiser = make_optimiser(torch.nn.Linear(2, 2), settings)
    steps = make_schedule(optimiser, settings, 50)
    rates = []
    for _ in range(50):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        steps.step()
    assert max(rates) == pytest.approx(0.1, rel=0.02)
    if schedule == "constant":
        assert set(rates) == {0.1}
    else:
        assert rates[0] < 0.02
        assert rates[-1] < 0.002
