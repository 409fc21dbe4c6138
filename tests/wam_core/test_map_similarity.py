"""Similarities of explanations against SciPy, scikit-image and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from wam_core import CoefficientLayout, WaveletBasis, WaveletCoefficients
from wam_core.map_similarity import (
    compare_maps,
    level_maps,
    map_hog_similarity,
    map_ssim,
    profile_overlap,
    shuffled_within_bands,
    spearman,
    spearman_within_bands,
)
from wam_core.structural_similarity import hog, hog_similarity, ssim


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def maps(space, batch=2, channels=2, levels=2, seed=0):
    layout = CoefficientLayout(space, WaveletBasis("haar", levels))
    return WaveletCoefficients(draw(batch, channels, layout.size, seed=seed), layout)


@pytest.mark.parametrize("digits", [None, 1, 0])
def test_rank_correlation_is_scipy_s_with_and_without_ties(digits):
    left, right = draw(500, seed=1), draw(500, seed=2) + draw(500, seed=1)
    if digits is not None:
        left, right = left.round(decimals=digits) + 10, right.round(decimals=digits) + 10
    expected = stats.spearmanr(left.numpy(), right.numpy()).statistic
    assert spearman(left, right) == pytest.approx(expected, abs=1e-12)
    assert spearman(left.float(), -right.float()) == pytest.approx(-expected, abs=1e-6)


def test_what_is_zero_on_both_sides_says_nothing():
    left, right = draw(100, seed=1), draw(100, seed=2)
    alone = spearman(left, right)
    zeros = torch.zeros(1000, dtype=torch.float64)
    assert spearman(torch.cat([left, zeros]), torch.cat([right, zeros])) == pytest.approx(alone)


@pytest.mark.parametrize("left", [torch.zeros(5), torch.ones(5), torch.full((5,), math.nan)])
def test_rank_correlation_does_not_exist_without_ranks(left):
    assert math.isnan(spearman(left, torch.arange(5.0)))


@pytest.mark.parametrize("space", [(200,), (31, 24), (13, 12, 14)])
def test_structural_similarity_is_scikit_image_s(space):
    metrics = pytest.importorskip("skimage.metrics")
    left, right = draw(2, *space, seed=1).abs(), draw(2, *space, seed=2).abs()
    right = right + 0.7 * left
    found = ssim(left, 5 * right)
    for row in range(2):
        first, second = ((side[row] / side[row].max()).numpy() for side in (left, right))
        values = np.concatenate([first.ravel(), second.ravel()])
        expected = metrics.structural_similarity(
            first,
            second,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=values.max() - values.min(),
        )
        assert float(found[row]) == pytest.approx(expected, abs=1e-9)


def test_structural_similarity_of_equal_and_of_constant_maps():
    left = draw(1, 12, 12).abs()
    assert float(ssim(left, 3 * left)) == pytest.approx(1.0)
    constant = torch.full((1, 12, 12), 2.0)
    assert float(ssim(constant, 3 * constant)) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="11 samples"):
        ssim(draw(1, 10, 12), draw(1, 10, 12))


@pytest.mark.parametrize("space", [(24, 24), (40, 51)])
def test_histograms_of_oriented_gradients_are_scikit_image_s(space):
    feature = pytest.importorskip("skimage.feature")
    images = draw(2, *space, seed=3).abs()
    expected = [feature.hog(image.numpy()) for image in images]
    np.testing.assert_allclose(hog(images).numpy(), expected, atol=1e-6)  # it counts in float32
    other = draw(2, *space, seed=4).abs()
    left, right = (np.array([feature.hog((i / i.max()).numpy()) for i in side])
                   for side in (images, other))  # fmt: skip
    found = hog_similarity(images, other)
    for row in range(2):
        assert float(found[row]) == pytest.approx(
            np.corrcoef(left[row], right[row])[0, 1], abs=1e-5
        )


def test_the_same_explanation_at_another_scale_is_the_same():
    left = maps((64, 64), levels=1)
    found = compare_maps(left, left.replace(-3 * left.flat))
    for value in (found.spearman, found.spearman_within_bands, found.ssim, found.hog):
        assert value.tolist() == pytest.approx([1.0, 1.0])
    assert found.profile_overlap.tolist() == pytest.approx([1.0, 1.0])
    assert found.spearman_signed.tolist() == pytest.approx([-1.0, -1.0])
    assert compare_maps(left, left, signed=False).spearman_signed.isnan().all()


def test_within_bands_is_blind_to_how_strong_a_band_is():
    left = maps((32,), batch=1)
    scale = torch.ones(left.layout.size, dtype=torch.float64)
    for factor, place in enumerate(left.layout.slices.values()):
        scale[place] = 10.0 ** (3 * factor)
    right = left.replace(left.flat * scale)
    first, second = (side.replace(side.flat[0]) for side in (left, right))
    assert spearman_within_bands(first, second) == pytest.approx(1.0)
    assert spearman(first.flat.abs().flatten(), second.flat.abs().flatten()) < 0.9
    expected = np.mean([
        stats.spearmanr(maps((32,)).flat[0][:, place].abs().flatten(),
                        maps((32,), seed=9).flat[0][:, place].abs().flatten()).statistic
        for place in left.layout.slices.values()
    ])  # fmt: skip
    other = maps((32,), seed=9)
    found = spearman_within_bands(first, other.replace(other.flat[0]))
    assert found == pytest.approx(expected)


def test_overlap_of_profiles_in_closed_form():
    left, right = maps((8,), batch=1, channels=1), maps((8,), batch=1, channels=1)
    slices = list(left.layout.slices.values())  # approximation, level 2, level 1
    for side, sums in ((left, (1.0, 1.0, 2.0)), (right, (0.0, 3.0, 1.0))):
        for place, total in zip(slices, sums, strict=True):
            side.flat[..., place] = -total / (place.stop - place.start)
    # Shares 1/4, 1/4, 1/2 against 0, 3/4, 1/4.
    assert float(profile_overlap(left, right)) == pytest.approx(0.5)


@pytest.mark.parametrize("space", [(40,), (32, 24), (16, 16, 16)])
def test_maps_of_levels_hold_all_importance_on_their_own_grid(space):
    found = maps(space)
    by_level = level_maps(found)
    assert [tuple(level.shape[1:]) for level in by_level] == [
        tuple(size // 4 for size in space),
        tuple(size // 4 for size in space),
        tuple(size // 2 for size in space),
    ]
    total = sum(level.flatten(1).sum(1) for level in by_level)
    assert torch.allclose(total, found.flat.abs().sum((1, 2)))


def test_measures_that_do_not_exist_are_not_a_number():
    assert map_hog_similarity(maps((64,)), maps((64,))).isnan().all()
    assert map_hog_similarity(maps((32, 32)), maps((32, 32))).isnan().all()
    assert map_ssim(maps((16, 16)), maps((16, 16))).isnan().all()
    assert not map_ssim(maps((16, 16, 64)), maps((16, 16, 64))).isfinite().any()


def test_a_shuffled_map_keeps_each_band_and_where_nothing_is():
    found = maps((16, 16), batch=3)
    found.flat[..., ::3] = 0
    shuffled = shuffled_within_bands(found, ["a", "b", "c"], seed=1)
    for place in found.layout.slices.values():
        before, after = found.flat[..., place], shuffled.flat[..., place]
        assert torch.equal(before == 0, after == 0)
        assert torch.equal(before.flatten(1).sort().values, after.flatten(1).sort().values)
    assert not torch.equal(shuffled.flat, found.flat)
    alone = shuffled_within_bands(found.replace(found.flat[1:2]), ["b"], seed=1)
    assert torch.equal(alone.flat[0], shuffled.flat[1])
