"""No archive writes outside its folder, whatever its members are called."""

import io
import stat
import tarfile
import zipfile

import pytest

from tasks.downloads.errors import DownloadError
from tasks.downloads.extraction import extract

GOOD = {"top/a.txt": b"a", "top/sub/b.txt": b"b"}


@pytest.fixture
def unpack(tmp_path):
    """Extracts an archive's bytes below `inside`; the files found then, anywhere in tmp_path."""

    def unpack(content):
        archive, folder = tmp_path / "archive", tmp_path / "inside"
        archive.write_bytes(content)
        folder.mkdir()
        try:
            return extract(archive, folder)
        finally:
            outside = {path.name for path in tmp_path.iterdir()} - {"archive", "inside"}
            assert not outside

    return unpack


@pytest.fixture(params=["zip", "tar"])
def pack(request, zip_of, tar_of):
    return {"zip": zip_of, "tar": tar_of}[request.param]


def test_members_lie_below_the_top_folder(pack, unpack):
    top = unpack(pack(GOOD))
    assert top.name == "top"
    found = {
        path.relative_to(top.parent).as_posix(): path.read_bytes() for path in top.rglob("*.txt")
    }
    assert found == GOOD


@pytest.mark.parametrize(
    "name", ["../evil", "top/../../evil", "/tmp/evil", "..\\evil", "C:/evil", "top/c:evil"]
)
def test_a_path_that_leaves_the_folder_is_refused(pack, unpack, name):
    with pytest.raises(DownloadError, match="may leave the folder"):
        unpack(pack(GOOD | {name: b"evil"}))


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc"),
        (tarfile.SYMTYPE, "a.txt"),
        (tarfile.LNKTYPE, "top/a.txt"),
        (tarfile.FIFOTYPE, ""),
        (tarfile.CHRTYPE, ""),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(tar_of, unpack, kind, target):
    member = tarfile.TarInfo("top/link")
    member.type, member.linkname = kind, target
    with pytest.raises(DownloadError, match="'top/link' is a link or a device"):
        unpack(tar_of(GOOD | {"top/link": member}))


def test_a_link_in_a_zip_is_refused(unpack):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("top/link")
        entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(DownloadError, match="'top/link' is a link or a device"):
        unpack(buffer.getvalue())


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_stands_there_twice_is_refused(unpack):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("top/a.txt", "one")
        archive.writestr("top/a.txt", "two")
    with pytest.raises(DownloadError, match="there twice"):
        unpack(buffer.getvalue())


@pytest.mark.parametrize("files", [{}, {"a/x": b"", "b/x": b""}, {"x": b""}])
def test_an_archive_without_one_top_folder_is_refused(pack, unpack, files):
    with pytest.raises(DownloadError, match="expected one top folder"):
        unpack(pack(files))


def test_a_damaged_archive_is_named(pack, unpack):
    content = bytearray(pack({"top/a.txt": bytes(range(256)) * 40}))
    content[len(content) // 2 - 20 : len(content) // 2] = b"\0" * 20
    content = bytes(content) if content.startswith(b"PK") else bytes(content[:-30])
    with pytest.raises(DownloadError, match="is damaged"):
        unpack(content)
