"""Every rule for image files, seen through the reader."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from tasks.config import DecodingConfig


def as_signal(pixels: np.ndarray) -> np.ndarray:
    return np.moveaxis(pixels, -1, 0).astype(np.float32) / np.float32(255)


def test_colour_is_read_as_float32_channels_in_the_unit_interval(read_file, encode, picture):
    sample = read_file(encode(picture()))
    assert (sample.status, sample.detail) == ("ok", "")
    assert sample.signal.dtype == np.float32
    assert sample.signal.flags.c_contiguous
    np.testing.assert_array_equal(sample.signal, as_signal(picture()))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_exif_says(read_file, encode, picture, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(picture(8, 8), exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    np.testing.assert_array_equal(read_file(content, (3, 8, 8)).signal, as_signal(expected))
    stored = read_file(content, (3, 8, 8), decoding=DecodingConfig(exif_orientation=False))
    np.testing.assert_array_equal(stored.signal, as_signal(picture(8, 8)))


def test_a_quarter_turn_swaps_the_sides(read_file, encode, picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_file(encode(picture(6, 8), exif=exif), (3, 8, 6)).status == "ok"


def test_an_orientation_in_tiff_is_applied_once(read_file, encode, picture):
    content = encode(picture(6, 8), "tif", tiffinfo={0x0112: 6})
    expected = np.asarray(Image.fromarray(picture(6, 8)).transpose(Image.Transpose.ROTATE_270))
    np.testing.assert_array_equal(read_file(content, (3, 8, 6)).signal, as_signal(expected))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_is_no_reason_to_lose_the_image(read_file, encode, picture):
    content = encode(picture(), exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert read_file(content).status == "ok"


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LA", "PA", "RGBA"])
@pytest.mark.parametrize("suffix", ["png", "tif", "jpg", "gif", "webp"])
def test_every_storable_mode_becomes_three_channels(read_file, encode, picture, mode, suffix):
    image = Image.fromarray(picture()).convert(mode)
    try:
        content = encode(image, suffix)
    except (OSError, KeyError, ValueError):
        pytest.skip(f"{suffix} has no {mode}")
    sample = read_file(content)
    assert sample.status == "ok", sample.detail
    assert sample.signal.shape == (3, 6, 8)


def test_grey_and_one_bit_are_repeated(read_file, encode):
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    for content, expected in (
        (encode(grey), grey),
        (encode(Image.fromarray(grey > 20)), np.where(grey > 20, 255, 0)),
    ):
        signal = read_file(content).signal
        np.testing.assert_array_equal(signal, as_signal(np.stack([expected] * 3, axis=-1)))


@pytest.mark.parametrize(("alpha", "clear"), [("white", 1.0), ("black", 0.0), ("drop", 0.2)])
def test_transparency_is_laid_on_the_chosen_ground(read_file, encode, alpha, clear):
    colours = np.full((6, 8, 4), 51, np.uint8)
    colours[:3, :, 3] = 0
    colours[3:, :, 3] = 255
    grey = colours[..., [0, 3]]
    palette = Image.fromarray((colours[..., 3] > 0).astype(np.uint8)).convert("P")
    palette.putpalette([51, 51, 51] * 2)
    colour_key = np.full((6, 8, 3), 51, np.uint8)
    colour_key[:3, :, 0] = 52
    for content in (
        encode(colours),
        encode(Image.fromarray(grey, "LA")),
        encode(palette, transparency=b"\x00\xff"),
        encode(palette, "gif", transparency=0),
        encode(colour_key, transparency=(52, 51, 51)),
    ):
        signal = read_file(content, decoding=DecodingConfig(alpha=alpha)).signal
        np.testing.assert_allclose(signal[:, :3], clear, atol=0.005)
        np.testing.assert_allclose(signal[:, 3:], 0.2, atol=0.005)


def test_half_transparent_pixels_are_mixed(read_file, encode):
    pixels = np.full((6, 8, 4), (100, 100, 100, 128), np.uint8)
    signal = read_file(encode(pixels)).signal
    assert signal[0, 0, 0] == pytest.approx((100 * 128 + 255 * 127) / 255 / 255, abs=1 / 255)


def test_cmyk_keeps_dark_dark(read_file, encode):
    black = Image.new("CMYK", (8, 6), (0, 0, 0, 255))
    for suffix in ("jpg", "tif"):
        assert read_file(encode(black, suffix)).signal.max() < 0.02


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_divided_by_65535(read_file, encode, suffix):
    deep = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1300
    signal = read_file(encode(deep, suffix), (1, 6, 8)).signal
    np.testing.assert_array_equal(signal[0], deep.astype(np.float32) / np.float32(65535))


def test_sixteen_bit_pgm_is_divided_by_65535(read_file):
    deep = np.arange(48).reshape(6, 8) * 1300
    content = b"P5 8 6 65535\n" + deep.astype(">u2").tobytes()
    signal = read_file(content, (1, 6, 8)).signal
    np.testing.assert_array_equal(signal[0], deep.astype(np.float32) / np.float32(65535))


def test_integers_beyond_sixteen_bits_are_decode_errors(read_file, encode):
    sample = read_file(encode(np.full((6, 8), 70_000, np.int32), "tif"))
    assert sample.status == "decode_error"
    assert "0 to 65535" in sample.detail
    assert "70000" in sample.detail


def test_float_images_are_taken_as_they_are(read_file, encode):
    values = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
    signal = read_file(encode(values, "tif"), (1, 6, 8)).signal
    np.testing.assert_array_equal(signal[0], values)


def test_float_images_outside_the_unit_interval_are_decode_errors(read_file, encode):
    sample = read_file(encode(np.full((6, 8), 1.5, np.float32), "tif"))
    assert sample.status == "decode_error"
    assert "[0, 1], got 1.5 to 1.5" in sample.detail


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_float_images_with_nan_or_infinity_are_nonfinite(read_file, encode, value):
    values = np.zeros((6, 8), np.float32)
    values[2, 3] = value
    sample = read_file(encode(values, "tif"))
    assert (sample.status, sample.signal) == ("nonfinite", None)
    assert "got 1 of 48" in sample.detail


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "gif"])
@pytest.mark.parametrize("tolerant_elsewhere", [False, True])
def test_half_an_image_is_a_decode_error(
    read_file, encode, picture, suffix, tolerant_elsewhere, monkeypatch
):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", tolerant_elsewhere)
    content = encode(picture(64, 64), suffix)
    sample = read_file(content[: len(content) // 2], (3, 64, 64))
    assert sample.status == "decode_error"
    assert "one.png" in sample.detail


def test_too_many_pixels_are_refused_before_they_are_decoded(read_file):
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"not even compressed")
    sample = read_file(bomb, decoding=DecodingConfig(max_pixels=1_000_000))
    assert sample.status == "decode_error"
    assert "1000000 pixels" in sample.detail
    assert "9000 x 9000" in sample.detail


def test_an_image_that_would_grow_too_large_is_refused(read_file, encode):
    sample = read_file(
        encode(np.zeros((1, 2000), np.uint8)), (3, 224, 224), {"resize": 224, "crop": (224, 224)},
        decoding=DecodingConfig(max_pixels=1_000_000),
    )  # fmt: skip
    assert sample.status == "shape_error"
    assert "448000 x 224" in sample.detail


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_the_first_frame_of_an_animation_is_taken(read_file, encode, suffix):
    frames = [Image.new("RGB", (8, 6), (value, value, value)) for value in (255, 0, 0)]
    options = {"save_all": True, "append_images": frames[1:]}
    if suffix == "webp":
        options["lossless"] = True
    assert read_file(encode(frames[0], suffix, **options)).signal.min() == 1.0


@pytest.mark.parametrize("content", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"GIF89a"])
def test_what_is_no_image_is_a_decode_error_with_its_path(read_file, content):
    sample = read_file(content)
    assert (sample.status, sample.signal) == ("decode_error", None)
    assert "one.png" in sample.detail
    assert "expected" in sample.detail


def test_a_constant_image_is_read(read_file, encode):
    assert read_file(encode(np.full((6, 8, 3), 7, np.uint8))).status == "ok"
