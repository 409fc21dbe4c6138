"""Methods over the input in an audit: equal to Captum's own, scored where they speak, paired."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, LayerGradCam, NoiseTunnel, Saliency
from torch import nn

from tasks.analyses.input_methods import (
    CAPTUM,
    Explained,
    input_method,
)
from tasks.benchmark import table_of
from tasks.benchmark.table import TITLES
from tasks.compute import compute_shard
from tasks.errors import ConfigError
from tasks.planning import plan_audit
from tasks.session import AuditSession

N_SAMPLES, SIZE = 6, 16


def convolutional(ndim=2):
    conv = {1: nn.Conv1d, 2: nn.Conv2d}[ndim]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            conv(2, 4, 3, padding=1), nn.Tanh(), conv(4, 4, 3, padding=1), nn.Tanh(), nn.Flatten(),
            nn.LazyLinear(3),
        )  # fmt: skip
        net(torch.zeros(1, 2, *[8] * ndim))
    return net.eval()


def explained(net, ndim=2, **options):
    points = torch.rand(3, 2, *[8] * ndim, generator=torch.Generator().manual_seed(1))
    values = {
        "forward": net,
        "module": net,
        "head": "multiclass",
        "points": points,
        "targets": torch.tensor([0, 2, 1]),
        "support": torch.ones_like(points[:, :1]),
        "sample_ids": ["a", "b", "c"],
        "seed": 3,
        "max_batch": 8,
        "noise_fraction": 0.25,
    }
    return Explained(**(values | options))


def size(values):
    return values.abs().sum(1).flatten(1).detach()


def test_saliency_and_integrated_gradients_are_captums():
    net = convolutional()
    given = explained(net)
    expected = Saliency(net).attribute(given.points, target=given.targets)
    found = input_method("captum_saliency").method(given)
    torch.testing.assert_close(found, size(expected))
    expected = IntegratedGradients(net).attribute(
        given.points, target=given.targets, n_steps=50, method="riemann_trapezoid"
    )
    found = input_method("captum_integrated_gradients").method(given)
    torch.testing.assert_close(found, size(expected), atol=1e-6, rtol=1e-4)


def test_gradcam_is_captums_at_the_last_feature_map():
    net = convolutional()
    given = explained(net)
    expected = LayerGradCam(net, net[3]).attribute(
        given.points, target=given.targets, relu_attributions=True
    )
    found = input_method("captum_gradcam").method(given)
    torch.testing.assert_close(found, expected.flatten(1).detach())
    other = input_method("captum_gradcam").method(explained(net, layer="0"))
    assert not torch.allclose(found, other)


def test_smoothgrad_is_captums_and_each_sample_alone():
    net = convolutional()
    given = explained(net)
    found = input_method("captum_smoothgrad").method(given)
    alone = explained(net, points=given.points[1:2], targets=given.targets[1:2],
                      support=given.support[1:2], sample_ids=["b"])  # fmt: skip
    torch.testing.assert_close(input_method("captum_smoothgrad").method(alone)[0], found[1])
    with torch.random.fork_rng():
        torch.manual_seed(5)
        expected = NoiseTunnel(Saliency(net)).attribute(
            given.points, nt_type="smoothgrad", nt_samples=400, target=given.targets, abs=False,
            stdevs=0.25 * float(given.points[0].amax() - given.points[0].amin()),
        )  # fmt: skip
    correlation = np.corrcoef(found[0].numpy(), size(expected)[0].numpy())[0, 1]
    assert correlation > 0.8
    state = torch.random.get_rng_state()
    input_method("captum_smoothgrad").method(given)
    assert torch.equal(state, torch.random.get_rng_state())


def test_what_is_padding_is_not_explained():
    net = convolutional(1)
    support = torch.ones(3, 1, 8)
    support[1, :, 5:] = 0
    for name in ("captum_saliency", "captum_integrated_gradients"):
        found = input_method(name).method(explained(net, 1, support=support))
        assert float(found[1, 5:].abs().max()) == 0
        assert float(found[0, 5:].abs().max()) > 0


def test_a_method_that_is_not_known_is_told_with_those_that_are():
    with pytest.raises(ConfigError, match="captum_gradcam, captum_saliency"):
        input_method("captum_gradcampp")
    with pytest.raises(ConfigError, match="cannot be imported"):
        input_method("no_such_module:method")
    with pytest.raises(ConfigError, match="which the model does not have"):
        input_method("captum_gradcam").method(explained(convolutional(), layer="nowhere"))
    dense = nn.Sequential(nn.Flatten(), nn.Linear(128, 3))
    with pytest.raises(ConfigError, match="needs a convolution"):
        input_method("captum_gradcam").method(explained(dense))


def magnitude_of_pixels(given):
    """A method of the user's own."""
    return given.points.abs().sum(1).flatten(1)


