"""Corruptions of images against their published definitions, written here by other means."""

from __future__ import annotations

import colorsys
import io
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats

from wam_core.corruptions import SEVERITIES, corruptions_for
from wam_core.corruptions.filters import plasma, streaks, zoomed
from wam_core.noise import generator

COLOUR = corruptions_for(2, 3)
PUBLISHED = {
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur",
    "zoom_blur", "snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate",
    "jpeg_compression",
}  # fmt: skip
EXTRAS = {"speckle_noise", "gaussian_blur", "spatter", "saturate"}
SIZES = [(17, 23), (32, 32), (300, 224)]


def photograph(height=224, width=224, channels=3, seed=0):
    """Smooth structure of all sizes within (0, 1)."""
    noise = np.random.default_rng(seed).standard_normal((channels, height, width))
    layers = [ndimage.gaussian_filter(noise, (0, s, s)) * s for s in (1, 3, 9, 27)]
    image = sum(layers)
    image = 0.5 + 0.35 * image / np.abs(image).max()
    return torch.tensor(image, dtype=torch.float32)


def corrupt(name, image, severity, seed=0, ids=None):
    images = image if image.ndim == 4 else image[None]
    names = ids or [f"s{place}" for place in range(len(images))]
    return COLOUR[name].apply(images, severity, sample_ids=names, seed=seed)


def as_bytes(image):
    return (image * 255).round().byte().permute(1, 2, 0).numpy()


def test_there_are_fifteen_and_four_extras():
    assert {name for name, each in COLOUR.items() if not each.extra} == PUBLISHED
    assert {name for name, each in COLOUR.items() if each.extra} == EXTRAS


@pytest.mark.parametrize("name", sorted(COLOUR))
def test_every_corruption_keeps_shape_and_range_and_each_sample_alone(name):
    batch = torch.stack([photograph(40, 56, seed=seed) for seed in range(3)])
    for severity in SEVERITIES:
        together = corrupt(name, batch, severity)
        assert together.shape == batch.shape
        assert together.dtype == batch.dtype
        assert 0 <= float(together.min()) <= float(together.max()) <= 1
        alone = corrupt(name, batch[1:2], severity, ids=["s1"])
        torch.testing.assert_close(alone[0], together[1], atol=2e-6, rtol=0.0)
        assert not torch.equal(together[0], batch[0])


@pytest.mark.parametrize("name", sorted(COLOUR))
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_size_will_do(name, size):
    image = photograph(*size)
    damaged = corrupt(name, image, 5)[0]
    assert damaged.shape == image.shape
    assert bool(damaged.isfinite().all())


@pytest.mark.parametrize("name", sorted(set(COLOUR) - {"saturate"}))
def test_grey_images_and_other_numbers_of_channels_will_do(name):
    for channels in (1, 2):
        corruption = corruptions_for(2, channels)[name]
        image = photograph(32, 32, channels)[None]
        assert corruption.apply(image, 3, sample_ids=["s"], seed=0).shape == image.shape


@pytest.mark.parametrize("name", sorted(n for n, c in COLOUR.items() if c.monotone))
def test_damage_grows_with_severity(name):
    batch = torch.stack([photograph(96, 96, seed=seed) for seed in range(2)])
    sizes = [float((corrupt(name, batch, s) - batch).square().mean()) for s in SEVERITIES]
    # Frost dims as it covers, and fog is scaled back: the distance says little of their strength.
    tolerance = 0.8 if name in {"frost", "fog"} else 1.0
    assert all(b > tolerance * a for a, b in pairwise(sizes)), sizes


def test_the_seed_and_the_sample_decide_what_is_random():
    image = photograph(32, 32)
    for name in ("gaussian_noise", "fog", "elastic_transform", "glass_blur"):
        first = corrupt(name, image, 3)
        torch.testing.assert_close(first, corrupt(name, image, 3))
        assert not torch.allclose(first, corrupt(name, image, 3, seed=1))
        assert not torch.allclose(first, corrupt(name, image, 3, ids=["other"]))


