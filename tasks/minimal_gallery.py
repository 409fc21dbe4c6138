"""Minimal and masked signals of the kept examples, rebuilt from their masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from tasks.analyses.minimal_selections import (
    Mask,
    Section,
    absent_values,
    example_file,
    example_rows,
    read_masks,
)
from tasks.errors import IncompleteAuditError
from tasks.identity import basis_layout
from tasks.reporting.minimal_cards import MaskedExample, MaskedVersion
from tasks.reporting.separation import selection_title
from wam_core.masked_signals import MaskedSignal
from wam_core.padding import support_of

if TYPE_CHECKING:
    from tasks.gallery import StoredAudit


def masked_examples(stored: StoredAudit, section: Section) -> list[MaskedExample]:
    """What an analysis kept of single samples, as far as it was computed."""
    found = []
    for row in example_rows(stored.config, stored.manifest, section):
        name = example_file(section, row)
        if not stored.folder.exists(name):
            continue
        try:
            explanation = stored.explanation(row)
        except IncompleteAuditError:
            continue
        versions = _versions(stored, section, row, read_masks(stored.folder.read_bytes(name)))
        found.append(MaskedExample(explanation, versions))
    return found


def _versions(
    stored: StoredAudit, section: Section, row: int, masks: Mapping[str, Mask]
) -> tuple[MaskedVersion, ...]:
    sample = stored.reader.read(row)
    if sample.signal is None:
        return ()
    signal = torch.from_numpy(sample.signal)[None]
    n_valid = sample.n_valid
    support = None if n_valid is None else support_of(torch.tensor([n_valid]), signal.shape[-1])
    layout = basis_layout(stored.config, stored.preprocessing.spatial_shape)
    baseline = absent_values(stored.config, section, signal, support)
    masked = MaskedSignal.of(signal, baseline, layout.basis)
    versions = []
    for name, values in masks.items():
        mask = torch.from_numpy(values.astype(np.float32))[None]
        versions.append(
            MaskedVersion(
                title=selection_title(name) if section == "minimal" else f"alpha {name}",
                part=float(mask.mean()),
                left=masked.present(mask)[0].numpy(),
                taken=masked.present(1 - mask)[0].numpy(),
            )
        )
    return tuple(versions)
