"""A head on frozen features: what is in front of it is computed once per sample."""

from __future__ import annotations

from torch import nn

from tasks.errors import ConfigError
from tasks.training.config import ProbeConfig
from tasks.training.measures import forward_all
from tasks.training.samples import LabelledSignals


def probe_parts(model: nn.Module, probe: ProbeConfig) -> tuple[nn.Module, nn.Module]:
    """The frozen part and the trained part.

    Raises:
        ConfigError: If the model has no submodules of these names.
    """
    known = dict(model.named_modules())
    missing = [name for name in (probe.embedding, probe.head) if name not in known]
    if missing:
        children = ", ".join(name for name, _ in model.named_children())
        raise ConfigError(
            f"probe: the model has no submodule {' and no '.join(missing)}; it has {children}"
        )
    embedding = known[probe.embedding]
    for parameter in embedding.parameters():
        parameter.requires_grad_(False)
    return embedding, known[probe.head]


def embedded(samples: LabelledSignals, frozen: nn.Module, batch_size: int) -> LabelledSignals:
    """The same samples as features."""
    return samples.with_signals(forward_all(frozen, samples.signals, batch_size))
