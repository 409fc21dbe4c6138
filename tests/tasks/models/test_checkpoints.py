import pickle

import fsspec
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tasks.config import ModelConfig
from tasks.errors import ConfigError, ModelError
from tasks.models.checkpoints import load_checkpoint, read_state_dict


def two_layers(hidden=3):
    return nn.Sequential(nn.Linear(2, hidden), nn.LayerNorm(hidden), nn.Linear(hidden, 2))


def config(checkpoint, **fields):
    return ModelConfig(source="factory", name="m:f", checkpoint=str(checkpoint), **fields)


def equal_states(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.values(), second.values(), strict=True))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".PTH"])
def test_state_dicts_load_by_name(tmp_path, suffix):
    trained, fresh = two_layers(), two_layers()
    torch.save(trained.state_dict(), tmp_path / f"w{suffix}")
    load_checkpoint(fresh, config(tmp_path / f"w{suffix}"))
    assert equal_states(trained.state_dict(), fresh.state_dict())


def test_safetensors_load_by_name(tmp_path):
    trained, fresh = two_layers(), two_layers()
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    load_checkpoint(fresh, config(tmp_path / "w.safetensors"))
    assert equal_states(trained.state_dict(), fresh.state_dict())


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_checkpoints_load_from_any_fsspec_url(tmp_path, suffix):
    trained, fresh = two_layers(), two_layers()
    local = tmp_path / f"w{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(trained.state_dict(), local)
    url = f"memory://models/checkpoint{suffix}"
    with fsspec.open(url, "wb") as file:
        file.write(local.read_bytes())
    load_checkpoint(fresh, config(url))
    assert equal_states(trained.state_dict(), fresh.state_dict())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"epoch": 3, "state_dict": state},
        lambda state: {"model": state, "optimizer": {"state": {}}},
        lambda state: {"model_state_dict": state},
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {"model": {f"module._orig_mod.{k}": v for k, v in state.items()}},
        lambda state: {"model": "resnet", "state_dict": state},
    ],
)
def test_what_training_scripts_wrap_around_is_taken_off(tmp_path, wrap):
    trained, fresh = two_layers(), two_layers()
    torch.save(wrap(trained.state_dict()), tmp_path / "w.pt")
    load_checkpoint(fresh, config(tmp_path / "w.pt"))
    assert equal_states(trained.state_dict(), fresh.state_dict())


def test_the_placeholder_of_the_model_root_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("WAM_MODEL_ROOT", str(tmp_path))
    torch.save(two_layers().state_dict(), tmp_path / "w.pt")
    load_checkpoint(two_layers(), config("${WAM_MODEL_ROOT}/w.pt"))
    with pytest.raises(ModelError, match=r"there is no file '.*absent.pt' \(written as '\$"):
        load_checkpoint(two_layers(), config("${WAM_MODEL_ROOT}/absent.pt"))
    monkeypatch.delenv("WAM_MODEL_ROOT")
    with pytest.raises(ConfigError, match="WAM_MODEL_ROOT"):
        load_checkpoint(two_layers(), config("${WAM_MODEL_ROOT}/w.pt"))


def test_a_pickled_model_is_refused_until_it_is_trusted(tmp_path):
    trained, fresh = two_layers(), two_layers()
    torch.save(trained, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"would run code .* model.trust_pickle: true") as error:
        load_checkpoint(fresh, config(tmp_path / "w.pt"))
    assert "torch.nn.modules.container.Sequential" in str(error.value)
    load_checkpoint(fresh, config(tmp_path / "w.pt", trust_pickle=True))
    assert equal_states(trained.state_dict(), fresh.state_dict())


class RunsCode:
    opened = False

    def __reduce__(self):
        return (setattr, (RunsCode, "opened", True))


def test_refusing_a_pickle_runs_none_of_its_code(tmp_path):
    torch.save({"state_dict": two_layers().state_dict(), "hook": RunsCode()}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="trust_pickle"):
        read_state_dict(str(tmp_path / "w.pt"))
    assert not RunsCode.opened


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("w.safetensors", b"\0" * 20),
        ("w.pt", b"not a checkpoint"),
        ("w.pt", b""),
        ("w.pt", pickle.dumps([1, 2], protocol=2)),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=name):
        read_state_dict(str(tmp_path / name))


