"""Sound files of every format become the declared waveform, or say why not."""

import io

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.signal import resample_poly

from tasks.audio_config import AudioConfig
from tasks.config import DatasetConfig
from tasks.datasets import SampleReader, build_manifest
from tasks.datasets.audio import read_clip, resample
from tasks.datasets.sample import BadSampleError
from tasks.errors import ConfigError
from tasks.preprocessing import Preprocessing

RATE, LENGTH = 8000, 800
RNG = np.random.default_rng(0)
SOUND = (0.3 * np.sin(np.arange(LENGTH) * 0.3) + 0.01 * RNG.normal(size=LENGTH)).astype(np.float32)


def encoded(waveform=SOUND, rate=RATE, form="WAV", subtype="FLOAT"):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.asarray(waveform), rate, format=form, subtype=subtype)
    return buffer.getvalue()


def clip(content, length=LENGTH, segment=0, **settings):
    config = AudioConfig(**({"sample_rate": RATE} | settings))
    return read_clip(content, config, (1, length), segment)


@pytest.mark.parametrize(
    ("form", "subtype", "tolerance"),
    [
        ("WAV", "FLOAT", 0),
        ("WAV", "PCM_16", 3.1e-5),
        ("FLAC", "PCM_24", 1e-6),
        ("RF64", "FLOAT", 0),
    ],
)
def test_lossless_formats_give_the_stored_amplitudes(form, subtype, tolerance):
    found = clip(encoded(form=form, subtype=subtype))
    np.testing.assert_allclose(found.signal[0], SOUND, rtol=0, atol=tolerance)
    assert found.signal.dtype == np.float32
    assert found.n_valid == LENGTH


@pytest.mark.parametrize(("form", "subtype"), [("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_lossy_formats_give_what_soundfile_decodes(form, subtype):
    tone = np.tile(SOUND, 10)
    content = encoded(tone, form=form, subtype=subtype)
    wanted, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    found = clip(content, length=len(wanted))
    # The MP3 decoder rounds by how much is asked for at once.
    np.testing.assert_allclose(found.signal[0], wanted, rtol=0, atol=1e-7)


def test_resampling_keeps_a_tone_in_place_and_removes_what_does_not_fit():
    times = np.arange(4410) / 44100
    kept, lost = np.sin(2 * np.pi * 1000 * times), np.sin(2 * np.pi * 6000 * times)
    found = resample((kept + lost)[None].astype(np.float32), 44100, RATE)[0]
    assert len(found) == 800
    wanted = np.sin(2 * np.pi * 1000 * np.arange(800) / RATE)
    np.testing.assert_allclose(found[100:-100], wanted[100:-100], atol=2e-3)
    # An independent polyphase resampler agrees.
    other = resample_poly(kept + lost, 80, 441, window=("kaiser", 12.0))
    np.testing.assert_allclose(found[100:-100], other[100:-100], atol=2e-2)


def test_channels_are_averaged_taken_or_kept():
    stereo = np.stack([SOUND, -0.5 * SOUND], axis=1)
    content = encoded(stereo)
    np.testing.assert_allclose(clip(content).signal[0], 0.25 * SOUND, atol=1e-7)
    np.testing.assert_array_equal(clip(content, channels="first").signal[0], SOUND)
    kept = read_clip(content, AudioConfig(sample_rate=RATE, channels="keep"), (2, LENGTH))
    np.testing.assert_array_equal(kept.signal, stereo.T)
    with pytest.raises(BadSampleError, match="expected 1 channels for the model, got 2"):
        clip(content, channels="keep")


def test_peak_is_the_largest_magnitude_and_never_a_signed_maximum():
    lopsided = SOUND.copy()
    lopsided[5] = -0.8
    found = clip(encoded(lopsided), level="peak").signal[0]
    np.testing.assert_allclose(found, lopsided / 0.8, rtol=1e-6)
    assert found[5] == -1


def test_level_is_measured_without_the_padding():
    found = clip(encoded(), length=4 * LENGTH, level="rms", rms_level=0.2)
    assert found.n_valid == LENGTH
    rms = np.sqrt(np.mean(found.signal[0, :LENGTH].astype(np.float64) ** 2))
    assert rms == pytest.approx(0.2, rel=1e-6)
    assert not found.signal[0, LENGTH:].any()


@pytest.mark.parametrize("level", ["as_is", "peak", "rms"])
def test_silence_stays_silence(level):
    found = clip(encoded(np.zeros(LENGTH)), level=level)
    assert not found.signal.any()
    nearly = clip(encoded(np.full(LENGTH, 1e-6)), level=level, silent_tail=1e-4)
    assert not nearly.signal.any()


def test_a_silent_tail_is_padding():
    quiet_end = SOUND.copy()
    quiet_end[500:] = 5e-5
    found = clip(encoded(quiet_end), silent_tail=1e-4)
    assert found.n_valid == 500
    assert not found.signal[0, 500:].any()


def test_shorter_and_longer_clips_follow_the_policy():
    content = encoded()
    padded = clip(content, length=1000)
    assert (padded.n_valid, padded.signal.shape) == (LENGTH, (1, 1000))
    np.testing.assert_array_equal(clip(content, length=300).signal[0], SOUND[:300])
    third = clip(content, length=300, segment=2, longer="segment", duration_s=300 / RATE)
    assert third.n_valid == 200
    np.testing.assert_array_equal(third.signal[0, :200], SOUND[600:])
    for settings, length in (({"shorter": "reject"}, 1000), ({"longer": "reject"}, 300)):
        with pytest.raises(BadSampleError) as raised:
            clip(content, length=length, **settings)
        assert raised.value.status == "shape_error"


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"no sound", "decode_error", "8 bytes that libsndfile refuses"),
        (encoded()[:2000], "decode_error", "truncated"),
        (encoded(np.tile(SOUND, 20), form="OGG", subtype="VORBIS")[:4000], "decode_error", "Ogg"),
        (encoded(np.tile(SOUND, 20), form="FLAC", subtype="PCM_16")[:9000], "decode_error", "F"),
        (encoded(np.where(np.arange(LENGTH) == 7, np.nan, SOUND)), "nonfinite", "1 that are NaN"),
        (encoded(form="AIFF", subtype="PCM_16"), "decode_error", "got AIFF"),
        (np.zeros((1, LENGTH), dtype=np.uint8), "decode_error", "floats or signed integers"),
    ],
)
def test_bad_files_become_a_status(content, status, message):
    with pytest.raises(BadSampleError, match=message) as raised:
        clip(content)
    assert raised.value.status == status


