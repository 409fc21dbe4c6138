"""Waves have one frequency and rings one octave, whatever the dimension."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wam_core.fourier_noise import frequency_lattice, octave, ring_noise, wave

SPACES = [(64,), (16, 24), (15, 15), (8, 10, 12)]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_wave_has_one_frequency_and_its_mirror_image(space):
    for frequency in frequency_lattice(space):
        values = wave(space, frequency).double().numpy()
        assert np.sqrt(np.mean(values**2)) == pytest.approx(1, abs=1e-6)
        spectrum = np.abs(np.fft.fftn(values)) / values.size
        places = {tuple(int(c) for c in place) for place in np.argwhere(spectrum > 1e-3)}
        mirrored = tuple(-c % n for c, n in zip(frequency, space, strict=True))
        assert places == {tuple(c % n for c, n in zip(frequency, space, strict=True)), mirrored}


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_lattice_holds_one_of_every_two_opposite_frequencies(space):
    lattice = frequency_lattice(space)
    opposite = {tuple(-c for c in frequency) for frequency in lattice}
    assert len(set(lattice)) == len(lattice)
    assert not set(lattice) & opposite
    assert tuple(0 for _ in space) not in lattice
    assert all(abs(c) < n / 2 for f in lattice for c, n in zip(f, space, strict=True))
    if len(space) > 1:
        for axis, size in enumerate(space):
            assert max(f[axis] for f in lattice) == (size - 1) // 2


def test_the_default_lattices_have_the_stated_sizes():
    assert [len(frequency_lattice(space)) for space in ((4096,), (64, 64), (32, 32, 32))] == [
        29, 112, 62,
    ]  # fmt: skip


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


def test_there_is_no_noise_in_padding():
    draws = torch.randn(1, 1, 64, generator=torch.Generator().manual_seed(0))
    support = (torch.arange(64) < 40).float()[None, None]
    noise = ring_noise(draws, 1, 2, support)
    assert float(noise[..., 40:].abs().max()) == 0
    assert float(noise[..., :40].square().mean()) == pytest.approx(1, abs=1e-5)
