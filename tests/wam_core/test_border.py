"""Coefficients at the border: which they are, and statistics without them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import pywt
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from wam_core import (
    Band,
    CoefficientLayout,
    WaveletBasis,
    WaveletCoefficients,
    decompose,
    gradient,
    reconstruct,
    smoothgrad,
)
from wam_core.reliance import (
    band_profile,
    energy_profile,
    level_profile,
    share_standard_error,
)
from wam_core.sums import band_sums

LINES = [(64, "haar", 3), (61, "haar", 4), (100, "db2", 4), (117, "db4", 4), (160, "sym8", 3)]


def _inside(layout: CoefficientLayout) -> torch.Tensor:
    """Which coefficients on the flat axis lie inside."""
    inside = WaveletCoefficients(torch.zeros(layout.size), layout)
    for band in layout.bands:
        inside[band][layout.interior(band)] = 1.0
    return inside.flat.bool()


@pytest.mark.parametrize(("size", "wavelet", "levels"), LINES, ids=str)
def test_inside_no_boundary_rule_matters_and_right_beside_it_does(size, wavelet, levels):
    """Against PyWavelets: the same signal, prolonged in four ways."""
    signal = 5 + np.random.default_rng(0).standard_normal(size)
    layout = CoefficientLayout((size,), WaveletBasis(wavelet, levels))
    versions = [
        pywt.wavedec(signal, wavelet, mode, levels)
        for mode in ("zero", "symmetric", "constant", "periodic")
    ]
    for place, band in enumerate(layout.bands):
        values = np.stack([version[place] for version in versions])
        differs = np.ptp(values, axis=0) > 1e-9
        (inside,) = layout.interior(band)
        assert not differs[inside].any()
        assert inside.stop > inside.start
        if inside.start > 0:
            assert differs[: inside.start].any()
        if inside.stop < len(differs):
            assert differs[inside.stop :].any()
        # Random filters and signals meet no zero by chance: the interval is as wide as it can be.
        assert inside.start == 0 or differs[inside.start - 1]
        assert inside.stop == len(differs) or differs[inside.stop]


@pytest.mark.parametrize(
    ("space", "wavelet", "levels"),
    [((61,), "db4", 3), ((24, 31), "db2", 2), ((12, 9, 10), "db2", 1), ((20, 23), "bior2.2", 1)],
    ids=str,
)
def test_inside_every_atom_is_whole(space, wavelet, levels):
    """What a coefficient contributes to the signal is cut off at the border, and only there."""
    layout = CoefficientLayout(space, WaveletBasis(wavelet, levels))
    atoms = reconstruct(WaveletCoefficients(torch.eye(layout.size).double()[None], layout))[0]
    energies = WaveletCoefficients(atoms.flatten(1).square().sum(1), layout)
    inside = _inside(layout)
    cut = 0
    for band in layout.bands:
        part = layout.slices[band]
        whole, border = (energies.flat[part][mask[part]] for mask in (inside, ~inside))
        assert len(whole) == math.prod(layout.interior_shape(band)) > 0
        torch.testing.assert_close(whole, whole[:1].expand(len(whole)), atol=1e-9, rtol=0)
        cut += int((border < whole[0] - 1e-6).sum())
        if layout.basis.is_orthogonal:
            assert float(whole[0]) == pytest.approx(1.0, abs=1e-7)
    assert cut > 0


@given(
    wavelet=st.sampled_from(["haar", "db2", "db4", "sym8", "coif5", "bior2.2", "rbio6.8", "dmey"]),
    space=st.lists(st.integers(1, 400), min_size=1, max_size=3),
)
def test_no_band_of_a_layout_lies_on_the_border_altogether(wavelet, space):
    largest = WaveletBasis(wavelet, 1).max_levels(space)
    assume(largest >= 1)
    layout = CoefficientLayout(tuple(space), WaveletBasis(wavelet, largest))
    for band in layout.bands:
        for part, size in zip(layout.interior(band), layout.band_shape(band), strict=True):
            assert 0 <= part.start < part.stop <= size


@pytest.mark.parametrize("wavelet", ["db4", "sym8", "bior2.2"])
def test_a_constant_signal_has_no_details_but_those_of_its_border(wavelet):
    """Zero padding makes an edge of it, which is as large as the signal is bright."""
    signal = torch.full((1, 1, 40, 52), 0.7, dtype=torch.float64)
    coefficients = decompose(signal, WaveletBasis(wavelet, 1))
    whole, inside = (
        level_profile(band_profile(coefficients, coefficients, border), coefficients.layout)
        for border in ("include", "exclude")
    )
    assert float(whole.signal_energy[0, 0]) > 0.01 * float(signal.square().sum())
    assert float(inside.signal_energy[0, 0]) < 1e-12
    assert inside.share[0].tolist() == pytest.approx([0.0, 1.0], abs=1e-9)


@pytest.mark.parametrize("space", [(61,), (40, 33), (14, 17, 15)], ids=str)
def test_profiles_without_the_border_are_means_over_the_rest_times_a_borderless_count(
    make_signal, make_score, space
):
    signal, basis = make_signal(2, *space), WaveletBasis("db2", 2)
    attribution, coefficients = (
        gradient(make_score(signal), signal, basis),
        decompose(signal, basis),
    )
    layout, inside = attribution.layout, _inside(attribution.layout)
    bands = band_profile(attribution, coefficients, "exclude")
    kept = attribution.replace(attribution.flat * inside), coefficients.replace(
        coefficients.flat * inside
    )  # fmt: skip
    expected, scale = band_profile(*kept), _scale(layout)
    torch.testing.assert_close(bands.importance, expected.importance * scale)
    torch.testing.assert_close(bands.signal_energy, expected.signal_energy * scale)
    # Without a border there is one coefficient for every point of the signal.
    assert float(bands.n_coefficients.sum()) == pytest.approx(math.prod(space))
    assert int(inside.sum()) < layout.size
    levels = level_profile(bands, layout)
    torch.testing.assert_close(levels.share.sum(1), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(
        levels.mean_share * (levels.importance / levels.n_coefficients).sum(1, keepdim=True),
        levels.importance / levels.n_coefficients,
    )


def test_haar_has_a_border_only_where_sizes_do_not_divide():
    whole = CoefficientLayout((32, 48), WaveletBasis("haar", 4))
    assert all(whole.interior_shape(band) == whole.band_shape(band) for band in whole.bands)
    odd = CoefficientLayout((33,), WaveletBasis("haar", 1))
    band = Band(1, "d")
    assert (odd.interior_shape(band), odd.band_shape(band)) == ((16,), (17,))


@pytest.mark.parametrize("options", [{}, {"tolerance": 0.02, "n_samples": 30}], ids=str)
def test_smoothing_without_the_border_has_its_own_sums_and_errors(make_signal, make_score, options):
    """Everything about draws is over the same coefficients as the shares, maps are whole."""
    signal, basis = make_signal(3, 24, 26), WaveletBasis("db2", 2)
    score, coefficients = make_score(signal), decompose(signal, basis)
    arguments = {
        "sample_ids": ["a", "b", "c"], "seed": 1, "n_samples": 12, "noise_fraction": 0.3
    } | options  # fmt: skip
    smoothed = smoothgrad(score, signal, basis, border="exclude", **arguments)
    layout, inside = smoothed.signed.layout, _inside(smoothed.signed.layout)
    n_draws = smoothed.n_draws[:, None]
    for name, draws in [
        ("absolute", smoothed.absolute_draws),
        ("squared", smoothed.squared_draws),
    ]:
        profile = band_profile(getattr(smoothed, name), coefficients, "exclude")
        torch.testing.assert_close(draws.sum(0) / n_draws, profile.importance)
    groups = smoothed.group_means.flat * inside
    pairs = [(i, j) for i in range(len(groups)) for j in range(len(groups)) if i != j]
    products = sum(band_sums(groups[i] * groups[j], layout) for i, j in pairs) / len(pairs)
    products = products * _scale(layout)
    energy = energy_profile(smoothed, coefficients)
    torch.testing.assert_close(energy.importance, products)
    # The same draws with the border: other shares, and errors of those.
    if not options:
        whole = smoothgrad(score, signal, basis, **arguments)
        torch.testing.assert_close(whole.absolute.flat, smoothed.absolute.flat)
        assert not torch.allclose(whole.absolute_draws, smoothed.absolute_draws)
        for name in ("signed", "absolute", "squared", "energy"):
            errors = [share_standard_error(each, name) for each in (whole, smoothed)]
            assert not torch.allclose(*errors, rtol=1e-3)


def test_without_the_border_noise_has_the_share_of_a_levels_octave(make_signal):
    """White noise fills octaves by their size, 3/4 for level 1 in 2D; borders take from that."""
    signal, basis = make_signal(40, 64, 64, channels=1), WaveletBasis("db4", 3)
    coefficients = decompose(signal, basis)
    whole, inside = (
        level_profile(band_profile(coefficients, coefficients, border), coefficients.layout)
        for border in ("include", "exclude")
    )
    octaves = torch.tensor([3 / 4, 3 / 16, 3 / 64, 1 / 64], dtype=torch.float64)
    torch.testing.assert_close(inside.share.mean(0), octaves, atol=0.003, rtol=0)
    assert float((whole.share.mean(0) - octaves).abs().max()) > 0.01
    expected = torch.full((4,), 0.25, dtype=torch.float64)
    torch.testing.assert_close(inside.mean_share.mean(0), expected, atol=0.02, rtol=0)
    torch.testing.assert_close(
        inside.signal_energy.mean(0) / inside.n_coefficients,
        torch.ones(4).double(),
        atol=0.15,
        rtol=0,
    )


def _scale(layout):
    """Coefficients of a band without a border over those that lie inside."""
    inside = _inside(layout)
    return torch.tensor(
        [
            math.prod(size / 2**band.level for size in layout.space)
            / int(inside[layout.slices[band]].sum())
            for band in layout.bands
        ],
        dtype=torch.float64,
    )
