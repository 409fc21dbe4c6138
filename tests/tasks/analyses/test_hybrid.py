"""Hybrids: planted models that see one scale only, in one, two and three dimensions."""

import importlib
import io
import json
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

from tasks.config_files import merge
from tasks.errors import ConfigError
from tasks.planning import total_passes
from tasks.publish import write_results
from tasks.session import AuditSession
from tasks.store import AuditFolder

MODULE = "wam_audit_hybrid_models"
MODELS = '''
import torch
from torch import nn


class SeesOneScale(nn.Module):
    """Two classes; reads the last axis of a signal after averaging over the others."""

    def forward(self, x):
        line = x.flatten(1, -2).mean(1)
        return 20 * torch.stack([self.evidence(line), -self.evidence(line)], 1)


class Coarse(SeesOneScale):
    """Which half is brighter."""

    def evidence(self, line):
        first, second = line.chunk(2, 1)
        return (first - second).mean(1)


class Fine(SeesOneScale):
    """Whether neighbours differ, or pairs of neighbours."""

    def evidence(self, line):
        pairs = line.unfold(1, 2, 2)
        quads = pairs.mean(2).unfold(1, 2, 2)
        neighbours = (pairs[..., 0] - pairs[..., 1]).abs().mean(1)
        return neighbours - (quads[..., 0] - quads[..., 1]).abs().mean(1)


class Late(nn.Module):
    """The second class where there is anything after sample 1000."""

    def forward(self, x):
        late = (x[:, 0, 1000:] ** 2).sum(1)
        return torch.stack([0.001 + 0 * late, late], 1)


def coarse():
    return Coarse()


def fine():
    return Fine()


def late():
    return Late()
'''


