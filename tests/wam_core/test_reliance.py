"""What a map says about scales: closed forms, and models that are known to use one octave."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from wam_core import (
    Band,
    CoefficientLayout,
    WaveletBasis,
    WaveletCoefficients,
    baseline,
    decompose,
    gradient,
    integrated_gradients,
    smoothgrad,
)
from wam_core.reliance import (
    BandProfile,
    band_profile,
    energy_profile,
    entropy,
    fine_share,
    level_profile,
    level_sums,
    scale_centroid,
    share_standard_error,
)


def _levels(attribution, coefficients) -> BandProfile:
    return level_profile(band_profile(attribution, coefficients), attribution.layout)


def _energy(rows, _):
    return rows.square().flatten(1).sum(1) / 2


def _octave_energy(space: tuple[int, ...], level: int):
    """Energy of what a linear filter keeps: the frequencies of one octave, on the largest axis."""
    frequencies = [torch.fft.fftfreq(size, dtype=torch.float64).abs() for size in space]
    largest = torch.stack(torch.meshgrid(*frequencies, indexing="ij")).max(0).values
    kept = ((largest > 2.0 ** -(level + 1)) & (largest <= 2.0**-level)).double()
    axes = tuple(range(2, 2 + len(space)))

    def score(rows, _):
        filtered = torch.fft.ifftn(torch.fft.fftn(rows, dim=axes) * kept, dim=axes).real
        return filtered.square().flatten(1).sum(1)

    return score


# Space, wavelet, levels, planted octave, and what share of the gradient's energy lands there: about
# 0.8 with sym8, more at the finest level, which has no finer one to leak to.
PLANTED = [
    ((4096,), "sym8", 5, 1, 0.93),
    ((4096,), "sym8", 5, 2, 0.80),
    ((4096,), "sym8", 5, 3, 0.81),
    ((4096,), "sym8", 5, 4, 0.81),
    ((96, 128), "sym8", 2, 1, 0.96),
    ((96, 128), "sym8", 2, 2, 0.77),
    ((30, 36, 40), "db4", 1, 1, 0.96),
    ((32, 30, 36), "db4", 2, 2, 0.62),
]


@pytest.mark.parametrize(("space", "wavelet", "levels", "planted", "own_energy"), PLANTED, ids=str)
def test_a_model_that_uses_one_octave_puts_its_importance_there(
    make_signal, space, wavelet, levels, planted, own_energy
):
    signal = make_signal(1, *space, channels=1)
    attribution = gradient(_octave_energy(space, planted), signal, WaveletBasis(wavelet, levels))
    profile = _levels(attribution, decompose(signal, attribution.layout.basis))
    shares = [profile.mean_share[0], profile.relative_share[0]]
    # What leaks to the next finer level of a volume is spread over eight times as many
    # coefficients, so that its plain sum can be the larger one.
    if len(space) < 3 or planted == 1:
        shares.append(profile.share[0])
    for share in shares:
        assert attribution.layout.level_names[int(share.argmax())] == str(planted)
    energy = _levels(attribution, attribution).signal_energy[0]
    assert float(energy[planted - 1] / energy.sum()) == pytest.approx(own_energy, abs=0.05)


def test_a_short_wavelet_blurs_the_octaves(make_signal):
    """Level 3 alone: about half of its energy with haar, about 0.8 with sym8."""
    signal = make_signal(4, 2048, channels=1)
    shares = {}
    for wavelet in ("haar", "db4", "sym8"):
        attribution = gradient(_octave_energy((2048,), 3), signal, WaveletBasis(wavelet, 5))
        bands = band_profile(attribution, attribution)
        energy = level_profile(bands, attribution.layout).signal_energy
        shares[wavelet] = float((energy / energy.sum(1, keepdim=True))[:, 2].mean())
    assert shares["haar"] == pytest.approx(0.50, abs=0.05)
    assert shares["db4"] == pytest.approx(0.74, abs=0.05)
    assert shares["sym8"] == pytest.approx(0.81, abs=0.05)


@pytest.mark.parametrize(
    ("space", "axis"),
    [(space, axis) for space in [(32, 48), (16, 8, 24)] for axis in range(len(space))],
    ids=str,
)
def test_variation_along_one_axis_is_important_in_the_bands_of_that_axis(space, axis):
    """Field row 22 and the swap of horizontal and vertical in the published evaluation."""
    generator = torch.Generator().manual_seed(0)
    line = torch.randn(space[axis], generator=generator, dtype=torch.float64)
    shape = [1] * len(space)
    shape[axis] = -1
    signal = line.reshape(shape).expand(space)[None, None].clone()
    basis = WaveletBasis("haar", 2)
    own = "".join("d" if place == axis else "a" for place in range(len(space)))
    ids = {"sample_ids": ["a"], "seed": 0, "n_samples": 2, "noise_fraction": 0.0}
    for attribution in [
        gradient(_energy, signal, basis),
        smoothgrad(_energy, signal, basis, **ids).signed,
        integrated_gradients(
            _energy, signal, basis, baseline=torch.zeros_like(signal), n_steps=2
        ).attribution,
    ]:
        importance = band_profile(attribution, decompose(signal, basis)).importance[0]
        for band, value in zip(attribution.layout.bands, importance.tolist(), strict=True):
            if band.is_approximation or band.filters == own:
                assert value > 1e-3
            else:
                assert value == pytest.approx(0.0, abs=1e-10)


def test_horizontal_in_the_literature_is_variation_along_the_first_axis():
    rows = torch.tensor([1.0, -1.0]).repeat(4)[:, None].expand(8, 6)[None, None].double()
    attribution = gradient(_energy, rows, WaveletBasis("haar", 1))
    assert attribution[Band(1, "da")].abs().sum() > 1
    assert attribution[Band(1, "ad")].abs().sum() < 1e-12


@pytest.mark.parametrize("wavelet", ["haar", "db4", "bior2.2"])
def test_shares_sum_to_one(make_signal, make_score, wavelet):
    signal, basis = make_signal(3, 33, 40), WaveletBasis(wavelet, 2)
    attribution = gradient(make_score(signal), signal, basis)
    bands = band_profile(attribution, decompose(signal, basis))
    ones = torch.ones(3, dtype=torch.float64)
    for profile in (bands, level_profile(bands, attribution.layout)):
        torch.testing.assert_close(profile.share.sum(1), ones)
        torch.testing.assert_close(profile.mean_share.sum(1), ones)
        torch.testing.assert_close(profile.total, attribution.flat.abs().sum((1, 2)))


def test_w3_shares_come_from_raw_importance(make_signal):
    """W3: dividing each band by its largest value throws away how much each band holds."""
    basis = WaveletBasis("haar", 2)
    layout = CoefficientLayout((16, 16), basis)
    flat = torch.zeros(1, 1, layout.size, dtype=torch.float64)
    attribution = WaveletCoefficients(flat, layout)
    attribution[Band(1, "da")][..., 0, 0] = 3.0
    attribution[Band(2, "ad")][..., 1, 1] = -1.0
    attribution[Band(2, "aa")][..., 0, 0] = 4.0
    profile = _levels(attribution, decompose(make_signal(1, 16, 16, channels=1), basis))
    torch.testing.assert_close(
        profile.share, torch.tensor([[3 / 8, 1 / 8, 4 / 8]], dtype=torch.float64)
    )


def test_the_mean_share_is_per_coefficient(make_signal):
    """A map of ones: the sum share follows the number of coefficients, the mean share is flat."""
    basis = WaveletBasis("haar", 3)
    coefficients = decompose(make_signal(2, 16, 32), basis)
    attribution = coefficients.replace(torch.ones_like(coefficients.flat))
    profile = _levels(attribution, coefficients)
    counts = torch.tensor([3 * 128, 3 * 32, 3 * 8, 8], dtype=torch.float64)
    assert torch.equal(profile.n_coefficients, counts)
    torch.testing.assert_close(profile.share, (counts / 512).expand(2, -1))
    torch.testing.assert_close(profile.mean_share, torch.full((2, 4), 0.25, dtype=torch.float64))


@pytest.mark.parametrize(("space", "wavelet"), [((61,), "db4"), ((40, 33), "haar")], ids=str)
def test_importance_in_proportion_to_energy_has_relative_share_one(make_signal, space, wavelet):
    """WAM_IG of half the signal's energy is half the squared coefficients, exactly."""
    signal, basis = make_signal(2, *space), WaveletBasis(wavelet, 2)
    result = integrated_gradients(
        _energy, signal, basis, baseline=baseline("zero", signal), n_steps=1
    )
    bands = band_profile(result.attribution, decompose(signal, basis))
    for profile in (bands, level_profile(bands, result.attribution.layout)):
        torch.testing.assert_close(profile.relative_share, torch.ones_like(profile.share))


