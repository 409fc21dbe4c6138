"""Corruptions of sounds against closed forms and SciPy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import signal as scipy_signal
from scipy import stats

from wam_core.corruptions import SEVERITIES, Surroundings, corruptions_for

SOUNDS = corruptions_for(1, 1)
RATE = 16000.0
# How long a room answers, and how wide a mean is, the distance does not say.
GROWING = sorted(set(SOUNDS) - {"reverberation", "smearing"})


def tones(*frequencies, seconds=1.0, rate=RATE):
    time = np.arange(int(seconds * rate)) / rate
    wave = sum(0.2 * np.sin(2 * np.pi * frequency * time + frequency) for frequency in frequencies)
    return torch.tensor(wave, dtype=torch.float32)[None, None]


def noise(n=16000, batch=1, seed=0):
    draws = np.random.default_rng(seed).standard_normal((batch, 1, n)) * 0.1
    return torch.tensor(draws, dtype=torch.float32)


def corrupt(name, sound, severity, ids=None, rate=RATE, others=None, n_valid=None, seed=0):
    names = ids or [f"s{place}" for place in range(len(sound))]
    around = Surroundings(rate, sound.flip(-1) if others is None else others)
    return SOUNDS[name].apply(
        sound, severity, sample_ids=names, seed=seed, surroundings=around, n_valid=n_valid
    )


def level(sound, frequency, rate=RATE):
    """Amplitude of a tone."""
    spectrum = np.abs(np.fft.rfft(sound[0, 0].double().numpy())) / (sound.shape[-1] / 2)
    return spectrum[round(frequency * sound.shape[-1] / rate)]


@pytest.mark.parametrize("name", sorted(SOUNDS))
def test_shape_padding_batch_and_seed(name):
    batch = noise(4000, batch=3)
    lengths = torch.tensor([4000, 3000, 4000])
    batch[1, :, 3000:] = 0
    others = batch.flip(-1)
    for severity in SEVERITIES:
        together = corrupt(name, batch, severity, n_valid=lengths, others=others)
        assert together.shape == batch.shape
        assert bool(together.isfinite().all())
        assert float(together[1, :, 3000:].abs().max()) == 0
        alone = corrupt(name, batch[1:2], severity, ids=["s1"], n_valid=lengths[1:2],
                        others=others[1:2])  # fmt: skip
        torch.testing.assert_close(alone[0], together[1], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(together, corrupt(name, batch, 5, n_valid=lengths, others=others))


@pytest.mark.parametrize("name", GROWING)
def test_damage_grows_with_severity(name):
    sound = noise() + tones(150, 440, 1000, 3000)
    sizes = [float((corrupt(name, sound, s) - sound).square().mean()) for s in SEVERITIES]
    # Limits above half of 16 kHz change nothing.
    assert all(b > a or (a == 0 and b == 0) for a, b in pairwise(sizes)), sizes
    assert sizes[-1] > 0


@pytest.mark.parametrize("name", ["white_noise", "pink_noise", "clip_noise"])
@pytest.mark.parametrize(("severity", "snr"), list(enumerate((20, 15, 10, 5, 0), start=1)))
def test_noise_has_its_ratio_to_the_sound_exactly(name, severity, snr):
    sound = tones(440)
    added = corrupt(name, sound, severity, others=noise()) - sound
    ratio = 10 * np.log10(float(sound.square().mean() / added.square().mean()))
    assert ratio == pytest.approx(snr, abs=1e-3)


def test_the_ratio_is_that_of_what_is_heard_before_the_padding():
    sound = tones(440)
    sound[..., 8000:] = 0
    added = (corrupt("white_noise", sound, 5, n_valid=torch.tensor([8000])) - sound)[..., :8000]
    assert float(added.square().mean() / sound[..., :8000].square().mean()) == pytest.approx(
        1, abs=1e-4
    )


def test_white_noise_is_white_and_pink_noise_has_equal_octaves():
    sound = tones(440, seconds=4)
    added = (corrupt("white_noise", sound, 5) - sound).flatten().numpy()
    assert stats.kstest(added / added.std(), "norm").pvalue > 1e-4
    for name, expected in (("white_noise", 2.0), ("pink_noise", 1.0)):
        spectrum = torch.fft.rfft(corrupt(name, sound, 5) - sound)[0, 0].abs().square()
        octaves = [float(spectrum[n : 2 * n].sum()) for n in (1000, 2000, 4000, 8000)]
        ratios = np.divide(octaves[1:], octaves[:-1])
        np.testing.assert_allclose(ratios, expected, rtol=0.15)


@pytest.mark.parametrize(
    ("name", "severity", "kind", "limit"),
    [("low_pass", 4, "low", 2000), ("low_pass", 5, "low", 1000), ("high_pass", 5, "high", 2400)],
)
def test_filters_have_the_magnitude_of_butterworths_of_the_fourth_order(
    name, severity, kind, limit
):
    b, a = scipy_signal.butter(4, 2 * np.pi * limit, kind, analog=True)
    for frequency in (250, 1000, 2000, 4000):
        sound = tones(frequency)
        _, response = scipy_signal.freqs(b, a, [2 * np.pi * frequency])
        found = level(corrupt(name, sound, severity), frequency) / level(sound, frequency)
        assert found == pytest.approx(abs(response[0]), abs=0.02)


def test_a_band_stop_takes_the_middle_and_leaves_the_rest():
    sound = tones(100, 1000, 6000)
    damaged = corrupt("band_stop", sound, 3)
    assert level(damaged, 1000) < 0.02
    for frequency in (100, 6000):
        assert level(damaged, frequency) == pytest.approx(0.2, rel=0.1)


def test_a_limit_above_half_the_sample_rate_changes_nothing():
    sound = noise()
    for name, severity in (("low_pass", 1), ("low_pass", 2), ("resampling", 1), ("resampling", 2)):
        torch.testing.assert_close(corrupt(name, sound, severity), sound)


def test_clipping_is_at_the_percentile():
    sound = noise()
    damaged = corrupt("clipping", sound, 5)
    limit = np.percentile(np.abs(sound.numpy()), 80)
    np.testing.assert_allclose(damaged, np.clip(sound.numpy(), -limit, limit), atol=1e-6)


@pytest.mark.parametrize(("severity", "decibel"), list(enumerate((6, 12, 18, 24, 30), start=1)))
def test_gain_is_in_decibel(severity, decibel):
    sound = noise()
    torch.testing.assert_close(corrupt("gain", sound, severity), sound * 10 ** (-decibel / 20))


def test_a_room_answers_a_click_by_a_decay_of_60_db():
    click = torch.zeros(1, 1, 32000)
    click[..., 10] = 1.0
    answer = corrupt("reverberation", click, 5)[0, 0].double()
    assert float(answer.square().sum()) == pytest.approx(1.0, abs=1e-3), "as loud as before"
    tail = (answer[11:] / answer[10]).square().numpy()
    seconds = 1.2
    blocks = tail[: int(seconds * RATE)].reshape(20, -1).mean(1)
    slope = np.polyfit(np.arange(20), 10 * np.log10(blocks), 1)[0] * 20
    assert slope == pytest.approx(-60, abs=3)
    assert np.abs(tail[int(seconds * RATE) + 1 :]).max() < 1e-6


def test_resampling_keeps_what_is_below_half_the_rate_and_nothing_above():
    damaged = corrupt("resampling", tones(1000, 3000), 5)
    assert level(damaged, 1000) == pytest.approx(0.2, rel=0.02)
    assert level(damaged, 3000) < 0.01


@pytest.mark.parametrize(("severity", "part"), list(enumerate((0.05, 0.1, 0.2, 0.3, 0.4), start=1)))
def test_one_stretch_is_silent(severity, part):
    damaged = corrupt("time_masking", noise() + 1.0, severity)[0, 0]
    silent = (damaged == 0).nonzero()[:, 0]
    assert len(silent) == round(part * 16000)
    assert int(silent[-1] - silent[0]) == len(silent) - 1


@pytest.mark.parametrize(("severity", "bits"), list(enumerate((8, 7, 6, 5, 4), start=1)))
def test_mu_law_knows_so_many_values_spaced_by_its_law(severity, bits):
    sound = torch.linspace(-0.8, 0.8, 20000)[None, None]
    damaged = corrupt("mu_law", sound, severity)
    values = np.unique(damaged.numpy().round(6))
    assert len(values) == 2**bits
    codes = np.linspace(-1, 1, 2**bits)
    expected = 0.8 * np.sign(codes) * (256 ** np.abs(codes) - 1) / 255
    np.testing.assert_allclose(values, np.sort(expected), atol=1e-5)


@pytest.mark.parametrize(("severity", "bits"), list(enumerate((10, 8, 7, 6, 5), start=1)))
def test_bit_depth_is_steps_of_full_scale(severity, bits):
    sound = noise()
    steps = corrupt("bit_depth", sound, severity) * 2 ** (bits - 1)
    torch.testing.assert_close(steps, steps.round(), atol=1e-4, rtol=0.0)
    assert float((steps - sound * 2 ** (bits - 1)).abs().max()) <= 0.5 + 1e-4


def test_smearing_is_a_moving_mean():
    sound = noise(2000)
    width = 2 * round(0.8e-3 * RATE) + 1
    expected = np.convolve(sound[0, 0].numpy(), np.ones(width) / width, mode="same")
    np.testing.assert_allclose(corrupt("smearing", sound, 5)[0, 0][50:-50], expected[50:-50],
                               atol=1e-5)  # fmt: skip


def test_what_is_needed_and_missing_is_named():
    with pytest.raises(ValueError, match="low_pass needs sample_rate"):
        SOUNDS["low_pass"].apply(noise(), 1, sample_ids=["s"], seed=0)
    with pytest.raises(ValueError, match="clip_noise needs others"):
        SOUNDS["clip_noise"].apply(
            noise(), 1, sample_ids=["s"], seed=0, surroundings=Surroundings(RATE)
        )
    with pytest.raises(ValueError, match="severities 1 to 5, got 6"):
        corrupt("gain", noise(), 6)
