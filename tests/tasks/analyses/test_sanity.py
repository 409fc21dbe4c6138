"""Sanity checks of explanations in closed form, and of some that ignore what was learned."""

import hashlib
import importlib
import sys

import numpy as np
import pandas as pd
import pytest
import pywt
import torch
from safetensors.torch import save_file
from scipy import stats

from tasks.analyses.sanity_comparisons import largest_rise
from tasks.errors import ConfigError, ModelError
from tasks.models.digest import weights_digest
from tasks.planning import plan_audit
from tasks.publish import write_results
from tasks.session import AuditSession
from tasks.store import AuditFolder
from wam_core.randomisation import randomised

MODULE = "wam_audit_sanity_models"
MODELS = '''
import torch
from torch import nn


class Linear(nn.Module):
    """Scores are linear in the pixels, so that every explanation is a transform of the weights."""

    def __init__(self):
        super().__init__()
        self.scores = nn.Linear(256, 2)

    def forward(self, x):
        return self.scores(x.flatten(1))


class Deaf(nn.Module):
    """Its parameters scale the energy of the input: they do not decide which pixels matter."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(1, 2), nn.Linear(2, 2)

    def forward(self, x):
        return self.second(self.first(x.square().flatten(1).mean(1, keepdim=True)))


class Learned(nn.Module):
    """Layers without any structure but what was learned."""

    def __init__(self, size):
        super().__init__()
        self.first = nn.Linear(size * size, 24)
        self.second = nn.Linear(24, 24)
        self.head = nn.Linear(24, 2)

    def forward(self, x):
        return self.head(torch.tanh(self.second(torch.tanh(3 * self.first(x.flatten(1))))))


class Empty(nn.Module):
    """Nothing was learned."""

    def forward(self, x):
        total = x.square().flatten(1).sum(1)
        return torch.stack([total, -total], 1)


def linear():
    return Linear()


def deaf():
    return Deaf()


def learned(size=16):
    return Learned(size)


def empty():
    return Empty()
'''
N_SAMPLES = 12


