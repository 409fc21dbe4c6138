"""Each operator takes its cue away, follows its definition, and is the same in any batch."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import skimage.restoration
import torch
from hypothesis import given, settings

from wam_core.noise import generator
from wam_core.suppression import SUPPRESSIONS, suppressions_for
from wam_core.suppression.blocks import shuffle_blocks, turn_blocks
from wam_core.suppression.colour import mix_with_grey, shuffle_channels
from wam_core.suppression.smoothing import (
    bilateral_filter,
    gaussian_blur,
    median_filter,
    non_local_means,
)
from wam_core.suppression.spectrum import equalise_power, scramble_phase
from wam_core.suppression.vocoding import level_envelopes, vocode_with_noise

SPACES = {1: (500,), 2: (37, 44), 3: (33, 32, 35)}
"""Neither equal, nor divided by every grid."""

SMALL_SPACES = {1: (500,), 2: (20, 23), 3: (9, 11, 10)}


def _signal(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _numbered(*space):
    return torch.arange(int(np.prod(space)), dtype=torch.float64).reshape(1, 1, *space)


def _draws(n=1, seed=0):
    return [generator(seed, f"sample {index}", 0) for index in range(n)]


def _applications():
    """Every suppression at every strength, with signals that have the cue."""
    for ndim, suppression in itertools.product((1, 2, 3), SUPPRESSIONS.values()):
        if suppression.exists_for(ndim, 3):
            for strength in dict.fromkeys((suppression.strengths[0], suppression.strengths[-1])):
                name = f"{ndim}-{suppression.name}-{strength:g}"
                yield pytest.param(ndim, suppression, strength, id=name)


every_application = pytest.mark.parametrize(
    ("ndim", "suppression", "strength"), list(_applications())
)


@every_application
def test_a_sample_is_the_same_in_any_batch_and_stays_in_range(ndim, suppression, strength):
    space = SPACES[ndim] if suppression.points_per_strength else SMALL_SPACES[ndim]
    loudness = torch.tensor([1.5, 0.1, 0.5]).reshape(3, *[1] * (ndim + 1))
    signal = loudness * _signal(3, 3, *space).float()
    ids = ["a", "b", "c"]
    before = signal.clone()
    together = suppression.apply(signal, strength, sample_ids=ids, seed=1)
    assert torch.equal(signal, before)
    assert together.shape == signal.shape
    assert together.dtype == signal.dtype
    for row in (2, 1):
        alone = suppression.apply(
            signal[row : row + 1], strength, sample_ids=ids[row : row + 1], seed=1
        )
        assert torch.equal(alone[0], together[row])
    for before, after in zip(signal, together, strict=True):
        assert float(after.max()) <= max(float(before.max()), 1) + 1e-6
        assert float(after.min()) >= (-1 if ndim == 1 else 0)
    assert not torch.equal(together, signal)


@pytest.mark.parametrize("name", sorted(suppressions_for(1, 1)))
def test_padding_stays_and_what_is_before_it_is_treated_as_a_signal_of_its_own(name):
    suppression = SUPPRESSIONS[name]
    strength = suppression.strengths[-1]
    signal = _signal(2, 1, 300, seed=4) - 0.5
    signal[1, :, 173:] = 0
    settings = {"sample_ids": ["a", "b"], "seed": 0}
    result = suppression.apply(signal, strength, n_valid=torch.tensor([300, 173]), **settings)
    cropped = suppression.apply(signal[1:, :, :173], strength, sample_ids=["b"], seed=0)
    whole = suppression.apply(signal[:1], strength, sample_ids=["a"], seed=0)
    assert torch.equal(result[1, :, :173], cropped[0])
    assert torch.equal(result[0], whole[0])
    assert not result[1, :, 173:].any()


def test_random_suppressions_depend_on_seed_sample_and_draw():
    suppression, signal = SUPPRESSIONS["patch_shuffle"], _signal(1, 3, 32, 32)
    versions = [
        suppression.apply(signal, 8, sample_ids=[name], seed=seed, draw=draw)
        for name, seed, draw in [("a", 0, 0), ("b", 0, 0), ("a", 1, 0), ("a", 0, 1)]
    ]
    for one, other in itertools.combinations(versions, 2):
        assert not torch.equal(one, other)
    again = suppression.apply(signal, 8, sample_ids=["a"], seed=0)
    assert torch.equal(again, versions[0])


@given(
    space=st.lists(st.integers(2, 23), min_size=1, max_size=3),
    grid=st.integers(2, 8),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_blocks_keep_every_value_once_for_any_size(space, grid, seed):
    numbers = _numbered(*space)
    for move, least in ((shuffle_blocks, grid), (turn_blocks, 2 * grid)):
        if min(space) < least:
            with pytest.raises(ValueError, match="points along every axis"):
                move(numbers, grid, _draws(seed=seed))
        else:
            moved = move(numbers, grid, _draws(seed=seed))
            assert torch.equal(moved.flatten().sort().values, numbers.flatten())


@pytest.mark.parametrize("space", [(48,), (24, 32), (8, 12, 16)])
def test_shuffled_blocks_are_whole_and_in_another_order(space):
    grid = 4
    edges = [points // grid for points in space]
    signal, shuffled = _numbered(*space), shuffle_blocks(_numbered(*space), grid, _draws())

    def blocks(values):
        values = values[0, 0]
        for axis, edge in enumerate(edges):
            values = values.unfold(axis, edge, edge)
        return values.reshape(grid ** len(space), -1)

    before, after = blocks(signal), blocks(shuffled)
    order = [int(torch.nonzero((before == block).all(1)).item()) for block in after]
    assert sorted(order) == list(range(grid ** len(space)))
    assert order != sorted(order)


def test_a_border_thinner_than_a_block_moves_within_itself():
    """10 x 11 points in a grid of 3: blocks of 3 x 3, a row and two columns are left."""
    shuffled = shuffle_blocks(_numbered(10, 11), 3, _draws())[0, 0]
    rows, columns = (shuffled // 11).long(), (shuffled % 11).long()
    assert bool((rows[9] == 9).all())
    assert bool((rows[:9] < 9).all())
    assert bool((columns[:, 9:] >= 9).all())
    assert bool((columns[:, :9] < 9).all())
    # Within the border, blocks are whole: neighbours along it stay neighbours in threes.
    assert bool((columns[9, :9].reshape(3, 3).diff(dim=1) == 1).all())
    assert bool((rows[:9, 9].reshape(3, 3).diff(dim=1) == 1).all())
    # Where one more block fits into what is left, it takes part: 11 = 3 x 3 + 2, 16 // 3 = 5.
    whole = shuffle_blocks(_numbered(28), 16, _draws())[0, 0]
    assert int((whole == torch.arange(28)).sum()) < 10


def test_two_halves_trade_places():
    halves = shuffle_blocks(_numbered(7), 2, _draws())[0, 0]
    assert halves.tolist() == [3, 4, 5, 0, 1, 2, 6]


def test_segments_are_reversed_where_they_stand():
    turned = turn_blocks(_numbered(11), 3, _draws())[0, 0]
    assert turned.tolist() == [2, 1, 0, 5, 4, 3, 8, 7, 6, 10, 9]


@pytest.mark.parametrize(("ndim", "n_turns"), [(2, 4), (3, 24)])
def test_squares_and_cubes_are_turned_by_all_rotations_and_no_reflections(ndim, n_turns):
    """All of a block's turns, counted from NumPy's quarter turns about every pair of axes."""
    edge, grid = 3, 8
    block = np.arange(edge**ndim).reshape((edge,) * ndim)
    expected = {block.tobytes()}
    planes = list(itertools.permutations(range(ndim), 2))
    for _ in range(6):
        found = [np.frombuffer(turn, dtype=block.dtype).reshape(block.shape) for turn in expected]
        expected |= {np.rot90(turn, 1, plane).tobytes() for turn in found for plane in planes}
    assert len(expected) == n_turns
    signal = torch.from_numpy(np.tile(block, (grid,) * ndim)).double()[None, None]
    turned = turn_blocks(signal, grid, _draws())[0, 0].numpy().astype(block.dtype)
    counts: dict[bytes, int] = {}
    for corner in itertools.product(range(0, edge * grid, edge), repeat=ndim):
        turn = turned[tuple(slice(start, start + edge) for start in corner)].tobytes()
        counts[turn] = counts.get(turn, 0) + 1
    assert set(counts) == expected
    assert max(counts.values()) < 3 * grid**ndim / n_turns


def test_turned_blocks_of_a_long_image_are_squares():
    turned = turn_blocks(_numbered(12, 27), 3, _draws())[0, 0]
    for row, column in itertools.product(range(0, 12, 4), range(0, 24, 4)):
        block = turned[row : row + 4, column : column + 4]
        places = set(block.long().flatten().tolist())
        assert places == {27 * (row + i) + column + j for i in range(4) for j in range(4)}


@pytest.mark.parametrize("shape", [(2, 1, 40), (2, 3, 19, 24), (1, 2, 9, 12, 10), (1, 1, 3, 50)])
@pytest.mark.parametrize(("kernel", "sigma"), [(3, 0.33), (7, 1.0), (15, 2.33)])
def test_gaussian_blur_is_scipys(shape, kernel, sigma):
    signal = _signal(*shape)
    expected = signal.numpy()
    for axis in range(2, len(shape)):
        expected = scipy.ndimage.gaussian_filter1d(
            expected, sigma, axis=axis, mode="mirror", radius=kernel // 2
        )
    np.testing.assert_allclose(gaussian_blur(signal, kernel, sigma), expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 1, 30), (1, 2, 13, 9), (1, 1, 6, 9, 7)])
@pytest.mark.parametrize("width", [1, 3, 5])
def test_median_is_scipys(shape, width, monkeypatch):
    monkeypatch.setattr("wam_core.suppression.smoothing._CHUNK", 2000)  # several slabs
    signal = _signal(*shape)
    size = (1, 1) + (width,) * (len(shape) - 2)
    expected = scipy.ndimage.median_filter(signal.numpy(), size=size, mode="mirror")
    np.testing.assert_array_equal(median_filter(signal, width), expected)


def _bilateral_by_loops(image, diameter, sigma_colour, sigma_space):
    """OpenCV's documented definition for one image (channel, *space) of values from 0 to 255."""
    radius, space = diameter // 2, image.shape[1:]
    padded = np.pad(image, [(0, 0)] + [(radius, radius)] * len(space), mode="reflect")
    result = np.zeros_like(image)
    for place in np.ndindex(*space):
        total, weights = np.zeros(len(image)), 0.0
        for offset in itertools.product(range(-radius, radius + 1), repeat=len(space)):
            distance = np.sqrt(np.sum(np.square(offset)))
            if distance <= radius:
                here = tuple(p + radius + o for p, o in zip(place, offset, strict=True))
                neighbour = padded[(slice(None), *here)]
                colour = np.abs(neighbour - image[(slice(None), *place)]).sum()
                weight = np.exp(-(colour**2) / (2 * sigma_colour**2))
                weight *= np.exp(-(distance**2) / (2 * sigma_space**2))
                total += weight * neighbour
                weights += weight
        result[(slice(None), *place)] = total / weights
    return result