@pytest.fixture
def benchmarked(planted_config, monkeypatch):
    def config(methods=("captum_saliency", "captum_integrated_gradients"), **sections):
        rng = np.random.default_rng(0)
        labels = np.arange(N_SAMPLES) % 2
        rows = 0.2 * (-1.0) ** np.arange(SIZE)[None, :, None]
        pictures = 0.5 + 0.1 * rng.standard_normal((N_SAMPLES, SIZE, SIZE)) * 0.3
        pictures = pictures + labels[:, None, None] * rows
        analyses = {
            "faithfulness": {"enabled": True, "samples": None, "n_steps": 4, "n_subsets": 8},
            "benchmark": {
                "enabled": True, "samples": None, "n_steps": 4, "n_subsets": 8,
                "methods": list(methods),
            },
        }  # fmt: skip
        values = {
            "attribution": {
                "smoothgrad": {"n_samples": 2},
                "integrated_gradients": {"n_steps": 2},
                "coalition_gradients": {"enabled": True, "n_samples": 4},
            },
            "analyses": analyses,
            "store": {"shard_size": N_SAMPLES},
            "execution": {"max_batch": N_SAMPLES},
        }
        return planted_config(pictures, labels, **(values | sections))

    return config


def test_every_method_is_scored_in_each_domain_and_differences_are_paired(
    benchmarked, summary_of, stored
):
    config = benchmarked()
    record, metrics = summary_of(config)
    table = stored(Path(AuditSession(config).folder.path())).table("benchmark")
    by_domain = table.groupby("domain")["method"].agg(set)
    inputs = {"captum_saliency", "captum_integrated_gradients"}
    assert inputs | {"magnitude", "random", "coalition_gradients"} <= by_domain["points"]
    assert by_domain["coefficients"] == inputs
    own = table[table["domain"] == "points"].pivot(index="sample_index", columns="method",
                                                   values="faith")  # fmt: skip
    wavelet = stored(Path(AuditSession(config).folder.path())).table("faithfulness")
    faith = wavelet.pivot(index="sample_index", columns="method", values="faith")
    for over, values in (("captum_saliency", own), ("magnitude", faith)):
        labels = {"measure": "faith", "method": "coalition_gradients", "over": over}
        found = metrics["benchmark/difference", tuple(sorted(labels.items()))]
        expected = (faith["coalition_gradients"] - values[over]).mean()
        assert found["estimate"] == pytest.approx(expected)
        assert found["n"] == N_SAMPLES
    assert table["faith"].between(-1, 1).all()
    np.testing.assert_allclose(table["faith"], table["insertion"] - table["deletion"])
    shown = table_of("toy", {"planted": record})
    assert shown.methods("planted")[0] == "captum_integrated_gradients"
    assert shown.methods("planted")[-2:] == ["magnitude", "random"]
    cell = shown.cell("planted", "captum_saliency", "faith")
    assert cell["estimate"] == pytest.approx(own["captum_saliency"].mean())
    assert shown.cell("planted", "coalition_gradients", "faith")["domain"] == "coefficients"
    assert shown.difference("planted", "coalition_gradients", "coalition_gradients") is None
    assert set(TITLES) >= set(CAPTUM)
    assert "planted,captum_saliency,points" in shown.csv()