def test_a_level_used_more_than_its_content_has_relative_share_above_one(make_signal):
    signal, basis = make_signal(1, 256, channels=1), WaveletBasis("sym8", 3)
    attribution = gradient(_octave_energy((256,), 2), signal, basis)
    ratio = _levels(attribution, decompose(signal, basis)).relative_share[0]
    assert int(ratio.argmax()) == 1
    assert float(ratio[1]) > 1.5
    assert float(ratio[3]) < 0.2


def test_a_level_without_energy_has_no_relative_share():
    profile = BandProfile(
        importance=torch.tensor([[1.0, 1.0], [1.0, 1.0]]),
        signal_energy=torch.tensor([[2.0, 0.0], [0.0, 0.0]]),
        n_coefficients=torch.tensor([4.0, 4.0]),
    )
    expected = torch.tensor([[0.5, torch.nan], [torch.nan, torch.nan]])
    torch.testing.assert_close(profile.relative_share, expected, equal_nan=True)


@pytest.mark.parametrize("value", [0.0, 1e-30, torch.nan])
def test_w2_a_degenerate_map_has_nan_shares_and_spares_its_neighbours(make_signal, value):
    """W2: a zero gradient divided by the largest of the batch, or by its own zero."""
    coefficients = decompose(make_signal(3, 16, 8), WaveletBasis("haar", 2))
    flat = coefficients.flat.clone()
    flat[1] = value
    profile = _levels(coefficients.replace(flat), coefficients)
    for shares in (profile.share, profile.mean_share, profile.relative_share):
        assert bool(shares[1].isnan().all())
        assert bool(shares[[0, 2]].isfinite().all())
    for statistic in (scale_centroid, fine_share, entropy):
        assert statistic(profile.share).isnan().tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("share", "centroid", "fine", "relative_entropy"),
    [
        ([1.0, 0.0, 0.0, 0.0], 1.0, 1.0, 0.0),
        ([0.0, 0.0, 0.0, 1.0], 4.0, 0.0, 0.0),
        ([0.25, 0.25, 0.25, 0.25], 2.5, 0.5, 1.0),
        ([0.5, 0.0, 0.5, 0.0], 2.0, 0.5, 0.5),
        ([0.1, 0.2, 0.3, 0.4], 3.0, 0.3, None),
    ],
)
def test_scale_statistics_have_their_closed_forms(share, centroid, fine, relative_entropy):
    row = torch.tensor([share], dtype=torch.float64)
    if relative_entropy is None:
        relative_entropy = -sum(value * math.log(value) for value in share) / math.log(4)
    assert float(scale_centroid(row)) == pytest.approx(centroid)
    assert float(fine_share(row)) == pytest.approx(fine)
    assert float(entropy(row)) == pytest.approx(relative_entropy)


