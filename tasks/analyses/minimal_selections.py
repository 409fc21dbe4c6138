"""Minimal signals of an audit: how coefficients are ranked, which examples are kept, and where."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from tasks.analyses import subsets
from tasks.analyses.mixtures import EVIDENCE, MODEL_FREE
from tasks.config import AuditConfig
from tasks.datasets import Manifest
from wam_core.baselines import absent_signal

WHOLE, FINE, COARSE = "all", "fine", "coarse"
"""Which coefficients may be kept: all, those of the fine levels, or those of all others."""

Section = Literal["minimal", "minimal_masks"]
Mask = npt.NDArray[np.generic]


def ranking_methods(config: AuditConfig) -> list[str]:
    """Methods whose maps rank the coefficients, as arrays name them."""
    wanted = config.analyses.minimal.methods
    return config.attribution.methods if wanted is None else list(wanted)


def selections(config: AuditConfig) -> list[str]:
    """All rankings, as tables name them."""
    return selections_of(config, ranking_methods(config))


def selections_of(config: AuditConfig, methods: Sequence[str]) -> list[str]:
    """Rankings by some methods: by their maps, by evidence, and without a model."""
    explained = [config.attribution.profile_of_map(method) for method in methods]
    evidence = [EVIDENCE] if "integrated_gradients" in methods else []
    return [*explained, *evidence, *MODEL_FREE]


def fine_levels(config: AuditConfig) -> int:
    """How many of the finest levels count as fine."""
    return config.analyses.minimal.fine_levels or config.analyses.reliance.fine_levels


def restrictions(config: AuditConfig) -> dict[str, tuple[str, ...] | None]:
    """Names of the levels whose coefficients may be kept, by restriction; None for all."""
    n_fine, levels = fine_levels(config), config.basis.levels
    names = [str(level) for level in range(1, levels + 1)]
    if not config.analyses.minimal.restricted:
        return {WHOLE: None}
    return {
        WHOLE: None,
        FINE: tuple(names[:n_fine]),
        COARSE: (*names[n_fine:], "approximation"),
    }


def absent_values(
    config: AuditConfig, section: Section, signal: Tensor, support: Tensor | None
) -> Tensor:
    """The signal without any coefficients, shaped as `signal`; zero in the padding."""
    return absent_signal(getattr(config.analyses, section).baseline, signal, support)


def example_rows(config: AuditConfig, manifest: Manifest, section: Section) -> list[int]:
    """Manifest rows whose masks are kept: chosen by seed among the samples that are taken."""
    settings, seed = getattr(config.analyses, section), config.attribution.seed
    if not settings.enabled:
        return []
    taken = subsets.chosen_rows(manifest, settings.samples, seed)
    return sorted(subsets.example_rows(manifest, settings.examples, seed, "minimal", taken))


def example_file(section: Section, row: int) -> str:
    """Path below the audit folder of the masks of one sample.

    Example:
        >>> example_file("minimal", 7)
        'examples/minimal/000007.npz'
    """
    return f"examples/{section}/{row:06d}.npz"


def mask_bytes(masks: Mapping[str, Mask]) -> bytes:
    """Masks over the coefficients by name, as an NPZ file: booleans, or numbers in half precision.

    Booleans are packed, eight to a byte.
    """
    buffer = io.BytesIO()
    arrays: dict[str, Mask] = {}
    for name, mask in masks.items():
        if mask.dtype == np.bool_:
            arrays |= {
                f"{name}/bits": np.packbits(mask.astype(np.uint8)),
                f"{name}/size": np.array(len(mask)),
            }
        else:
            arrays[f"{name}/values"] = mask.astype(np.float16)
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def read_masks(content: bytes) -> dict[str, Mask]:
    """The masks that `mask_bytes` wrote."""
    masks: dict[str, Mask] = {}
    with np.load(io.BytesIO(content)) as file:
        for key in file.files:
            name, _, kind = key.rpartition("/")
            if kind == "bits":
                size = int(file[f"{name}/size"])
                masks[name] = np.unpackbits(file[key], count=size).astype(bool)
            elif kind == "values":
                masks[name] = file[key]
    return masks
