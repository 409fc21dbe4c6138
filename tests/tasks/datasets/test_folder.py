"""Folders with one sub-folder per class."""

from __future__ import annotations

import pytest

from tasks.config import DatasetConfig
from tasks.datasets import build_manifest
from tasks.errors import DatasetError


def folder(root, **options):
    return build_manifest(DatasetConfig(kind="folder", root=str(root), **options))


def test_folders_are_classes_and_paths_are_ids(tree):
    root = tree(
        {"dog/a.png": b"1", "cat/deep/b.JPEG": b"2", "cat/.hidden.png": b"", ".git/x.png": b""}
    )
    manifest = folder(root)
    assert manifest.table["sample_id"].tolist() == ["cat/deep/b.JPEG", "dog/a.png"]
    assert manifest.table["label"].tolist() == [0, 1]
    assert manifest.class_names == ("cat", "dog")
    assert "cat -> 0, dog -> 1" in manifest.description


def test_files_that_are_no_images_are_counted(tree):
    root = tree({"cat/a.png": b"", "cat/notes.txt": b"", "cat/b.TXT": b"", "labels.csv": b""})
    assert "not images: 2 .txt, 1 .csv" in folder(root).description


def test_numbered_folders_are_ordered_as_numbers_only_when_told_so(tree):
    root = tree({f"{number}/a.png": b"" for number in (2, 10, 1)})
    as_text = folder(root)
    assert dict(zip(as_text.table["source"], as_text.table["label"], strict=True)) == {
        "1/a.png": 0,
        "10/a.png": 1,
        "2/a.png": 2,
    }
    assert "ordered as text" in as_text.description
    as_numbers = folder(root, class_order="numeric")
    assert "1 -> 0, 2 -> 1, 10 -> 2" in as_numbers.description
    assert as_numbers.table["label"].tolist() == [0, 2, 1]


def test_numeric_order_refuses_words(tree):
    with pytest.raises(DatasetError, match="whole numbers, got cat"):
        folder(tree({"cat/a.png": b"", "1/a.png": b""}), class_order="numeric")


def test_a_class_map_decides_and_must_be_complete(tree):
    root = tree({"cat/a.png": b"", "dog/a.png": b""})
    manifest = folder(root, class_map={"cat": 281, "dog": 207})
    assert manifest.table["label"].tolist() == [281, 207]
    assert manifest.class_names[281] == "cat"
    assert manifest.class_names[0] == "0"
    with pytest.raises(DatasetError, match="no entry for 1 of 2 class folders: dog"):
        folder(root, class_map={"cat": 281})


def test_folders_named_as_in_class_names_get_that_index(tree):
    root = tree(
        {"dog/a.png": b"", "cat/a.png": b"", "names.csv": "label,name\n0,dog\n1,emu\n2,cat\n"}
    )
    manifest = folder(root, class_names="names.csv")
    assert manifest.table["label"].tolist() == [2, 0]
    assert manifest.class_names == ("dog", "emu", "cat")


def test_class_names_that_leave_the_index_open_are_refused(tree):
    root = tree({"n01/a.png": b"", "n02/a.png": b""})
    assert folder(root, class_names=("cat", "dog")).table["label"].tolist() == [0, 1]
    with pytest.raises(DatasetError, match=r"3 names, and 0 of the 2 .*class_map"):
        folder(root, class_names=("cat", "dog", "emu"))


def test_images_outside_class_folders_are_counted_not_labelled(tree):
    root = tree({"cat/a.png": b"", "stray.png": b""})
    manifest = folder(root)
    assert len(manifest.table) == 1
    assert "1 images outside class folders" in manifest.description


def test_a_folder_without_classes_has_no_labels(tree):
    manifest = folder(tree({"a.png": b"", "b.png": b""}))
    assert manifest.table["label"].isna().all()
    assert manifest.class_names is None


def test_a_linked_image_is_a_sample(tree, tmp_path_factory):
    outside = tmp_path_factory.mktemp("elsewhere") / "real.png"
    outside.write_bytes(b"1")
    root = tree({"cat/a.png": b"2"})
    (root / "cat" / "link.png").symlink_to(outside)
    assert folder(root).table["sample_id"].tolist() == ["cat/a.png", "cat/link.png"]


@pytest.mark.parametrize(
    ("files", "message"), [({}, "found no files"), ({"cat/a.txt": b""}, "found 1 .txt")]
)
def test_a_folder_without_images_is_refused(tree, files, message):
    with pytest.raises(DatasetError, match=message):
        folder(tree(files))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DatasetError, match="nowhere is not a folder, or does not exist"):
        folder(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"dataset\.root is empty"):
        folder("")
