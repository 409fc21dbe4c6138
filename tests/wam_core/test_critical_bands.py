import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from wam_core.basis import CoefficientLayout, WaveletBasis
from wam_core.critical_bands import (
    NARROWEST,
    fit_channel,
    level_frequency,
    level_noise,
    threshold_noise,
    value_range,
)
from wam_core.padding import support_of
from wam_core.transform import decompose

NOISES = np.array([0.01, 0.03, 0.1, 0.3, 1.0])


def draws(layout, level, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = layout.level_size(level)
    return torch.randn(batch, size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("space", [(64,), (32, 24), (16, 8, 12)])
@pytest.mark.parametrize("level", ["1", "2", "approximation"])
def test_noise_has_one_energy_and_lies_in_its_level_alone(space, level):
    layout = CoefficientLayout(space, WaveletBasis("haar", 2))
    noise = level_noise(draws(layout, level), layout, level)
    assert noise.shape == (2, 1, *space)
    np.testing.assert_allclose((noise**2).flatten(1).mean(1), 1)
    coefficients = decompose(noise, layout.basis)
    inside = torch.cat([coefficients[band].flatten(1) for band in layout.bands_of(level)], dim=1)
    energy = (coefficients.flat**2).flatten(1).sum(1)
    np.testing.assert_allclose((inside**2).sum(1), energy)


@pytest.mark.parametrize("wavelet", ["sym8", "bior4.4"])
def test_other_wavelets_keep_the_energy_too(wavelet):
    layout = CoefficientLayout((257, 130), WaveletBasis(wavelet, 3))
    for level in layout.level_names:
        noise = level_noise(draws(layout, level), layout, level)
        np.testing.assert_allclose((noise**2).flatten(1).mean(1), 1)


def test_frequencies_of_the_noise_are_those_of_the_level():
    """Periodogram of long noise: most of its power lies in the octave that the level names."""
    layout = CoefficientLayout((8192,), WaveletBasis("sym8", 4))
    for level in ("1", "3"):
        noise = level_noise(draws(layout, level, batch=1), layout, level)[0, 0].numpy()
        power = np.abs(np.fft.rfft(noise)) ** 2
        frequency = np.fft.rfftfreq(len(noise))
        own = np.abs(np.log2(frequency[1:] / level_frequency(float(level)))) < 0.5
        assert power[1:][own].sum() > 0.75 * power.sum()


def test_no_noise_in_the_padding_and_the_full_energy_before_it():
    layout = CoefficientLayout((64,), WaveletBasis("db2", 3))
    support = support_of(torch.tensor([40, 64]), 64).double()
    for level in layout.level_names:
        noise = level_noise(draws(layout, level), layout, level, support)
        assert not noise[0, :, 40:].any()
        np.testing.assert_allclose((noise[0, 0, :40] ** 2).mean(), 1)
        np.testing.assert_allclose((noise[1, 0] ** 2).mean(), 1)


def test_draws_must_fit_the_level():
    layout = CoefficientLayout((64,), WaveletBasis("haar", 2))
    with pytest.raises(ValueError, match="level 1 has 32 coefficients, but there are 16 draws"):
        level_noise(torch.zeros(1, 16), layout, "1")


def test_the_range_leaves_the_padding_out():
    signal = torch.tensor([[[2.0, 3.0, 0.0, 0.0]], [[-1.0, 1.0, 0.5, 0.0]]])
    support = support_of(torch.tensor([2, 4]), 4)
    assert value_range(signal, support).tolist() == [1.0, 2.0]
    assert value_range(signal).tolist() == [3.0, 2.0]


@given(
    st.lists(st.floats(0, 1), min_size=5, max_size=5),
    st.floats(0.05, 0.95),
)
def test_thresholds_are_first_crossings_of_the_interpolated_curve(accuracies, criterion):
    found = threshold_noise(np.array([[accuracies]]), np.array([criterion]), NOISES)[0, 0]
    assert NOISES[0] <= found <= NOISES[-1]
    fine = np.geomspace(NOISES[0], NOISES[-1], 4001)
    curve = np.interp(np.log(fine), np.log(NOISES), accuracies)
    before = fine < found * (1 - 1e-6)
    assert (curve[before] > criterion - 1e-9).all()
    if NOISES[0] < found < NOISES[-1]:
        at = np.interp(np.log(found), np.log(NOISES), accuracies)
        assert at == pytest.approx(criterion, abs=1e-9)


def test_thresholds_beyond_the_noises_stand_at_their_ends():
    accuracy = np.array([[[0.9] * 5, [0.1] * 5, [0.9, 0.9, np.nan, 0.1, 0.1]]])
    found = threshold_noise(accuracy, np.array([0.45]), NOISES)[0]
    assert found[0] == NOISES[-1]
    assert found[1] == NOISES[0]
    assert np.isnan(found[2])
    assert np.isnan(threshold_noise(accuracy, np.array([np.nan]), NOISES)).all()
    for noises in ([0.1], [0.3, 0.1], [0.0, 0.1]):
        with pytest.raises(ValueError, match="positive and increasing"):
            threshold_noise(np.ones((1, 1, len(noises))), np.array([0.5]), np.array(noises))


@pytest.mark.parametrize(
    ("centre", "deviation", "n_levels"),
    [*itertools.product([1.2, 2.0, 3.4], [0.6, 1.1], [5, 7]), (4.0, 2.5, 6)],
)
def test_a_channel_is_found_again(centre, deviation, n_levels):
    levels = np.arange(1, n_levels + 1)
    sensitivity = 12 * np.exp(-0.5 * ((levels - centre) / deviation) ** 2)
    fit = fit_channel(sensitivity[None])
    assert fit.centre[0] == pytest.approx(centre, abs=0.01)
    assert fit.deviation[0] == pytest.approx(deviation, abs=0.01)
    assert fit.amplitude[0] == pytest.approx(12, rel=0.02)
    assert fit.width[0] == pytest.approx(2.3548 * deviation, abs=0.03)
    half = fit.sensitivity(fit.centre[0] + fit.width[0] / 2 * np.array([-1, 0, 1]))
    np.testing.assert_allclose(half / fit.amplitude[0], [0.5, 1, 0.5])
    assert not fit.is_flat
    assert not fit.end


def test_noisy_channels_are_fitted_as_scipy_fits_them():
    levels = np.arange(1, 7)
    noise = np.random.default_rng(0).normal(0, 0.5, (300, 6))
    sensitivity = np.abs(8 * np.exp(-0.5 * ((levels - 2.9) / 1.1) ** 2) + noise)
    fit = fit_channel(sensitivity)

    def gaussian(x, amplitude, centre, deviation):
        return amplitude * np.exp(-0.5 * ((x - centre) / deviation) ** 2)

    for row in range(0, 300, 10):
        known, _ = curve_fit(gaussian, levels, sensitivity[row], p0=(8, 2.9, 1.1))
        found = (fit.amplitude[row], fit.centre[row], fit.deviation[row])
        np.testing.assert_allclose(found, known, atol=0.02)


def test_a_row_does_not_depend_on_the_others():
    sensitivity = np.random.default_rng(1).random((300, 5))
    together = fit_channel(sensitivity)
    alone = fit_channel(sensitivity[7:8])
    assert together.centre[7] == pytest.approx(alone.centre[0])
    assert np.isnan(fit_channel(np.array([[1.0, np.nan, 1, 1]])).centre[0])


def test_what_is_no_channel_is_known_as_such():
    assert fit_channel(np.full((1, 5), 3.0)).is_flat
    assert fit_channel(2.0 ** -np.arange(5)[None]).end == "finest"
    assert fit_channel(2.0 ** np.arange(5)[None]).end == "coarsest"
    spike = fit_channel(np.array([[0.0, 0, 1, 0, 0]]))
    assert spike.is_narrowest
    assert spike.deviation[0] == pytest.approx(NARROWEST)
    assert spike.centre[0] == pytest.approx(3, abs=0.2)
