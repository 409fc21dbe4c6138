"""Whole audits of sound: unequal lengths, silence, padding, tones of known frequency in Hz."""

import base64
import importlib
import io
import json
import re
import sys
import wave
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from tasks.errors import ConfigError
from tasks.gallery import StoredAudit
from tasks.inspection import picture_sample
from tasks.planning import total_passes
from tasks.publish import write_results
from tasks.reporting import sample_figure
from tasks.reporting.sound_views import SoundView, column_sums, envelope
from tasks.session import AuditSession
from tasks.sounds import audible, loudest_stretch, wav_bytes
from tasks.store import AuditFolder

MODULE = "wam_audit_sound_models"
MODELS = '''
import torch
from torch import nn


class Small(nn.Module):
    """Local energy in a few learned bands; any length."""

    def __init__(self, sample_rate=None):
        super().__init__()
        if sample_rate is not None:
            self.sample_rate = sample_rate
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv = nn.Conv1d(1, 4, 9, padding=4, bias=False)
            self.head = nn.Linear(4, 3)

    def forward(self, x):
        return 10 * self.head(self.conv(x).square().mean(2))


class Energy(nn.Module):
    """Scores how loud the signal is and how rough: sums over what is not silent."""

    def forward(self, x):
        rough = x.diff(dim=-1).square().sum((1, 2))
        return torch.stack([x.square().sum((1, 2)), rough], 1)


class Tone(nn.Module):
    """Scores how much of a tone of a given frequency (Hz) is in the signal."""

    def __init__(self, frequency, sample_rate, length):
        super().__init__()
        times = torch.arange(length) / sample_rate
        self.register_buffer("tone", torch.sin(2 * torch.pi * frequency * times + 0.3))

    def forward(self, x):
        amount = (x[:, 0] * self.tone).sum(1)
        return torch.stack([amount, -amount], 1)


class Tail(torch.nn.Module):
    """Class 1 if anything sounds from some sample on, else class 0."""

    def __init__(self, first):
        super().__init__()
        self.first = first

    def forward(self, x):
        energy = x[:, 0].square()
        return torch.stack([energy.sum(1), 1e6 * energy[:, self.first :].sum(1)], 1)


def tail(**arguments):
    return Tail(**arguments)


def small(**arguments):
    return Small(**arguments)


def energy():
    return Energy()


def tone(**arguments):
    return Tone(**arguments)
'''
RATE, LENGTH = 8000, 2001