def test_a_recording_beyond_the_limit_is_not_decoded():
    with pytest.raises(BadSampleError, match=r"at most 0\.05 s"):
        clip(encoded(), max_duration_s=0.05)


def test_integer_arrays_are_read_over_their_full_scale():
    found = clip(np.full((1, LENGTH), -16384, dtype=np.int16))
    assert (found.signal == -0.5).all()


@pytest.fixture
def folder(tmp_path):
    for name, factor in (("cat/a.wav", 1.0), ("cat/b.flac", 0.5), ("dog/c.ogg", 0.7)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, np.tile(factor * SOUND, 3), RATE)
    (tmp_path / "dog" / "notes.txt").write_text("not a sound")
    return tmp_path


def reader(root, length=LENGTH, **audio):
    config = DatasetConfig(root=str(root), audio={"sample_rate": RATE} | audio)
    manifest = build_manifest(config)
    return manifest, SampleReader(config, manifest, Preprocessing(input_shape=(1, length)))


def test_a_folder_of_sounds_is_a_dataset(folder):
    manifest, samples = reader(folder)
    assert manifest.table["sample_id"].tolist() == ["cat/a.wav", "cat/b.flac", "dog/c.ogg"]
    assert manifest.table["label"].tolist() == [0, 0, 1]
    read = [samples.read(row) for row in range(3)]
    assert [sample.status for sample in read] == ["ok"] * 3
    np.testing.assert_allclose(read[1].signal[0], 0.5 * SOUND, atol=1e-4)


def test_long_recordings_become_one_sample_per_segment(folder):
    length = 1000
    manifest, samples = reader(folder, length, longer="segment", duration_s=length / RATE)
    table = manifest.table
    assert len(table) == 9  # 2400 samples each: two whole segments and one of 400
    assert table["sample_id"].is_unique
    assert table["group"].tolist()[:3] == ["cat/a.wav"] * 3
    assert table["fingerprint"].nunique() == 3
    parts = [samples.read(row) for row in range(3)]
    assert [part.n_valid for part in parts] == [1000, 1000, 400]
    whole = np.concatenate([part.signal[0, : part.n_valid] for part in parts])
    np.testing.assert_allclose(whole, np.tile(SOUND, 3), atol=1e-4)


def test_the_stated_duration_must_be_the_model_s(folder):
    with pytest.raises(ConfigError, match=r"0.5 s at 8000 Hz, 4000 samples.*size is 800"):
        reader(folder, duration_s=0.5)


def test_sound_for_a_model_of_images_is_refused(folder):
    config = DatasetConfig(root=str(folder), audio={"sample_rate": RATE})
    with pytest.raises(ConfigError, match="signals with 2 axes"):
        SampleReader(config, build_manifest(config), Preprocessing(input_shape=(3, 8, 8)))


def test_sound_without_a_rate_asks_for_one(tmp_path):
    soundfile.write(tmp_path / "a.wav", SOUND, RATE)
    pd.DataFrame({"path": ["a.wav"], "label": [0]}).to_csv(tmp_path / "m.csv", index=False)
    config = DatasetConfig(kind="table", root=str(tmp_path), manifest="m.csv")
    samples = SampleReader(config, build_manifest(config), Preprocessing(input_shape=(1, LENGTH)))
    with pytest.raises(ConfigError, match=r"dataset\.audio\.sample_rate"):
        samples.read(0)
