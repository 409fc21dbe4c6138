"""Sizes and channels, against torchvision where it sets the rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.datasets.preparation import prepare_image
from tasks.datasets.sample import BadSampleError
from tasks.preprocessing import Preprocessing

transforms = pytest.importorskip("torchvision.transforms", reason="extra 'images' not installed")

side = st.integers(1, 90)


def rgb(height: int, width: int) -> Image.Image:
    rng = np.random.default_rng(height * 1000 + width)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def by_torchvision(image, resize, crop, interpolation):
    steps = [] if resize is None else [transforms.Resize(resize, interpolation)]
    steps += [] if crop is None else [transforms.CenterCrop(crop)]
    return transforms.Compose([*steps, transforms.ToTensor()])(image).numpy()


@settings(max_examples=150, deadline=None)
@given(
    height=side,
    width=side,
    resize=st.one_of(st.none(), st.integers(1, 60), st.tuples(side, side)),
    crop=st.one_of(st.none(), st.tuples(side, side)),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]),
)
def test_pixels_equal_torchvision(height, width, resize, crop, interpolation):
    image = rgb(height, width)
    mode = transforms.InterpolationMode(interpolation)
    expected = by_torchvision(image, resize, crop, mode)
    rules = Preprocessing(
        resize=resize, crop=crop, interpolation=interpolation, input_shape=expected.shape
    )
    np.testing.assert_array_equal(prepare_image([image], rules), expected)


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (333, 501), (224, 224), (100, 80)])
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (272, 240), (257, 225), (200, 224)])
def test_usual_sizes_equal_torchvision(size, resize, crop):
    image = rgb(*size)
    rules = Preprocessing(
        resize=resize, crop=(crop, crop), interpolation="bicubic", input_shape=(3, crop, crop)
    )
    expected = by_torchvision(image, resize, crop, transforms.InterpolationMode.BICUBIC)
    np.testing.assert_array_equal(prepare_image([image], rules), expected)


def test_one_channel_is_luminance_taken_before_resizing():
    image = rgb(40, 30)
    rules = Preprocessing(resize=20, crop=(20, 20), input_shape=(1, 20, 20))
    grey = by_torchvision(image.convert("L"), 20, 20, transforms.InterpolationMode.BILINEAR)
    np.testing.assert_array_equal(prepare_image([image], rules), grey)


def test_deep_images_are_resized_as_8_bit_ones_but_for_rounding():
    grey = rgb(41, 30).convert("L")
    deep = Image.fromarray(np.asarray(grey, dtype=np.float32) / np.float32(255))
    rules = Preprocessing(
        resize=20, crop=(20, 20), interpolation="bicubic", input_shape=(3, 20, 20)
    )
    # Two roundings to 1/255 along the way, one per axis.
    np.testing.assert_allclose(
        prepare_image([deep], rules),
        prepare_image([grey.convert("RGB")], rules),
        atol=1.5 / 255,
    )


def test_overshoot_of_deep_images_is_clipped():
    step = np.zeros((32, 32), np.float32)
    step[:, 16:] = 1
    rules = Preprocessing(resize=64, interpolation="bicubic", input_shape=(1, 64, 64))
    signal = prepare_image([Image.fromarray(step)], rules)
    assert (signal.min(), signal.max()) == (0, 1)


def test_preprocessed_images_are_not_resized():
    rules = Preprocessing(resize=256, crop=(24, 24), input_shape=(3, 24, 24))
    signal = prepare_image([rgb(24, 24)], rules, preprocessed=True)
    np.testing.assert_array_equal(signal, transforms.ToTensor()(rgb(24, 24)).numpy())
    with pytest.raises(BadSampleError, match="expected height x width of 24 x 24, got 30 x 24"):
        prepare_image([rgb(30, 24)], rules, preprocessed=True)


@pytest.mark.parametrize("input_shape", [(4, 24, 24), (3, 24, 24, 24), (1, 24)])
def test_inputs_that_an_image_cannot_fill_are_shape_errors(input_shape):
    with pytest.raises(BadSampleError, match="expected") as caught:
        prepare_image([rgb(24, 24)], Preprocessing(input_shape=input_shape))
    assert caught.value.status == "shape_error"


@pytest.mark.parametrize(
    ("size", "expected_size", "expected_left"),
    [((500, 300), (427, 256), 101), ((500, 333), (384, 256), 80), ((301, 256), (301, 256), 38)],
)
def test_rounded_geometry_rounds_the_longer_side_and_floors_the_offset(
    size, expected_size, expected_left
):
    ramp = np.tile(np.arange(size[0], dtype=np.float64) % 256, (size[1], 1)).astype(np.uint8)
    image = Image.fromarray(np.stack([ramp] * 3, axis=-1))
    preprocessing = Preprocessing(
        resize=256,
        crop=(224, 224),
        interpolation="bicubic",
        geometry="rounded",
        input_shape=(3, 224, 224),
    )
    resized = image.resize(expected_size, Image.Resampling.BICUBIC)
    window = (expected_left, 16, expected_left + 224, 240)
    expected = np.asarray(resized.crop(window)).transpose(2, 0, 1) / np.float32(255)
    np.testing.assert_array_equal(prepare_image([image], preprocessing), expected)
