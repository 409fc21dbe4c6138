"""Corruptions of volumes against closed forms and SciPy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from wam_core.corruptions import SEVERITIES, corruptions_for

VOLUMES = corruptions_for(3, 1)
SIZES = [(16, 20, 24), (17, 17, 17), (64, 32, 48)]


def blob(space=(32, 32, 32), seed=0, batch=1):
    noise = np.random.default_rng(seed).standard_normal((batch, *space))
    smooth = ndimage.gaussian_filter(noise, (0, 3, 3, 3))
    scaled = 0.5 + 0.4 * smooth / np.abs(smooth).max()
    return torch.tensor(scaled, dtype=torch.float32)[:, None]


def corrupt(name, volume, severity, ids=None, seed=0):
    names = ids or [f"s{place}" for place in range(len(volume))]
    return VOLUMES[name].apply(volume, severity, sample_ids=names, seed=seed)


@pytest.mark.parametrize("name", sorted(VOLUMES))
def test_shape_range_batch_and_seed(name):
    batch = blob((12, 14, 16), batch=3)
    for severity in SEVERITIES:
        together = corrupt(name, batch, severity)
        assert together.shape == batch.shape
        assert 0 <= float(together.min()) <= float(together.max()) <= 1 + 1e-6
        alone = corrupt(name, batch[1:2], severity, ids=["s1"])
        torch.testing.assert_close(alone[0], together[1], atol=2e-6, rtol=0.0)


@pytest.mark.parametrize("name", sorted(VOLUMES))
@pytest.mark.parametrize("space", SIZES, ids=str)
def test_any_size_will_do(name, space):
    assert corrupt(name, blob(space), 5).shape == (1, 1, *space)


@pytest.mark.parametrize("name", sorted(VOLUMES))
def test_damage_grows_with_severity(name):
    volume = blob(batch=2)
    sizes = [float((corrupt(name, volume, s) - volume).square().mean()) for s in SEVERITIES]
    # Half as many slices fall on every other point; two thirds fall between points, and smooth.
    tolerance = 0.7 if name == "anisotropy" else 1.0
    assert all(b > tolerance * a for a, b in pairwise(sizes)), sizes


def test_noise_is_gaussian_or_rician():
    grey = torch.full((1, 1, 32, 32, 32), 0.5)
    added = (corrupt("gaussian_noise", grey, 3) - 0.5).flatten().numpy()
    assert stats.kstest(added / 0.1, "norm").pvalue > 1e-4
    magnitude = corrupt("rician_noise", grey, 3).flatten().numpy()
    assert stats.kstest(magnitude, stats.rice(b=5.0, scale=0.1).cdf).pvalue > 1e-4
    dark = corrupt("rician_noise", torch.zeros_like(grey), 3).flatten().numpy()
    assert stats.kstest(dark, stats.rayleigh(scale=0.1).cdf).pvalue > 1e-4


@pytest.mark.parametrize(("severity", "sigma"), list(enumerate((0.5, 1, 1.5, 2, 3), start=1)))
def test_blur_is_scipys(severity, sigma):
    volume = blob((64, 64, 64))
    expected = ndimage.gaussian_filter(volume[0, 0].numpy(), sigma, mode="nearest")
    np.testing.assert_allclose(
        corrupt("gaussian_blur", volume, severity)[0, 0], expected, atol=2e-6
    )


def test_anisotropy_loses_resolution_along_one_axis():
    noise = torch.rand(1, 1, 48, 48, 48, generator=torch.Generator().manual_seed(0))
    damaged = corrupt("anisotropy", noise, 4)[0, 0]
    rough = [float(damaged.diff(dim=axis).square().mean()) for axis in range(3)]
    assert sorted(rough)[0] < 0.1 * sorted(rough)[1]
    axes = {
        int(np.argmin([corrupt("anisotropy", noise, 4, ids=[str(i)])[0, 0].diff(dim=a).square()
                       .mean() for a in range(3)]))
        for i in range(12)
    }  # fmt: skip
    assert axes == {0, 1, 2}


def test_a_pose_turns_and_shifts():
    from wam_core.corruptions.volumes import _posed

    volume = blob((32, 32, 32))
    shift = torch.zeros(1, 6)
    shift[0, 3] = 1.0  # along the last axis
    moved = _posed(volume, shift, {"degrees": 0.0, "shift": 8.0})
    torch.testing.assert_close(moved[..., :-4], volume[..., 4:], atol=1e-5, rtol=0.0)
    turned = torch.zeros(1, 6)
    turned[0, 2] = 1.0
    quarter = _posed(volume, turned, {"degrees": 90.0, "shift": 0.0})
    candidates = [volume.rot90(k, axes) for k in (1, 3) for axes in ((-2, -1), (-3, -1), (-3, -2))]
    assert min(float((quarter - each).abs().max()) for each in candidates) < 1e-4


def test_motion_leaves_what_does_not_move():
    even = torch.full((1, 1, 16, 16, 16), 0.5)
    inside = corrupt("motion", even, 1)[..., 5:-5, 5:-5, 5:-5]
    torch.testing.assert_close(inside, torch.full_like(inside, 0.5), atol=0.12, rtol=0.0)


def test_ghosts_are_copies_half_a_volume_away():
    volume = torch.zeros(1, 1, 32, 32, 32)
    volume[0, 0, 14:18, 14:18, 14:18] = 1.0
    damaged = corrupt("ghosting", volume, 5)[0, 0]
    ghosts = damaged - damaged.clamp(max=0.2)
    ghosts[8:24, 8:24, 8:24] = 0
    places = ghosts.nonzero()
    assert len(places) > 0
    far = (places - 15.5).abs().amax(1)
    assert bool((far > 12).all()), "at the border: half of the volume away from the middle"


def test_a_spike_is_one_wave():
    grey = torch.full((1, 1, 24, 24, 24), 0.5)
    damaged = corrupt("spike", grey, 2) - 0.5
    spectrum = torch.fft.fftn(damaged[0, 0]).abs()
    strong = (spectrum > 1e-2 * spectrum.max()).sum()
    assert int(strong) == 2
    assert float(damaged.abs().max()) == pytest.approx(0.1, abs=0.005)


def test_a_bias_field_is_the_exponential_of_a_cubic():
    grey = torch.full((1, 1, 16, 16, 16), 0.2)
    field = (corrupt("bias_field", grey, 3)[0, 0].double() / 0.2).log().numpy().ravel()
    axes = np.meshgrid(*[np.linspace(-1, 1, 16)] * 3, indexing="ij")
    terms = [
        axes[0] ** i * axes[1] ** j * axes[2] ** k
        for i in range(4) for j in range(4) for k in range(4) if i + j + k <= 3
    ]  # fmt: skip
    design = np.stack([term.ravel() for term in terms], 1)
    weights = np.linalg.lstsq(design, field, rcond=None)[0]
    np.testing.assert_allclose(design @ weights, field, atol=1e-4)
    assert abs(weights[0]) < 1e-3
    assert np.abs(weights).max() <= 0.3 + 1e-3


@pytest.mark.parametrize(("severity", "kept"), list(enumerate((0.8, 0.6, 0.45, 0.3, 0.2), start=1)))
def test_gibbs_reads_a_ball_of_k_space(severity, kept):
    volume = blob((24, 24, 24))
    volume[..., 8:16, 8:16, 8:16] = 0.9
    frequency = np.sqrt(sum(f**2 for f in np.meshgrid(*[np.fft.fftfreq(24)] * 3)))
    spectrum = np.fft.fftn(volume[0, 0].numpy()) * (frequency <= kept / 2)
    expected = np.clip(np.fft.ifftn(spectrum).real, 0, 1)
    np.testing.assert_allclose(corrupt("gibbs", volume, severity)[0, 0], expected, atol=1e-5)


def test_intensities_follow_their_formulas():
    volume = blob()
    torch.testing.assert_close(corrupt("gamma", volume, 3), volume**2)
    mean = volume.mean()
    torch.testing.assert_close(corrupt("contrast", volume, 2), (volume - mean) * 0.6 + mean,
                               atol=1e-5, rtol=0.0)  # fmt: skip
    torch.testing.assert_close(corrupt("brightness", volume, 2), (volume + 0.1).clamp(0, 1))


def test_gamma_leaves_masks_as_they_are():
    mask = (blob() > 0.5).float()
    torch.testing.assert_close(corrupt("gamma", mask, 5), mask)
