"""Selectors: where, then half, then sample, then limit."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.config import DatasetConfig
from tasks.datasets import build_manifest
from tasks.errors import DatasetError

ROWS = pd.DataFrame(
    {
        "path": [f"{index:02d}.png" for index in range(20)],
        "label": [index % 4 for index in range(20)],
        "fold": [index // 5 + 1 for index in range(20)],
        "kept": [index % 2 == 0 for index in range(20)],
        "weight": [index / 2 for index in range(20)],
        "name": [None if index == 3 else f"n{index % 3}" for index in range(20)],
    }
)


@pytest.fixture(scope="module")
def select(tmp_path_factory):
    root = tmp_path_factory.mktemp("table")

    def select(rows=ROWS, suffix="csv", **options):
        path = root / f"m.{suffix}"
        rows.to_csv(path, index=False) if suffix == "csv" else rows.to_parquet(path)
        config = DatasetConfig(kind="table", root=str(root), manifest=path.name, **options)
        return build_manifest(config)

    return select


def ids(manifest) -> list[int]:
    return [int(name.removesuffix(".png")) for name in manifest.table["sample_id"]]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"fold": 2}, [5, 6, 7, 8, 9]),
        ({"fold": "2"}, [5, 6, 7, 8, 9]),
        ({"fold": (1, 4), "label": 0}, [0, 4, 16]),
        ({"kept": True, "fold": 1}, [0, 2, 4]),
        ({"weight": 1.5}, [3]),
        ({"weight": 1}, [2]),
        ({"name": ("n0", "nx"), "fold": 1}, [0]),
        ({"path": "07.png"}, [7]),
        ({"sample_id": "07.png"}, [7]),
    ],
)
def test_where_keeps_rows_by_value_whatever_its_type(select, where, expected, suffix):
    assert ids(select(suffix=suffix, where=where)) == expected


def test_where_reaches_annotations_by_their_own_and_by_our_name(select):
    assert ids(select(where={"group": 2}, group_column="fold")) == [5, 6, 7, 8, 9]


def test_selectors_apply_in_order(select):
    everything = select(where={"fold": (1, 2)}, sample=6)
    assert ids(select(where={"fold": (1, 2)}, sample=6, limit=3)) == ids(everything)[:3]
    assert "3 of 20 samples (where fold in 1, 2, sample 6 with seed 0, limit 3)" in (
        select(where={"fold": (1, 2)}, sample=6, limit=3).description
    )


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(20)), count=st.integers(1, 25), seed=st.integers(0, 3))
def test_a_sample_does_not_depend_on_the_order_of_rows(select, order, count, seed):
    chosen = ids(select(sample=count, sample_seed=seed))
    shuffled = ids(select(ROWS.iloc[order], sample=count, sample_seed=seed))
    assert sorted(chosen) == sorted(shuffled)
    assert len(chosen) == min(count, 20)
    assert chosen == sorted(chosen)
    assert shuffled == [index for index in order if index in chosen]


def test_a_larger_sample_contains_the_smaller_and_seeds_differ(select):
    assert set(ids(select(sample=5))) < set(ids(select(sample=10)))
    assert ids(select(sample=5)) != ids(select(sample=5, sample_seed=1))


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(20)), seed=st.integers(0, 3))
def test_halves_share_every_class_and_nothing_else(select, order, seed):
    halves = [
        ids(select(ROWS.iloc[order], half=half, sample_seed=seed))
        for half in ("selection", "report")
    ]
    assert set(halves[0]) | set(halves[1]) == set(range(20))
    assert len(halves[0]) == len(halves[1]) == 10
    assert sorted(halves[0]) == sorted(ids(select(half="selection", sample_seed=seed)))
    for half in halves:
        counts = [sum(row % 4 == label for row in half) for label in range(4)]
        assert set(counts) <= {2, 3}


def test_halves_depend_on_the_seed_and_precede_the_sample(select):
    report = ids(select(half="report"))
    assert report != ids(select(half="report", sample_seed=1))
    assert set(ids(select(half="report", sample=4))) < set(report)
    assert "report half with seed 0" in select(half="report").description


def test_an_unknown_column_is_told_with_those_present(select):
    with pytest.raises(DatasetError, match=r"column 'part', which does not exist; columns: path, "):
        select(where={"part": 1})


def test_the_selector_that_leaves_nothing_is_named(select):
    with pytest.raises(DatasetError, match=r"fold = 9\. Values of 'fold' in these rows: 1, 2, 3"):
        select(where={"fold": 9})
    with pytest.raises(DatasetError, match=r"label = 3\. Values of 'label' in these rows: 0, 2"):
        select(where={"kept": True, "label": 3})
