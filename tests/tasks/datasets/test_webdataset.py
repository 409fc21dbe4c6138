"""Tar shards."""

from __future__ import annotations

import io
import json
import sys
import tarfile

import fsspec
import numpy as np
import pandas as pd
import pytest

from tasks.config import DatasetConfig
from tasks.datasets import SampleReader, build_manifest
from tasks.errors import DatasetError
from tasks.preprocessing import Preprocessing

pytest.importorskip("webdataset", reason="extra 'webdataset' not installed")

RULES = Preprocessing(input_shape=(3, 6, 8))


def shard(members) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def shards(tree, encode, picture):
    """Two shards of three samples, labels in .cls."""
    files = {}
    for number in range(2):
        members = []
        for index in range(3):
            key = f"./set/{number}{index}"
            members += [
                (f"{key}.png", encode(picture(seed=10 * number + index))),
                (f"{key}.cls", f"{index}\n".encode()),
            ]
        files[f"train-{number:03d}.tar"] = shard(members)
    return tree(files)


def config(root, **options):
    return DatasetConfig(kind="webdataset", root=str(root), **options)


@pytest.mark.parametrize("pattern", ["", "/*.tar", "/train-{000..001}.tar", "/train-00?.tar"])
def test_shards_are_found_by_folder_glob_and_brace(shards, pattern, picture):
    configuration = config(f"{shards}{pattern}")
    manifest = build_manifest(configuration)
    assert manifest.table["sample_id"].tolist() == [
        f"set/{number}{index}" for number in range(2) for index in range(3)
    ]
    assert manifest.table["label"].tolist() == [0, 1, 2] * 2
    reader = SampleReader(configuration, manifest, RULES)
    for row, seed in enumerate((0, 1, 2, 10, 11, 12)):
        expected = np.moveaxis(picture(seed=seed), -1, 0).astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(reader.read(row).signal, expected)


def test_one_shard_may_be_named(shards):
    assert len(build_manifest(config(shards / "train-001.tar")).table) == 3


def test_fingerprints_follow_content_or_size(shards):
    manifest = build_manifest(config(shards))
    assert manifest.table["fingerprint"].is_unique
    sized = build_manifest(config(shards, fingerprint="size"))
    assert sized.table["fingerprint"].str.fullmatch(r"size:\d+").all()


def test_a_row_reads_its_own_bytes_only(shards, monkeypatch):
    configuration = config(shards)
    manifest = build_manifest(configuration)
    reader = SampleReader(configuration, manifest, RULES)
    monkeypatch.setattr(tarfile, "open", None)
    read = []
    cat_file = fsspec.spec.AbstractFileSystem.cat_file

    def counted(self, path, start=None, end=None, **kwargs):
        read.append(end - start)
        return cat_file(self, path, start, end, **kwargs)

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.cat_file", counted)
    assert reader.read(4).status == "ok"
    assert len(read) == 1
    assert read[0] < 1000


def test_remote_shards_are_read(shards, encode):
    memory = fsspec.filesystem("memory")
    memory.pipe({f"/shards-test/{path.name}": path.read_bytes() for path in shards.glob("*.tar")})
    try:
        configuration = config("memory://shards-test/train-*.tar")
        manifest = build_manifest(configuration)
        assert manifest.digest == build_manifest(config(shards)).digest
        assert SampleReader(configuration, manifest, RULES).read(5).status == "ok"
    finally:
        memory.rm("/shards-test", recursive=True)