def test_severities_differ_in_strength_and_not_in_luck():
    image = torch.full((1, 3, 32, 32), 0.5)
    weak, strong = (corrupt("gaussian_noise", image, severity) - 0.5 for severity in (1, 2))
    inside = (strong.abs() < 0.5) & (weak.abs() < 0.5)
    torch.testing.assert_close(strong[inside] / weak[inside],
                               torch.full_like(strong[inside], 0.12 / 0.08),
                               rtol=1e-3, atol=1e-3)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "severity", "deviation"),
    [("gaussian_noise", 1, 0.08), ("gaussian_noise", 2, 0.12), ("speckle_noise", 1, 0.15 * 0.5)],
)
def test_noise_has_the_published_deviation(name, severity, deviation):
    grey = torch.full((3, 128, 128), 0.5)
    noise = (corrupt(name, grey, severity)[0] - 0.5).flatten().numpy()
    assert abs(noise.std() / deviation - 1) < 0.02
    assert stats.kstest(noise / deviation, "norm").pvalue > 1e-4


@pytest.mark.parametrize(("severity", "photons"), list(enumerate((60, 25, 12, 5, 3), start=1)))
def test_shot_noise_counts_photons(severity, photons):
    grey = torch.full((3, 96, 96), 0.25)
    counts = corrupt("shot_noise", grey, severity)[0].double().numpy() * photons
    np.testing.assert_allclose(counts, counts.round(), atol=1e-4)
    clipped = np.minimum(np.random.default_rng(0).poisson(0.25 * photons, counts.size), photons)
    assert abs(counts.mean() - clipped.mean()) < 0.03 * photons**0.5
    assert abs(counts.var() / clipped.var() - 1) < 0.06


@pytest.mark.parametrize(
    ("severity", "amount"), list(enumerate((0.03, 0.06, 0.09, 0.17, 0.27), start=1))
)
def test_impulses_hit_the_published_part_half_of_them_bright(severity, amount):
    damaged = corrupt("impulse_noise", torch.full((3, 128, 128), 0.5), severity)[0]
    assert abs(float((damaged == 1).double().mean()) - amount / 2) < 0.004
    assert abs(float((damaged == 0).double().mean()) - amount / 2) < 0.004


@pytest.mark.parametrize(("severity", "sigma"), list(enumerate((1, 2, 3, 4, 6), start=1)))
def test_gaussian_blur_is_scipys(severity, sigma):
    image = photograph()
    expected = ndimage.gaussian_filter(image.numpy(), (0, sigma, sigma), mode="nearest")
    np.testing.assert_allclose(corrupt("gaussian_blur", image, severity)[0], expected, atol=2e-6)


@pytest.mark.parametrize(
    ("severity", "radius", "sigma"),
    [(1, 3, 0.1), (2, 4, 0.5), (3, 6, 0.5), (4, 8, 0.5), (5, 10, 0.5)],
)
def test_defocus_is_a_correlation_with_a_disk(severity, radius, sigma):
    image = photograph()
    reach = max(8, radius)
    x, y = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1))
    kernel = (x**2 + y**2 <= radius**2).astype(float)
    kernel /= kernel.sum()
    taps = np.arange(-1, 2) if radius <= 8 else np.arange(-2, 3)
    rim = np.exp(-0.5 * (taps / sigma) ** 2)
    rim /= rim.sum()
    kernel = ndimage.correlate(kernel, np.outer(rim, rim), mode="mirror")
    expected = np.stack([ndimage.correlate(p, kernel, mode="mirror") for p in image.numpy()])
    np.testing.assert_allclose(corrupt("defocus_blur", image, severity)[0], expected, atol=5e-6)


def test_motion_is_half_a_gaussian_along_a_line():
    kernel = streaks([generator(0, "a", 0)], 10.0, 3.0, (0.0, 0.0), torch.zeros(1).double())[0]
    line = kernel[20]
    weights = np.exp(-0.5 * (np.arange(21) / 3) ** 2)
    np.testing.assert_allclose(line[20:], weights / weights.sum())
    assert float(kernel.sum()) == pytest.approx(1)
    assert float(kernel[:20].sum() + kernel[21:].sum() + line[:20].sum()) == 0
    steep = streaks([generator(0, "a", 0)], 15.0, 12.0, (45.0, 45.0), torch.zeros(1).double())[0]
    rows, columns = np.nonzero(steep.numpy())
    assert np.array_equal(rows, columns)
    assert rows.max() - 30 == round(30 * math.sqrt(0.5))


def test_zoom_blur_is_the_mean_of_enlarged_images():
    image = photograph()
    stop, step = 1.26, 0.02
    total = image.numpy().copy()
    factors = np.arange(1, stop, step)
    for factor in factors:
        rows = math.ceil(224 / factor)
        top = (224 - rows) // 2
        part = image.numpy()[:, top : top + rows, top : top + rows]
        large = ndimage.zoom(part, (1, factor, factor), order=1)
        trim = (large.shape[1] - 224) // 2
        total += large[:, trim : trim + 224, trim : trim + 224]
    expected = total / (len(factors) + 1)
    np.testing.assert_allclose(corrupt("zoom_blur", image, 4)[0], expected, atol=2e-5)