@pytest.mark.parametrize("shape", [(1, 30), (3, 9, 11), (1, 7, 6, 5)])
@pytest.mark.parametrize(("diameter", "sigma_colour"), [(4, 50), (6, 80)])
def test_bilateral_filter_is_the_definition(shape, diameter, sigma_colour):
    signal = _signal(*shape)
    expected = _bilateral_by_loops(255 * signal.numpy(), diameter, sigma_colour, 3.0) / 255
    found = bilateral_filter(signal[None], diameter, sigma_colour, sigma_space=3.0)[0]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def _means_by_loops(image, h, template, search):
    inner, outer = template // 2, search // 2
    padded = np.pad(image, [(0, 0)] + [(inner + outer,) * 2] * 2, mode="reflect")
    result = np.zeros_like(image)

    def window(row, column):
        return padded[:, row : row + 2 * inner + 1, column : column + 2 * inner + 1]

    for row, column in np.ndindex(*image.shape[1:]):
        total, weights = np.zeros(len(image)), 0.0
        centre = window(row + outer, column + outer)
        for down, right in itertools.product(range(2 * outer + 1), repeat=2):
            around = window(row + down, column + right)
            weight = np.exp(-np.mean((around - centre) ** 2) / h**2)
            total += weight * around[:, inner, inner]
            weights += weight
        result[:, row, column] = total / weights
    return result