@pytest.fixture(scope="module", autouse=True)
def sound_models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound-models")
    (folder / f"{MODULE}.py").write_text(MODELS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        importlib.invalidate_caches()
        yield
    sys.modules.pop(MODULE, None)


def noise(n_samples, seed):
    return 0.1 * np.random.default_rng(seed).normal(size=n_samples)


CLIPS = {
    "a.wav": noise(LENGTH, 0),
    "b.flac": noise(1001, 1),  # shorter
    "c.ogg": noise(3000, 2),  # longer
    "d.wav": np.zeros(LENGTH),
    "e.wav": np.full(500, 0.25),  # constant before its padding
    "f.wav": noise(LENGTH, 3),
}


@pytest.fixture
def sound_config(tmp_path, toy_config):
    def config(clips=None, factory="small", arguments=None, length=LENGTH, audio=None, **sections):
        clips = CLIPS if clips is None else clips
        folder = tmp_path / "clips"
        folder.mkdir(exist_ok=True)
        rows = []
        for index, (name, clip) in enumerate(clips.items()):
            subtype = "FLOAT" if name.endswith("wav") else None
            soundfile.write(folder / name, clip, RATE, subtype=subtype)
            rows.append({"path": name, "label": index % 2})
        pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
        dataset = {
            "kind": "table",
            "root": str(folder),
            "manifest": "manifest.csv",
            "id_column": None,
            "audio": {"sample_rate": RATE} | (audio or {}),
            "max_bad_fraction": 1.0,
        }
        sections = {
            "dataset": dataset,
            "model": {
                "name": f"{MODULE}:{factory}",
                "arguments": arguments or {},
                "preprocessing": {
                    "size": [length], "crop": None, "channels": 1, "mean": [0.0], "std": [1.0],
                },
            },
            "basis": {"wavelet": "haar", "levels": 6},
        } | sections  # fmt: skip
        return toy_config(**sections)

    return config


def test_clips_of_any_length_pass_and_silence_is_degenerate(sound_config, compute_all, stored):
    config = sound_config()
    folder = compute_all(config)
    samples = stored(folder).table("samples").set_index("sample_id")["status"]
    assert samples.to_dict() == {
        "a.wav": "ok", "b.flac": "ok", "c.ogg": "ok", "d.wav": "degenerate",
        "e.wav": "degenerate", "f.wav": "ok",
    }  # fmt: skip
    levels = stored(folder).table("levels")
    assert not levels["sample_id"].isin(["d.wav", "e.wav"]).any()
    np.testing.assert_allclose(levels.groupby(["sample_id", "method"])["share"].sum(), 1)
    audit = json.loads((folder / "audit.json").read_text())
    assert audit["sound"]["sample_rate_hz"] == RATE
    assert audit["sound"]["frequency_bands"]["2"] == [1000, 2000]
    assert audit["frequency_labels"]["2"] == "1000–2000 Hz (0.25–0.5 ms)"
    assert audit["frequency_labels"]["approximation"] == "below 62.5 Hz (above 8 ms)"


def test_no_importance_lies_in_the_padding(sound_config, compute_all, stored):
    folder = compute_all(sound_config())
    audit = json.loads((folder / "audit.json").read_text())
    for method in ("smoothgrad", "integrated_gradients"):
        short = stored(folder).maps(method)[1, 0]  # 1001 of 2001 samples
        for band in audit["layout"]:
            values = short[band["start"] : band["stop"]]
            first = -(
                -1001 // 2 ** int(min(int(band["level"]) if band["level"].isdigit() else 6, 6))
            )
            assert not values[first:].any()
            assert values[:first].any()


def test_a_clip_alone_and_among_others_has_the_same_numbers(sound_config, compute_all, stored):
    one_by_one = sound_config(name="one", execution={"max_batch": 1}, store={"shard_size": 1})
    together = sound_config(name="all", store={"shard_size": 6})
    tables, maps = [], []
    for config in (one_by_one, together):
        folder = stored(compute_all(config))
        tables.append(folder.table("levels").sort_values(["sample_id", "method", "level"]))
        maps.append(folder.maps("smoothgrad"))
    pd.testing.assert_frame_equal(*(table.reset_index(drop=True) for table in tables), rtol=1e-4)
    scale = np.nanmax(np.abs(maps[0]))
    np.testing.assert_allclose(*maps, rtol=1e-4, atol=1e-4 * scale)


def test_a_resumed_audit_is_the_uninterrupted_one_byte_for_byte(sound_config, compute_all, stored):
    whole = compute_all(sound_config(name="whole", store={"shard_size": 2}))
    parts = sound_config(name="parts", store={"shard_size": 2})
    compute_all(parts, shards=[1])
    resumed = compute_all(parts)
    assert stored(resumed).checksums() == stored(whole).checksums()


@pytest.mark.parametrize(
    ("frequency", "level"), [(3000, "1"), (700, "3"), (90, "6"), (30, "approximation")]
)
@pytest.mark.parametrize("wavelet", ["db4", "sym8"])
def test_a_tone_puts_its_importance_at_the_level_of_its_hertz(
    sound_config, compute_all, stored, frequency, level, wavelet
):
    """A linear score: path integration gives each level its share of the tone's energy."""
    length = 4000
    times = np.arange(length) / RATE
    config = sound_config(
        clips={"tone.wav": 0.5 * np.sin(2 * np.pi * frequency * times + 0.3)},
        factory="tone",
        arguments={"frequency": frequency, "sample_rate": RATE, "length": length},
        length=length,
        basis={"wavelet": wavelet, "levels": 6},
        attribution={
            "smoothgrad": {"n_samples": 2, "noise_fraction": 0.001},
            "integrated_gradients": {"n_steps": 2, "baseline": "zero"},
        },
    )
    folder = compute_all(config)
    shares = stored(folder).table("levels").set_index(["method", "level"])["share"]
    for method in ("integrated_gradients", "smoothgrad_absolute"):
        assert shares[method].idxmax() == level
    assert shares["integrated_gradients"][level] > 0.6
    low, high = json.loads((folder / "audit.json").read_text())["sound"]["frequency_bands"][level]
    assert low <= frequency < high


def test_the_rate_a_model_states_must_be_the_dataset_s(sound_config):
    config = sound_config(arguments={"sample_rate": 16000})
    with pytest.raises(ConfigError, match="is 8000 Hz, but the model takes 16000 Hz"):
        _ = AuditSession(config).model


def test_the_report_speaks_in_hertz_and_plays_what_was_kept(sound_config, compute_all):
    config = sound_config()
    folder = compute_all(config)
    outcome = write_results(AuditFolder(str(folder)), config)
    headline = " ".join(outcome.summary["headline"])
    assert "lies above 1000 Hz (levels 1 to 2)" in headline
    assert "pixels" not in headline
    page = (folder / "report.html").read_text()
    assert "media-src data:" in page
    assert "1000–2000 Hz" in page
    sounds = re.findall(r'<audio[^>]+src="data:audio/flac;base64,([^"]+)"', page)
    # Two samples: the input, 10 % and 2 % of the coefficients, a soft selection, and 7 levels.
    assert len(sounds) == 2 * (4 + 7)
    played = [soundfile.read(io.BytesIO(base64.b64decode(sound))) for sound in sounds]
    assert {(len(sound), rate) for sound, rate in played} == {(LENGTH, RATE)}
    kept, softly, levels = played[2][0], played[3][0], [sound for sound, _ in played[4:11]]
    np.testing.assert_allclose(sum(levels), kept, atol=8 / 32767)  # 16-bit rounding of each
    assert np.abs(softly - kept).max() > 0.01
    explanation = StoredAudit.open(AuditFolder(str(folder))).explanation(0)
    figure = sample_figure(explanation)
    axes = figure.axes
    assert len(axes) == 1 + 2 + 3  # the input, two methods, three reconstructions
    assert axes[-1].get_xlabel() == "time in s"
    assert axes[1].get_yticklabels()[1].get_text().startswith("1000–2000 Hz")


def test_show_writes_what_is_to_be_heard(sound_config, compute_all, tmp_path):
    folder = AuditFolder(str(compute_all(sound_config())))
    picture, *sounds = picture_sample(folder, "b.flac", tmp_path / "b.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in sounds[:3]] == [
        "b-input.wav",
        "b-rebuilt-2-of-coefficients-by-WAM_IG.wav",
        "b-rebuilt-10-of-coefficients-by-WAM_IG.wav",
    ]
    assert len(sounds) == 4 + 7
    heard = {path.name: soundfile.read(path)[0] for path in sounds}
    given = CLIPS["b.flac"]
    similarity = np.corrcoef(heard["b-input.wav"][: len(given)], given)[0, 1]
    assert similarity > 0.999
    with pytest.raises(ConfigError, match="cannot write"):
        picture_sample(folder, "b.flac", tmp_path / "missing" / "b.png")


def test_players_share_one_gain_and_never_clip():
    sounds = audible({"input": np.array([[0.5, -2.0]]), "rebuilt": np.array([[0.1, 1.0]])})
    np.testing.assert_allclose(sounds["input"], [[0.225, -0.9]])
    np.testing.assert_allclose(sounds["rebuilt"], [[0.045, 0.45]])
    assert not audible({"silence": np.zeros((1, 4))})["silence"].any()
    with wave.open(io.BytesIO(wav_bytes(np.array([[0.0, 1.0, -1.0]]), 8000))) as file:
        assert np.frombuffer(file.readframes(3), dtype="<i2").tolist() == [0, 32767, -32767]


def test_the_excerpt_is_the_loudest_stretch():
    signal = np.zeros((1, 100))
    signal[0, 60:70] = 1
    start, stop = loudest_stretch(signal, 20)
    assert start <= 60
    assert stop >= 70
    assert stop - start == 20
    assert loudest_stretch(signal, 200) == (0, 100)


def test_pictures_lose_no_click_and_no_importance():
    waveform = np.zeros(10_000)
    waveform[4321] = 0.7
    assert envelope(waveform, 100)[1].max() == 0.7
    assert column_sums(np.ones(10_000)).sum() == 10_000
    picture = SoundView(peak=1.0).signal(waveform[None])
    assert picture.shape[2] == 3
    assert 0 <= picture.min() <= picture.max() <= 1


MIXTURES = ("white noise at 0 dB", "overlap at 0.2", "overlap at 3")
SELECTIONS = (
    "smoothgrad_signed",
    "integrated_gradients",
    "integrated_gradients_positive",
    "magnitude",
    "random",
)


def separation(**settings):
    values = {"enabled": True, "overlap_levels": [0.2, 3.0], "fractions": [0.1, 1.0], "n_passes": 2}
    return {"separation": values | settings}


def test_every_clip_is_measured_in_every_mixture_before_and_after(
    sound_config, compute_all, stored
):
    folder = compute_all(sound_config(analyses=separation()))
    table = stored(folder).table("separation")
    assert set(table["sample_id"]) == {"a.wav", "b.flac", "c.ogg", "f.wav"}  # d and e are silent
    versions = 1 + 2 * len(SELECTIONS)
    assert len(table) == 4 * len(MIXTURES) * versions
    before = table[table["selection"] == "none"]
    assert before["fraction"].isna().all()
    noisy = before[before["mixture"] == "white noise at 0 dB"]
    np.testing.assert_allclose(noisy["snr_target"], 0, atol=1e-4)
    np.testing.assert_allclose(noisy["si_sdr_target"], 0, atol=1.0)  # chance correlation
    # All coefficients, however they are ranked, are the mixture.
    columns = ["si_sdr_target", "si_sdr_interference", "snr_target", "probability_target"]
    everything = table[table["fraction"] == 1.0].set_index(["sample_id", "mixture", "selection"])
    whole = before.set_index(["sample_id", "mixture"])
    for selection in SELECTIONS:
        rebuilt = everything.xs(selection, level="selection")
        np.testing.assert_allclose(
            rebuilt[columns].to_numpy(float), whole.loc[rebuilt.index, columns], atol=1e-3
        )


def test_mixtures_depend_on_the_sample_alone(sound_config, compute_all, stored):
    tables = []
    for shard_size, max_batch in ((6, 8), (2, 1)):
        config = sound_config(
            analyses=separation(),
            store={"shard_size": shard_size},
            execution={"max_batch": max_batch},
        )
        tables.append(stored(compute_all(config)).table("separation"))
    keys = ["sample_id", "mixture", "selection", "fraction"]
    first, second = (table.sort_values(keys).reset_index(drop=True) for table in tables)
    pd.testing.assert_frame_equal(first, second, rtol=1e-3, atol=1e-3)


def test_an_explanation_finds_the_tone_that_the_model_hears(sound_config, compute_all, stored):
    """Another tone is three times as loud: magnitude keeps it, the explanation does not."""
    length = 4000
    times = np.arange(length) / RATE
    tones = {f"{hertz}.wav": 0.2 * np.sin(2 * np.pi * hertz * times + 0.3) for hertz in (700, 2900)}
    config = sound_config(
        clips=tones,
        factory="tone",
        arguments={"frequency": 700, "sample_rate": RATE, "length": length},
        length=length,
        basis={"wavelet": "sym8", "levels": 6},
        attribution={
            "smoothgrad": {"enabled": False},
            "integrated_gradients": {"n_steps": 2, "baseline": "zero"},
        },
        analyses=separation(overlap_levels=[3.0], noise_snr_db=[], fractions=[0.08]),
    )
    table = stored(compute_all(config)).table("separation")
    heard = table[table["sample_id"] == "700.wav"].set_index("selection")["si_sdr_target"]
    assert heard["none"] == pytest.approx(-20 * np.log10(3), abs=0.1)
    assert heard["integrated_gradients"] > 6
    assert heard["integrated_gradients_positive"] > 6
    assert heard["magnitude"] < -9
    assert heard["random"] < 0


def test_mixtures_reach_summary_report_and_ledger(sound_config, compute_all, stored):
    config = sound_config(analyses=separation(fractions=[0.1], examples=6))
    folder = compute_all(config)
    outcome = write_results(AuditFolder(str(folder)), config)
    table = stored(folder).table("separation")
    pivot, others = (
        table.pivot_table(
            index="sample_id", columns=["mixture", "selection"], values=column, aggfunc="first"
        )
        for column in ("si_sdr_target", "si_sdr_interference")
    )
    metrics = {
        (entry["name"], entry["labels"]["mixture"], entry["labels"]["method"]): entry
        for entry in outcome.summary["metrics"]
        if entry["name"].startswith("separation/")
    }
    for mixture in MIXTURES:
        mixed = pivot[mixture]
        for method in SELECTIONS:
            gain = metrics["separation/si_sdr_gain", mixture, method]
            assert gain["estimate"] == pytest.approx((mixed[method] - mixed["none"]).mean())
            assert gain["low"] <= gain["estimate"] <= gain["high"]
            assert (gain["n"], gain["unit"], gain["direction"]) == (4, "dB", "higher")
            contrast = metrics["separation/contrast_gain", mixture, method]
            apart = mixed - others[mixture]
            assert contrast["estimate"] == pytest.approx((apart[method] - apart["none"]).mean())
        over = metrics["separation/si_sdr_gain_over_magnitude", mixture, "integrated_gradients"]
        difference = mixed["integrated_gradients"] - mixed["magnitude"]
        assert over["estimate"] == pytest.approx(difference.mean())
        assert ("separation/si_sdr_gain_over_random", mixture, "magnitude") not in metrics
        (line,) = [
            line for line in outcome.summary["headline"] if line.lower().startswith(mixture.lower())
        ]
        for chosen in ("WAM_SG", "WAM_IG", "magnitude alone", "at random"):
            assert f"chosen {'' if chosen == 'at random' else 'by '}{chosen}" in line
    page = (folder / "report.html").read_text()
    assert "What the model hears in mixtures" in page
    assert page.count("<summary>Listen: ") == 4 * len(MIXTURES)
    # All six are examples, but two of them are silent.
    files = sorted(folder.glob("sounds/*/*.wav"))
    assert len(files) == 4 * len(MIXTURES) * (2 + len(SELECTIONS))
    receipts = [json.loads(path.read_text()) for path in folder.glob("receipts/*.json")]
    listed = {name for receipt in receipts for name in receipt["files"]}
    assert {str(path.relative_to(folder)) for path in files} <= listed
    with wave.open(str(files[0])) as file:
        assert (file.getframerate(), file.getnframes()) == (RATE, LENGTH)


def test_what_mixtures_cost_is_planned(sound_config, compute_all):
    clips = {"a.wav": noise(LENGTH, 0), "f.wav": noise(LENGTH, 3)}
    config = sound_config(clips=clips, analyses=separation())
    folder = compute_all(config)
    receipts = [json.loads(path.read_text()) for path in folder.glob("receipts/*.json")]
    session = AuditSession(config)
    planned = total_passes(session, session.shards)
    assert sum(receipt["n_forward"] for receipt in receipts) == planned.forward
    assert sum(receipt["n_backward"] for receipt in receipts) == planned.backward


def test_mixtures_that_cannot_be_made_are_refused_at_once(sound_config, toy_config):
    with pytest.raises(ConfigError, match=r"dataset\.audio must say how they are read"):
        toy_config(analyses=separation())
    config = sound_config(clips={"a.wav": noise(LENGTH, 0)}, analyses=separation())
    with pytest.raises(ConfigError, match=r"set analyses\.separation\.overlap_levels to"):
        _ = AuditSession(config).manifest
    config = sound_config(clips={"a.wav": noise(LENGTH, 0)}, analyses=separation(overlap_levels=[]))
    assert len(AuditSession(config).manifest.table) == 1


def test_noise_in_levels_stays_out_of_the_padding(sound_config, compute_all, stored):
    config = sound_config(
        clips={"a.wav": noise(1001, 1), "b.wav": noise(LENGTH, 3)},
        factory="tail",
        arguments={"first": 1001},
        analyses={"critical_bands": {"enabled": True, "noise_levels": [0.1, 10.0]}},
    )
    table = stored(compute_all(config)).table("critical_bands").set_index("sample_id")
    # The model hears where the short clip has ended, and there is silence in every noise.
    assert (table.loc["a.wav", "predicted"] == 0).all()
    assert (table.loc["b.wav", "predicted"] == 1).all()
    assert len(table) == 2 * 7 * 2


def test_noise_in_levels_is_told_in_hertz(sound_config, compute_all):
    """A model that hears one tone; noise in its octave is confused with the tone."""
    length = 2048
    times = np.arange(length) / RATE
    phase = 2 * np.pi * 700 * times + 0.3
    clips = {
        f"{index}.wav": (-0.3 if index % 2 else 0.3) * np.sin(phase) + 0.02 * noise(length, index)
        for index in range(12)
    }
    config = sound_config(
        clips=clips,
        factory="tone",
        arguments={"frequency": 700, "sample_rate": RATE, "length": length},
        length=length,
        basis={"wavelet": "sym8", "levels": 5},
        attribution={"smoothgrad": {"enabled": False}},
        analyses={"critical_bands": {"enabled": True, "noise_levels": [0.1, 1.0, 10.0, 100.0]}},
    )
    folder = compute_all(config)
    outcome = write_results(AuditFolder(str(folder)), config)
    metrics = {
        (entry["name"], entry["labels"].get("level")): entry
        for entry in outcome.summary["metrics"]
        if entry["name"].startswith("critical_band/") and "noise" not in entry["labels"]
    }
    thresholds = {level: metrics["critical_band/threshold", level] for level in (1, 3, 5)}
    assert thresholds[3]["estimate"] < 100
    lines = " ".join(outcome.summary["headline"])
    assert "Noise in level 3 (500 to 1000 Hz) disturbs the model most" in lines
    page = (folder / "report.html").read_text()
    assert "frequency (Hz)" in page
    cycles, hertz = (
        metrics[f"critical_band/centre_{unit}", None] for unit in ("frequency", "hertz")
    )
    if cycles["estimate"] is not None:
        assert hertz["estimate"] == pytest.approx(RATE * cycles["estimate"])
    assert hertz["unit"] == "Hz"


def suppression(**settings):
    return {
        "intervals": {"n_resamples": 50},
        "suppression": {"enabled": True, "samples": None} | settings,
    }


def test_suppressed_sounds_do_not_depend_on_their_padding_or_batch(
    sound_config, compute_all, stored
):
    """The model sees what is before the padding only: more of it changes nothing but rounding."""
    clips = {name: CLIPS[name] for name in ("a.wav", "b.flac", "f.wav")}
    tables = []
    for name, length, max_batch in (("exact", LENGTH, 1), ("padded", LENGTH + 500, 3)):
        config = sound_config(
            clips=clips,
            name=name,
            length=length,
            factory="energy",
            analyses=suppression(),
            execution={"max_batch": max_batch},
        )
        tables.append(stored(compute_all(config)).table("suppression"))
    keys = ["sample_id", "suppression", "strength"]
    first, second = (table.sort_values(keys).reset_index(drop=True) for table in tables)
    assert {"segment_shuffle", "noise_vocoder", "envelope_levelling"} <= set(first["suppression"])
    pd.testing.assert_frame_equal(first, second, rtol=1e-3)


def test_a_clip_too_short_for_a_strength_has_no_row_at_it(sound_config, compute_all, stored):
    clips = {"a.wav": noise(LENGTH, 0), "short.wav": noise(20, 1)}
    shuffles = {"segment_shuffle": [16], "segment_reversal": [16, 4]}
    config = sound_config(clips=clips, analyses=suppression(suppressions=shuffles))
    table = stored(compute_all(config)).table("suppression")
    found = table.groupby("sample_id")[["suppression", "strength"]].apply(
        lambda rows: set(rows.itertuples(index=False, name=None))
    )
    every = {("segment_shuffle", 16.0), ("segment_reversal", 16.0), ("segment_reversal", 4.0)}
    assert found["a.wav"] == every
    assert found["short.wav"] == every - {("segment_reversal", 16.0)}


def test_minimal_sounds_are_heard_and_their_padding_stays_silent(sound_config, compute_all):
    config = sound_config(
        clips={name: CLIPS[name] for name in ("a.wav", "b.flac")},
        attribution={"target": "predicted", "smoothgrad": {"enabled": False}},
        analyses={"minimal": {"enabled": True, "resolution": 1.0, "examples": 2}},
    )
    folder = AuditFolder(str(compute_all(config)))
    write_results(folder, config)
    page = (Path(folder.path()) / "report.html").read_text()
    section = page[page.index('<h2 id="minimal">') :]
    assert section.count('class="minimal-example"') == 2
    assert "Integrated gradients, " in section
    # The input, and what is left and the rest by four rankings, of both clips.
    assert section[: section.index("</section>")].count("<audio ") == 2 * (1 + 2 * 4)
    examples = StoredAudit.open(folder, config).examples()["minimal"]
    (short,) = [example for example in examples if example.explanation.sample_id == "b.flac"]
    signal = short.explanation.signal
    assert len(short.versions) == 4
    for version in short.versions:
        assert 0 <= version.part < 1
        # Both hold the baseline once: the mean of what is before the padding.
        together = version.left + version.taken - signal
        np.testing.assert_allclose(together[:, :1001], signal[:, :1001].mean(), atol=1e-5)
        np.testing.assert_allclose(together[:, 1001:], 0, atol=1e-5)