def test_glass_takes_values_one_point_after_another():
    """The published loop, with its assignment of the second to what the first has just become."""
    from wam_core.corruptions.images.blur import _scattered

    height, width, reach = 24, 30, 3
    found = _scattered(generator(5, "x", 0), height, width, reach)
    offsets = generator(5, "x", 0).integers(-reach, reach, (height, width, 2))
    image = np.arange(height * width).reshape(height, width)
    for row in range(height - reach, reach, -1):
        for column in range(width - reach, reach, -1):
            d_row, d_column = offsets[row, column]
            image[row, column] = image[row + d_row, column + d_column]
    np.testing.assert_array_equal(found.reshape(height, width), image)


def test_fog_is_scaled_back_to_the_brightest_point():
    image = photograph()
    damaged = corrupt("fog", image, 1)[0]
    clouds = plasma([generator(0, "s0\0fog", 0)], (224, 224), 2.0, torch.zeros(1))[0]
    brightest = float(image.max())
    expected = (image + 1.5 * clouds) * brightest / (brightest + 1.5)
    torch.testing.assert_close(damaged, expected.clamp(0, 1), atol=1e-6, rtol=0.0)


def test_plasma_fills_the_range_and_is_rougher_where_it_decays_less():
    keys = [generator(0, str(place), 0) for place in range(4)]
    slow, fast = (plasma(keys, (256, 256), decay, torch.zeros(1).double()) for decay in (1.4, 3.0))
    for field in (slow, fast):
        assert (float(field.min()), float(field.max())) == (0.0, 1.0)
    roughness = [float(field.diff(dim=1).square().mean()) for field in (slow, fast)]
    assert roughness[0] > 3 * roughness[1]