@pytest.fixture(scope="module", autouse=True)
def hybrid_models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hybrid-models")
    (folder / f"{MODULE}.py").write_text(MODELS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        importlib.invalidate_caches()
        yield
    sys.modules.pop(MODULE, None)


def planted(n_samples, space):
    """Class 0: the first half bright, neighbours differ. Class 1: the second half, and pairs."""
    rng = np.random.default_rng(5)
    places = np.arange(16)
    half = np.where(places < 8, 0.15, -0.15)
    strength = rng.uniform(0.8, 1.2, (n_samples, 1))
    labels = np.arange(n_samples) % 2
    sign = np.where(labels == 0, 1, -1)[:, None]
    fine = np.where(labels[:, None] == 0, (-1.0) ** places, (-1.0) ** (places // 2))
    lines = 0.5 + strength * (sign * half + 0.1 * fine)
    shape = (n_samples, *[1] * (len(space) - 1), 16)
    return np.broadcast_to(lines.reshape(shape), (n_samples, *space)).astype(np.float32), labels


@pytest.fixture
def hybrid_config(tmp_path, toy_config):
    def config(space=(16, 16), factory="coarse", n_samples=9, labels=None, hybrid=None, **sections):
        signals, planted_labels = planted(n_samples, space)
        path = tmp_path / f"planted-{len(space)}.npz"
        names = np.array([f"s{index}" for index in range(n_samples)])
        np.savez(path, image=signals, id=names, label=planted_labels if labels is None else labels)
        values = {
            "dataset": {"root": str(path)},
            "model": {
                "name": f"{MODULE}:{factory}",
                "preprocessing": {
                    "size": list(space), "crop": None, "channels": 1, "mean": [0.0], "std": [1.0],
                },
            },
            "basis": {"levels": 3},
            "analyses": {"hybrid": {"enabled": True} | (hybrid or {}), "gallery_size": 0},
            "store": {"shard_size": 5},
        }  # fmt: skip
        return toy_config(**merge(values, sections))

    return config


def metrics_of(summary):
    return {
        (entry["name"].removeprefix("texture/hybrid_"), entry["labels"].get("cut")): entry
        for entry in summary["metrics"]
        if entry["name"].startswith("texture/hybrid")
    }


@pytest.mark.parametrize("space", [(16,), (16, 16), (8, 8, 16)])
@pytest.mark.parametrize(("factory", "bias"), [("coarse", 1.0), ("fine", 0.0)])
def test_a_model_that_sees_one_scale_follows_the_parent_that_gave_it(
    hybrid_config, compute_all, stored, space, factory, bias
):
    config = hybrid_config(space, factory)
    folder = compute_all(config)
    table = stored(folder).table("hybrid")
    assert len(table) == 9
    assert table["coarse_correct"].all()
    assert table["fine_correct"].all()
    assert (table["coarse_label"] != table["fine_label"]).all()
    assert set(table["verdict"]) == {"coarse" if bias else "fine"}
    summary = write_results(AuditFolder(str(folder)), config).summary
    metrics = metrics_of(summary)
    assert metrics["coarse_bias", 2]["estimate"] == bias
    assert metrics["coverage", 2]["estimate"] == 1
    assert metrics["coarse_match", 2]["estimate"] == bias
    assert metrics["fine_match", 2]["estimate"] == 1 - bias
    assert metrics["eligible", None]["n"] == 9
    (line,) = [line for line in summary["headline"] if "hybrids" in line]
    assert "levels 1 to 2 of another whose parents are both predicted correctly" in line
    page = (folder / "report.html").read_text()
    assert 'id="hybrids"' in page
    assert page.count("Hybrid, levels 1 to 2 exchanged: taken for ") >= 3
    assert "shape bias" not in page.lower()


def test_metrics_are_those_of_the_table(toy_config, compute_all, stored):
    """A toy model is often wrong: only hybrids of two correct parents count, or all."""
    outcomes = {}
    for only_correct in (True, False):
        hybrid = {"enabled": True, "cuts": [1, 2], "only_correct": only_correct}
        config = toy_config(
            name=f"toy-{only_correct}", analyses={"hybrid": hybrid, "gallery_size": 0}
        )
        folder = compute_all(config)
        table = stored(folder).table("hybrid")
        assert len(table) == 2 * 11
        metrics = metrics_of(write_results(AuditFolder(str(folder)), config).summary)
        right = table["coarse_correct"] & table["fine_correct"]
        counted = table[right] if only_correct else table
        for cut in (1, 2):
            verdicts = counted[counted["cut"] == cut]["verdict"]
            matches = [(verdicts == name).sum() for name in ("coarse", "fine")]
            n = len(verdicts)
            outcomes[only_correct, cut] = (matches, n)
            if n:
                coverage = metrics["coverage", cut]
                assert (coverage["n"], coverage["estimate"]) == (n, pytest.approx(sum(matches) / n))
            if sum(matches):
                bias = metrics["coarse_bias", cut]
                assert bias["n"] == sum(matches)
                assert bias["estimate"] == pytest.approx(matches[0] / sum(matches))
                assert bias["low"] is None or bias["low"] <= bias["estimate"] <= bias["high"]
        eligible = right.groupby(table["sample_id"]).first().mean() if only_correct else 1.0
        assert metrics["eligible", None]["estimate"] == pytest.approx(eligible)
    assert outcomes[True, 1] != outcomes[False, 1]


def test_partners_and_answers_depend_on_the_sample_alone(hybrid_config, compute_all, stored):
    tables = []
    for name, sizes in (
        ("one", {"store": {"shard_size": 3}, "execution": {"max_batch": 1}}),
        ("some", {"store": {"shard_size": 4}, "execution": {"max_batch": 3}}),
    ):
        config = hybrid_config(name=name, hybrid={"cuts": [1, 3]}, **sizes)
        tables.append(stored(compute_all(config)).table("hybrid"))
    keys = ["sample_id", "cut"]
    first, second = (table.sort_values(keys).reset_index(drop=True) for table in tables)
    pd.testing.assert_frame_equal(first, second, rtol=1e-5)
    other_seed = hybrid_config(name="seed", attribution={"seed": 1}, hybrid={"cuts": [1, 3]})
    third = stored(compute_all(other_seed)).table("hybrid").sort_values(keys)
    assert third["fine_id"].tolist() != first["fine_id"].tolist()


def test_pictures_are_few_small_and_in_the_ledger(hybrid_config, compute_all):
    folder = compute_all(hybrid_config(hybrid={"cuts": [1, 2], "examples": 2}))
    files = sorted(folder.glob("pictures/hybrid/*.png"))
    assert len(files) == 2 * 4
    assert {file.name[6:] for file in files} == {
        "-coarse.png", "-fine.png", "-cut-1.png", "-cut-2.png",
    }  # fmt: skip
    picture = np.asarray(Image.open(io.BytesIO(files[0].read_bytes())))
    assert picture.shape == (16, 16)
    receipts = [json.loads(path.read_text()) for path in folder.glob("receipts/*.json")]
    listed = {name for receipt in receipts for name in receipt["files"]}
    assert {str(path.relative_to(folder)) for path in files} <= listed


@pytest.mark.parametrize("samples", [None, 4])
def test_what_hybrids_cost_is_planned(hybrid_config, compute_all, stored, samples):
    config = hybrid_config(hybrid={"cuts": [1, 2, 3], "samples": samples})
    folder = compute_all(config)
    receipts = [json.loads(path.read_text()) for path in folder.glob("receipts/*.json")]
    session = AuditSession(config)
    planned = total_passes(session, session.shards)
    assert sum(receipt["n_forward"] for receipt in receipts) == planned.forward
    assert len(stored(folder).table("hybrid")) == 3 * (samples or 9)


def test_hybrids_that_cannot_be_made_are_refused_at_once(hybrid_config):
    with pytest.raises(ConfigError, match=r"levels 1 to 4 from another.*basis\.levels is 3"):
        hybrid_config(hybrid={"cuts": [1, 4]})
    with pytest.raises(ConfigError, match=r"have 1 class\(es\); give labels"):
        _ = AuditSession(hybrid_config(labels=np.zeros(9, int))).manifest
    unlabelled = hybrid_config(dataset={"label_column": None}, attribution={"target": "predicted"})
    with pytest.raises(ConfigError, match=r"have 0 class\(es\)"):
        _ = AuditSession(unlabelled).manifest


def test_sounds_are_joined_where_both_are_heard(tmp_path, toy_config, compute_all, stored):
    """Of a long and a short clip only what both have is kept, whichever gives the fine levels."""
    folder = tmp_path / "clips"
    folder.mkdir()
    rows = []
    for index, length in enumerate((2000, 1000, 2000, 1000)):
        clip = 0.3 * np.random.default_rng(index).normal(size=length)
        soundfile.write(folder / f"{index}.wav", clip, 8000, subtype="FLOAT")
        rows.append({"path": f"{index}.wav", "label": int(length > 1000)})
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    config = toy_config(
        dataset={
            "kind": "table", "root": str(folder), "manifest": "manifest.csv", "id_column": None,
            "audio": {"sample_rate": 8000},
        },
        model={
            "name": f"{MODULE}:late",
            "preprocessing": {
                "size": [2000], "crop": None, "channels": 1, "mean": [0.0], "std": [1.0],
            },
        },
        basis={"wavelet": "db4", "levels": 4},
        # Where nothing is heard the map of this model is zero, which is not asked about here.
        attribution={"integrated_gradients": {"enabled": False}},
        analyses={"hybrid": {"enabled": True}},
    )  # fmt: skip
    table = stored(compute_all(config)).table("hybrid")
    assert set(table["sample_id"]) >= {"0.wav", "2.wav"}
    assert table["coarse_correct"].all()
    assert (table["predicted"] == 0).all()
