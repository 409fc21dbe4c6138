"""A small web server that can misbehave, and archives made for it."""

import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from dataclasses import dataclass, field

import pytest

from tasks.downloads.registry import RemoteFile


@dataclass
class Site:
    """What the server has and how it behaves; `requests` holds (path, Range) of every request.

    Attributes:
        cuts: How many bytes each of the next answers sends before the connection breaks.
        statuses: Error statuses of the next answers.
    """

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    lengths: bool = True
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    requests: list[tuple[str, str | None]] = field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        site = self.server.site
        wanted = self.headers.get("Range")
        site.requests.append((self.path, wanted))
        content = site.files.get(self.path)
        status = site.statuses.pop(0) if site.statuses else 404 if content is None else 200
        if status != 200:
            self.send_error(status)
            return
        start = int(wanted[6:-1]) if wanted and site.ranges else 0
        if start >= len(content) and start:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if start:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if site.lengths:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = start + site.cuts.pop(0) if site.cuts else len(content)
        self.wfile.write(content[start:stop])

    def log_message(self, *_):
        pass


@pytest.fixture
def site(monkeypatch):
    """A server on this machine; no proxy stands between."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.site = Site(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.site
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def offer(site):
    """Puts bytes on the server; returns the file as the registry would know it."""

    def put(content, name="file.bin", **fields):
        site.files[f"/{name}"] = content
        known = {
            "name": name,
            "url": f"{site.url}/{name}",
            "checksum": f"md5:{hashlib.md5(content).hexdigest()}",
            "checksum_source": "the test",
            "size": len(content),
        }
        return RemoteFile(**(known | fields))

    return put


@pytest.fixture
def zip_of():
    """A ZIP archive of files, by name."""

    def pack(files):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return buffer.getvalue()

    return pack


@pytest.fixture
def tar_of():
    """A compressed tar archive of files (bytes) or other members (TarInfo), by name."""

    def pack(members):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for name, member in members.items():
                if isinstance(member, tarfile.TarInfo):
                    archive.addfile(member)
                else:
                    entry = tarfile.TarInfo(name)
                    entry.size = len(member)
                    archive.addfile(entry, io.BytesIO(member))
        return buffer.getvalue()

    return pack
