import sys

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import squeezenet1_0

from tasks.config import ModelConfig
from tasks.errors import ModelError
from tasks.models import load_model, resolve_preprocessing

CPU = torch.device("cpu")
SMALL = {"crop": 8, "channels": 3}


def load(source, name, **fields):
    config = ModelConfig(source=source, name=name, **fields)
    return load_model(config, device=CPU)


def test_a_timm_model_loads_by_name(tmp_path):
    fields = {"arguments": {"num_classes": 7}, "preprocessing": {"resize": 36, "crop": 32}}
    model = load("timm", "mobilenetv3_small_050", **fields)
    assert model.module(torch.rand(2, 3, 32, 32)).shape == (2, 7)
    assert model.description == "timm mobilenetv3_small_050, random weights"
    assert load("timm", "mobilenetv3_small_050", **fields).weights_digest == model.weights_digest


def test_a_torchvision_model_loads_from_safetensors_with_overrides(tmp_path):
    torch.manual_seed(1)
    original = squeezenet1_0(num_classes=5).eval()
    save_file(original.state_dict(), tmp_path / "w.safetensors")
    fields = {
        "arguments": {"num_classes": 5},
        "checkpoint": str(tmp_path / "w.safetensors"),
        "preprocessing": {"resize": 64, "crop": 64, "mean": (0,), "std": (1,)},
    }
    model = load("torchvision", "squeezenet1_0", **fields)
    signal = torch.rand(1, 3, 64, 64)
    assert torch.equal(model.module(signal), original(signal))

    overridden = load(
        "torchvision",
        "squeezenet1_0",
        state_overrides={"classifier.1.padding": [1, 1]},
        **fields,
    )
    original.classifier[1].padding = (1, 1)
    assert torch.equal(overridden.module(signal), original(signal))
    assert not torch.equal(overridden.module(signal), model.module(signal))
    assert overridden.weights_digest == model.weights_digest


def test_densely_connected_models_with_in_place_activations_run_unmodified():
    model = load("torchvision", "densenet121", preprocessing={"resize": 32, "crop": 32})
    signal = torch.rand(1, 3, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.module(signal)[0, 0], signal)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_a_missing_library_names_its_extra(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModelError, match=rf"package {library}.*wam-audit\[images\]"):
        resolve_preprocessing(ModelConfig(source=library, name="resnet18"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{module}", "written package.module:function"),
        ("{module}:", "written package.module:function"),
        ("{module}:absent", "has no function 'absent'"),
        ("absent_package.models:tiny", "absent_package.*PYTHONPATH"),
        ("{module}:not_a_model", "must return a torch.nn.Module, got dict"),
        ("{module}:breaks", "ZeroDivisionError: the user's own mistake"),
    ],
)
def test_factories_that_give_no_model_say_why(factories, name, message):
    with pytest.raises(ModelError, match=message):
        load("factory", name.format(module=factories), preprocessing=SMALL)


def test_wrong_arguments_are_named(factories):
    with pytest.raises(ModelError, match=r"with arguments \{'n_clases': 3\}: TypeError"):
        load("factory", f"{factories}:tiny", arguments={"n_clases": 3}, preprocessing=SMALL)


def test_a_factory_takes_a_checkpoint(factories, tmp_path):
    first = load("factory", f"{factories}:tiny", preprocessing=SMALL)
    state = {name: tensor + 1 for name, tensor in first.module.model.state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    fields = {"checkpoint": str(tmp_path / "w.pt"), "preprocessing": SMALL}
    second = load("factory", f"{factories}:tiny", **fields)
    assert torch.equal(second.module.model.state_dict()["head.bias"], state["head.bias"])
    assert second.weights_digest != first.weights_digest
    assert second.description.endswith("w.pt by names")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": "factory", "name": "m:f", "pretrained": True}, "pretrained: true is for timm"),
        ({"source": "export", "name": "m.pt2", "checkpoint": "w.pt"}, "checkpoint does not apply"),
        ({"source": "export", "name": "m.pt2", "arguments": {"a": 1}}, "arguments does not apply"),
        (
            {"source": "torchscript", "name": "m.pt", "state_overrides": {"a": 1}},
            "state_overrides does not apply",
        ),
    ],
)
def test_options_that_do_not_apply_are_refused(fields, message):
    with pytest.raises(ModelError, match=message):
        load_model(ModelConfig(preprocessing=SMALL, **fields), device=CPU)


def test_torchvision_s_weights_are_only_downloaded_when_told_so():
    with pytest.raises(ModelError, match="set pretrained: true"):
        load("torchvision", "squeezenet1_0", arguments={"weights": "IMAGENET1K_V1"})