def test_batches_change_nothing_and_passes_are_those_of_the_plan(benchmarked, compute_all, stored):
    tables = []
    for max_batch in (N_SAMPLES, 2):
        config = benchmarked(execution={"max_batch": max_batch}, name=f"b{max_batch}")
        plan = plan_audit(AuditSession(config))
        folder = compute_all(config)
        receipts = [json.loads(path.read_text()) for path in folder.glob("receipts/*.json")]
        assert sum(receipt["n_forward"] for receipt in receipts) == plan.n_forward
        assert sum(receipt["n_backward"] for receipt in receipts) == plan.n_backward
        tables.append(
            stored(folder).table("benchmark").sort_values(["sample_index", "method", "domain"])
        )
    columns = ["insertion", "deletion", "faith"]
    np.testing.assert_allclose(
        tables[0][columns].to_numpy(float), tables[1][columns].to_numpy(float), atol=1e-5
    )


@pytest.mark.parametrize("common", [True, False])
def test_the_budget_of_faithfulness_caps_methods_over_the_input_too(
    benchmarked, compute_all, common
):
    settings = benchmarked().analyses.model_dump(mode="json")
    budget = 64
    settings["faithfulness"] |= {"n_steps": 16, "n_subsets": 64, "budget": budget,
                                 "measures": ["count", "mu_fidelity"]}  # fmt: skip
    settings["benchmark"] |= {"n_steps": 16, "n_subsets": 64, "common": common}
    config = benchmarked(analyses=settings)
    plan = plan_audit(AuditSession(config))
    for part in ("faithfulness", "benchmark"):
        assert plan.parts[part].n_forward <= budget * N_SAMPLES
    receipts = [json.loads(path.read_text()) for path in compute_all(config).glob("receipts/*")]
    assert sum(receipt["n_forward"] for receipt in receipts) == plan.n_forward
    settings["faithfulness"] |= {"budget": 40}
    settings["benchmark"] |= {"common": True}
    with pytest.raises(ConfigError, match="Raise it, or ask for fewer"):
        plan_audit(AuditSession(benchmarked(analyses=settings)))


def test_a_method_of_the_users_own_joins_by_name(benchmarked, summary_of):
    name = f"{__name__}:magnitude_of_pixels"
    _, metrics = summary_of(benchmarked(methods=(name,)))
    assert ("benchmark/faith", (("domain", "points"), ("method", name))) in metrics


def test_the_analysis_of_faithfulness_must_take_the_same_samples(benchmarked):
    config = benchmarked()
    analyses = config.analyses.model_copy(
        update={"faithfulness": config.analyses.faithfulness.model_copy(update={"samples": 3})}
    )
    changed = config.model_copy(update={"analyses": analyses})
    with pytest.raises(ConfigError, match=r"with faithfulness\.samples equal"):
        plan_audit(AuditSession(changed))


def test_threads_that_share_the_model_do_not_disturb_each_other(toy_config, compute_all, stored):
    """Captum and front ends hang hooks into the model."""
    settings = {
        "enabled": True, "samples": None, "n_steps": 2, "n_subsets": 8, "common": False,
        "front_end": "first", "methods": ["captum_saliency", "captum_gradcam"],
    }  # fmt: skip
    faithfulness = {"enabled": True, "samples": None, "n_steps": 2, "measures": ["count"]}
    tables = []
    for name, workers in (("alone", 1), ("together", 4)):
        config = toy_config(
            12,
            name=name,
            attribution={"smoothgrad": {"n_samples": 2}, "integrated_gradients": {"n_steps": 2}},
            analyses={"benchmark": settings, "faithfulness": faithfulness},
            store={"shard_size": 3},
        )
        session = AuditSession(config)
        session.prepare_folder()
        _ = session.model, session.reader
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda shard: compute_shard(session, shard), session.shards))  # noqa: B023
        tables.append(stored(Path(session.folder.path())).table("benchmark"))
    keys = ["sample_id", "method", "domain"]
    first, second = (table.sort_values(keys, ignore_index=True) for table in tables)
    assert first[keys].equals(second[keys])
    assert set(first["domain"]) == {"points", "front_end"}
    np.testing.assert_array_equal(first["faith"].to_numpy(), second["faith"].to_numpy())
