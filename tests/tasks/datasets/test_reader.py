"""The reader: never raises for a bad sample, and travels between processes."""

from __future__ import annotations

import dataclasses
import errno
import pickle

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.config import DatasetConfig
from tasks.datasets import Manifest, SampleReader, build_manifest
from tasks.errors import ConfigError, DatasetError, IncompleteAuditError
from tasks.preprocessing import Preprocessing

RULES = Preprocessing(resize=16, crop=(16, 16), input_shape=(3, 16, 16))


@pytest.fixture
def opened(tree, encode, picture):
    files = {f"cat/{seed}.png": encode(picture(20, 30, seed)) for seed in range(3)}
    config = DatasetConfig(kind="folder", root=str(tree(files)))
    return config, build_manifest(config)


def test_a_pickled_reader_reads_the_same(opened):
    config, manifest = opened
    reader = SampleReader(config, manifest, RULES)
    reader.read(0)
    again = pickle.loads(pickle.dumps(reader))
    for row in range(3):
        np.testing.assert_array_equal(reader.read(row).signal, again.read(row).signal)


def test_rows_are_read_in_any_order_and_never_replaced(opened):
    config, manifest = opened
    reader = SampleReader(config, manifest, RULES)
    forwards = [reader.read(row).signal for row in range(3)]
    backwards = [reader.read(row).signal for row in (2, 1, 0)]
    for one, two in zip(forwards, reversed(backwards), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(forwards[0], forwards[1])


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), suffix=st.sampled_from(["png", "jpg", "tif", "gif", "webp", "jp2"]))
def test_damaged_files_give_a_status_and_never_raise(read_file, encode, picture, data, suffix):
    content = bytearray(encode(picture(12, 12), {"jp2": "JPEG2000"}.get(suffix, suffix)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    sample = read_file(bytes(content), (3, 12, 12))
    assert sample.status in ("ok", "decode_error", "shape_error", "nonfinite")
    assert (sample.signal is None) == (sample.status != "ok")
    assert ("one.png" in sample.detail) == (sample.status != "ok")


def test_a_manifest_from_elsewhere_cannot_read_outside_the_root(opened, tmp_path_factory):
    config, manifest = opened
    secret = tmp_path_factory.mktemp("secret") / "x.png"
    secret.write_bytes(b"x")
    for path in (str(secret), "../" * 12 + str(secret)[1:], f"file://{secret}"):
        table = manifest.table.assign(source=path)
        hostile: Manifest = dataclasses.replace(manifest, table=table)
        sample = SampleReader(config, hostile, RULES).read(0)
        assert sample.status == "decode_error"
        assert "below dataset.root" in sample.detail


class FlakyFileSystem(MemoryFileSystem):
    """A remote file system whose client fails in its own way, or says what is wrong."""

    protocol = "flaky"
    failure: Exception | None = None

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("flaky://"))

    def cat_file(self, path, start=None, end=None, **kwargs):
        if self.failure is not None:
            raise self.failure
        return super().cat_file(path, start, end, **kwargs)


@pytest.mark.parametrize(
    ("failure", "outage"),
    [
        (TimeoutError("no answer"), True),
        (RuntimeError("endpoint not reached"), True),
        (OSError(errno.EIO, "bad gateway"), True),
        (FileNotFoundError("gone"), False),
        (PermissionError("forbidden"), False),
    ],
)
def test_a_storage_that_does_not_answer_is_not_a_bad_sample(
    encode, picture, monkeypatch, failure, outage
):
    fsspec.register_implementation("flaky", FlakyFileSystem, clobber=True)
    fsspec.filesystem("flaky").pipe({"/flaky-test/cat/a.png": encode(picture(20, 30))})
    config = DatasetConfig(kind="folder", root="flaky://flaky-test")
    reader = SampleReader(config, build_manifest(config), RULES)
    assert reader.read(0).status == "ok"
    monkeypatch.setattr(FlakyFileSystem, "failure", failure)
    if outage:
        with pytest.raises(IncompleteAuditError, match=r"a\.png: the storage failed"):
            reader.read(0)
        with pytest.raises(DatasetError, match=r"a\.png: the storage failed"):
            build_manifest(config)
    else:
        assert reader.read(0).status == "decode_error"
        assert build_manifest(config).table["fingerprint"][0] in ("missing", "unreadable")


def test_rules_that_pillow_cannot_follow_are_refused(opened):
    config, manifest = opened
    with pytest.raises(ConfigError, match="antialias"):
        SampleReader(config, manifest, RULES.model_copy(update={"antialias": False}))


def test_a_npy_file_is_a_sample(read_file, tmp_path):
    values = np.linspace(0, 1, 4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    np.save(tmp_path / "volume.npy", values)
    content = (tmp_path / "volume.npy").read_bytes()
    np.testing.assert_array_equal(read_file(content, (1, 4, 5, 6)).signal[0], values)
    assert read_file(content[:-8], (1, 4, 5, 6)).status == "decode_error"
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    sample = read_file((tmp_path / "objects.npy").read_bytes(), (1, 4, 5, 6))
    assert sample.status == "decode_error"