@pytest.mark.parametrize("severity", SEVERITIES)
def test_brightness_raises_the_value_of_hsv(severity):
    image = photograph(12, 12)
    damaged = corrupt("brightness", image, severity)[0].permute(1, 2, 0).reshape(-1, 3)
    for pixel, found in zip(image.permute(1, 2, 0).reshape(-1, 3).tolist(), damaged, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        expected = colorsys.hsv_to_rgb(hue, saturation, min(1, value + severity / 10))
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("severity", "factor", "added"),
    [(1, 0.3, 0), (2, 0.1, 0), (3, 2, 0), (4, 5, 0.1), (5, 20, 0.2)],
)
def test_saturate_changes_the_saturation_of_hsv(severity, factor, added):
    image = photograph(10, 10)
    image[:, 0, 0] = 0.4  # grey
    damaged = corrupt("saturate", image, severity)[0].permute(1, 2, 0).reshape(-1, 3)
    for pixel, found in zip(image.permute(1, 2, 0).reshape(-1, 3).tolist(), damaged, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        changed = min(1, max(0, saturation * factor + added))
        np.testing.assert_allclose(found, colorsys.hsv_to_rgb(hue, changed, value), atol=1e-4)


@pytest.mark.parametrize(
    ("severity", "factor"), list(enumerate((0.4, 0.3, 0.2, 0.1, 0.05), start=1))
)
def test_contrast_shrinks_towards_each_channels_mean(severity, factor):
    image = photograph()
    mean = image.numpy().mean((1, 2), keepdims=True)
    expected = (image.numpy() - mean) * factor + mean
    np.testing.assert_allclose(corrupt("contrast", image, severity)[0], expected, atol=1e-6)


@pytest.mark.parametrize(("severity", "quality"), list(enumerate((25, 18, 15, 10, 7), start=1)))
def test_jpeg_is_pillows(severity, quality):
    image = photograph(64, 48)
    buffer = io.BytesIO()
    Image.fromarray(as_bytes(image)).save(buffer, "JPEG", quality=quality)
    expected = np.asarray(Image.open(buffer)) / 255
    damaged = corrupt("jpeg_compression", image, severity)[0].permute(1, 2, 0)
    np.testing.assert_allclose(damaged, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("severity", "factor"), list(enumerate((0.6, 0.5, 0.4, 0.3, 0.25), start=1))
)
def test_pixelate_reduces_by_boxes_and_enlarges_again(severity, factor):
    image = photograph()
    small = Image.fromarray(as_bytes(image)).resize((int(224 * factor),) * 2, Image.BOX)
    expected = np.asarray(small.resize((224, 224), Image.BOX)) / 255
    damaged = corrupt("pixelate", image, severity)[0].permute(1, 2, 0)
    np.testing.assert_allclose(damaged, expected, atol=1e-6)


@pytest.mark.parametrize("severity", [3, 5])
def test_elastic_displacements_are_smooth_and_as_strong_as_published(severity):
    """Ramps show where every point comes from."""
    strength, sigma, affine = [
        value * 244 for value in {3: (0.05, 0.01, 0.02), 5: (0.12, 0.01, 0.02)}[severity]
    ]
    ramp = torch.linspace(0.2, 0.8, 224)
    image = torch.stack([ramp[:, None].expand(224, 224), ramp.expand(224, 224),
                         torch.full((224, 224), 0.5)])  # fmt: skip
    damaged = corrupt("elastic_transform", image, severity)[0]
    middle = slice(40, 184)
    moved = (damaged - image)[:2, middle, middle] * 223 / 0.6
    plane = np.stack([np.ones(144 * 144), *(np.mgrid[:144, :144].reshape(2, -1))])
    rest = []
    for field in moved.double().numpy():
        fit = np.linalg.lstsq(plane.T, field.ravel(), rcond=None)[0]
        assert abs(fit[0]) < 3 * affine, "the affine part moves by some points"
        rest.append(field.ravel() - plane.T @ fit)
    noise = np.random.default_rng(0).uniform(-1, 1, (8, 224, 224))
    smooth = ndimage.gaussian_filter(noise, (0, sigma, sigma), mode="reflect", truncate=3)
    expected = strength * smooth[:, middle, middle].std()
    assert np.std(rest) == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("severity", [1, 2])
def test_an_affine_map_comes_first_where_displacements_are_wide(severity):
    image = photograph()
    damaged = corrupt("elastic_transform", image, severity)[0]
    correlation = np.corrcoef(damaged.flatten(), image.flatten())[0, 1]
    assert correlation < 0.9, "moved by tens of points"


def test_zoomed_keeps_the_middle():
    image = torch.zeros(1, 1, 65, 65)
    image[0, 0, 32, 32] = 1
    large = zoomed(image, 2.0)
    assert large.shape == image.shape
    place = int(large.flatten().argmax())
    assert max(abs(place // 65 - 32), abs(place % 65 - 32)) <= 1


@pytest.mark.parametrize("severity", SEVERITIES)
def test_snow_whitens_and_falls_in_streaks_from_above(severity):
    image = torch.full((3, 224, 224), 0.2)
    damaged = corrupt("snow", image, severity)[0]
    kept = {1: 0.8, 2: 0.7, 3: 0.7, 4: 0.65, 5: 0.55}[severity]
    floor = kept * 0.2 + (1 - kept) * max(0.2, 0.2 * 1.5 + 0.5)
    assert float(damaged.min()) >= floor - 1e-5
    flakes = (damaged[0] - floor).numpy()
    down, across = (np.square(np.diff(flakes, axis=axis)).mean() for axis in (0, 1))
    assert down < across, "smoother along the fall"


def test_frost_covers_the_published_part():
    image = torch.zeros(3, 96, 96)
    covers = [corrupt("frost", image, severity)[0] for severity in SEVERITIES]
    for cover, ice in zip(covers, (0.4, 0.6, 0.7, 0.7, 0.75), strict=True):
        torch.testing.assert_close(cover / ice, covers[0] / 0.4, atol=1e-5, rtol=0.0)
        assert 0.2 < float(cover.mean()) / ice < 0.8


def test_mud_hides_and_water_shines():
    image = torch.full((3, 128, 128), 0.6)
    water, mud = (corrupt("spatter", image, severity)[0] for severity in (1, 5))
    assert float(water.min()) >= 0.6 - 1e-6
    assert float(mud.max()) <= 0.6 + 1e-6
    brown = torch.tensor([63.0, 42.0, 20.0]) / 255
    dry = (mud - 0.6).abs().sum(0) < 1e-5
    assert 0.2 < float(dry.double().mean()) < 0.98
    covered = mud.flatten(1)[:, int((mud.sum(0)).flatten().argmin())]
    torch.testing.assert_close(covered, brown, atol=0.02, rtol=0.0)
