"""Waves have one frequency and rings one octave, whatever the dimension."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wam_core.fourier_noise import (
    frequency_lattice,
    holds_octave,
    octave,
    ring_noise,
    unit_power,
    wave,
)

SPACES = [(64,), (16, 24), (15, 15), (8, 10, 12)]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_wave_has_one_frequency_and_its_mirror_image(space):
    for frequency in frequency_lattice(space, 2):
        values = wave(space, frequency).double().numpy()
        assert np.sqrt(np.mean(values**2)) == pytest.approx(1, abs=1e-6)
        spectrum = np.abs(np.fft.fftn(values)) / values.size
        places = {tuple(int(c) for c in place) for place in np.argwhere(spectrum > 1e-3)}
        mirrored = tuple(-c % n for c, n in zip(frequency, space, strict=True))
        assert places == {tuple(c % n for c, n in zip(frequency, space, strict=True)), mirrored}


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_lattice_holds_one_of_every_two_opposite_frequencies(space):
    lattice = frequency_lattice(space, 2)
    opposite = {tuple(-c for c in frequency) for frequency in lattice}
    assert len(set(lattice)) == len(lattice)
    assert not set(lattice) & opposite
    assert tuple(0 for _ in space) not in lattice
    assert all(abs(c) < n / 2 for f in lattice for c, n in zip(f, space, strict=True))
    if len(space) > 1:
        for axis, size in enumerate(space):
            assert max(f[axis] for f in lattice) == (size - 1) // 2


def test_the_default_lattices_have_the_stated_sizes():
    spaces = ((220_500,), (224, 224), (64, 64, 64))
    assert [len(frequency_lattice(space, 5)) for space in spaces] == [31, 112, 83]


def test_the_even_lattice_is_the_published_one():
    lattice = frequency_lattice((224, 224), 5, 63, "even")
    both = {*lattice, *((-a, -b) for a, b in lattice), (0, 0)}
    assert both == {(a, b) for a in range(-31, 32) for b in range(-31, 32)}


def held_octaves(space, n_octaves):
    """Octaves of all frequencies below Nyquist's, one after the other."""
    axes = [range(-((size - 1) // 2), (size - 1) // 2 + 1) for size in space]
    frequencies = [f for f in itertools.product(*axes) if any(f)]
    return {octave(f, space, n_octaves) for f in frequencies}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 24), min_size=1, max_size=3),
    st.integers(1, 6),
    st.sampled_from([None, 3, 7]),
)
def test_every_octave_that_the_signal_holds_has_waves(space, n_octaves, per_axis):
    lattice = frequency_lattice(space, n_octaves, per_axis)
    held = held_octaves(space, n_octaves)
    assert {octave(f, space, n_octaves) for f in lattice} == held
    assert all(holds_octave(space, place, n_octaves) for place in held)


@pytest.mark.parametrize("frequency", [1, 5, 31])
@pytest.mark.parametrize("length", [7, 40, 64])
def test_a_wave_has_its_strength_over_the_samples_own_support(frequency, length):
    support = (torch.arange(64) < length).float()[None, None]
    signs = torch.tensor([1.0, -1.0])[None, :, None]
    added = unit_power(wave((64,), (frequency,)) * signs, support)
    own = added[0, :, :length].double()
    torch.testing.assert_close(own.square().mean(dim=1), torch.ones(2).double())
    assert float(added[..., length:].abs().sum()) == 0
    torch.testing.assert_close(added[:, 0], -added[:, 1])


def test_a_wave_changes_a_linear_score_by_its_fourier_coefficient():
    weights = torch.randn(16, 24, generator=torch.Generator().manual_seed(1)).double()
    spectrum = np.fft.fft2(weights.numpy())
    for frequency in frequency_lattice((16, 24), 2):
        change = float((weights * wave((16, 24), frequency).double()).sum())
        assert change == pytest.approx(np.sqrt(2) * spectrum[frequency].real, abs=1e-4)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_ring_noise_lies_in_its_octave_with_unit_strength(space):
    draws = torch.randn(2, 1, *space, generator=torch.Generator().manual_seed(0)).double()
    total = torch.zeros_like(draws)
    for place in range(1, 4):
        noise = ring_noise(draws, place, 2)
        power = noise.square().mean(dim=tuple(range(1, noise.ndim)))
        torch.testing.assert_close(power, torch.ones_like(power))
        spectrum = np.abs(np.fft.fftn(noise[0, 0].numpy()))
        for index in np.argwhere(spectrum > 1e-6 * spectrum.max()):
            signed = [c if c <= n // 2 else c - n for c, n in zip(index, space, strict=True)]
            if any(signed):
                assert octave([int(c) for c in signed], space, 2) == place
        total += noise
    with pytest.raises(ValueError, match="octaves are 1 to 3, got 4"):
        ring_noise(draws, 4, 2)


def test_an_octave_without_a_frequency_has_no_ring():
    assert not holds_octave((8, 8), 5, 4)
    with pytest.raises(ValueError, match="holds no frequency of octave 5"):
        ring_noise(torch.ones(1, 1, 8, 8), 5, 4)


def test_there_is_no_noise_in_padding():
    draws = torch.randn(1, 1, 64, generator=torch.Generator().manual_seed(0))
    support = (torch.arange(64) < 40).float()[None, None]
    noise = ring_noise(draws, 1, 2, support)
    assert float(noise[..., 40:].abs().max()) == 0
    assert float(noise[..., :40].square().mean()) == pytest.approx(1, abs=1e-5)