def test_non_local_means_are_the_definition():
    signal = 0.3 * _signal(3, 10, 12)
    expected = _means_by_loops(255 * signal.numpy(), 25.0, 4, 7) / 255
    found = non_local_means(signal[None], 25.0, template=4, search=7)[0]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_non_local_means_agree_with_skimage_on_a_noisy_edge():
    image = torch.zeros(1, 1, 48, 48, dtype=torch.float64)
    image[..., 24:] = 1.0
    noisy = image + 0.05 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    image, noisy = image[0, 0].numpy(), noisy[0, 0].numpy()
    ours = non_local_means(torch.from_numpy(noisy)[None, None], 25.5, template=7)[0, 0].numpy()
    theirs = skimage.restoration.denoise_nl_means(
        noisy, patch_size=7, patch_distance=10, h=0.1, fast_mode=True
    )
    # skimage leaves out weights below exp(-5).
    np.testing.assert_allclose(ours, theirs, atol=0.03)
    assert np.abs(ours - theirs).mean() < 1e-3
    assert np.abs(ours - image).mean() < 0.1 * np.abs(noisy - image).mean()


@pytest.mark.parametrize("width", [2, 4])
def test_even_windows_are_refused(width):
    signal = _signal(1, 1, 20, 20)
    with pytest.raises(ValueError, match="must be odd"):
        gaussian_blur(signal, width, 1.0)
    with pytest.raises(ValueError, match="must be odd"):
        median_filter(signal, width)


