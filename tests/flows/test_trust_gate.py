"""An audit whose explanations fail their sanity checks ends with exit code 1, if a gate asks."""

import importlib
import json
import sys

import mlflow
import pytest

MODULE = "wam_audit_untrustworthy"
MODEL = '''
from torch import nn


class Deaf(nn.Module):
    """Its parameters scale the energy of the input: they do not decide which pixels matter."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(1, 2), nn.Linear(2, 3)

    def forward(self, x):
        return self.second(self.first(x.square().flatten(1).mean(1, keepdim=True)))


def deaf():
    return Deaf()
'''


@pytest.fixture
def deaf_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deaf-model")
    (folder / f"{MODULE}.py").write_text(MODEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        importlib.invalidate_caches()
        yield f"{MODULE}:deaf"
    sys.modules.pop(MODULE, None)


def test_a_gate_demands_explanations_that_can_be_trusted(
    cli, toy_file, tmp_path, tracking_at, deaf_model
):
    database = tracking_at(tmp_path / "mlflow.db")
    path = toy_file(
        model={"name": deaf_model},
        analyses={"sanity": {"enabled": True, "stages": 2, "n_passes": 3}},
        gates=[{"metric": "sanity/trustworthy", "at_least": 1}],
        tracking={"enabled": True, "uri": f"sqlite:///{database}"},
    )
    finished = cli("run", path)
    assert finished.code == 1, finished.message
    assert "NOT TRUSTWORTHY" in finished.out
    (folder,) = (tmp_path / "audits").glob("toy-*")
    gates = json.loads((folder / "gates.json").read_text())
    assert gates["verdict"] == "fail"
    assert gates["gates"][-1]["gate"] == "sanity/trustworthy at least 1"
    runs = mlflow.MlflowClient(f"sqlite:///{database}").search_runs(["1"])
    assert runs[0].data.tags["audit.trustworthy"] == "fail"
    assert runs[0].data.metrics["sanity/trustworthy"] == 0.0
