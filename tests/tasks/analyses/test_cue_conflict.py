"""Cue conflicts: answers planted in the images, every image accounted for, three real models."""

import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from tasks.analyses import AuditParts, Batch
from tasks.analyses.categories import read_categories
from tasks.analyses.cue_conflict import CueConflict
from tasks.config_files import load_config, merge
from tasks.errors import ConfigError, DatasetError, IdentityError
from tasks.explain import Explanation, predict
from tasks.planning import total_passes
from tasks.publish import write_results
from tasks.session import AuditSession
from tasks.store import AuditFolder

CONFIGS = Path(__file__).parents[3] / "configs"
SHARED = CONFIGS.parents[1] / "shared"
MODULE = "wam_audit_conflict_models"
MODELS = '''
import torch
from torch import nn


class Told(nn.Module):
    """The top left pixel says in eighths which of six classes to answer."""

    def forward(self, x):
        told = x[:, :1, 0, 0] * 8
        return -4 * (told - torch.arange(6.0) - 1).square() + 0.01 * x.mean((1, 2, 3))[:, None]


def told():
    return Told()
'''
CATEGORIES = {"cat": [0, 1], "dog": [2], "car": [3, 4, 5]}

# Shape, texture, and the class that the model answers.
IMAGES = [
    ("cat", "dog", 1), ("cat", "dog", 2), ("cat", "car", 3), ("cat", "car", 2),
    ("dog", "cat", 2), ("dog", "car", 4), ("dog", "car", 0), ("car", "dog", 2),
    ("car", "cat", 5), ("car", "car", 5), ("", "cat", 0), ("cat", "tree", 0),
]  # fmt: skip
VERDICTS = [
    "shape", "texture", "texture", "other", "shape", "texture", "other", "texture", "shape",
    "no_conflict", "unknown_category", "unknown_category",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def conflict_models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conflict-models")
    (folder / f"{MODULE}.py").write_text(MODELS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        importlib.invalidate_caches()
        yield
    sys.modules.pop(MODULE, None)


@pytest.fixture
def conflict_config(tmp_path, toy_config, save_toys):
    def config(images=IMAGES, categories=CATEGORIES, **sections):
        rng = np.random.default_rng(3)
        pictures = rng.integers(20, 220, (len(images), 16, 16, 3)).astype(np.uint8)
        pictures[:, 0, 0] = [[round(255 * (answer + 1) / 8)] for *_, answer in images]
        shapes, textures, _ = zip(*images, strict=True)
        save_toys(pictures, shape=np.array(shapes), texture=np.array(textures))
        (tmp_path / "categories.json").write_text(
            categories if isinstance(categories, str) else json.dumps(categories)
        )
        values = {
            "dataset": {"label_column": None, "extra_columns": ["shape", "texture"]},
            "model": {
                "name": f"{MODULE}:told",
                "preprocessing": {"mean": [0.0], "std": [1.0]},
            },
            "attribution": {"target": "predicted"},
            "analyses": {
                "cue_conflict": {"enabled": True, "categories": "categories.json"},
                "gallery_size": 0,
            },
            "store": {"shard_size": 6},
        }
        return toy_config(**merge(values, sections))

    return config


def test_every_image_is_accounted_for(conflict_config, compute_all, stored):
    config = conflict_config()
    folder = compute_all(config)
    table = stored(folder).table("cue_conflict")
    assert table["verdict"].tolist() == VERDICTS
    assert table["shape"].fillna("").tolist() == [shape for shape, *_ in IMAGES]
    summary = write_results(AuditFolder(str(folder)), config).summary
    metrics = {
        (entry["name"], entry["labels"].get("category")): entry for entry in summary["metrics"]
    }
    expected = {
        "texture/eligible": (9, 12),
        "texture/shape_match": (3, 9),
        "texture/texture_match": (4, 9),
        "texture/neither": (2, 9),
        "texture/coverage": (7, 9),
        "texture/shape_bias": (3, 7),
    }
    for name, (count, n) in expected.items():
        entry = metrics[name, None]
        assert (entry["estimate"], entry["n"]) == (pytest.approx(count / n), n)
        wilson = stats.binomtest(count, n).proportion_ci(method="wilson")
        assert (entry["low"], entry["high"]) == pytest.approx((wilson.low, wilson.high))
    assert metrics["texture/shape_bias", "cat"]["estimate"] == pytest.approx(1 / 3)
    assert metrics["texture/coverage", "cat"]["estimate"] == pytest.approx(3 / 4)
    assert metrics["texture/texture_match", "dog"]["estimate"] == pytest.approx(1 / 3)
    assert ("texture/eligible", "cat") not in metrics
    (line,) = [line for line in summary["headline"] if "shape bias" in line]
    assert line.startswith("Of 9 images whose shape and texture contradict each other, 3 others")
    assert "3 are taken for their shape, 4 for their texture, 2 for neither" in line
    page = (folder / "report.html").read_text()
    assert 'id="cue-conflict"' in page
    assert "True conflicts: two different, known categories" in page
    assert "0.429 [" in page
    assert "shape bias" not in " ".join(
        line for line in summary["headline"] if "contradict" not in line
    )


def test_the_answer_is_the_category_of_the_largest_mean_probability(conflict_config):
    """Not of the largest sum: three classes of 0.2 lose against one of 0.3."""
    categories = read_categories(conflict_config())
    probabilities = torch.tensor([[0.05, 0.05, 0.3, 0.2, 0.2, 0.2]])
    expected = [[0.05, 0.3, 0.2]]
    np.testing.assert_allclose(categories.probabilities(probabilities), expected, atol=1e-7)
    with pytest.raises(ConfigError, match="'car' has class 5, but the model has 5 classes, 0 to 4"):
        categories.probabilities(probabilities[:, :5])


def test_the_verdict_does_not_depend_on_the_batch(conflict_config, compute_all, stored):
    tables = [
        stored(compute_all(conflict_config(name=name, **sizes))).table("cue_conflict")
        for name, sizes in (
            ("one", {"store": {"shard_size": 3}, "execution": {"max_batch": 1}}),
            ("all", {"store": {"shard_size": 12}}),
        )
    ]
    assert tables[0]["verdict"].equals(tables[1]["verdict"])
    columns = ["probability_shape", "probability_texture", "probability_decision"]
    np.testing.assert_allclose(*(table[columns].astype(float) for table in tables), rtol=1e-5)


def test_it_costs_no_pass(conflict_config, compute_all):
    config = conflict_config()
    session = AuditSession(config)
    planned = total_passes(session, session.shards)
    without = AuditSession(conflict_config(analyses={"cue_conflict": {"enabled": False}}))
    assert planned == total_passes(without, without.shards)
    folder = compute_all(config)
    receipts = [json.loads(path.read_text()) for path in folder.glob("receipts/*.json")]
    assert sum(receipt["n_forward"] for receipt in receipts) == planned.forward


def test_without_an_answer_that_follows_a_cue_there_is_no_bias(conflict_config, compute_all):
    config = conflict_config([("cat", "dog", 3), ("dog", "cat", 4), ("cat", "dog", 5)])
    folder = compute_all(config)
    summary = write_results(AuditFolder(str(folder)), config).summary
    assert not any(entry["name"] == "texture/shape_bias" for entry in summary["metrics"])
    assert any("there is no shape bias" in line for line in summary["headline"])
    assert "taken for neither" in (folder / "report.html").read_text()


def test_other_categories_are_another_audit(conflict_config, compute_all):
    compute_all(conflict_config())
    changed = conflict_config(categories=CATEGORIES | {"cat": [0]})
    with pytest.raises(IdentityError, match="files that analyses read"):
        AuditSession(changed).prepare_folder()


def test_other_cues_are_another_dataset(conflict_config):
    first = AuditSession(conflict_config()).manifest
    swapped = [("dog", "cat", 1), *IMAGES[1:]]
    assert AuditSession(conflict_config(swapped)).manifest.digest != first.digest


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ("{", "is no valid JSON"),
        ([["cat", 1]], "expected an object of two or more categories"),
        ({"cat": [1]}, "expected an object of two or more categories"),
        ({"cat": [1], "dog": []}, "class indices .* for 'dog', got"),
        ({"cat": [1], "dog": [-1]}, "class indices .* for 'dog'"),
        ({"cat": [1], "dog": [True]}, "class indices .* for 'dog'"),
        ({"cat": [1], "dog": "2"}, "class indices .* for 'dog'"),
        ({"cat": [1], "dog": [2, 1]}, "class 1 stands in more than one place"),
        ({"kitten": [0], "dog": [1]}, "none of 12 samples .* Known categories: kitten, dog"),
    ],
)
def test_categories_that_cannot_be_meant_are_refused(conflict_config, categories, message):
    with pytest.raises(ConfigError, match=message):
        _ = AuditSession(conflict_config(categories=categories)).manifest


