"""Models by name, checkpoint, factory or file, as one module over signals in data space."""

from tasks.models.loading import LoadedModel, load_model
from tasks.models.rules import resolve_preprocessing

__all__ = ["LoadedModel", "load_model", "resolve_preprocessing"]