def test_filters_leave_a_constant_signal_alone():
    constant = torch.full((1, 3, 32, 33), 0.37, dtype=torch.float64)
    for suppression in suppressions_for(2, 3).values():
        result = suppression.apply(constant, suppression.strengths[-1], sample_ids=["a"], seed=0)
        torch.testing.assert_close(result, constant)


def test_grey_is_the_luminance_and_alpha_a_straight_line():
    signal = _signal(2, 3, 5, 6)
    grey = mix_with_grey(signal, 1.0)
    luma = torch.einsum("bcij,c->bij", signal, torch.tensor([0.299, 0.587, 0.114]).double())
    for channel in range(3):
        torch.testing.assert_close(grey[:, channel], luma, atol=1e-7, rtol=0)
    torch.testing.assert_close(mix_with_grey(signal, 0.3), 0.7 * signal + 0.3 * grey)
    assert torch.equal(mix_with_grey(signal, 0.0), signal)
    pair = mix_with_grey(signal[:, :2], 1.0)
    torch.testing.assert_close(pair[:, 0], signal[:, :2].mean(1))


def test_shuffled_channels_are_the_channels_in_another_order():
    signal = _signal(20, 3, 4, 4)
    shuffled = shuffle_channels(signal, _draws(20))
    orders = set()
    for before, after in zip(signal, shuffled, strict=True):
        order = tuple(int((before == channel).flatten(1).all(1).nonzero()) for channel in after)
        assert sorted(order) == [0, 1, 2]
        orders.add(order)
    assert (0, 1, 2) not in orders
    assert len(orders) == 5


@pytest.mark.parametrize("space", [(64,), (101,), (16, 24), (15, 9), (8, 6, 10), (7, 8, 5)])
def test_scrambled_phases_keep_every_amplitude_and_what_channels_share(space):
    signal = _signal(2, 2, *space)
    axes = tuple(range(2, signal.ndim))
    spectrum = np.fft.fftn(signal.numpy(), axes=axes)
    for width in (0, 90, 180):
        found = np.fft.fftn(scramble_phase(signal, width, _draws(2), clip=False), axes=axes)
        np.testing.assert_allclose(np.abs(found), np.abs(spectrum), atol=1e-5 * spectrum.size**0.5)
        turned = np.angle(found * spectrum.conj())
        large = np.abs(spectrum) > 0.1
        assert np.abs(turned[large]).max() <= np.radians(width) + 1e-4
        if width == 0:
            np.testing.assert_allclose(found, spectrum, atol=1e-6)
        else:
            both = large.all(1)
            between = np.exp(1j * turned[:, 0]) / np.exp(1j * turned[:, 1])
            np.testing.assert_allclose(between[both], 1, atol=1e-3)
            assert np.std(turned[large]) > 0.3 * np.radians(width)


@pytest.mark.parametrize("space", [(4096,), (128, 128), (32, 32, 32)])
def test_equalised_power_is_the_same_in_every_octave(space):
    """The energy of Gaussian noise summed over shells of radius [f, 2 f)."""
    rng = np.random.default_rng(0)
    signal = torch.from_numpy(rng.normal(size=(1, 1, *space)))
    found = equalise_power(signal, 1.0, clip=False)
    axes = tuple(range(2, signal.ndim))
    energy = np.abs(np.fft.fftn(found.numpy(), axes=axes))[0, 0] ** 2
    radius = np.sqrt(sum(f**2 for f in np.meshgrid(*map(np.fft.fftfreq, space), indexing="ij")))
    octaves = [energy[(radius >= 2.0**-k / 2) & (radius < 2.0**-k)].sum() for k in (2, 3)]
    assert octaves[0] == pytest.approx(octaves[1], rel=0.15)
    assert float(found.var()) == pytest.approx(float(signal.var()))
    assert float(found.mean()) == pytest.approx(float(signal.mean()))
    phases = np.angle(np.fft.fftn(found, axes=axes) * np.fft.fftn(signal, axes=axes).conj())
    np.testing.assert_allclose(phases, 0, atol=1e-6)
    torch.testing.assert_close(equalise_power(signal, 0.0, clip=False), signal)


