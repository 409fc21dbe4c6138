"""Digests, fingerprints, roots."""

from __future__ import annotations

import hashlib
import os

import fsspec
import pytest

from tasks.config import DatasetConfig
from tasks.datasets import SampleReader, build_manifest
from tasks.errors import ConfigError, DatasetError
from tasks.preprocessing import Preprocessing

FILES = {"m.csv": "path,label\na.png,0\nb.png,1\n", "a.png": b"first", "b.png": b"second"}


def table(root, **options):
    return build_manifest(DatasetConfig(kind="table", root=str(root), manifest="m.csv", **options))


def test_fingerprints_are_hashes_or_sizes_of_the_files(tree):
    root = tree(FILES)
    assert table(root).table["fingerprint"].tolist() == [
        hashlib.sha256(b"first").hexdigest(),
        hashlib.sha256(b"second").hexdigest(),
    ]
    assert table(root, fingerprint="size").table["fingerprint"].tolist() == ["size:5", "size:6"]


def test_the_digest_changes_with_content_labels_and_order(tree, tmp_path):
    seen = {table(tree(FILES)).digest}
    for name, content in (
        ("a.png", b"other"),
        ("m.csv", "path,label\na.png,1\nb.png,1\n"),
        ("m.csv", "path,label\nb.png,1\na.png,0\n"),
        ("m.csv", "path,label\na.png,0\nb.png,\n"),
    ):
        seen.add(table(tree({**FILES, name: content})).digest)
    assert len(seen) == 5


def test_the_digest_ignores_where_the_root_stands(tree, tmp_path_factory):
    moved = tmp_path_factory.mktemp("moved")
    for name, content in FILES.items():
        (moved / name).write_bytes(content.encode() if isinstance(content, str) else content)
    assert table(tree(FILES)).digest == table(moved).digest


def test_the_digest_of_ids_ignores_content(tree):
    before = table(tree(FILES))
    after = table(tree({**FILES, "a.png": b"changed"}))
    assert before.sample_ids_digest == after.sample_ids_digest
    assert before.digest != after.digest


@pytest.mark.parametrize("fingerprint", ["content", "size"])
def test_a_missing_file_stays_a_row(tree, fingerprint):
    root = tree({**FILES, "m.csv": "path,label\na.png,0\nnone.png,1\na.png/x.png,0\n"})
    manifest = table(root, fingerprint=fingerprint)
    assert manifest.table["fingerprint"].tolist()[1:] == ["missing", "missing"]
    assert "2 missing or unreadable" in manifest.description
    config = DatasetConfig(kind="table", root=str(root), manifest="m.csv")
    sample = SampleReader(config, manifest, Preprocessing(input_shape=(3, 6, 8))).read(1)
    assert (sample.status, sample.signal) == ("decode_error", None)
    assert str(root / "none.png") in sample.detail


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_forbidden_file_stays_a_row(tree):
    root = tree(FILES)
    (root / "a.png").chmod(0)
    assert table(root).table["fingerprint"][0] == "unreadable"


def test_a_folder_in_place_of_a_file_stays_a_row(tree):
    root = tree({"m.csv": FILES["m.csv"], "a.png/x": b"", "b.png": b""})
    assert table(root).table["fingerprint"][0] == "unreadable"


def test_any_file_system_may_hold_the_root(tree, encode, picture):
    memory = fsspec.filesystem("memory")
    memory.pipe({"/audit-test/cat/a.png": encode(picture()), "/audit-test/dog/b.png": b""})
    try:
        config = DatasetConfig(kind="folder", root="memory://audit-test")
        manifest = build_manifest(config)
        assert manifest.table["sample_id"].tolist() == ["cat/a.png", "dog/b.png"]
        reader = SampleReader(config, manifest, Preprocessing(input_shape=(3, 6, 8)))
        assert [reader.read(row).status for row in (0, 1)] == ["ok", "decode_error"]
        assert "memory://audit-test/dog/b.png" in reader.read(1).detail
    finally:
        memory.rm("/audit-test", recursive=True)


def test_placeholders_stand_in_roots_and_file_urls_do_too(tree, monkeypatch):
    root = tree(FILES)
    monkeypatch.setenv("WAM_DATA_ROOT", str(root.parent))
    expected = table(root).digest
    assert table("${WAM_DATA_ROOT}/" + root.name).digest == expected
    assert table(f"file://{root}").digest == expected
    monkeypatch.delenv("WAM_DATA_ROOT")
    with pytest.raises(ConfigError, match="WAM_DATA_ROOT"):
        table("${WAM_DATA_ROOT}/x")


def test_an_unknown_scheme_is_refused():
    with pytest.raises(DatasetError, match="nope://x is neither a path nor a URL"):
        table("nope://x")


def test_a_missing_file_system_names_the_extra(monkeypatch):
    def fail(url: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("tasks.datasets.storage.url_to_fs", fail)
    with pytest.raises(DatasetError, match=r"wam-audit\[s3\]"):
        table("s3://bucket")


def test_settings_of_another_kind_are_refused(tree):
    root = str(tree(FILES))
    with pytest.raises(DatasetError, match=r"manifest belongs to dataset\.kind: table"):
        build_manifest(DatasetConfig(kind="folder", root=root, manifest="m.csv"))
    with pytest.raises(DatasetError, match=r"split belongs to dataset\.kind: huggingface"):
        build_manifest(DatasetConfig(kind="folder", root=root, split="train"))