def test_json_holds_labels_and_columns(tree, encode, picture):
    members = []
    for index in range(4):
        about = {"label": ["cat", "dog"][index % 2], "fold": index // 2, "boxes": [1, 2]}
        members += [
            (f"{index}.json", json.dumps(about).encode()),
            (f"{index}.jpg", encode(picture(seed=index), "jpg")),
        ]
    root = tree({"a.tar": shard(members)})
    manifest = build_manifest(
        config(root, class_map={"cat": 1, "dog": 0}, fold_column="fold", where={"fold": 1})
    )
    assert manifest.table["sample_id"].tolist() == ["2", "3"]
    assert manifest.table["label"].tolist() == [1, 0]
    assert manifest.table["fold"].tolist() == ["1", "1"]


def test_a_sample_without_image_stays_a_row(tree, encode, picture):
    root = tree(
        {"a.tar": shard([("0.cls", b"0"), ("1.png", encode(picture())), ("1.json", b"{}")])}
    )
    configuration = config(root)
    manifest = build_manifest(configuration)
    assert manifest.table["label"].tolist() == [0, pd.NA]
    assert manifest.table["fingerprint"][0] == "missing"
    sample = SampleReader(configuration, manifest, RULES).read(0)
    assert sample.status == "decode_error"
    assert "a.tar:0" in sample.detail


def test_a_damaged_image_is_one_bad_sample(tree, encode, picture):
    content = encode(picture())
    root = tree({"a.tar": shard([("0.png", content[:60]), ("0.cls", b"0"), ("1.png", content), ("1.cls", b"1")])})  # fmt: skip # noqa: E501
    configuration = config(root)
    reader = SampleReader(configuration, build_manifest(configuration), RULES)
    assert [reader.read(row).status for row in (0, 1)] == ["decode_error", "ok"]


def test_the_signal_is_named_by_suffix_when_there_are_several(tree, encode, picture):
    members = [("0.left.png", encode(picture())), ("0.png", b"?"), ("0.jpg", b"?"), ("0.cls", b"0")]
    root = tree({"a.tar": shard(members)})
    with pytest.raises(DatasetError, match=r"several signal files, png, jpg; .*signal_key"):
        build_manifest(config(root))
    configuration = config(root, signal_key="left.png")
    assert SampleReader(configuration, build_manifest(configuration), RULES).read(0).status == "ok"


def test_keys_must_be_unique_over_shards(tree):
    member = shard([("0.png", b"x"), ("0.cls", b"0")])
    with pytest.raises(DatasetError, match="occur more than once: '0'"):
        build_manifest(config(tree({"a.tar": member, "b.tar": member})))


@pytest.mark.parametrize("name", ["../x.png", "/etc/x.png", "a/../../x.png", "s3://b/x.png"])
def test_a_member_that_leaves_the_root_is_refused(tree, name):
    with pytest.raises(DatasetError, match=r"member .* of .*a\.tar: expected a path below"):
        build_manifest(config(tree({"a.tar": shard([(name, b"x"), ("0.cls", b"0")])})))


def test_links_in_a_shard_are_not_followed(tree):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        link = tarfile.TarInfo("0.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        entry = tarfile.TarInfo("0.cls")
        entry.size = 1
        archive.addfile(entry, io.BytesIO(b"0"))
    root = tree({"a.tar": stream.getvalue()})
    assert build_manifest(config(root)).table["fingerprint"].tolist() == ["missing"]


@pytest.mark.parametrize("damage", ["half", "garbage", "gzip", "text"])
def test_a_damaged_or_compressed_shard_is_named(shards, damage):
    import gzip

    path = shards / "train-001.tar"
    content = path.read_bytes()
    path.write_bytes(
        {
            "half": content[:1300],
            "garbage": content[:2048] + b"\xff" * 512 + content[2560:],
            "gzip": gzip.compress(content),
            "text": b"no archive",
        }[damage]
    )
    with pytest.raises(DatasetError, match=r"train-001\.tar cannot be read"):
        build_manifest(config(shards))


def test_missing_shards_and_labels_are_told(tree, tmp_path):
    with pytest.raises(DatasetError, match="no shard matches"):
        build_manifest(config(tmp_path / "*.tar"))
    with pytest.raises(DatasetError, match=r"none\.tar cannot be read: FileNotFoundError"):
        build_manifest(config(tmp_path / "none.tar"))
    root = tree({"a.tar": shard([("0.png", b"x"), ("0.json", b'{"class": 1}')])})
    with pytest.raises(DatasetError, match=r"has a label; expected a \.cls file"):
        build_manifest(config(root))


def test_the_missing_library_names_the_extra(shards, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "webdataset"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DatasetError, match=r"wam-audit\[webdataset\]"):
        build_manifest(config(shards))


def test_labels_may_be_left_out(shards):
    manifest = build_manifest(config(shards, label_column=None))
    assert len(manifest.table) == 6
    assert manifest.table["label"].isna().all()
