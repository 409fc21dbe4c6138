"""Mixtures have the ratio that was asked for; SI-SDR and SNR follow their definitions."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from wam_core.separation import (
    mix_at_snr,
    mix_overlap,
    signal_to_distortion,
    signal_to_noise,
)

SIZE = 512


def _noise(seed, rows=3):
    return torch.randn((rows, 1, SIZE), generator=torch.Generator().manual_seed(seed))


def _sine(cycles):
    phase = 2 * math.pi * cycles * torch.arange(SIZE, dtype=torch.float64) / SIZE
    return torch.sin(phase).reshape(1, 1, SIZE)


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 20.0])
def test_noise_is_mixed_at_the_ratio_asked_for(snr_db):
    target = _noise(0) * torch.tensor([0.01, 1.0, 30.0]).reshape(3, 1, 1)
    mixture = mix_at_snr(target, _noise(1), snr_db)
    assert torch.equal(mixture.target, target)
    found = signal_to_noise(mixture.signal, target)
    torch.testing.assert_close(
        found, torch.full((3,), snr_db, dtype=torch.float64), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("level", [0.2, 1.0])
def test_an_overlap_has_the_published_mixing_rule_up_to_loudness(level):
    target, other = 0.03 * _noise(2), 5 * _noise(3)
    mixed = mix_overlap(target, other, level).signal
    peak = target.abs().amax((1, 2), keepdim=True)
    published = target / peak + level * other / other.abs().amax((1, 2), keepdim=True)
    torch.testing.assert_close(mixed / peak, published)


def test_silence_is_mixed_in_as_silence():
    target = _noise(4)
    for mixture in (mix_at_snr(target, 0 * target, 0.0), mix_overlap(target, 0 * target, 1.0)):
        assert torch.equal(mixture.signal, target)


def test_orthogonal_errors_have_the_ratio_of_the_energies():
    """Sines of different whole numbers of cycles are orthogonal and have equal energy."""
    reference, error = _sine(5), _sine(9)
    for amplitude in (0.1, 1.0, 3.0):
        estimate = reference + amplitude * error
        expected = pytest.approx(-20 * math.log10(amplitude), abs=1e-9)
        assert float(signal_to_distortion(estimate, reference)) == expected
        assert float(signal_to_noise(estimate, reference)) == expected


def test_distortion_is_the_tangent_of_the_angle():
    """A closed form that shares no step with the code: 20 log10 of the angle's cotangent."""
    estimate, reference = _noise(5).double(), _noise(6).double()
    cosine = torch.nn.functional.cosine_similarity(estimate.flatten(1), reference.flatten(1))
    expected = 20 * torch.log10(1 / torch.tan(torch.acos(cosine.abs())))
    torch.testing.assert_close(signal_to_distortion(estimate, reference), expected)


@given(gain=st.floats(0.001, 1000), seed=st.integers(0, 50))
def test_loudness_changes_the_noise_ratio_only(gain, seed):
    estimate, reference = _noise(seed).double(), _noise(seed + 1000).double()
    torch.testing.assert_close(
        signal_to_distortion(gain * estimate, reference), signal_to_distortion(estimate, reference)
    )


def test_the_ends_of_the_scales():
    reference = _sine(5)
    assert float(signal_to_distortion(2 * reference, reference)) > 250
    assert float(signal_to_noise(2 * reference, reference)) == pytest.approx(0.0)
    assert float(signal_to_noise(0 * reference, reference)) == pytest.approx(0.0)
    assert float(signal_to_distortion(_sine(9), reference)) < -250
    assert math.isnan(float(signal_to_distortion(0 * reference, reference)))
    assert math.isnan(float(signal_to_distortion(reference, 0 * reference)))
    assert math.isnan(float(signal_to_noise(reference, 0 * reference)))