@pytest.fixture(scope="module", autouse=True)
def sanity_models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sanity-models")
    (folder / f"{MODULE}.py").write_text(MODELS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        importlib.invalidate_caches()
        yield
    sys.modules.pop(MODULE, None)


@pytest.fixture
def checked(toy_config, tmp_path):
    """An audit of one of the models on noise, with sanity checks; sections are laid over it."""

    def config(factory, settings=(), size=16, **sections):
        root = tmp_path / f"noise-{size}.npz"
        if not root.exists():
            values = np.random.default_rng(0).integers(0, 255, (N_SAMPLES, size, size))
            np.savez(root, image=values.astype(np.uint8), label=np.arange(N_SAMPLES) % 2)
        base = {
            "dataset": {"root": str(root), "id_column": None},
            "model": {
                "name": f"{MODULE}:{factory}",
                "arguments": {"size": size} if factory == "learned" else {},
                "preprocessing": {
                    "size": [size, size], "crop": None, "channels": 1, "mean": [0.0], "std": [1.0],
                },
            },
            "attribution": {"gradient": {"enabled": True}},
            "analyses": {"sanity": {"enabled": True, "samples": None, "stages": 3, "n_passes": 3}
                         | dict(settings)},
            "store": {"shard_size": 6},
        }  # fmt: skip
        from tasks.config_files import merge

        return toy_config(**merge(base, sections))

    return config


@pytest.fixture
def rows_of(compute_all, stored):
    def rows(config):
        return stored(compute_all(config)).table("sanity")

    return rows


def selected(rows, **columns):
    for column, value in columns.items():
        rows = rows[rows[column] == value]
    return rows


def test_a_linear_model_in_closed_form(checked, rows_of):
    config = checked("linear", settings={"stages": 2, "networks": 1})
    rows = rows_of(config)
    model = AuditSession(config).model.module
    weights = [
        module.model.scores.weight.detach().numpy().reshape(2, 16, 16)
        for module in (model, randomised(model, ["model.scores"], seed=42))
    ]

    def coefficients(weight):
        approximation, *details = pywt.wavedec2(weight, "haar", level=2)
        bands = [approximation, *(band for level in details for band in level)]
        return np.concatenate([band.ravel() for band in bands])

    def expected(target, part=np.abs):
        left, right = (part(coefficients(weight[target])) for weight in weights)
        return stats.spearmanr(left, right).statistic

    # The explanation is the same for every sample of a class, and so is its similarity.
    for method in ("gradient", "smoothgrad_absolute", "smoothgrad_signed", "path_gradient"):
        found = selected(rows, comparison="cascading", method=method, stage=1)
        assert len(found) == N_SAMPLES
        for index, row in zip(found["sample_index"], found.itertuples(), strict=True):
            assert row.spearman == pytest.approx(expected(index % 2), abs=1e-4)
            if method != "smoothgrad_absolute":
                signed = expected(index % 2, part=np.asarray)
                assert row.spearman_signed == pytest.approx(signed, abs=1e-4)
            assert row.layers == "scores"
            assert row.randomised_share == 1.0
    # One layer: the only stage is the whole network, and the stage alone is the same network.
    assert set(selected(rows, comparison="independent")["stage"]) == {1}
    again = selected(rows, comparison="second_seed")
    assert set(again["method"]) == {"smoothgrad_absolute", "smoothgrad_signed"}
    assert again["spearman"].min() > 0.999


def test_explanations_that_ignore_what_was_learned_are_not_trustworthy(checked, compute_all):
    config = checked("deaf", gates=[{"metric": "sanity/trustworthy", "at_least": 1}])
    outcome = write_results(AuditFolder(str(compute_all(config))), config)
    metrics = {
        (entry["name"], tuple(sorted(entry["labels"].items()))): entry
        for entry in outcome.summary["metrics"]
    }
    for stage in (1, 2):
        key = (("method", "gradient"), ("stage", stage))
        assert metrics["sanity/randomisation_spearman", key]["estimate"] == pytest.approx(
            1.0, abs=1e-3
        )
    # The gradient is a multiple of the signal.
    energy = metrics["sanity/energy_similarity", (("method", "gradient"),)]
    assert energy["estimate"] == pytest.approx(1.0, abs=1e-3)
    overall = metrics["sanity/trustworthy", ()]
    assert (overall["estimate"], overall["low"], overall["high"]) == (0.0, 0.0, 0.0)
    assert overall["n"] == N_SAMPLES
    headline = outcome.summary["headline"][0]
    assert headline.startswith("NOT TRUSTWORTHY")
    assert "with every layer randomised is 1.00" in headline
    assert "at most 0.2 is asked (n = 12)" in headline
    assert outcome.gates_failed
    assert [gate.verdict for gate in outcome.gates if gate.kind == "metric"] == ["fail"]
    page = (AuditFolder(str(outcome.folder.url)).read_bytes("report.html")).decode()
    assert "The explanations fail a sanity check." in page


def test_explanations_that_follow_what_was_learned_pass(checked, compute_all):
    limits = {"seed_reliability": 0.0, "completeness_gap": 1.0}
    config = checked("learned", settings={"limits": limits}, size=32)
    outcome = write_results(AuditFolder(str(compute_all(config))), config)
    verdicts = {entry["method"]: entry["verdict"] for entry in outcome.summary["trust"]}
    assert verdicts == dict.fromkeys(
        ("gradient", "smoothgrad_absolute", "smoothgrad_signed", "integrated_gradients"), "pass"
    )
    assert "pass every sanity check" in outcome.summary["headline"][0]
    table = {(entry["name"], str(entry["labels"])): entry for entry in outcome.summary["metrics"]}
    assert table["sanity/trustworthy", "{}"]["estimate"] == 1.0
    names = {name for name, _ in table}
    assert {"sanity/randomisation_ssim", "sanity/independent_ssim"} <= names
    assert "sanity/randomisation_hog" not in names  # half of 32 pixels holds no block


def test_rows_depend_on_sample_model_configuration_and_seed_alone(checked, rows_of, tmp_path):
    def rows(name, methods=None, **sections):
        sections.setdefault("store", {})["url"] = str(tmp_path / name)
        return rows_of(checked("learned", settings={"methods": methods, "samples": 4}, **sections))

    base = rows("base")
    numbers = ["spearman", "spearman_within_bands", "ssim", "profile_overlap"]
    for name, sections in {
        "batches": {"execution": {"max_batch": 1}},
        "shards": {"store": {"shard_size": 12}},
    }.items():
        other = rows(name, **sections)
        key = ["sample_id", "comparison", "method", "stage"]
        left, right = (frame.sort_values(key, ignore_index=True) for frame in (base, other))
        pd.testing.assert_frame_equal(left[key], right[key])
        np.testing.assert_allclose(left[numbers], right[numbers], atol=2e-4)
    fewer = rows("methods", methods=["integrated_gradients"])
    alone = base[base["method"].isin(["integrated_gradients", "path_gradient"])]
    pd.testing.assert_frame_equal(fewer, alone.reset_index(drop=True))
    with_seed = rows("seed", attribution={"seed": 7})
    assert not with_seed["spearman"].equals(base["spearman"])


def test_every_sample_meets_one_of_several_networks(checked, rows_of, tmp_path):
    def similarities(name, networks):
        settings = {"stages": 2, "networks": networks, "methods": ["gradient"]}
        rows = rows_of(checked("linear", settings=settings, store={"url": str(tmp_path / name)}))
        found = selected(rows, comparison="cascading", stage=1)
        # The explanation of a linear model is that of its class.
        classes = found["sample_index"] % 2
        return found["spearman"].round(5).groupby(classes).nunique()

    assert similarities("one", 1).tolist() == [1, 1]
    assert similarities("more", 3).max() > 1
    assert similarities("more", 3).max() <= 3


def test_coalitions_are_checked_by_their_gradient_part(checked, compute_all):
    coalitions = {"coalition_gradients": {"enabled": True, "n_samples": 4}}
    settings = {"methods": ["coalition_gradients"], "n_passes": 4, "samples": 4}
    config = checked("learned", settings, attribution=coalitions)
    outcome = write_results(AuditFolder(str(compute_all(config))), config)
    (verdict,) = outcome.summary["trust"]
    assert verdict["method"] == "coalition_gradients"
    words = [check["check"] for check in verdict["checks"]]
    assert "the similarity of its gradient part with every layer randomised" in words
    assert "the similarity to the same map from other draws" in words
    assert all(check["estimate"] is not None for check in verdict["checks"])
    part = next(
        entry["estimate"]
        for entry in outcome.summary["metrics"]
        if entry["name"] == "sanity/randomisation_spearman"
        and entry["labels"] == {"method": "coalition_mean_gradient", "stage": 3}
    )
    assert abs(part) < 0.2


def test_faithfulness_measured_in_the_same_audit_enters_the_verdict(checked, compute_all):
    settings = {"methods": ["integrated_gradients"], "samples": 4, "stages": 2}
    config = checked(
        "learned", settings, analyses={"faithfulness": {"enabled": True, "samples": 4}}
    )
    outcome = write_results(AuditFolder(str(compute_all(config))), config)
    (verdict,) = outcome.summary["trust"]
    (check,) = (
        entry for entry in verdict["checks"]
        if entry["metric"] == "faithfulness/faith_gain_over_energy"
    )  # fmt: skip
    assert check["limit"] == "at least 0"
    (gain,) = (
        entry["estimate"]
        for entry in outcome.summary["metrics"]
        if entry["name"] == "faithfulness/faith_gain_over_energy"
        and entry["labels"] == {"method": "integrated_gradients", "removal": "energy"}
    )
    assert check["estimate"] == gain


def test_passes_are_planned_and_the_weights_are_left_alone(checked, compute_all):
    config = checked("learned", settings={"samples": 4})
    session = AuditSession(config)
    before = weights_digest(session.model.module.state_dict())
    compute_all(config)
    receipts = session.completed().values()
    # 1 + 3 + 2 models, each 1 + 3 + 3 passes, and smoothing once more.
    part = plan_audit(AuditSession(checked("learned", settings={"samples": 4}, name="other"))).parts
    assert part["sanity"].n_samples == 4
    assert part["sanity"].n_backward == 4 * (6 * 7 + 3)
    assert part["sanity"].n_forward == 4 * 6 * 2
    attributed = part["attribution"]
    assert sum(receipt.n_backward for receipt in receipts) == attributed.n_backward + 4 * 45
    assert sum(receipt.n_forward for receipt in receipts) == attributed.n_forward + 4 * 12
    after = AuditSession(config).model
    assert weights_digest(session.model.module.state_dict()) == before
    assert weights_digest(after.module.state_dict()) == before


def test_the_same_weights_under_permuted_labels_change_nothing(checked, compute_all, tmp_path):
    weights = AuditSession(checked("learned")).model.module.model.state_dict()
    path = tmp_path / "permuted.safetensors"
    save_file({name: value.contiguous() for name, value in weights.items()}, path)
    config = checked("learned", settings={"random_label_checkpoint": str(path)})
    folder = AuditFolder(str(compute_all(config)))
    outcome = write_results(folder, config)
    (found,) = (
        entry for entry in outcome.summary["metrics"]
        if entry["name"] == "sanity/random_labels_spearman"
        and entry["labels"] == {"method": "path_gradient"}
    )  # fmt: skip
    assert found["estimate"] == pytest.approx(1.0)
    assert "with a network trained on permuted labels is 1.00" in outcome.summary["headline"][0]
    recorded = folder.read_json("audit.json")["analyses"]["sanity"]["random_label_checkpoint"]
    assert recorded == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_judges_is_no_part_of_the_identity(checked):
    base = checked("learned")
    assert checked("learned", settings={"limits": {"similarity": 0.5}}).digest() == base.digest()
    assert checked("learned", settings={"n_passes": 4}).digest() != base.digest()
    off = checked("learned", settings={"enabled": False})
    assert "sanity" not in off.identity()["analyses"]


def test_what_cannot_be_checked_is_refused(checked, compute_all, tmp_path):
    with pytest.raises(ConfigError, match="names gradient, which attribution leaves out"):
        checked("learned", {"methods": ["gradient"]}, attribution={"gradient": {"enabled": False}})
    with pytest.raises(ConfigError, match="stand in the file of source: torchscript"):
        checked("learned", {"random_label_checkpoint": "x.pt"}, model={"source": "torchscript"})
    missing = checked("learned", {"random_label_checkpoint": str(tmp_path / "no.safetensors")})
    with pytest.raises(ModelError, match=r"random_label_checkpoint.*there is no file"):
        _ = AuditSession(missing).manifest
    with pytest.raises(ModelError, match="no parameters, so nothing of it can be randomised"):
        compute_all(checked("empty"))
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(1)}, other)
    with pytest.raises(ModelError, match=r"random_label_checkpoint: .*does not fit"):
        compute_all(checked("learned", {"random_label_checkpoint": str(other)}))


def test_a_curve_rises_by_what_it_gains_after_its_lowest_point():
    curves = np.array([[0.6, 0.3, 0.1], [0.6, 0.1, 0.4], [1.2, 0.0, 0.1]])
    assert largest_rise(curves) == pytest.approx([0.0, 0.3, 0.2])
