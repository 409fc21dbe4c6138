"""What a map of coefficients says about the scales a model relies on.

Importance of a level is the sum of |attribution| over its coefficients and channels (the absolute
value is taken before channels are added, so that colours do not cancel). Three normalisations are
reported, because a level of an n-dimensional signal has 2^n times as many coefficients as the next
coarser one:

* share: of the sum, "how much of the importance is here";
* mean share: of the importance per coefficient, "how important is one coefficient here";
* relative share: share over the level's share of the signal's energy, "is this scale used more
  than its content"; above 1 means over-used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from wam_core.attribution import SmoothedGradient
from wam_core.basis import CoefficientLayout
from wam_core.draws import draw_share_error, jackknife
from wam_core.sums import Border, band_counts, band_sums, level_sums, shares
from wam_core.transform import WaveletCoefficients


@dataclass(frozen=True)
class BandProfile:
    """Importance over groups of coefficients (bands or levels), one row per sample.

    Attributes:
        importance: Sum of |attribution| per group, or an energy (`energy_profile`).
        signal_energy: Sum of squared coefficients of the signal per group.
        n_coefficients: Coefficients of one channel per group.
    """

    importance: Float[Tensor, "batch group"]
    signal_energy: Float[Tensor, "batch group"]
    n_coefficients: Float[Tensor, " group"]

    @property
    def total(self) -> Float[Tensor, " batch"]:
        """Importance over all groups."""
        return self.importance.sum(-1)

    @property
    def share(self) -> Float[Tensor, "batch group"]:
        """Fraction of the importance; NaN for a degenerate map."""
        return shares(self.importance)

    @property
    def mean_share(self) -> Float[Tensor, "batch group"]:
        """Fraction of the importance per coefficient; NaN for a degenerate map."""
        return shares(self.importance / self.n_coefficients)

    @property
    def relative_share(self) -> Float[Tensor, "batch group"]:
        """Share over the group's share of signal energy; NaN where the group has no energy."""
        energy_share = self.signal_energy / self.signal_energy.sum(-1, keepdim=True)
        ratio = self.share / energy_share
        return torch.where(energy_share > 0, ratio, torch.nan)


def band_profile(
    attribution: WaveletCoefficients,
    coefficients: WaveletCoefficients,
    border: Border = "include",
) -> BandProfile:
    """Importance of every band, in the order of the layout.

    Args:
        border: `exclude` leaves out, of every number, the coefficients whose filters reach over the
            border of the signal (`CoefficientLayout.interior`).
    """
    layout = attribution.layout
    return BandProfile(
        importance=band_sums(attribution.flat.abs(), layout, border),
        signal_energy=band_sums(coefficients.flat.square(), layout, border),
        n_coefficients=band_counts(layout, border),
    )


def energy_profile(
    smoothed: SmoothedGradient, coefficients: WaveletCoefficients
) -> BandProfile | None:
    """Energy of the mean gradient in every band, free of the noise of the draws.

    The energy of a mean over draws holds the energy of their noise too, the more the fewer they
    are, and that noise is finer than the gradient. Products of means over different groups of draws
    do not: for K groups, (|sum of means|^2 - sum of |mean|^2) / (K (K - 1)) is unbiased for the
    energy of the expected gradient at any number of draws. It may fall below zero where that
    energy is small; shares of it still sum to one.

    Returns:
        None with fewer than two groups.
    """
    groups = smoothed.group_means
    if len(groups.flat) < 2:
        return None
    energy = _cross_energy(groups.flat.sum(0), _own_energies(smoothed), smoothed)
    profile = band_profile(smoothed.signed, coefficients, smoothed.border)
    return replace(profile, importance=energy)


def level_profile(bands: BandProfile, layout: CoefficientLayout) -> BandProfile:
    """Add the bands of each level: finest first, the approximation last."""
    return BandProfile(
        importance=level_sums(bands.importance, layout),
        signal_energy=level_sums(bands.signal_energy, layout),
        n_coefficients=level_sums(bands.n_coefficients, layout),
    )


