"""`wam-audit benchmark` as people use it: a table, a CSV file, a figure, and nothing done twice."""

import csv

import pytest
import yaml

from tasks.errors import EXIT_DONE, EXIT_WRONG_USAGE

QUICK = {
    "attribution": {
        "smoothgrad": {"n_samples": 2, "aggregate": "absolute"},
        "integrated_gradients": {"n_steps": 2},
        "coalition_gradients": {"enabled": True, "n_samples": 2},
    },
    "analyses": {
        "faithfulness": {"enabled": True, "samples": None, "n_steps": 4, "n_subsets": 8},
        "benchmark": {
            "enabled": True, "samples": None, "n_steps": 4, "n_subsets": 8,
            "methods": ["captum_saliency", "captum_gradcam"],
        },
    },
}  # fmt: skip

BRIGHTNESS = '''
def brightness(explained):
    """The brighter, the more important."""
    return explained.points.sum(1).flatten(1)
'''


@pytest.fixture
def benchmark_file(tmp_path, toy_file):
    def write(**changes):
        audit = toy_file(6)
        values = {
            "name": "toys",
            "audits": [{"title": "A toy", "config": audit.name}],
            "set": QUICK,
        } | changes
        path = tmp_path / "benchmark.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


def test_the_table_is_printed_saved_and_complete(cli, benchmark_file, tmp_path):
    path = benchmark_file()
    first = cli("benchmark", path)
    assert first.code == EXIT_DONE
    for method in ("GradCAM", "Saliency", "WAM_SG", "WAM_IG", "WAM_CG", "|z| (no model)", "random"):
        assert method in first.out
    assert "Paired differences in Faith" in first.out
    (saved,) = tmp_path.glob("**/benchmarks/toys/benchmark.csv")
    rows = list(csv.DictReader(saved.open()))
    assert {row["measure"] for row in rows} >= {"insertion", "deletion", "faith", "energy_faith"}
    faith = [row for row in rows if row["measure"] == "faith" and row["over"]]
    assert faith
    assert all(float(row["low"]) <= float(row["high"]) for row in faith)
    assert saved.with_name("benchmark.png").read_bytes().startswith(b"\x89PNG")
    receipts = sorted(tmp_path.glob("**/receipts/*.json"))
    times = [receipt.stat().st_mtime_ns for receipt in receipts]
    again = cli("benchmark", path)
    assert again.code == EXIT_DONE
    assert [receipt.stat().st_mtime_ns for receipt in receipts] == times, "nothing twice"
    assert again.out == first.out


def test_a_method_of_ones_own_joins_the_table_by_its_dotted_name(
    cli, benchmark_file, tmp_path, monkeypatch
):
    (tmp_path / "my_methods.py").write_text(BRIGHTNESS)
    monkeypatch.syspath_prepend(tmp_path)
    methods = {"methods": ["captum_saliency", "my_methods:brightness"]}
    analyses = QUICK["analyses"] | {"benchmark": QUICK["analyses"]["benchmark"] | methods}
    finished = cli("benchmark", benchmark_file(set=QUICK | {"analyses": analyses}))
    assert finished.code == EXIT_DONE
    (saved,) = tmp_path.glob("**/benchmarks/toys/benchmark.csv")
    rows = list(csv.DictReader(saved.open()))
    mine = [row for row in rows if row["method"] == "my_methods:brightness"]
    assert {row["measure"] for row in mine} >= {"insertion", "deletion", "faith", "mu_fidelity"}
    over = [row for row in rows if row["over"] == "my_methods:brightness"]
    assert {row["method"] for row in over} >= {"smoothgrad_absolute", "coalition_gradients"}


def test_mistakes_are_named(cli, benchmark_file):
    wrong = QUICK["analyses"]["benchmark"] | {"methods": ["gradcam"]}
    analyses = QUICK["analyses"] | {"benchmark": wrong}
    finished = cli("benchmark", benchmark_file(set=QUICK | {"analyses": analyses}))
    assert finished.code == EXIT_WRONG_USAGE
    assert "has 'gradcam'; known are captum_integrated_gradients" in finished.message
    finished = cli("benchmark", benchmark_file(set={}))
    assert finished.code == EXIT_WRONG_USAGE
    assert "analyses.benchmark is off for 'A toy'" in finished.message
    finished = cli("benchmark", benchmark_file(audits=[]))
    assert finished.code == EXIT_WRONG_USAGE
    assert "not a valid benchmark" in finished.message
