"""Train small reference models by a recipe that stands in a file: fixed schedule, last epoch."""

from tasks.training.config import TrainingConfig, load_training_config
from tasks.training.recipe import EpochReport, TrainingResult, train

__all__ = ["EpochReport", "TrainingConfig", "TrainingResult", "load_training_config", "train"]