def scale_centroid(share: Float[Tensor, "batch level"]) -> Float[Tensor, " batch"]:
    """Mean level under the shares, in octaves; the approximation counts as one above the last.

    Low is fine: 1 if all importance is in the finest level.
    """
    octaves = torch.arange(1, share.shape[-1] + 1, dtype=share.dtype)
    return (share * octaves).sum(-1)


def fine_share(share: Float[Tensor, "batch level"], fine_levels: int = 2) -> Tensor:
    """Share of the finest levels; the approximation is never fine.

    Raises:
        ValueError: If there are fewer levels than `fine_levels`.
    """
    levels = share.shape[-1] - 1
    if not 1 <= fine_levels <= levels:
        raise ValueError(
            f"fine_levels must be 1 to the number of levels, {levels}; got {fine_levels}"
        )
    return share[..., :fine_levels].sum(-1)


def entropy(share: Float[Tensor, "batch level"]) -> Float[Tensor, " batch"]:
    """Entropy of the shares over its largest value: 0 for one level alone, 1 for all alike."""
    return torch.special.entr(share).sum(-1) / math.log(share.shape[-1])


def share_standard_error(
    smoothed: SmoothedGradient, aggregate: str
) -> Float[Tensor, "batch level"] | None:
    """Monte-Carlo standard error of the level shares, by the jackknife over draws.

    The signed aggregate and the energy are jackknifed over disjoint groups of draws, the absolute
    and squared ones over single draws (over pairs when antithetic); a clean first draw does not
    scatter and is never left out. It measures scatter, not bias.

    Args:
        smoothed: The draws.
        aggregate: `signed`, `absolute`, `squared` or `energy` (see `energy_profile`).

    Returns:
        None if there are too few draws to tell.

    Raises:
        ValueError: If the aggregate is unknown.
    """
    if aggregate == "signed":
        return _signed_standard_error(smoothed)
    if aggregate == "energy":
        return _energy_standard_error(smoothed)
    by_aggregate = {"absolute": smoothed.absolute_draws, "squared": smoothed.squared_draws}
    if aggregate not in by_aggregate:
        expected = "signed, absolute, squared or energy"
        raise ValueError(f"aggregate must be {expected}; got '{aggregate}'")
    return draw_share_error(
        by_aggregate[aggregate],
        smoothed.n_draws,
        smoothed.signed.layout,
        antithetic=smoothed.pairs,
        first_clean=smoothed.first_draw_clean,
    )


def _signed_standard_error(smoothed: SmoothedGradient) -> Tensor | None:
    groups = smoothed.group_means
    if len(groups.flat) < 2:
        return None
    total = groups.flat.sum(0)
    importances = [
        level_sums(band_sums((total - group).abs(), groups.layout, smoothed.border), groups.layout)
        for group in groups.flat
    ]
    return jackknife(shares(torch.stack(importances)))


def _energy_standard_error(smoothed: SmoothedGradient) -> Tensor | None:
    groups = smoothed.group_means
    if len(groups.flat) < 3:
        return None
    total, own = groups.flat.sum(0), _own_energies(smoothed)
    energies = [
        _cross_energy(total - mean, torch.cat([own[:left], own[left + 1 :]]), smoothed)
        for left, mean in enumerate(groups.flat)
    ]
    return jackknife(shares(level_sums(torch.stack(energies), groups.layout)))


def _own_energies(smoothed: SmoothedGradient) -> Float[Tensor, "group batch band"]:
    groups = smoothed.group_means
    energies = [band_sums(mean.square(), groups.layout, smoothed.border) for mean in groups.flat]
    return torch.stack(energies)


def _cross_energy(total: Tensor, own: Tensor, smoothed: SmoothedGradient) -> Tensor:
    """Mean over pairs of different groups of the product of their means, summed per band."""
    n = len(own)
    whole = band_sums(total.square(), smoothed.signed.layout, smoothed.border)
    return (whole - own.sum(0)) / (n * (n - 1))
