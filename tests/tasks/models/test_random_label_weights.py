"""The shipped networks that learned permuted labels: by heart, and nothing of the classes."""

import json
from pathlib import Path

import pytest
import torch

from tasks.config_files import load_config
from tasks.models import load_model
from tasks.training import load_training_config

ROOT = Path(__file__).parents[3]
WEIGHTS = ROOT / "tasks" / "models" / "reference" / "weights"
MODELS = ("adrenal_resnet3d", "adrenal_transformer3d", "esc10_resnet")


@pytest.mark.parametrize("name", MODELS)
def test_the_card_is_that_of_the_recipe_and_says_what_was_learned(name):
    trained = f"{name}_random_labels"
    recipe = load_training_config(ROOT / "configs" / "train" / f"{trained}.yaml")
    real = load_training_config(ROOT / "configs" / "train" / f"{name}.yaml")
    assert recipe.permute_labels
    assert recipe.training_dataset() == real.training_dataset()
    assert recipe.model.name == real.model.name
    card = json.loads((WEIGHTS / f"{trained}.json").read_text())
    for part in ("optimisation", "augmentations", "model", "seed", "threads", "permute_labels"):
        assert card["config"][part] == recipe.model_dump(mode="json")[part]
    assert (WEIGHTS / f"{trained}.safetensors").stat().st_size < 1_000_000
    assert card["training"]["accuracy_on_permuted_labels"] > 0.95
    chance = {"esc10_resnet": 0.1}.get(name, 76 / 98)
    assert card["test"]["accuracy"] < chance + 0.1
    if "auc" in card["test"]:
        assert abs(card["test"]["auc"] - 0.5) < 0.15


@pytest.mark.parametrize("name", MODELS)
def test_the_audit_that_compares_them_finds_weights_that_fit(name):
    config = load_config(ROOT / "configs" / f"{name}_sanity.yaml")
    checkpoint = config.analyses.sanity.random_label_checkpoint
    recipe = load_training_config(ROOT / "configs" / "train" / f"{name}_random_labels.yaml")
    assert checkpoint == recipe.weights
    module = load_model(
        config.model.model_copy(update={"checkpoint": checkpoint}), device=torch.device("cpu")
    ).module
    real = load_model(config.model, device=torch.device("cpu")).module
    assert all(
        left.shape == right.shape
        for left, right in zip(module.parameters(), real.parameters(), strict=True)
    )
