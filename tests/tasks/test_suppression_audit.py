"""Audits with cues suppressed: models that need one known cue lose it, and only it."""

import importlib
import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from tasks.aggregate import summarise
from tasks.analyses import ShardTables
from tasks.analyses.suppression import CueSuppression
from tasks.config_files import validate_config
from tasks.datasets import SampleReader
from tasks.errors import ConfigError
from tasks.planning import total_passes
from tasks.publish import write_results
from tasks.session import AuditSession
from tasks.store import AuditFolder
from wam_core.suppression import SUPPRESSIONS

MODULE = "wam_audit_cue_models"
MODELS = '''
import torch
from torch import nn


class MeanColour(nn.Module):
    """Scores are the means of the channels: neither shape nor texture matters."""

    def forward(self, x):
        return 30 * x.flatten(2).mean(2)


class LeftHalf(nn.Module):
    """Scores whether the left or the right of the signal is brighter: nothing but place matters."""

    def forward(self, x):
        half = x.shape[-1] // 2
        left, right = x[..., :half].flatten(1).mean(1), x[..., half:].flatten(1).mean(1)
        return 30 * torch.stack([left - right, right - left], 1)


def mean_colour():
    return MeanColour()


def left_half():
    return LeftHalf()
'''
N_SAMPLES = 24


