"""Damage of recordings of unequal length, with other recordings in it; and of volumes."""

import numpy as np
import pandas as pd
import pytest
import torch

from tasks.analyses import corruption_choice
from tasks.errors import ConfigError
from tasks.session import AuditSession
from wam_core.corruptions import Corruption

soundfile = pytest.importorskip("soundfile")

RATE, LENGTH = 8000, 512
SEEN = []


def half_and_half(signal, parameters, generators, surroundings):
    """Another recording mixed in; what it is given is kept, to be looked at."""
    assert surroundings.sample_rate == RATE
    SEEN.append((signal.clone(), surroundings.others.clone()))
    return signal + parameters["part"] * (surroundings.others - signal)


def offset(signal, parameters, generators, surroundings):
    return signal + parameters["part"]


PARTS = tuple({"part": part} for part in (0.1, 0.2, 0.3, 0.4, 0.5))
MIXED = Corruption(
    "mixed_in", "noise", PARTS, half_and_half, needs=frozenset({"others", "sample_rate"})
)
OFFSET = Corruption("offset", "level", PARTS, offset)


@pytest.fixture(autouse=True)
def known_corruptions(monkeypatch):
    SEEN.clear()
    known = {each.name: each for each in (MIXED, OFFSET)}
    monkeypatch.setattr(corruption_choice, "corruptions_for", lambda ndim, n_channels: known)


def clip(index):
    """A tone of three lengths."""
    times = np.arange(LENGTH - 100 * (index % 3))
    return 0.1 * (index + 1) * np.sin(times)


MODELS = "wam_audit_planted_models"


@pytest.fixture
def sounds(tmp_path, toy_config):
    """Six clips of three lengths and two classes."""

    def config(settings=None, n_classes=2, **sections):
        folder = tmp_path / "clips"
        folder.mkdir(exist_ok=True)
        rows = []
        for index in range(6):
            soundfile.write(folder / f"{index}.wav", clip(index), RATE, subtype="FLOAT")
            rows.append({"path": f"{index}.wav", "label": index % n_classes})
        pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
        dataset = {"kind": "table", "root": str(folder), "manifest": "manifest.csv"}
        preprocessing = {
            "size": [LENGTH], "crop": None, "channels": 1, "mean": [0.0], "std": [1.0],
        }  # fmt: skip
        model = {"name": f"{MODELS}:banded", "preprocessing": preprocessing}
        return toy_config(
            dataset=dataset | {"id_column": None, "audio": {"sample_rate": RATE}},
            model=model,
            analyses={
                "corruptions": {"enabled": True, "samples": None} | (settings or {}),
                "reliance": {"fine_levels": 1},
            },
            **sections,
        )

    return config


def test_damage_is_of_what_is_heard_and_padding_stays(sounds, compute_all, stored):
    rows = stored(compute_all(sounds({"corruptions": ["offset"]}))).table("corruptions")
    damaged = rows[rows["severity"] > 0]
    expected = damaged["severity"] * 0.1
    # An offset of the part that is heard has its own size, however much padding follows.
    np.testing.assert_allclose(damaged["damage_rms"], expected, rtol=1e-5)


def test_another_recording_of_another_class_is_mixed_in_repeated_where_it_is_short(
    sounds, compute_all
):
    compute_all(sounds({"corruptions": ["mixed_in"], "severities": [2]}))
    known = {index: clip(index) for index in range(6)}
    assert len(SEEN) == 6
    for heard, other in SEEN:
        own, mixed_in = heard.numpy().ravel(), other.numpy().ravel()
        assert len(mixed_in) == len(own)
        (row,) = [
            index for index, each in known.items()
            if len(each) == len(own) and np.allclose(each, own, atol=1e-6)
        ]  # fmt: skip
        partners = [
            index for index, each in known.items()
            if np.allclose(np.resize(each, len(own)), mixed_in, atol=1e-6)
        ]  # fmt: skip
        assert partners
        assert all(index % 2 != row % 2 for index in partners)


def test_what_is_mixed_in_depends_on_the_sample_alone(sounds, compute_all, stored):
    keys = ["sample_id", "corruption", "severity"]

    def table(**sections):
        settings = sections.pop("settings", None)
        rows = stored(compute_all(sounds(settings, **sections))).table("corruptions")
        return rows.drop(columns="sample_index").set_index(keys)

    whole = table()
    others = [
        table(settings={"corruptions": ["mixed_in"], "severities": [3]}),
        table(settings={"samples": 2}),
        table(store={"shard_size": 2}, execution={"max_batch": 1}),
    ]
    for part in others:
        # Batches of other sizes round probabilities otherwise; other noise would change them a lot.
        pd.testing.assert_frame_equal(part, whole.loc[part.index], rtol=1e-5, atol=1e-7)


def test_a_corruption_that_needs_a_rate_is_made_of_recordings_alone(planted_config):
    pictures, labels = np.random.default_rng(0).uniform(0, 1, (4, 8, 8)), [0, 1, 0, 1]
    settings = {"corruptions": {"enabled": True}, "reliance": {"fine_levels": 1}}
    config = planted_config(pictures, labels, analyses=settings)
    choice = corruption_choice.CorruptionChoice(config)
    assert [corruption.name for corruption in choice.corruptions] == ["offset"]
    settings["corruptions"] |= {"corruptions": ["mixed_in"]}
    with pytest.raises(ConfigError, match="mixed_in, which needs the sample rate"):
        _ = AuditSession(planted_config(pictures, labels, analyses=settings)).manifest


def test_mixing_other_classes_in_needs_two_classes(sounds, compute_all, stored):
    asked = sounds({"corruptions": ["mixed_in"]}, n_classes=1)
    with pytest.raises(ConfigError, match="fewer than two classes; leave it out"):
        _ = AuditSession(asked).manifest
    rows = stored(compute_all(sounds(n_classes=1))).table("corruptions")
    assert set(rows["corruption"]) == {"clean", "offset"}


def test_volumes_take_the_same_way(tmp_path, toy_config, compute_all, stored):
    rng = np.random.default_rng(0)
    volumes = rng.uniform(0, 1, (4, 1, 8, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "volumes.npz", image=volumes, label=[0, 1, 0, 1])
    preprocessing = {
        "size": [8, 8, 8], "crop": None, "channels": 1, "mean": [0.0], "std": [1.0],
    }  # fmt: skip
    config = toy_config(
        dataset={"root": str(tmp_path / "volumes.npz"), "id_column": None},
        model={"name": f"{MODELS}:banded", "preprocessing": preprocessing},
        analyses={"corruptions": {"enabled": True}, "reliance": {"fine_levels": 1}},
    )
    levels = stored(compute_all(config)).table("corruption_levels")
    damaged = levels[levels["severity"] > 0]
    # An offset lies in the approximation alone.
    power = damaged.groupby("level")["damage_power"].mean()
    assert power["approximation"] == pytest.approx(np.mean([0.01, 0.04, 0.09, 0.16, 0.25]))
    assert power.drop("approximation").max() < 1e-9
    assert torch.isfinite(torch.tensor(levels["signal_power"].to_numpy())).all()
