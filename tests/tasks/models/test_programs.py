import fsspec
import pytest
import torch
from torch import nn

from tasks.config import ModelConfig
from tasks.errors import ModelError
from tasks.models import load_model
from wam_core.evaluation_mode import evaluation_mode

CPU = torch.device("cpu")
SMALL = {"crop": 8, "channels": 3, "mean": (0,), "std": (1,)}

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        features = torch.relu(self.norm(self.conv(x))).mean((2, 3))
        return self.head(self.dropout(features))


@pytest.fixture
def original():
    torch.manual_seed(0)
    return Small().eval()


def load(source, path):
    config = ModelConfig(source=source, name=str(path), preprocessing=SMALL)
    return load_model(config, device=CPU, channels_last=True)


def save_exported(model, path, batch=None):
    shapes = ({0: torch.export.Dim("batch")},) if batch is None else None
    example = torch.zeros(batch or 2, 3, 8, 8)
    torch.export.save(torch.export.export(model, (example,), dynamic_shapes=shapes), path)


def save_scripted(model, path):
    torch.jit.script(model).save(str(path))


@pytest.mark.parametrize(
    ("source", "save"), [("torchscript", save_scripted), ("export", save_exported)]
)
def test_a_file_gives_the_model_it_was_made_from(tmp_path, original, source, save):
    save(original, tmp_path / "model.pt2")
    model = load(source, tmp_path / "model.pt2")
    for n_samples in (1, 3):
        signal = torch.rand(n_samples, 3, 8, 8, requires_grad=True)
        assert torch.allclose(model.module(signal), original(signal), atol=1e-6)
        (gradient,) = torch.autograd.grad(model.module(signal).sum(), signal)
        assert gradient.abs().sum() > 0
    assert model.n_parameters == sum(parameter.numel() for parameter in original.parameters())
    assert not any(parameter.requires_grad for parameter in model.module.parameters())
    assert model.description == f"{source} file {tmp_path}/model.pt2"


@pytest.mark.parametrize(
    ("source", "save"), [("torchscript", save_scripted), ("export", save_exported)]
)
def test_the_digest_of_a_file_is_that_of_its_weights(tmp_path, original, source, save):
    save(original, tmp_path / "first")
    save(original, tmp_path / "again")
    with torch.no_grad():
        original.head.bias[0] += 1
    save(original, tmp_path / "other")
    digests = [load(source, tmp_path / name).weights_digest for name in ("first", "again", "other")]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("source", "save"), [("torchscript", save_scripted), ("export", save_exported)]
)
def test_files_run_in_the_core_s_evaluation_mode(tmp_path, original, source, save):
    save(original, tmp_path / "model")
    module = load(source, tmp_path / "model").module
    with evaluation_mode(module):
        assert module(torch.rand(2, 3, 8, 8)).shape == (2, 3)


def test_a_file_loads_from_any_fsspec_url(tmp_path, original):
    save_exported(original, tmp_path / "model.pt2")
    with fsspec.open("memory://models/program.pt2", "wb") as file:
        file.write((tmp_path / "model.pt2").read_bytes())
    signal = torch.rand(2, 3, 8, 8)
    expected = load("export", tmp_path / "model.pt2").module(signal)
    assert torch.equal(load("export", "memory://models/program.pt2").module(signal), expected)


def test_torchscript_is_put_in_evaluation_mode(tmp_path, original):
    save_scripted(original.train(), tmp_path / "model.pt")
    signal = torch.rand(2, 3, 8, 8)
    assert torch.allclose(
        load("torchscript", tmp_path / "model.pt").module(signal),
        original.eval()(signal),
        atol=1e-6,
    )


def test_frozen_torchscript_still_has_a_digest(tmp_path, original):
    digests = set()
    for value in (0.0, 1.0):
        nn.init.constant_(original.head.bias, value)
        torch.jit.freeze(torch.jit.script(original)).save(str(tmp_path / "model.pt"))
        digests.add(load("torchscript", tmp_path / "model.pt").weights_digest)
    assert len(digests) == 2


def test_a_program_exported_in_training_mode_is_refused(tmp_path, original):
    save_exported(original.train(), tmp_path / "model.pt2")
    with pytest.raises(ModelError, match=r"exported in training mode .* Call model.eval\(\)"):
        load("export", tmp_path / "model.pt2")


def test_a_program_for_one_batch_size_is_refused(tmp_path, original):
    save_exported(original, tmp_path / "model.pt2", batch=2)
    with pytest.raises(ModelError, match=r"shape \(1, 3, 8, 8\).*does it take any batch size"):
        load("export", tmp_path / "model.pt2")


@pytest.mark.parametrize("source", ["torchscript", "export"])
def test_other_files_are_refused_by_name(tmp_path, original, source):
    torch.save(original.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ModelError, match=r"weights.pt' cannot be opened as .* model.checkpoint"):
        load(source, tmp_path / "weights.pt")
    with pytest.raises(ModelError, match="there is no file"):
        load(source, tmp_path / "absent.pt")


@pytest.mark.filterwarnings("ignore:.*TorchScript archive:UserWarning")
def test_torchscript_given_as_a_checkpoint_is_pointed_to_its_source(tmp_path, original):
    save_scripted(original, tmp_path / "model.pt")
    config = ModelConfig(
        source="torchvision", name="squeezenet1_0", checkpoint=str(tmp_path / "model.pt")
    )
    with pytest.raises(ModelError, match="source: torchscript"):
        load_model(config, device=CPU)
