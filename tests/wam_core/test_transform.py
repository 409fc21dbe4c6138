"""The transform equals PyWavelets' and inverts itself, at any size, wavelet, level and mode."""

from __future__ import annotations

import typing

import numpy as np
import pytest
import pywt
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from wam_core import Band, CoefficientLayout, WaveletBasis, decompose, reconstruct
from wam_core.basis import BoundaryMode
from wam_core.transform import WaveletCoefficients

WAVELETS = ["haar", "db2", "db4", "sym4", "coif1", "bior2.2", "rbio1.3"]
MODES = list(typing.get_args(BoundaryMode))
SPACES = [(64,), (29,), (127,), (32, 32), (29, 29), (40, 61), (127, 30), (16, 16, 16), (19, 30, 24)]

# PyWavelets lists filters to about 12 digits, so that exact arithmetic would stop there.
ROUNDING = 1e-10


def _deepest(wavelet: str, space: tuple[int, ...], at_most: int, mode: str = "zero"):
    levels = min(at_most, WaveletBasis(wavelet, 1).max_levels(space))
    return WaveletBasis(wavelet, levels, typing.cast(BoundaryMode, mode))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wavelet", WAVELETS)
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_every_band_equals_pywavelets(make_signal, space, wavelet, mode):
    basis = _deepest(wavelet, space, at_most=3, mode=mode)
    signal = make_signal(2, *space)
    coefficients = decompose(signal, basis)
    axes = tuple(range(2, signal.ndim))
    approximation, *details = pywt.wavedecn(
        signal.numpy(), wavelet, mode=mode, level=basis.levels, axes=axes
    )
    for band in coefficients.layout.bands:
        expected = approximation if band.is_approximation else details[-band.level][band.filters]
        np.testing.assert_allclose(coefficients[band].numpy(), expected, atol=ROUNDING, rtol=0)


@given(data=st.data())
@settings(max_examples=60)
def test_reconstruction_is_perfect(data):
    ndim = data.draw(st.integers(1, 3))
    longest = {1: 200, 2: 48, 3: 20}[ndim]
    space = data.draw(st.tuples(*[st.integers(2, longest)] * ndim))
    wavelet = data.draw(st.sampled_from(WAVELETS))
    largest = WaveletBasis(wavelet, 1).max_levels(space)
    assume(largest >= 1)
    basis = WaveletBasis(
        wavelet, data.draw(st.integers(1, largest)), data.draw(st.sampled_from(MODES))
    )
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**16)))
    signal = torch.randn(1, 2, *space, generator=generator, dtype=torch.float64)
    back = reconstruct(decompose(signal, basis))
    assert back.shape == signal.shape
    torch.testing.assert_close(back, signal, atol=1e-9, rtol=0)


@pytest.mark.parametrize("space", [(31,), (127, 255), (225, 31), (22, 28, 23)], ids=str)
@pytest.mark.parametrize("wavelet", ["haar", "db4", "coif2", "bior4.4"])
def test_w5_reconstruction_has_the_size_of_the_signal(make_signal, space, wavelet):
    """W5: odd and non-square sizes with filters longer than haar come back uncropped elsewhere."""
    signal = make_signal(1, *space)
    back = reconstruct(decompose(signal, _deepest(wavelet, space, at_most=3)))
    assert back.shape == signal.shape
    torch.testing.assert_close(back, signal, atol=1e-9, rtol=0)


# The finite filters of the discrete Meyer wavelet are truncated: it inverts to one per cent only.
@pytest.mark.parametrize("wavelet", sorted(set(pywt.wavelist(kind="discrete")) - {"dmey"}))
def test_every_discrete_wavelet_inverts(make_signal, wavelet):
    basis = WaveletBasis(wavelet, levels=1)
    signal = make_signal(1, 2 * basis.taps + 1)
    back = reconstruct(decompose(signal, basis))
    torch.testing.assert_close(back, signal, atol=1e-9, rtol=0)


def test_the_discrete_meyer_wavelet_is_not_taken_for_orthogonal(make_signal):
    basis = WaveletBasis("dmey", levels=1)
    assert pywt.Wavelet("dmey").orthogonal
    assert not basis.is_orthogonal
    signal = make_signal(1, 2 * basis.taps)
    error = (reconstruct(decompose(signal, basis)) - signal).abs().max()
    assert 1e-4 < error < 0.05


