"""Manifests in CSV and Parquet."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.config import DatasetConfig
from tasks.datasets import build_manifest
from tasks.datasets.storage import relative_path
from tasks.errors import DatasetError


def table(root, manifest="m.csv", **options):
    return build_manifest(DatasetConfig(kind="table", root=str(root), manifest=manifest, **options))


def test_rows_keep_their_order_and_their_text(tree):
    root = tree(
        {
            "m.csv": "﻿path,label,patient,fold,part,code\n"
            "./b.png,1,007,1,train,0012\na.png,0,NA,2,,0011\n"
        }
    )
    manifest = table(
        root, id_column="code", group_column="patient", fold_column="fold", split_column="part"
    )
    expected = {
        "sample_id": ["0012", "0011"],
        "source": ["b.png", "a.png"],
        "group": ["007", "NA"],
        "fold": ["1", "2"],
    }
    for column, values in expected.items():
        assert manifest.table[column].tolist() == values
    assert manifest.table["label"].dtype == "Int64"
    assert manifest.table["split"].isna().tolist() == [False, True]


def test_columns_are_always_there(tree):
    manifest = table(tree({"m.csv": "path,label\na.png,0\n"}))
    assert list(manifest.table.columns) == [
        "sample_id", "source", "label", "target", "fingerprint", "group", "fold", "split",
    ]  # fmt: skip
    assert manifest.table[["group", "fold", "split"]].isna().all(axis=None)
    assert isinstance(manifest.table.index, pd.RangeIndex)


def test_parquet_and_csv_give_the_same_manifest(tree, tmp_path):
    rows = pd.DataFrame({"path": ["a.png", "b.png"], "label": [3, None], "fold": [1.0, 2.0]})
    root = tree({"a.png": b"1"})
    rows.to_parquet(root / "m.parquet")
    rows.to_csv(root / "m.csv", index=False)
    one = table(root, "m.csv", fold_column="fold")
    two = table(root, "m.parquet", fold_column="fold")
    absolute = table(root, str(root / "m.parquet"))
    assert one.digest == two.digest == absolute.digest
    assert two.table["label"].tolist() == [3, pd.NA]
    assert two.table["fold"].tolist() == ["1", "2"]
    assert "1 without label" in two.description


def test_the_manifest_stands_anywhere_but_paths_start_at_the_root(tree, tmp_path_factory):
    root = tree({"images/a.png": b"1"})
    elsewhere = tmp_path_factory.mktemp("configs") / "m.csv"
    elsewhere.write_text("path,label\nimages/a.png,0\n")
    assert table(root, str(elsewhere)).table["fingerprint"][0] != "missing"


def test_names_become_indices_by_class_map_or_class_names(tree):
    root = tree(
        {"m.csv": "path,label\na,dog\nb,cat\nc,\n", "n.csv": "label,name\n0,emu\n1,cat\n2,dog\n"}
    )
    assert table(root, class_map={"cat": 5, "dog": 7}).table["label"].tolist() == [7, 5, pd.NA]
    for names in (("emu", "cat", "dog"), "n.csv"):
        manifest = table(root, class_names=names)
        assert manifest.table["label"].tolist() == [2, 1, pd.NA]
        assert manifest.class_names == ("emu", "cat", "dog")
        assert "cat -> 1, dog -> 2" in manifest.description


def test_numbers_are_indices_unless_the_class_map_names_numbers(tree):
    root = tree({"m.csv": "path,label\na,1\nb,2\n"})
    assert table(root, class_map={"cat": 5}).table["label"].tolist() == [1, 2]
    assert table(root, class_map={"1": 5, "2": 7}).table["label"].tolist() == [5, 7]
    with pytest.raises(DatasetError, match=r"row 1 .*got '2'"):
        table(root, class_map={"1": 5})


@pytest.mark.parametrize(
    ("label", "options", "message"),
    [
        ("0.5", {}, r"row 1 is wrong: expected a class index, got '0.5'.*class_map"),
        ("-1", {}, "expected a class index of 0 or more, got -1"),
        ("2", {"class_names": ("cat", "dog")}, "expected a class index of 0 to 1, got 2"),
        ("emu", {"class_names": ("cat", "dog")}, "got 'emu'"),
        ("emu", {"class_map": {"cat": 0}}, r"class_map \(cat -> 0\), got 'emu'"),
        ("crane", {"class_names": ("crane", "crane")}, "the name of 2 classes"),
    ],
)
def test_wrong_labels_are_named_with_their_row(tree, label, options, message):
    with pytest.raises(DatasetError, match=message):
        table(tree({"m.csv": f"path,label\na,0\nb,{label}\n"}), **options)


def test_lists_of_labels_are_refused(tmp_path):
    rows = pd.DataFrame({"path": ["a", "b"], "label": [[0, 1], [1, 0]]})
    rows.to_parquet(tmp_path / "m.parquet")
    with pytest.raises(DatasetError, match="multi-label"):
        table(tmp_path, "m.parquet")
    rows.assign(label=[0.0, 0.5]).to_parquet(tmp_path / "m.parquet")
    with pytest.raises(DatasetError, match="row 1 is wrong: expected a whole number"):
        table(tmp_path, "m.parquet")


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"path_column": "file"}, "path_column"),
        ({"label_column": "file"}, "label_column"),
        ({"id_column": "file"}, "id_column"),
        ({"group_column": "file"}, "group_column"),
        ({"fold_column": "file"}, "fold_column"),
        ({"split_column": "file"}, "split_column"),
    ],
)
def test_a_missing_column_is_told_with_those_present(tree, options, setting):
    message = rf"m\.csv has no column 'file', which dataset\.{setting} names.*present: path, label"
    with pytest.raises(DatasetError, match=message):
        table(tree({"m.csv": "path,label\na.png,0\n"}), **options)


def test_ids_that_repeat_are_named(tree):
    root = tree({"m.csv": "path,label,id\na.png,0,x\n./a.png,1,y\nb.png,0,y\n"})
    with pytest.raises(DatasetError, match=r"1 occur more than once: 'a\.png'.*id_column"):
        table(root)
    with pytest.raises(DatasetError, match="'y'"):
        table(root, id_column="id")


HOSTILE = [
    "../secret.png", "a/../../secret.png", "/etc/passwd", "file:///etc/passwd", "s3://b/x.png",
    "C:\\secret.png", "..\\secret.png", "\\\\host\\share\\x.png", "zip://x.png::a.zip", "a/..", "",
    ".", "memory://x", "http://h/x.png",
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE)
def test_a_path_that_leaves_the_root_is_refused_with_its_row(tree, path):
    root = tree({"m.csv": f'path,label\na.png,0\n"{path}",0\n'})
    with pytest.raises(DatasetError, match=r"row 1 of .*m\.csv: expected a path below"):
        table(root)


@given(st.text(alphabet="ab./\\:~%", max_size=12))
def test_a_path_that_is_accepted_stays_below_the_root(path):
    try:
        accepted = relative_path(path, "row 0")
    except DatasetError:
        return
    assert not accepted.startswith("/")
    assert ".." not in accepted.split("/")
    assert "" not in accepted.split("/")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", "", "no readable csv table"),
        ("m.csv", b"\xff\xfe\xff", "no readable csv table"),
        ("m.parquet", "path,label", "no readable parquet table"),
        ("m.txt", "path,label", "ending in .csv or .parquet, got '.txt'"),
    ],
)
def test_an_unreadable_manifest_is_refused(tree, name, content, message):
    with pytest.raises(DatasetError, match=message):
        table(tree({name: content}), name)


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"dataset\.manifest .*none\.csv cannot be read"):
        table(tmp_path, "none.csv")
    with pytest.raises(DatasetError, match=r"table needs dataset\.manifest"):
        table(tmp_path, None)


def test_an_empty_manifest_is_refused(tree):
    with pytest.raises(DatasetError, match="no samples"):
        table(tree({"m.csv": "path,label\n"}))


def test_the_class_to_explain_comes_from_its_own_column(tree):
    root = tree({"m.csv": "path,label,why\na.png,0,1\nb.png,1,\n"})
    manifest = table(root, target_column="why")
    assert manifest.table["target"].tolist()[0] == 1
    assert manifest.table["target"].isna().tolist() == [False, True]
    other = tree({"m.csv": "path,label,why\na.png,0,0\nb.png,1,\n"})
    assert table(other, target_column="why").digest != manifest.digest


def test_extra_columns_are_text_and_part_of_the_data(tree):
    root = tree(
        {
            "m.csv": "path,label,shape,code\na,0,cat,007\nb,1,NA,\n",
            "other.csv": "path,label,shape,code\na,0,dog,007\nb,1,NA,\n",
        }
    )
    options = {"extra_columns": ("shape", "code")}
    manifest = table(root, **options)
    assert manifest.table["shape"].tolist() == ["cat", "NA"]
    assert manifest.table["code"].tolist() == ["007", pd.NA]
    assert manifest.digest != table(root).digest
    assert manifest.digest != table(root, "other.csv", **options).digest
    assert table(root).digest == table(root, "other.csv").digest


def test_extra_columns_that_cannot_be_read_are_named(tmp_path):
    rows = pd.DataFrame({"path": ["a", "b"], "label": [0, 1], "split": ["x", "y"]})
    rows.assign(shape=[["cat"], ["dog", "car"]]).to_parquet(tmp_path / "m.parquet")
    with pytest.raises(DatasetError, match=r"row 0 of the column 'shape' .* holds a ndarray"):
        table(tmp_path, "m.parquet", extra_columns=("shape",))
    with pytest.raises(DatasetError, match=r"no column 'form', which dataset\.extra_columns names"):
        table(tmp_path, "m.parquet", extra_columns=("form",))
    for name in ("split", "fingerprint"):
        with pytest.raises(DatasetError, match=f"'{name}', but every manifest has a column"):
            table(tmp_path, "m.parquet", extra_columns=(name,))


def test_a_manifest_may_have_no_labels(tree):
    manifest = table(tree({"m.csv": "path,shape\na,cat\nb,dog\n"}), label_column=None)
    assert manifest.table["label"].isna().all()
    assert "no labels" in manifest.description
