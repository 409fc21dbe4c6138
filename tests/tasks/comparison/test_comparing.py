"""Comparisons of toy audits, from their folders."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.comparison import compare_audits
from tasks.errors import ConfigError, IdentityError, IncompleteAuditError

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def audit(toy_config: Callable[..., Any], compute_all: Callable[..., Path]) -> Callable[..., Path]:
    def audit(name: str, seed: int = 0, shards: Any = None, **sections: Any) -> Path:
        model = {"model": {"arguments": {"seed": seed}}}
        names = {"dataset": {"class_names": [HOSTILE, "b", "c"]}}
        config = toy_config(**({"name": name} | model | names | sections))
        return compute_all(config, shards)

    return audit


def numbers(record: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [entry for entry in record["metrics"] if entry["name"] == f"compare/{name}"]


def test_an_audit_does_not_differ_from_itself(audit: Callable[..., Path]) -> None:
    folder = str(audit("one"))
    record = compare_audits(folder, folder).record
    assert record["paired"]
    for name in ("accuracy_change", "share_change", "fine_share_change", "wasserstein_octaves"):
        found = numbers(record, name)
        assert found
        assert all(entry["estimate"] == 0 for entry in found)
    assert all(entry["p_value"] == 1 for entry in numbers(record, "share_change"))
    assert all(entry["estimate"] == 1 for entry in numbers(record, "finest_level_ratio"))


def test_changes_are_those_of_the_tables(audit: Callable[..., Path], stored: Any) -> None:
    first, second = audit("one"), audit("two", seed=3)
    comparison = compare_audits(str(first), str(second))
    tables = [stored(folder).table("levels") for folder in (first, second)]
    for entry in numbers(comparison.record, "share_change"):
        means = [
            table[(table["method"] == entry["labels"]["method"])
                  & (table["level"] == str(entry["labels"]["level"]))]["share"].mean()
            for table in tables
        ]  # fmt: skip
        assert entry["estimate"] == pytest.approx(means[1] - means[0])
        assert entry["low"] <= entry["estimate"] <= entry["high"]
    correct = [stored(folder).table("samples")["correct"].to_numpy() for folder in (first, second)]
    (whole,) = [entry for entry in numbers(comparison.record, "accuracy_change")
                if not entry["labels"]]  # fmt: skip
    assert whole["lost"] == int(np.sum(correct[0] & ~correct[1]))
    assert whole["gained"] == int(np.sum(~correct[0] & correct[1]))
    assert json.loads(comparison.folder.read_bytes("comparison.json")) == comparison.record


def test_samples_are_joined_on_their_ids(audit: Callable[..., Path]) -> None:
    whole, part = audit("one"), audit("two", dataset={"limit": 7})
    record = compare_audits(str(whole), str(part)).record
    assert (record["paired"], record["n_common"]) == (True, 7)
    assert {entry["n"] for entry in numbers(record, "share_change")} == {7}
    # The same model on the same samples: nothing has changed.
    assert all(entry["estimate"] == 0 for entry in numbers(record, "share_change"))


def test_other_samples_are_compared_as_drift(
    audit: Callable[..., Path], save_toys: Any, pictures: Any
) -> None:
    first = audit("one")
    other = save_toys(pictures(9), "others.npz", id=np.array([f"other-{i}" for i in range(9)]))
    second = audit("two", dataset={"root": str(other)})
    record = compare_audits(str(first), str(second)).record
    assert not record["paired"]
    assert numbers(record, "drift_octaves")
    assert not numbers(record, "share_change")


def test_settings_that_differ_are_named_and_can_be_forced(audit: Callable[..., Path]) -> None:
    first = str(audit("one"))
    second = str(audit("two", attribution={"smoothgrad": {"n_samples": 5}}))
    with pytest.raises(IdentityError, match=r"attribution\.smoothgrad\.n_samples: 3 against 5"):
        compare_audits(first, second)
    forced = compare_audits(first, second, force=True)
    assert [entry["field"] for entry in forced.record["forced"]] == [
        "attribution.smoothgrad.n_samples"
    ]
    assert "attribution.smoothgrad.n_samples" in forced.folder.read_bytes("report.html").decode()


def test_missing_and_unfinished_audits_are_refused(
    audit: Callable[..., Path], tmp_path: Path
) -> None:
    first = str(audit("one"))
    with pytest.raises(ConfigError, match="not an audit folder"):
        compare_audits(first, str(tmp_path / "nothing"))
    with pytest.raises(IncompleteAuditError, match="is not complete: 2 of 3"):
        compare_audits(first, str(audit("two", shards=[0])))


def test_names_from_the_dataset_are_escaped(audit: Callable[..., Path]) -> None:
    page = compare_audits(str(audit("one")), str(audit("two", seed=3))).folder.read_bytes(
        "report.html"
    )
    assert HOSTILE.encode() not in page
    assert b"&lt;script&gt;alert(1)" in page
