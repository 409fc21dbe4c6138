"""One call from configuration to a model that is ready to be audited."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tasks.config import ModelConfig
from tasks.errors import ModelError
from tasks.models.audited import AuditedModel
from tasks.models.digest import weights_digest
from tasks.models.outputs import Head
from tasks.models.rules import resolve_preprocessing
from tasks.models.sources import BuiltModel, build_model
from tasks.preprocessing import Preprocessing

_MESSAGE_LENGTH = 600


@dataclass(frozen=True)
class LoadedModel:
    """A model with everything an audit needs to know about it.

    Attributes:
        module: Maps signals in data space, shape (batch, channel, *space), to class scores; in
            evaluation mode, parameters frozen, normalisation as its first layer.
        weights_digest: SHA-256 of the weights; see `tasks.models.digest`.
        head: How the scores are read.
        description: Source, name and weights, in words.
    """

    module: torch.nn.Module
    preprocessing: Preprocessing
    weights_digest: str
    head: Head
    n_parameters: int
    description: str


def load_model(
    config: ModelConfig, *, device: torch.device, channels_last: bool = False
) -> LoadedModel:
    """Load the configured model onto a device and pass one and two signals through it.

    Args:
        channels_last: Run 2D models in that memory format; files with their own code keep theirs.

    Raises:
        ModelError: If the model cannot be loaded, or its output is not class scores.
        ConfigError: If a placeholder in a path has no value.
    """
    preprocessing = resolve_preprocessing(config)
    built = build_model(config, device)
    module = _audited(built, config, preprocessing, device, channels_last=channels_last)
    _probe(module, preprocessing, device)
    return LoadedModel(
        module=module,
        preprocessing=preprocessing,
        weights_digest=weights_digest(_weights(built)),
        head=config.head,
        n_parameters=sum(parameter.numel() for parameter in built.module.parameters()),
        description=built.description,
    )


def _audited(
    built: BuiltModel,
    config: ModelConfig,
    preprocessing: Preprocessing,
    device: torch.device,
    *,
    channels_last: bool,
) -> AuditedModel:
    as_channels_last = (
        channels_last and not built.is_program and len(preprocessing.spatial_shape) == 2
    )
    if as_channels_last:
        built.module.to(memory_format=torch.channels_last)
    for parameter in built.module.parameters():
        parameter.requires_grad_(False)
    audited = AuditedModel(
        built.module,
        preprocessing,
        output=config.output,
        head=config.head,
        channels_last=as_channels_last,
    )
    audited.normalisation.to(device)
    return audited


def _probe(module: AuditedModel, preprocessing: Preprocessing, device: torch.device) -> None:
    """Batches of one and two show fixed batch sizes, squeezed axes and wrong input sizes."""
    mean = torch.tensor(preprocessing.data_mean(), dtype=torch.float32, device=device)
    signal = mean.reshape(-1, *[1] * len(preprocessing.spatial_shape))
    for n_samples in (1, 2):
        batch = signal.expand(n_samples, *preprocessing.input_shape).contiguous()
        try:
            with torch.no_grad():
                module(batch)
        except ModelError:
            raise
        except Exception as error:
            # The user's model may raise anything; to the user it is one problem.
            raise ModelError(
                f"the model failed on an input of shape {tuple(batch.shape)} (batch, channel, "
                f"*space): {type(error).__name__}: {str(error).strip()[:_MESSAGE_LENGTH]}. "
                "Does model.preprocessing (crop or size, channels) fit the model, and does it "
                "take any batch size?"
            ) from error


def _weights(built: BuiltModel) -> dict[str, object]:
    constants = {f"constant:{name}": value for name, value in built.constants.items()}
    return {**built.module.state_dict(), **constants}