def test_a_missing_file_or_column_is_named(conflict_config):
    settings = {"cue_conflict": {"categories": "elsewhere.json"}}
    with pytest.raises(DatasetError, match=r"cue_conflict\.categories .*elsewhere\.json cannot"):
        _ = AuditSession(conflict_config(analyses=settings)).manifest
    with pytest.raises(ConfigError, match=r"dataset\.extra_columns must name them; it lacks form"):
        conflict_config(analyses={"cue_conflict": {"shape_column": "form"}})
    config = conflict_config(
        dataset={"extra_columns": ["form", "texture"]},
        analyses={"cue_conflict": {"shape_column": "form"}},
    )
    with pytest.raises(DatasetError, match="form"):
        _ = AuditSession(config).manifest
    with pytest.raises(ConfigError, match=r"needs model\.head: multiclass"):
        conflict_config(model={"head": "multilabel"})


SHIPPED = {
    # The figures, and the answers behind them: shape, texture, neither.
    "cueconflict": ("imagenet_sample", 0.269, (42, 114, 84)),
    "cueconflict_mobilenetv2": ("imagenet_sample_mobilenetv2", 0.212, (33, 123, 84)),
    "cueconflict_squeezenet": ("imagenet_sample_squeezenet", 0.236, (33, 107, 100)),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_audits_ask_the_models_of_the_photographs(name):
    models = []
    for shipped in (name, SHIPPED[name][0]):
        model = load_config(CONFIGS / f"{shipped}.yaml").model.model_dump()
        for rule in ("resize", "crop", "size"):
            del model["preprocessing"][rule]
        models.append(model)
    assert models[0] == models[1]


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("name", SHIPPED)
def test_shape_bias_is_the_published_one(name, monkeypatch):
    for variable, folder in (("WAM_DATA_ROOT", "data"), ("WAM_MODEL_ROOT", "models")):
        root = Path(os.environ.get(variable) or SHARED / folder)
        if not root.is_dir():
            pytest.skip(f"{root} is not there; set {variable}")
        monkeypatch.setenv(variable, str(root))
    _, published, answers = SHIPPED[name]
    session = AuditSession(load_config(CONFIGS / f"{name}.yaml"))
    parts = AuditParts(
        session.config, session.manifest, session.reader, session.model, session.layout
    )
    analysis = CueConflict(session.config).open(parts)
    verdicts = []
    for start in range(0, 240, 24):
        rows = range(start, start + 24)
        signal = torch.stack([torch.from_numpy(session.reader.read(row).signal) for row in rows])
        prediction = predict(session.model, signal)
        batch = Batch(
            rows=rows,
            sample_ids=[str(row) for row in rows],
            signal=signal,
            targets=prediction.predicted,
            labels=[None] * len(rows),
            n_valid=None,
            prediction=prediction,
            explanation=Explanation({}, {}, 0, 0),
        )
        verdicts += [row["verdict"] for _, row in analysis.run(batch, 24).rows["cue_conflict"]]
    counts = tuple(verdicts.count(verdict) for verdict in ("shape", "texture", "other"))
    assert sum(counts) == 240
    assert counts[0] / (counts[0] + counts[1]) == pytest.approx(published, abs=0.01)
    assert counts == answers