def test_the_approximation_is_never_fine():
    row = torch.tensor([[0.2, 0.3, 0.5]])
    assert float(fine_share(row, 1)) == pytest.approx(0.2)
    for fine_levels in (0, 3):
        with pytest.raises(ValueError, match=f"number of levels, 2; got {fine_levels}"):
            fine_share(row, fine_levels)


def test_level_sums_are_ordered_fine_to_coarse():
    layout = CoefficientLayout((16, 16), WaveletBasis("haar", 2))
    values = torch.arange(7.0)[None]  # approximation, three of level 2, three of level 1
    assert level_sums(values, layout).tolist() == [[4 + 5 + 6, 1 + 2 + 3, 0]]


def test_sums_of_many_small_values_keep_their_precision():
    """Importance is summed over a million float32 coefficients."""
    layout = CoefficientLayout((1024, 1024), WaveletBasis("haar", 1))
    flat = torch.full((1, 1, layout.size), 0.1)
    profile = band_profile(WaveletCoefficients(flat, layout), WaveletCoefficients(flat, layout))
    exact = float(np.float32(0.1)) * layout.size
    assert profile.importance.dtype == torch.float64
    assert float(profile.total) == pytest.approx(exact, rel=1e-6)


def _smoothed(score, signal, basis, n_samples, seed=0, **options):
    ids = [f"sample-{index}" for index in range(len(signal))]
    return smoothgrad(
        score, signal, basis, sample_ids=ids, seed=seed, n_samples=n_samples, noise_fraction=0.3,
        **options,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"antithetic": True}], ids=str)