def test_a_folder_an_unknown_suffix_and_an_unknown_scheme_are_named(tmp_path):
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(ModelError, match="is a folder"):
        read_state_dict(str(tmp_path / "folder.pt"))
    with pytest.raises(ModelError, match=r"unknown suffix '.h5'; known are .safetensors"):
        read_state_dict("weights.h5")
    with pytest.raises(ModelError, match="cannot be read"):
        read_state_dict("nonsense://weights.pt")


def test_a_checkpoint_without_tensors_lists_its_keys(tmp_path):
    torch.save({"net": {"w": torch.zeros(1)}, "epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="keys are 'net', 'epoch'"):
        read_state_dict(str(tmp_path / "w.pt"))
    torch.save(torch.zeros(3), tmp_path / "w.pt")
    with pytest.raises(ModelError, match="got Tensor"):
        read_state_dict(str(tmp_path / "w.pt"))


def renamed(state):
    return {f"layer{index}_{name}": tensor for index, (name, tensor) in enumerate(state.items())}


def test_other_names_load_by_order(tmp_path):
    trained, fresh = two_layers(), two_layers()
    torch.save(renamed(trained.state_dict()), tmp_path / "w.pt")
    with pytest.raises(ModelError, match="checkpoint_mapping: order"):
        load_checkpoint(fresh, config(tmp_path / "w.pt"))
    load_checkpoint(fresh, config(tmp_path / "w.pt", checkpoint_mapping="order"))
    assert equal_states(trained.state_dict(), fresh.state_dict())


def test_the_first_mismatch_by_order_is_named(tmp_path):
    state = renamed(two_layers().state_dict())
    state["layer2_1.weight"] = torch.zeros(7)
    torch.save(state, tmp_path / "w.pt")
    expected = r"position 2 it has 'layer2_1.weight' \(7,\), the model has '1.weight' \(3,\)"
    with pytest.raises(ModelError, match=expected):
        load_checkpoint(two_layers(), config(tmp_path / "w.pt", checkpoint_mapping="order"))


def test_weight_and_bias_of_one_shape_are_not_swapped_by_order(tmp_path):
    state = two_layers().state_dict()
    names = ["0.weight", "0.bias", "1.bias", "1.weight", "2.weight", "2.bias"]
    torch.save({f"net.{name}": state[name] for name in names}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"'net.1.bias' \(3,\), the model has '1.weight' \(3,\)"):
        load_checkpoint(two_layers(), config(tmp_path / "w.pt", checkpoint_mapping="order"))


def test_another_number_of_entries_by_order_is_named(tmp_path):
    state = renamed(two_layers().state_dict())
    torch.save(dict(list(state.items())[:-1]), tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"has 5 entries, the model 6.*counterpart: '2.bias'"):
        load_checkpoint(two_layers(), config(tmp_path / "w.pt", checkpoint_mapping="order"))


def test_order_means_nothing_in_safetensors(tmp_path):
    save_file(two_layers().state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match="sort their entries"):
        load_checkpoint(
            two_layers(), config(tmp_path / "w.safetensors", checkpoint_mapping="order")
        )


def test_missing_and_unknown_names_are_listed(tmp_path):
    state = two_layers().state_dict()
    del state["2.bias"], state["0.bias"]
    torch.save(state | {"extra": torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.raises(ModelError) as error:
        load_checkpoint(two_layers(), config(tmp_path / "w.pt"))
    assert "missing from the checkpoint: '0.bias', '2.bias'" in str(error.value)
    assert "unknown to the model: 'extra'" in str(error.value)


def test_other_shapes_are_listed(tmp_path):
    torch.save(two_layers(hidden=4).state_dict(), tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"'0.weight' has \(4, 2\), the model wants \(3, 2\)"):
        load_checkpoint(two_layers(), config(tmp_path / "w.pt"))