@pytest.mark.parametrize("wavelet", ["haar", "db2", "db4", "sym4", "coif1"])
@pytest.mark.parametrize("space", [(61,), (40, 31), (14, 31, 20)], ids=str)
def test_an_orthogonal_wavelet_in_zero_mode_keeps_energy(make_signal, space, wavelet):
    signal = make_signal(3, *space)
    coefficients = decompose(signal, _deepest(wavelet, space, at_most=3))
    energy = coefficients.flat.square().sum(-1)
    torch.testing.assert_close(energy, signal.square().flatten(2).sum(-1), rtol=1e-10, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_transformed_in_float32(make_signal, dtype):
    signal = make_signal(2, 21, 16).to(dtype)
    basis = WaveletBasis("db2", 2)
    coefficients = decompose(signal, basis)
    assert coefficients.flat.dtype == torch.float32
    assert torch.equal(coefficients.flat, decompose(signal.float(), basis).flat)
    back = reconstruct(coefficients.replace(coefficients.flat.to(dtype)))
    assert back.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_transform_ignores_autocast(make_signal, dtype):
    signal = make_signal(2, 32, 24).to(dtype)
    basis = WaveletBasis("db2", 2)
    expected = decompose(signal, basis)
    with torch.autocast("cpu", torch.bfloat16):
        coefficients = decompose(signal, basis)
        back = reconstruct(coefficients)
    assert torch.equal(coefficients.flat, expected.flat)
    assert back.dtype == dtype
    assert torch.equal(back, reconstruct(expected))


@pytest.mark.parametrize("space", [(16,), (16, 12), (8, 12, 16)], ids=str)
def test_w16_a_batch_of_one_and_unequal_axes_keep_their_shape(make_signal, space):
    """W16: cubes only, and a batch of one lost its axis."""
    coefficients = decompose(make_signal(1, *space, channels=1), WaveletBasis("haar", 1))
    assert coefficients.flat.shape == (1, 1, coefficients.layout.size)
    for band in coefficients.layout.bands:
        assert coefficients[band].shape == (1, 1, *(size // 2 for size in space))


def test_a_band_is_a_view(make_signal):
    coefficients = decompose(make_signal(1, 8, 8), WaveletBasis("haar", 1))
    coefficients[Band(1, "dd")].zero_()
    assert coefficients.flat[..., coefficients.layout.slices[Band(1, "dd")]].count_nonzero() == 0
    assert coefficients.flat.count_nonzero() > 0


def test_coefficients_that_do_not_fit_the_layout_are_refused():
    layout = CoefficientLayout((8,), WaveletBasis("haar", 1))
    with pytest.raises(ValueError, match="has 8 coefficients, but the tensor's last axis has 7"):
        WaveletCoefficients(torch.zeros(1, 1, 7), layout)


def test_reconstruction_takes_any_batch_axes(make_signal):
    coefficients = decompose(make_signal(6, 16, 12), WaveletBasis("db2", 1))
    split = coefficients.replace(coefficients.flat.unflatten(0, (2, 3)))
    assert torch.equal(reconstruct(split).flatten(0, 1), reconstruct(coefficients))


@pytest.mark.parametrize(("ndim", "axis"), [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2)])
def test_the_letter_of_an_axis_is_the_filter_along_that_axis(ndim, axis):
    """Orientation: variation along one axis alone lands in the band with "d" on that axis."""
    space = (16, 8, 4)[:ndim]
    line = (-1.0) ** torch.arange(space[axis], dtype=torch.float64)
    shape = [1] * ndim
    shape[axis] = -1
    signal = line.reshape(shape).expand(space)[None, None]
    coefficients = decompose(signal, WaveletBasis("haar", 1))
    expected = "".join("d" if place == axis else "a" for place in range(ndim))
    for band in coefficients.layout.bands:
        energy = float(coefficients[band].square().sum())
        wanted = float(signal.square().sum()) if band.filters == expected else 0.0
        assert energy == pytest.approx(wanted, abs=1e-12)