@pytest.mark.parametrize("n_samples", [4, 7])
def test_the_energy_is_unbiased_however_few_the_draws(make_signal, n_samples, options):
    """Against a score whose expected gradient is known."""
    signal = make_signal(1, 64, channels=1)
    score = _octave_energy((64,), 3)
    basis = WaveletBasis("haar", 3)
    coefficients = decompose(signal, basis)
    # The gradient is linear in the input, so its mean over noise is the gradient at the input.
    expected = gradient(score, signal, basis)
    truth = level_profile(band_profile(expected, coefficients), expected.layout)
    truth_energy = level_sums(
        band_profile(expected.replace(expected.flat.square()), coefficients).importance,
        expected.layout,
    )[0]
    assert bool((truth.importance > 0).all())
    free, naive = [], []
    for seed in range(400):
        smoothed = _smoothed(score, signal, basis, n_samples, seed, **options)
        profile = energy_profile(smoothed, coefficients)
        free.append(level_sums(profile.importance, expected.layout)[0])
        squared = band_profile(smoothed.signed.replace(smoothed.signed.flat.square()), coefficients)
        naive.append(level_sums(squared.importance, expected.layout)[0])
    free, naive = torch.stack(free), torch.stack(naive)
    error = free.std(0) / math.sqrt(len(free))
    assert bool(((free.mean(0) - truth_energy).abs() < 4 * error + 1e-12).all())
    if not options:  # pairs of opposite noise cancel it here: the gradient is linear
        assert bool((naive.mean(0) > truth_energy + 4 * error).all())


def test_with_two_draws_the_energy_is_their_inner_product(make_signal, make_score):
    signal = make_signal(2, 16, 12)
    basis = WaveletBasis("db2", 1)
    smoothed = _smoothed(make_score(signal), signal, basis, 2)
    first, second = smoothed.group_means.flat
    profile = energy_profile(smoothed, decompose(signal, basis))
    products = smoothed.signed.replace(first * second)
    expected = [products[band].flatten(1).sum(1) for band in products.layout.bands]
    torch.testing.assert_close(profile.importance, torch.stack(expected, 1).double())
    assert energy_profile(_smoothed(make_score(signal), signal, basis, 1), products) is None


@pytest.mark.slow
def test_the_scatter_of_the_energy_share_is_its_standard_error(make_signal, make_score):
    signal = make_signal(1, 32)
    score, basis = make_score(signal), WaveletBasis("haar", 2)
    shares, errors = [], []
    for seed in range(150):
        smoothed = _smoothed(score, signal, basis, 25, seed)
        profile = level_profile(
            energy_profile(smoothed, decompose(signal, basis)), smoothed.signed.layout
        )
        shares.append(profile.share[0])
        errors.append(share_standard_error(smoothed, "energy")[0])
    scatter = torch.stack(shares).std(0)
    stated = torch.stack(errors).square().mean(0).sqrt()
    assert bool((stated < 2 * scatter).all())
    assert bool((stated > 0.5 * scatter).all())
