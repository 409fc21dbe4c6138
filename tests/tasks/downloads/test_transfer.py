"""A file arrives whole and checked, whatever happens to the connection."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.downloads.errors import CutTransferError, DownloadError
from tasks.downloads.transfer import ResumingDownloader, fetch
from tasks.errors import EXIT_INCOMPLETE

CONTENT = bytes(range(256)) * 4000
BLOCK = 65_536


def quiet(done, total):
    pass


def once(file, folder, report=quiet):
    return fetch(file, folder, report, attempts=1)


def test_a_file_arrives_under_its_name_and_is_not_asked_for_again(site, offer, tmp_path):
    file, told = offer(CONTENT), []
    path = fetch(file, tmp_path, lambda *amounts: told.append(amounts))
    assert path.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert fetch(file, tmp_path, quiet) == path
    assert site.requests == [("/file.bin", None)]
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_after_a_cut_only_the_rest_is_asked_for(site, offer, tmp_path, size):
    file = offer(CONTENT, size=size)
    site.cuts = [4 * BLOCK]
    with pytest.raises(CutTransferError, match="after 262144 of 1024000 bytes") as cut:
        once(file, tmp_path)
    assert "run the same command again" in str(cut.value)
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[: 4 * BLOCK]
    assert not (tmp_path / "file.bin").exists()
    told = []
    once(file, tmp_path, lambda *amounts: told.append(amounts))
    assert site.requests == [("/file.bin", None), ("/file.bin", "bytes=262144-")]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert told[0][0] > 4 * BLOCK


def test_one_command_outlives_several_cuts(site, offer, tmp_path):
    site.cuts = [BLOCK, 2 * BLOCK + 100]
    fetch(offer(CONTENT), tmp_path, quiet, pause_s=0.0)
    assert [asked for _, asked in site.requests] == [None, "bytes=65536-", "bytes=196608-"]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_connections_that_bring_nothing_are_not_repeated_for_ever(site, offer, tmp_path):
    site.cuts = [BLOCK, 0, 0, 0]
    with pytest.raises(CutTransferError):
        fetch(offer(CONTENT), tmp_path, quiet, pause_s=0.0)
    assert len(site.requests) == 2


def test_a_server_without_ranges_sends_the_file_anew(site, offer, tmp_path):
    site.ranges = False
    (tmp_path / "file.bin.part").write_bytes(b"x" * 500)
    assert once(offer(CONTENT), tmp_path).read_bytes() == CONTENT
    assert site.requests == [("/file.bin", "bytes=500-")]


def test_a_server_that_states_no_length(site, offer, tmp_path):
    site.lengths = False
    file, told = offer(CONTENT), []
    assert once(file, tmp_path, lambda *amounts: told.append(amounts)).read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), file.size)


def test_a_cut_nobody_could_notice_is_found_by_the_checksum(site, offer, tmp_path):
    site.lengths, site.cuts = False, [5000]
    with pytest.raises(DownloadError, match="does not match"):
        once(offer(CONTENT), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [len(CONTENT), len(CONTENT) + 10])
@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_part_as_long_as_the_file_or_longer(site, offer, tmp_path, length, size):
    (tmp_path / "file.bin.part").write_bytes((CONTENT + b"0123456789")[:length])
    path = once(offer(CONTENT, size=size), tmp_path)
    assert path.read_bytes() == CONTENT
    if length == size:
        assert site.requests == []


def test_a_part_of_something_else_is_found_by_the_checksum_and_removed(site, offer, tmp_path):
    file = offer(CONTENT)
    (tmp_path / "file.bin.part").write_bytes(b"not the file's beginning")
    with pytest.raises(DownloadError, match="does not match"):
        once(file, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert once(file, tmp_path).read_bytes() == CONTENT
    assert site.requests[-1] == ("/file.bin", None)


def test_wrong_bytes_are_refused_and_removed(site, offer, tmp_path):
    file = offer(CONTENT)
    site.files["/file.bin"] = CONTENT[::-1]
    with pytest.raises(DownloadError) as refused:
        once(file, tmp_path)
    message = str(refused.value)
    assert file.url in message
    assert file.checksum in message
    assert "published by the test" in message
    assert refused.value.exit_code == EXIT_INCOMPLETE
    assert list(tmp_path.iterdir()) == []


def test_another_size_is_refused_before_it_is_loaded(site, offer, tmp_path):
    file = offer(CONTENT)
    site.files["/file.bin"] = CONTENT * 2
    with pytest.raises(DownloadError, match=r"expected a file of 1024000 bytes, .* 2048000"):
        once(file, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "advice"),
    [(404, "homepage"), (403, "proxy forbids"), (503, "later"), (429, "later")],
)
def test_a_server_that_refuses(site, offer, tmp_path, status, advice):
    file = offer(CONTENT)
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:100])
    site.statuses = [status]
    with pytest.raises(DownloadError, match=f"answered {status} .*{advice}"):
        once(file, tmp_path)
    # What came before is not lost.
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:100]


def test_a_machine_without_a_network(offer, tmp_path, site):
    file = replace(offer(CONTENT), url="http://127.0.0.1:1/file.bin")
    with pytest.raises(DownloadError, match=r"cannot reach .* no connection"):
        once(file, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "Free some space"), (errno.EROFS, "Mend the permissions")],
)
def test_a_disk_that_refuses(offer, tmp_path, monkeypatch, number, advice):
    file = offer(CONTENT)

    def refuse(self, *arguments, **keywords):
        raise OSError(number, "the reason")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DownloadError, match=f"the reason. {advice}") as refused:
        once(file, tmp_path)
    assert str(tmp_path) in str(refused.value)


def test_ctrl_c_keeps_what_came(offer, tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    downloader = ResumingDownloader(part=tmp_path / "file.bin.part", report=interrupt)
    with pytest.raises(KeyboardInterrupt):
        downloader(offer(CONTENT).url, str(tmp_path / "whole"))
    assert (tmp_path / "file.bin.part").stat().st_size > 0
    assert not (tmp_path / "whole").exists()
