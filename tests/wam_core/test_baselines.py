"""Baselines are named in the space of the data."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from scipy import ndimage

from wam_core import WaveletBasis, baseline, decompose
from wam_core.baselines import gaussian_blur


def test_zero_has_zero_coefficients(make_signal):
    start = baseline("zero", make_signal(2, 9, 8))
    assert start.shape == (2, 2, 9, 8)
    assert decompose(start, WaveletBasis("db2", 1)).flat.count_nonzero() == 0


@pytest.mark.parametrize("space", [(7,), (5, 6), (4, 3, 5)], ids=str)
def test_mean_is_one_value_per_channel(make_signal, space):
    start = baseline("mean", make_signal(2, *space), (0.3, -1.0))
    assert bool((start[:, 0] == 0.3).all())
    assert bool((start[:, 1] == -1.0).all())


def test_mean_without_values_is_zero(make_signal):
    assert baseline("mean", make_signal(2, 8)).count_nonzero() == 0


def test_mean_with_values_for_other_channels_is_refused(make_signal):
    with pytest.raises(ValueError, match="expected 2 mean values, one per channel; got 3"):
        baseline("mean", make_signal(2, 8), (0.1, 0.2, 0.3))


def test_an_unknown_baseline_is_refused(make_signal):
    with pytest.raises(ValueError, match="zero, mean or blur; got 'noise'"):
        inspect.unwrap(baseline)("noise", make_signal(1, 8))


@pytest.mark.parametrize("space", [(100,), (60, 41), (40, 30, 21)], ids=str)
def test_blur_equals_scipys_gaussian(make_signal, space):
    signal = make_signal(2, *space)
    deviations = [size / 20 for size in space]
    expected = ndimage.gaussian_filter(
        signal.numpy(),
        sigma=(0, 0, *deviations),
        mode="nearest",
        radius=(0, 0, *(max(1, round(3 * deviation)) for deviation in deviations)),
    )
    np.testing.assert_allclose(baseline("blur", signal).numpy(), expected, atol=1e-12)


def test_blur_keeps_a_constant_and_each_sample_apart(make_signal):
    signal = make_signal(2, 20, 31)
    signal[0] = 0.7
    start = baseline("blur", signal)
    torch.testing.assert_close(start[0], signal[0])
    torch.testing.assert_close(start[1:], baseline("blur", signal[1:]))


def test_blur_of_a_short_axis_is_defined(make_signal):
    start = gaussian_blur(make_signal(1, 3, 2), [0.15, 0.0])
    assert bool(start.isfinite().all())
    assert start.shape == (1, 2, 3, 2)
