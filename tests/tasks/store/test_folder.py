"""Files appear whole or not at all, here and on object stores."""

import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.errors import EXIT_INCOMPLETE, IncompleteAuditError, StoreError
from tasks.store import AuditFolder
from tasks.store import folder as folder_module


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    if request.param == "local":
        return AuditFolder(str(tmp_path / "audit"))
    return AuditFolder(f"memory://{tmp_path.name}/audit")


class TestFiles:
    def test_what_is_written_is_read(self, folder):
        folder.write_bytes("tables/a/part.bin", b"abc")
        folder.write_json("audit.json", {"b": [1, None], "a": "é"})
        assert folder.read_bytes("tables/a/part.bin") == b"abc"
        assert folder.read_json("audit.json") == {"a": "é", "b": [1, None]}
        assert folder.size("tables/a/part.bin") == 3
        assert folder.size("none") is None
        assert folder.exists("tables/a")
        assert folder.names("tables/a", ".bin") == ["part.bin"]
        assert folder.names("nowhere", ".bin") == []
        digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        assert folder.sha256("tables/a/part.bin") == digest

    def test_removal_is_complete_and_may_be_repeated(self, folder):
        folder.write_bytes("receipts/0.json", b"{}")
        folder.remove("receipts")
        folder.remove("receipts")
        assert not folder.exists("receipts/0.json")

    def test_a_missing_file_is_said_to_be_missing(self, folder):
        with pytest.raises(StoreError, match=r"has no summary\.json"):
            folder.read_json("summary.json")

    def test_what_is_not_json_is_damaged(self, folder):
        folder.write_bytes("audit.json", b'{"half": ')
        with pytest.raises(StoreError, match=r"audit\.json is damaged"):
            folder.read_json("audit.json")

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_numbers_that_json_has_not_are_refused(self, folder, value):
        with pytest.raises(ValueError, match="JSON"):
            folder.write_json("summary.json", {"estimate": value})
        assert not folder.exists("summary.json")


class TestAtomicity:
    @pytest.fixture
    def folder(self, tmp_path):
        return AuditFolder(str(tmp_path))

    def test_a_failed_write_leaves_the_old_content_and_no_leftover(
        self, folder, tmp_path, monkeypatch
    ):
        folder.write_bytes("summary.json", b"old")

        def no_space(descriptor):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(folder_module.os, "fsync", no_space)
        with pytest.raises(IncompleteAuditError, match=r"summary\.json: No space left") as caught:
            folder.write_bytes("summary.json", b"new")
        assert caught.value.exit_code == EXIT_INCOMPLETE
        assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]
        assert folder.read_bytes("summary.json") == b"old"

    def test_a_writer_killed_before_the_rename_leaves_only_what_is_swept(self, folder, tmp_path):
        script = (
            "import os, pathlib, signal, sys\n"
            "from tasks.store import AuditFolder\n"
            "pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
            "AuditFolder(sys.argv[1]).write_bytes('receipts/000000.json', b'{}')\n"
        )
        subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
        assert len(list((tmp_path / "receipts").iterdir())) == 1
        assert folder.names("receipts", ".json") == []
        assert folder.sweep_partial_files() == 1
        assert list((tmp_path / "receipts").iterdir()) == []

    def test_files_are_readable_by_others(self, folder, tmp_path):
        folder.write_json("summary.json", json.loads("{}"))
        assert Path(tmp_path / "summary.json").stat().st_mode & 0o777 == 0o644