def _tones(n_samples=20_000):
    """Two tones three octaves apart with slow envelopes of their own."""
    times = torch.arange(n_samples, dtype=torch.float64)
    envelopes = [0.2 + torch.sin(2 * torch.pi * times * k / n_samples) ** 2 for k in (2, 3)]
    low = envelopes[0] * torch.sin(2 * torch.pi * 0.02 * times)
    high = envelopes[1] * torch.sin(2 * torch.pi * 0.16 * times)
    return torch.stack([low, high])[:, None] / 3, torch.stack(envelopes)


def _envelope(signal):
    """Smoothed by a filter of its own, so that noise carriers show their mean only."""
    magnitude = np.abs(scipy.signal.hilbert(np.asarray(signal)))
    return scipy.ndimage.gaussian_filter1d(magnitude, 300)[1000:-1000]


def test_a_noise_vocoder_keeps_envelopes_and_loses_the_tones():
    tones, envelopes = _tones()
    vocoded = vocode_with_noise(tones, 10, _draws(2))
    for tone, result, envelope in zip(tones[:, 0], vocoded[:, 0], envelopes, strict=True):
        assert abs(np.corrcoef(tone, result)[0, 1]) < 0.3
        assert np.corrcoef(_envelope(result), envelope[1000:-1000])[0, 1] > 0.8
        assert float(result.std()) == pytest.approx(float(tone.std()), rel=0.02)


def test_levelled_envelopes_keep_the_tones_and_lose_their_envelopes():
    tones, _ = _tones()
    levelled = level_envelopes(tones, 10)
    for tone, result in zip(tones[:, 0], levelled[:, 0], strict=True):
        before, after = _envelope(tone), _envelope(result)
        assert after.std() / after.mean() < 0.1 < before.std() / before.mean()
        carrier = np.cos(np.angle(scipy.signal.hilbert(tone.numpy())))
        assert np.corrcoef(carrier, result)[0, 1] > 0.95
        assert float(result.std()) == pytest.approx(float(tone.std()), rel=0.02)


@pytest.mark.parametrize("n_samples", [200, 201])
def test_the_envelope_is_that_of_scipys_analytic_signal(n_samples):
    """One band: the whole series over its own envelope."""
    signal = _signal(1, 1, n_samples) - 0.5
    centred = (signal - signal.mean()).numpy()[0, 0]
    oscillation = centred / np.abs(scipy.signal.hilbert(centred))
    found = level_envelopes(signal, 1).numpy()[0, 0] - float(signal.mean())
    assert np.corrcoef(found, oscillation)[0, 1] > 0.999999
    assert found.std() == pytest.approx(centred.std(), rel=0.01)


def test_silence_stays_silence():
    silence = torch.zeros(1, 1, 333)
    for suppression in suppressions_for(1, 1).values():
        for strength in suppression.strengths:
            result = suppression.apply(silence, strength, sample_ids=["a"], seed=0)
            assert torch.equal(result, silence)


def test_the_registry_names_cues_by_dimension():
    assert suppressions_for(2, 3)["patch_shuffle"].cues[2] == "global shape"
    assert "greyscale" not in suppressions_for(2, 1)
    assert "patch_shuffle" not in suppressions_for(1, 1)
    assert "patch_shuffle" in suppressions_for(3, 1)
    for suppression in SUPPRESSIONS.values():
        assert set(suppression.usual) <= set(suppression.strengths)
        assert suppression.fits((1000,), suppression.strengths[-1])


def test_what_does_not_exist_is_refused_with_what_does():
    grey = _signal(1, 1, 20, 20)
    with pytest.raises(ValueError, match="at least 2 channels, got 2 and 1"):
        SUPPRESSIONS["greyscale"].apply(grey, 1.0, sample_ids=["a"], seed=0)
    with pytest.raises(ValueError, match=r"strengths 2, 4, 6, .* got 5"):
        SUPPRESSIONS["patch_shuffle"].apply(grey, 5, sample_ids=["a"], seed=0)
    assert not SUPPRESSIONS["patch_rotation"].fits((20, 31), 12)
    with pytest.raises(ValueError, match=r"at least 24 points .* coarser grid"):
        SUPPRESSIONS["patch_rotation"].apply(grey, 12, sample_ids=["a"], seed=0)
