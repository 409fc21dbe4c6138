"""How alike are two explanations of one sample? Rank correlation, structural similarity, HOG.

Maps of different models have different scales, so every measure is blind to a factor:
ranks by nature, the others because maps are divided by their maximum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from wam_core.noise import generator
from wam_core.structural_similarity import HOG_SIZE, SSIM_WINDOW, hog_similarity, ssim
from wam_core.sums import band_sums, level_sums, shares
from wam_core.transform import WaveletCoefficients


@dataclass(frozen=True)
class MapSimilarity:
    """How alike two explanations of each sample are; NaN where a measure does not exist.

    Attributes:
        spearman: Rank correlation of magnitudes over all channels and coefficients.
        spearman_signed: The same of the signed values; NaN where a map has no signs.
        spearman_within_bands: See the function of that name.
        ssim: See `map_ssim`.
        hog: See `map_hog_similarity`.
        profile_overlap: See the function of that name.
    """

    spearman: Float[Tensor, " batch"]
    spearman_signed: Float[Tensor, " batch"]
    spearman_within_bands: Float[Tensor, " batch"]
    ssim: Float[Tensor, " batch"]
    hog: Float[Tensor, " batch"]
    profile_overlap: Float[Tensor, " batch"]


def compare_maps(
    left: WaveletCoefficients, right: WaveletCoefficients, *, signed: bool = True
) -> MapSimilarity:
    """Every measure of every sample.

    Args:
        left: Shape (batch, channel, coefficient); so has `right`.
        signed: Whether the signs of both maps mean something.
    """

    def by_sample(measure: Callable[[WaveletCoefficients, WaveletCoefficients], float]) -> Tensor:
        pairs = zip(left.flat, right.flat, strict=True)
        values = [measure(left.replace(first), right.replace(second)) for first, second in pairs]
        return torch.tensor(values, dtype=torch.float64)

    return MapSimilarity(
        spearman=by_sample(lambda a, b: spearman(a.flat.abs().flatten(), b.flat.abs().flatten())),
        spearman_signed=by_sample(
            lambda a, b: spearman(a.flat.flatten(), b.flat.flatten()) if signed else math.nan
        ),
        spearman_within_bands=by_sample(spearman_within_bands),
        ssim=map_ssim(left, right),
        hog=map_hog_similarity(left, right),
        profile_overlap=profile_overlap(left, right),
    )


def shuffled_within_bands(
    maps: WaveletCoefficients, sample_ids: Sequence[str], seed: int
) -> WaveletCoefficients:
    """Every band's values that are not zero in a random order over their places and channels.

    What such a map shares with the original is how strong each band is and where there is anything
    at all, and nothing else. The order is drawn anew for each sample.

    Args:
        maps: Shape (batch, channel, coefficient).
    """
    flat = maps.flat.clone()
    for row, name in enumerate(sample_ids):
        for draw, place in enumerate(maps.layout.slices.values()):
            band = flat[row, :, place]
            present = band != 0
            values = band[present]
            order = generator(seed, f"shuffled\0{name}", draw).permutation(len(values))
            band[present] = values[torch.from_numpy(order).to(values.device)]
    return maps.replace(flat)


def spearman(left: Float[Tensor, " item"], right: Float[Tensor, " item"]) -> float:
    """Spearman's rank correlation, ties with their mean rank.

    Items that are exactly zero on both sides are left out: padding, empty space and points that no
    filter looks at would agree whatever the models are.

    Returns:
        NaN where a value is not finite, fewer than two items are left, or a side is constant.

    Example:
        >>> round(spearman(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 1.0, 3.0])), 6)
        0.5
    """
    if not bool(left.isfinite().all() and right.isfinite().all()):
        return math.nan
    present = (left != 0) | (right != 0)
    first, second = (_centred_ranks(side[present]) for side in (left, right))
    spread = first.square().sum().sqrt() * second.square().sum().sqrt()
    return float((first * second).sum() / spread) if float(spread) > 0 else math.nan


def spearman_within_bands(left: WaveletCoefficients, right: WaveletCoefficients) -> float:
    """Mean over bands of the rank correlation of magnitudes within the band; one sample each.

    Blind to which bands are strong: it says whether the same places of a band matter.

    Args:
        left: Shape (channel, coefficient); so has `right`.
    """
    values = [
        spearman(left[band].abs().flatten(), right[band].abs().flatten())
        for band in left.layout.bands
    ]
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def profile_overlap(
    left: WaveletCoefficients, right: WaveletCoefficients
) -> Float[Tensor, " batch"]:
    """Sum over levels of the smaller share of importance: 1 for equal profiles, 0 for disjoint.

    It is 1 minus the total variation distance of the two profiles.

    Args:
        left: Shape (batch, channel, coefficient); so has `right`.
    """
    first, second = (
        shares(level_sums(band_sums(side.flat.abs(), side.layout), side.layout))
        for side in (left, right)
    )
    return torch.minimum(first, second).sum(-1)


def level_maps(attribution: WaveletCoefficients) -> list[Float[Tensor, "*batch_and_grid"]]:
    """Importance of every level on the grid of its own coefficients, coarsest first.

    Absolute values are added over channels and orientations. The approximation is the first.
    """
    layout = attribution.layout
    magnitude = attribution.replace(attribution.flat.abs().sum(-2))
    return [
        torch.stack([magnitude[band] for band in layout.bands_of(level)]).sum(0)
        for level in reversed(layout.level_names)
    ]


def map_ssim(left: WaveletCoefficients, right: WaveletCoefficients) -> Float[Tensor, " batch"]:
    """Mean over levels of the structural similarity of their maps, in [-1, 1].

    Levels with fewer coefficients along an axis than the window are left out.

    Args:
        left: Shape (batch, channel, coefficient); so has `right`.

    Returns:
        NaN where no level is large enough.
    """
    return _mean_over_levels(left, right, SSIM_WINDOW, ssim)


def map_hog_similarity(
    left: WaveletCoefficients, right: WaveletCoefficients
) -> Float[Tensor, " batch"]:
    """Mean over levels of the correlation of their histograms of oriented gradients; images only.

    Levels below 24 coefficients along an axis have no block of histograms and are left out. One
    axis has no orientations, and histograms over the sphere have no common definition, so there is
    none for series and volumes.

    Returns:
        NaN where no level is large enough, or the signals are no images.
    """
    if left.layout.ndim != 2:
        return torch.full((len(left.flat),), torch.nan, dtype=torch.float64)
    return _mean_over_levels(left, right, HOG_SIZE, hog_similarity)


def _mean_over_levels(
    left: WaveletCoefficients,
    right: WaveletCoefficients,
    size: int,
    similarity: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    pairs = zip(level_maps(left), level_maps(right), strict=True)
    values = [similarity(first, second) for first, second in pairs if min(first.shape[1:]) >= size]
    if not values:
        return torch.full((len(left.flat),), torch.nan, dtype=torch.float64)
    return torch.stack(values).mean(0)


def _centred_ranks(values: Tensor) -> Tensor:
    """Ranks less their mean, float64 on the CPU; ties share their mean rank."""
    ordered, order = values.sort()
    begins = torch.ones_like(ordered, dtype=torch.bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    group = begins.long().cumsum(0) - 1
    counts = torch.bincount(group) if len(group) else group
    # Twice the mean rank is a whole number, on devices without float64 too.
    doubled = 2 * counts.cumsum(0) - counts + 1
    ranks = torch.empty_like(order)
    ranks[order] = doubled[group]
    return ranks.cpu().double() / 2 - (len(values) + 1) / 2
