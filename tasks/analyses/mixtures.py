"""Which mixtures of sounds an audit makes, what they are called, and what they cost."""

from __future__ import annotations

from tasks.analyses.subsets import example_rows
from tasks.analyses_config import SeparationConfig
from tasks.config import AuditConfig
from tasks.datasets import Manifest
from tasks.errors import ConfigError

WHOLE = "none"
"""Selection of the mixture as it is."""

EVIDENCE = "integrated_gradients_positive"
"""Selection by WAM_IG of what speaks for the class: attributions below zero count as none."""

MODEL_FREE = ("magnitude", "random")
"""Selections that do not know the model: what an explanation has to beat."""


def sound_name(selection: str, fraction: float | None) -> str:
    """Name of a version of a mixture among its sounds.

    Example:
        >>> sound_name("random", 0.05), sound_name("none", None)
        ('random 0.05', 'mixture')
    """
    return "mixture" if fraction is None else f"{selection} {fraction:g}"


def noise_name(snr_db: float) -> str:
    """Name of a mixture with white noise.

    Example:
        >>> noise_name(0.0)
        'white noise at 0 dB'
    """
    return f"white noise at {snr_db:g} dB"


def overlap_name(level: float) -> str:
    """Name of a mixture with another clip.

    Example:
        >>> overlap_name(0.2)
        'overlap at 0.2'
    """
    return f"overlap at {level:g}"


def mixture_names(settings: SeparationConfig) -> list[str]:
    """All mixtures of an audit."""
    if not settings.enabled:
        return []
    return [
        *[noise_name(snr_db) for snr_db in settings.noise_snr_db],
        *[overlap_name(level) for level in settings.overlap_levels],
    ]


def selections(config: AuditConfig) -> list[str]:
    """How coefficients of a mixture are chosen: by every enabled method, and without a model."""
    attribution = config.attribution
    explained = [attribution.profile_of_map(method) for method in attribution.methods]
    evidence = [EVIDENCE] if attribution.integrated_gradients.enabled else []
    return [*explained, *evidence, *MODEL_FREE]


def sound_rows(config: AuditConfig, manifest: Manifest) -> dict[str, set[int]]:
    """Manifest rows whose sounds are kept, by mixture: chosen by seed, before anything is known."""
    settings, seed = config.analyses.separation, config.attribution.seed
    return {
        name: example_rows(manifest, settings.examples, seed, name)
        for name in mixture_names(settings)
    }


def check_classes(config: AuditConfig, manifest: Manifest) -> None:
    """Overlaps need a clip of another class.

    Raises:
        ConfigError: If the dataset has fewer than two classes.
    """
    n_classes = manifest.table["label"].nunique()
    if config.analyses.separation.overlap_levels and n_classes < 2:
        raise ConfigError(
            "analyses.separation mixes each clip with one of another class, but the dataset has "
            f"{n_classes} class(es); set analyses.separation.overlap_levels to []"
        )


def forward_passes(config: AuditConfig) -> int:
    """Passes without a gradient per sample: all versions of each mixture, and ends of paths."""
    settings, attribution = config.analyses.separation, config.attribution
    versions = 1 + len(settings.fractions) * len(selections(config))
    return len(mixture_names(settings)) * (versions + attribution.n_forward)


def backward_passes(config: AuditConfig) -> int:
    """Passes forward and backward per sample."""
    settings = config.analyses.separation
    short = config.with_passes(settings.n_passes).attribution
    return len(mixture_names(settings)) * short.n_backward
