"""What a training run does, as typed, validated data: dataset, model, schedule, outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from tasks.config import DatasetConfig, ModelConfig
from tasks.config_files import merge, read_values, resolve_dataset_files, validate_as
from tasks.schema import Fraction, Frozen


class AugmentationConfig(Frozen):
    """One random change of the training signals, or of what a part of the model makes of them."""

    name: str = Field(
        description="A function of tasks.training.augmentations, or package.module:function; "
        "called as function(values, generator, **arguments)."
    )
    at: str | None = Field(
        None, description="Submodule whose output is changed, such as front_end; default: signals."
    )
    arguments: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments.")


class OptimisationConfig(Frozen):
    """The loop: AdamW over a fixed number of epochs."""

    epochs: PositiveInt = 50
    batch_size: PositiveInt = 16
    learning_rate: PositiveFloat = Field(1e-3, description="Peak of the schedule.")
    weight_decay: NonNegativeFloat = Field(0.01, description="Of matrices, never of biases.")
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    warmup_fraction: Fraction = Field(0.3, description="Share of the steps that rise to the peak.")
    label_smoothing: Fraction = 0.0
    mixup: NonNegativeFloat = Field(
        0.0, description="Alpha of the beta distribution that mixes pairs of samples; 0: none."
    )
    balanced: bool = Field(False, description="Weight classes by the inverse of their frequency.")


class ProbeConfig(Frozen):
    """Train only a head on frozen features: the model must be head(embedding(signal))."""

    embedding: str = Field("embedding", description="Submodule computed once per sample.")
    head: str = Field("head", description="Submodule that is trained and saved.")


class DistillationConfig(Frozen):
    """Learn a teacher's features along with the labels; the teacher stays as it is."""

    teacher: ModelConfig = Field(description="Model that takes the same signals.")
    embedding: str = Field("embedding", description="The teacher's submodule that is imitated.")
    student: str = Field("head", description="Submodule whose input is to predict the features.")
    weight: PositiveFloat = Field(
        1.0, description="Of the mean squared error of the standardised features in the loss."
    )


class TrainingConfig(Frozen):
    """One training run: everything that decides the weights."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    dataset: DatasetConfig = Field(description="What training and test samples share.")
    train: dict[str, Any] = Field(
        default_factory=dict, description="Keys of dataset for training, such as where or split."
    )
    test: dict[str, Any] = Field(
        default_factory=dict, description="Keys of dataset for the test after the last epoch."
    )
    model: ModelConfig
    probe: ProbeConfig | None = None
    distillation: DistillationConfig | None = None
    optimisation: OptimisationConfig = OptimisationConfig()
    augmentations: tuple[AugmentationConfig, ...] = ()
    seed: NonNegativeInt = Field(0, description="Of initial weights, order and augmentations.")
    permute_labels: bool = Field(
        False,
        description="Train on labels dealt out among the training samples at random, by seed: the "
        "network of a data randomisation test. The card then says how well they were learned.",
    )
    device: str = Field("cpu", description="auto, cpu, cuda or cuda:1.")
    threads: PositiveInt | None = Field(None, description="CPU threads; default: PyTorch's.")
    weights: str = Field(description="The .safetensors file to write.")
    weights_dtype: Literal["float32", "float16"] = "float32"
    metrics: str = Field(description="The JSON file to write.")

    def training_dataset(self) -> DatasetConfig:
        """The samples that are trained on."""
        return self._dataset(self.train, "train")

    def test_dataset(self) -> DatasetConfig:
        """The samples that are tested on."""
        return self._dataset(self.test, "test")

    def _dataset(self, over: dict[str, Any], section: str) -> DatasetConfig:
        values = merge(self.dataset.model_dump(), over)
        return validate_as(
            DatasetConfig, values, f"{self.name}: dataset with {section} laid over it is not valid"
        )


def load_training_config(path: Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Read and validate a training recipe; `extends` and overrides as in an audit's file.

    Raises:
        ConfigError: If a file or key is wrong.
    """
    values = read_values(path, overrides)
    config = validate_as(TrainingConfig, values, f"{path} is not a valid training recipe")
    dataset = resolve_dataset_files(config.dataset, path.parent)
    return config.model_copy(update={"dataset": dataset})