@pytest.fixture(scope="module", autouse=True)
def cue_models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cue-models")
    (folder / f"{MODULE}.py").write_text(MODELS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        importlib.invalidate_caches()
        yield
    sys.modules.pop(MODULE, None)


def coloured(n_samples=N_SAMPLES):
    """Noise, brighter in the channel of the class; 0, 1, 2, 0, ..."""
    pictures = np.random.default_rng(0).uniform(0, 150, (n_samples, 16, 16, 3))
    for index, picture in enumerate(pictures):
        picture[..., index % 3] += 60
    return pictures.astype(np.uint8)


def halves(*space, n_samples=N_SAMPLES):
    """Noise, brighter in the left half for class 0 and in the right half for class 1."""
    signals = np.random.default_rng(0).uniform(0, 0.6, (n_samples, 1, *space))
    for index, signal in enumerate(signals):
        half = space[-1] // 2
        signal[..., :half] += 0.4 * (index % 2 == 0)
        signal[..., half:] += 0.4 * (index % 2 == 1)
    return signals.astype(np.float32)


@pytest.fixture
def cue_config(toy_values, save_toys):
    """A toy audit with `analyses.suppression` switched on, or laid over by the settings given."""

    def config(signals, factory, name="toy", samples=None, suppressions=None, **sections):
        n_classes = 3 if factory == "mean_colour" else 2
        root = save_toys(signals, name=f"{factory}.npz", label=np.arange(len(signals)) % n_classes)
        space, images = list(signals.shape[2:]), signals.dtype == np.uint8
        size = {"crop": 16} if images else {"size": space, "crop": None}
        channels = {"channels": 3} if images else {"channels": 1}
        values = toy_values(
            dataset={"root": str(root)},
            model={
                "name": f"{MODULE}:{factory}",
                "preprocessing": size | channels | {"mean": [0.0], "std": [1.0]},
            },
            basis={"levels": 1},
            store={"shard_size": 9} | sections.pop("store", {}),
            analyses={
                "suppression": {
                    "enabled": True, "samples": samples, "suppressions": suppressions or {},
                },
                "intervals": {"n_resamples": 100},
                "reliance": {"fine_levels": 1},
            },
            **sections,
        )  # fmt: skip
        values["attribution"] = {
            "smoothgrad": {"n_samples": 1},
            "integrated_gradients": {"enabled": False},
        }
        return validate_config(values | {"name": name}, where="the test")

    return config


def summary_of(config, folder):
    """The summary alone, without the report."""
    session = AuditSession(config)
    folder = AuditFolder(str(folder))
    return summarise(config, folder, session.shards, session.completed()).record


def metrics_of(summary, name):
    return {
        (entry["labels"].get("suppression"), entry["labels"].get("strength")): entry
        for entry in summary["metrics"]
        if entry["name"] == f"texture/{name}"
    }


def test_a_model_of_colours_loses_all_without_colour_and_nothing_without_shape(
    cue_config, compute_all, stored
):
    config = cue_config(coloured(), "mean_colour")
    folder = compute_all(config)
    table = stored(folder).table("suppression")
    usual = {
        (name, float(strength))
        for name, suppression in SUPPRESSIONS.items()
        if suppression.exists_for(2, 3)
        for strength in suppression.usual
        if suppression.fits((16, 16), strength)
    }
    assert set(zip(table["suppression"], table["strength"], strict=True)) == usual
    assert len(table) == N_SAMPLES * len(usual)
    summary = write_results(AuditFolder(str(folder)), config).summary
    (clean,) = metrics_of(summary, "clean_accuracy").values()
    assert (clean["estimate"], clean["n"], clean["labels"]) == (1.0, N_SAMPLES, {})
    losses = metrics_of(summary, "relative_loss")
    # Equal channels leave the first class, which is right for a third; chance is a third too.
    grey = losses["greyscale", "1"]
    assert grey["estimate"] == pytest.approx(1.0)
    assert grey["labels"]["cue"] == "colour"
    assert (grey["n"], grey["unit"], grey["direction"]) == (N_SAMPLES, "fraction", "none")
    assert metrics_of(summary, "suppressed_accuracy")["greyscale", "1"]["estimate"] == 1 / 3
    assert losses["channel_shuffle", "1"]["estimate"] > 1  # always another class
    for kept in ("patch_shuffle", "patch_rotation", "bilateral_filter", "gaussian_blur"):
        for strength in (key[1] for key in losses if key[0] == kept):
            assert losses[kept, strength]["estimate"] == pytest.approx(0.0)
    consistency = metrics_of(summary, "suppression_consistency")
    assert consistency["patch_shuffle", "8"]["estimate"] == 1.0
    assert consistency["greyscale", "1"]["estimate"] == pytest.approx(1 / 3)
    assert consistency["greyscale", "1"]["low"] > 0.1  # Wilson's interval
    (line,) = [line for line in summary["headline"] if "cue suppressed" in line]
    assert "accuracy 1.00 [0.86, 1.00] becomes" in line
    assert "1.00 [0.86, 1.00] without global shape (patch shuffle, 8)" in line
    assert "; 0.33 [" in line.split(" without colour (greyscale, 1)")[0]
    assert line.endswith(f"(n = {N_SAMPLES}).")
    page = (folder / "report.html").read_text()
    assert "What is lost without a cue" in page
    assert "8 (patches along each axis)" in page
    assert "shape bias" not in page


@pytest.mark.parametrize(
    ("space", "shuffle", "harmless"),
    [
        ((64,), "segment_shuffle", "segment_reversal"),
        ((8, 9, 10), "patch_shuffle", "median_filter"),
    ],
)
def test_a_model_of_places_loses_by_shuffling_series_and_volumes(
    cue_config, compute_all, space, shuffle, harmless
):
    suppressions = {shuffle: [2, 4], harmless: []}
    config = cue_config(halves(*space), "left_half", suppressions=suppressions)
    summary = summary_of(config, compute_all(config))
    losses = metrics_of(summary, "relative_loss")
    assert losses[shuffle, "4"]["estimate"] > 0.3
    if space == (64,):  # two halves trade places: every prediction turns round
        assert losses[shuffle, "2"]["estimate"] == pytest.approx(2.0)
        assert losses[shuffle, "2"]["labels"]["cue"] == "temporal order"
    found = [strength for name, strength in losses if name == harmless]
    fitting = [
        strength
        for strength in SUPPRESSIONS[harmless].strengths
        if SUPPRESSIONS[harmless].fits(space, strength)
    ]
    assert sorted(found) == sorted(f"{strength:g}" for strength in fitting)
    for strength in found:
        assert losses[harmless, strength]["estimate"] == pytest.approx(0.0, abs=0.1)


def test_losses_follow_from_the_tables(cue_config, compute_all, stored):
    """Recomputed with pandas, on a sample of the dataset that leaves some rows out."""
    config = cue_config(
        halves(16, 16), "left_half", samples=11, suppressions={"patch_shuffle": [4]}
    )
    folder = compute_all(config)
    table = stored(folder).table("suppression")
    samples = stored(folder).table("samples")
    assert len(table) == table["sample_id"].nunique() == 11
    summary = summary_of(config, folder)
    rows = table.merge(samples, on="sample_id", suffixes=("", "_clean"))
    chance = samples["label"].value_counts(normalize=True).max()
    expected = 1 - (rows["correct"].mean() - chance) / (rows["correct_clean"].mean() - chance)
    (loss,) = metrics_of(summary, "relative_loss").values()
    assert loss["estimate"] == pytest.approx(expected)
    assert loss["low"] <= expected <= loss["high"]
    assert loss["low"] < loss["high"]
    assert loss["n"] == 11
    (kept,) = metrics_of(summary, "suppression_consistency").values()
    assert kept["estimate"] == pytest.approx(rows["kept"].mean())


def test_rows_are_the_models_answers_to_the_suppressed_signals(cue_config, compute_all, stored):
    suppressions = {"patch_shuffle": [4], "channel_shuffle": [], "phase_scrambling": [180]}
    config = cue_config(coloured(6), "mean_colour", suppressions=suppressions)
    table = stored(compute_all(config)).table("suppression").set_index(["sample_id", "suppression"])
    session = AuditSession(config)
    reader = SampleReader(config.dataset, session.manifest, session.preprocessing)
    model = sys.modules[MODULE].mean_colour()
    for row, sample_id in enumerate(session.manifest.table["sample_id"]):
        signal = torch.from_numpy(reader.read(row).signal)[None]
        clean = int(model(signal).argmax())
        for name, strengths in suppressions.items():
            changed = SUPPRESSIONS[name].apply(
                signal,
                (strengths or [1.0])[0],
                sample_ids=[sample_id],
                seed=config.attribution.seed,
            )
            probabilities = torch.softmax(model(changed)[0], 0)
            found = table.loc[sample_id, name]
            assert found["probability_target"] == pytest.approx(
                float(probabilities[row % 3]), abs=1e-5
            )
            assert found["correct"] == (int(probabilities.argmax()) == row % 3)
            assert found["kept"] == (int(probabilities.argmax()) == clean)


def test_numbers_do_not_depend_on_batches_and_shards(cue_config, compute_all, stored):
    tables = []
    for name, size in (("small", 1), ("large", 6)):
        config = cue_config(
            coloured(6), "mean_colour", name=name, execution={"max_batch": size},
            store={"shard_size": size},
        )  # fmt: skip
        tables.append(stored(compute_all(config)).table("suppression"))
    keys = ["sample_id", "suppression", "strength"]
    first, second = (table.sort_values(keys).reset_index(drop=True) for table in tables)
    pd.testing.assert_frame_equal(first, second, rtol=1e-4)


def test_what_suppression_costs_is_planned(cue_config, compute_all):
    config = cue_config(coloured(), "mean_colour", samples=10)
    session = AuditSession(config)
    planned = total_passes(session, session.shards)
    folder = compute_all(config)
    receipts = [json.loads(path.read_text()) for path in folder.glob("receipts/*.json")]
    assert sum(receipt["n_forward"] for receipt in receipts) == planned.forward
    assert sum(receipt["n_backward"] for receipt in receipts) == planned.backward


def test_without_labels_there_is_consistency_and_no_loss(cue_config, compute_all):
    config = cue_config(coloured(6), "mean_colour", suppressions={"patch_shuffle": [4]})
    with np.load(config.dataset.root) as content:
        np.savez(config.dataset.root, **(dict(content) | {"label": np.full(6, np.nan)}))
    config = config.model_copy(
        update={"attribution": config.attribution.model_copy(update={"target": "predicted"})}
    )
    summary = summary_of(config, compute_all(config))
    (kept,) = metrics_of(summary, "suppression_consistency").values()
    assert (kept["estimate"], kept["n"]) == (1.0, 6)
    for name in ("relative_loss", "suppressed_accuracy", "clean_accuracy"):
        assert not metrics_of(summary, name)


@pytest.mark.parametrize(
    ("suppressions", "message"),
    [
        ({"noise_vocoder": []}, r"does not exist for inputs of 2 dimensions .* patch_shuffle"),
        ({"patch_shufle": []}, r"has patch_shufle, which does not exist"),
        ({"patch_shuffle": [5]}, r"patch_shuffle has the strength 5; .* 2, 4, 6"),
        ({"patch_rotation": [16]}, r"strength 16; for inputs of 16 x 16 choose from 2, 4, 6, 8$"),
    ],
)
def test_suppressions_that_cannot_be_made_are_refused_at_once(cue_config, suppressions, message):
    config = cue_config(coloured(3), "mean_colour", suppressions=suppressions)
    with pytest.raises(ConfigError, match=message):
        _ = AuditSession(config).manifest


def test_the_index_weighs_answers_without_arrangement_against_those_without_texture(cue_config):
    config = cue_config(coloured(3), "mean_colour")
    rows = [
        (0, "global shape", True), (0, "global shape", False), (0, "texture", True),
        (1, "texture", False), (1, "global shape", True), (1, "colour", True),
        (2, "colour", True),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["sample_index", "cue", "correct"]).convert_dtypes()
    for part in (table, table[:0]):
        tables = ShardTables(pd.RangeIndex(3), {"suppression": part})
        ((fine, everything),) = CueSuppression(config).votes(tables).values()
        expected = [[0.5, 1, np.nan], [1.5, 1, np.nan]] if len(part) else [[np.nan] * 3] * 2
        np.testing.assert_array_equal([fine, everything], expected)
