"""How an audit removes coefficients to judge its maps: from where, by which order, at what cost."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tasks.analyses.contract import AuditParts, Batch
from tasks.analyses.minimal_selections import selections_of
from tasks.analyses.mixtures import MODEL_FREE
from tasks.analyses.partners import Partners
from tasks.config import AuditConfig
from tasks.errors import ConfigError
from tasks.trust_config import FaithfulnessConfig
from wam_core.baselines import absent_signal
from wam_core.basis import CoefficientLayout
from wam_core.faithfulness.budget import Effort
from wam_core.faithfulness.curves import Axis
from wam_core.faithfulness.domains import CoefficientDomain
from wam_core.faithfulness.replacements import resampled_within_bands

COUNT, ENERGY, REPLACEMENT = "count", "energy", "replacement"
REMOVALS = (COUNT, ENERGY, REPLACEMENT)
"""Ways to remove: by count to the baseline, by energy to it, by count to other signals."""

PREFIXES = {COUNT: "", ENERGY: "energy_", REPLACEMENT: "replacement_"}
"""Of the columns and metrics of each way to remove."""


@dataclass(frozen=True)
class Removal:
    """One way to remove, of a batch.

    Attributes:
        known: Whether each sample has what replaces its coefficients.
    """

    name: str
    domain: CoefficientDomain
    axis: Axis
    known: Tensor


def removals(config: AuditConfig) -> tuple[str, ...]:
    """The ways to remove that a configuration asks for, in order."""
    return tuple(name for name in REMOVALS if name in config.analyses.faithfulness.measures)


def judged_methods(config: AuditConfig) -> list[str]:
    """Methods whose maps are judged, as arrays name them."""
    wanted = config.analyses.faithfulness.methods
    return config.attribution.methods if wanted is None else list(wanted)


def rankings(config: AuditConfig) -> list[str]:
    """All orders of the coefficients, as tables name them; those without a model come last."""
    return selections_of(config, judged_methods(config))


def n_class_specific(config: AuditConfig) -> int:
    """Orders that differ between classes."""
    return len(rankings(config)) - len(MODEL_FREE)


def wants(config: AuditConfig, measure: str) -> bool:
    """Whether a measure is asked for."""
    return measure in config.analyses.faithfulness.measures


def effort(config: AuditConfig, layout: CoefficientLayout) -> Effort:
    """What a sample costs in forward passes, within the budget.

    Raises:
        ConfigError: If the budget is too small, or the signal has fewer coefficients than steps.
    """
    settings: FaithfulnessConfig = config.analyses.faithfulness
    names = removals(config)
    others = sum(wants(config, measure) for measure in ("class_contrast", "random_weights"))
    subsets = wants(config, "mu_fidelity")
    whole = Effort(
        n_domains=len(names) + (subsets and COUNT not in names),
        n_curves=len(names) * len(rankings(config)) + others * n_class_specific(config),
        n_games=int(subsets),
        n_steps=settings.n_steps,
        n_subsets=settings.n_subsets,
    )
    try:
        found = whole.within(settings.budget)
    except ValueError as error:
        raise ConfigError(f"analyses.faithfulness: {error}") from error
    kept = layout.level_size("approximation") if settings.approximation == "kept" else 0
    if found.n_steps > layout.size - kept:
        raise ConfigError(
            f"analyses.faithfulness takes {found.n_steps} steps, but the signal has "
            f"{layout.size - kept} coefficients to remove; set n_steps to at most that"
        )
    return found


def removal(name: str, parts: AuditParts, batch: Batch) -> Removal:
    """One way to remove, with the coefficients of a batch."""
    settings: FaithfulnessConfig = parts.config.analyses.faithfulness
    signal, basis = batch.signal, parts.layout.basis
    absent = absent_signal(settings.baseline, signal, batch.support)
    details_only = settings.approximation == "kept" and name != COUNT
    known = torch.ones(len(batch), dtype=torch.bool)
    replacement = None
    if name == REPLACEMENT:
        if settings.replacement == "resampled":
            replacement = resampled_within_bands(
                signal,
                basis,
                batch.sample_ids,
                parts.config.attribution.seed,
                details_only=details_only,
            )
        else:
            replacement, known = _of_other_samples(parts, batch)
        if batch.support is not None:
            replacement = replacement * batch.support
    domain = CoefficientDomain.of(
        signal, basis, absent, replacement=replacement, details_only=details_only
    )
    return Removal(name, domain, "energy" if name == ENERGY else "count", known)


def _of_other_samples(parts: AuditParts, batch: Batch) -> tuple[Tensor, Tensor]:
    """A signal of another class for each sample, and whether one was found."""
    partners = Partners(parts.manifest, parts.reader, parts.config.attribution.seed, "faithfulness")
    found = [partners.of(row, name) for row, name in zip(batch.rows, batch.sample_ids, strict=True)]
    signals = [
        torch.zeros_like(batch.signal[place])
        if partner is None
        else partner.signal.to(batch.signal)
        for place, partner in enumerate(found)
    ]
    return torch.stack(signals), torch.tensor([partner is not None for partner in found])
