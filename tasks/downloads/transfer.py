"""Download one file so that a broken connection costs nothing but the rest of the file.

What has come lies in `<name>.part` and is continued with an HTTP range request; a server that does
not know ranges sends the file anew. A partial file is never trusted: the checksum is computed over
the whole, and only then does the file get its name.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

import pooch
import requests

from tasks.downloads.errors import CutTransferError, DownloadError, disk_failure
from tasks.downloads.registry import RemoteFile

_BLOCK = 1 << 16  # bytes; a broken connection loses the block it breaks in
_TIMEOUT_S = (15.0, 60.0)  # to connect, and between two blocks
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
_REASONS: dict[type[requests.RequestException], str] = {
    requests.exceptions.SSLError: "its certificate cannot be verified",
    requests.exceptions.ProxyError: "the proxy of this machine does not answer",
    requests.exceptions.ConnectTimeout: "no answer in time",
    requests.exceptions.ReadTimeout: "no answer in time",
    requests.exceptions.ConnectionError: "no connection",
}
_LATER = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT)


@dataclass(frozen=True)
class Advance:
    """How far one step of one dataset is.

    Attributes:
        done: Bytes while downloading, files while unpacking.
        total: None where it is not known.
    """

    name: str
    step: Literal["download", "unpack"]
    done: int
    total: int | None


@dataclass(frozen=True)
class ResumingDownloader:
    """A downloader for `pooch.retrieve` that continues where an earlier one stopped.

    Attributes:
        part: Where bytes are collected.
        size: Bytes the file must have; None to accept what the server states.
        report: Called with the bytes here and the bytes in all (None if unknown).
        attempts: Connections per call, as long as each brings something.
        pause_s: Seconds between them, doubled every time.
    """

    part: Path
    size: int | None = None
    report: Callable[[int, int | None], None] = lambda done, total: None
    attempts: int = 4
    pause_s: float = 1.0

    def __call__(self, url: str, output_file: str, _cache: Any = None) -> None:
        """Bring the file to `output_file`; its content is still to be checked.

        Raises:
            DownloadError: If the server cannot be reached, refuses, or has a file of another size,
                if the connection breaks again and again, or if the disk refuses.
        """
        try:
            self._receive_patiently(url)
            self.part.replace(output_file)
        except requests.RequestException as error:  # an OSError too: it must come first
            raise self._unreachable(url, error) from error
        except OSError as error:
            raise disk_failure(error, self.part) from error

    def _receive_patiently(self, url: str) -> None:
        for attempt in range(self.attempts):
            before = self._kept()
            try:
                self._receive(url)
            except CutTransferError:
                if attempt == self.attempts - 1 or self._kept() <= before:
                    raise
                time.sleep(self.pause_s * 2**attempt)
            else:
                return

    def _kept(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _receive(self, url: str) -> None:
        """One connection, or two if the server cannot continue what is here."""
        kept = self._kept()
        if self.size is not None and kept > self.size:
            kept = self._discard()
        if kept and kept == self.size:
            return None
        with _request(url, kept) as response:
            if kept and response.status_code in (
                HTTPStatus.PARTIAL_CONTENT,
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            ):
                start, total = _content_range(response)
                if start is None and total == kept:
                    return None  # nothing is missing
                if start == kept:
                    return self._append(url, response, kept, total)
            elif response.status_code == HTTPStatus.OK:
                return self._append(url, response, 0, _content_length(response))
            else:
                raise _refused(url, response)
        self._discard()
        return self._receive(url)

    def _discard(self) -> int:
        self.part.unlink()
        return 0

    def _append(self, url: str, response: requests.Response, start: int, total: int | None) -> None:
        if self.size is not None and total is not None and total != self.size:
            self.part.unlink(missing_ok=True)
            raise DownloadError(
                f"{url}: expected a file of {self.size} bytes, but the server has one of {total}: "
                "it is not the published one. Look at the dataset's homepage for what changed."
            )
        done = start
        with self.part.open("ab" if start else "wb") as part:
            try:
                for block in response.iter_content(_BLOCK):
                    part.write(block)
                    done += len(block)
                    self.report(done, total or self.size)
            except requests.RequestException as error:
                raise self._cut(url, done, total) from error
        if total is not None and done < total:
            raise self._cut(url, done, total)

    def _cut(self, url: str, done: int, total: int | None) -> CutTransferError:
        return CutTransferError(
            f"{url}: the connection broke after {done} of {total or 'unknown'} bytes. They are "
            f"kept in {self.part}; run the same command again: it continues if the server can."
        )

    def _unreachable(self, url: str, error: requests.RequestException) -> DownloadError:
        reason = _REASONS.get(type(error), str(error))
        return DownloadError(
            f"cannot reach {url}: {reason}. This command needs the internet, directly or by the "
            "proxy that HTTPS_PROXY names. Run it again where there is some, or bring the file "
            f"yourself: as {self.part.with_suffix('')}, and the same command uses it."
        )


def fetch(
    file: RemoteFile, folder: Path, report: Callable[[int, int | None], None], **options: Any
) -> Path:
    """The file below `folder`, downloaded unless it is there already, with its checksum checked.

    The content of a file that is not reproducible is left to the caller.

    Args:
        report: Called with the bytes here and the bytes in all (None if unknown).
        options: Further settings of `ResumingDownloader`.

    Raises:
        DownloadError: As `ResumingDownloader`, or if the checksum differs; the file is removed.
    """
    pooch.get_logger().setLevel("WARNING")
    downloader = ResumingDownloader(
        part=folder / f"{file.name}.part",
        size=file.size if file.reproducible else None,
        report=lambda done, total: report(done, total or file.size),
        **options,
    )
    try:
        for stale in folder.glob("tmp*"):  # pooch's own, empty, of a command that was killed
            if stale.is_file() and stale.stat().st_size == 0:
                stale.unlink()
        path = pooch.retrieve(
            file.url,
            known_hash=file.checksum if file.reproducible else None,
            fname=file.name,
            path=folder,
            downloader=downloader,
        )
    except ValueError as error:
        raise DownloadError(
            f"{file.url}: {error} The checksum is published by {file.checksum_source}. Run the "
            "same command again, which begins anew; if it repeats, the file at its home changed."
        ) from error
    except OSError as error:
        raise disk_failure(error, folder) from error
    return Path(path)


def _request(url: str, offset: int) -> requests.Response:
    # Without compression on the way: a range counts the bytes of the file.
    headers = {"Accept-Encoding": "identity", "User-Agent": "wam-audit"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    return requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S)


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """First byte and whole length of `Content-Range`, None where it does not say."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None:
        return None, None
    start, total = found.groups()
    return (int(start) if start else None, None if total == "*" else int(total))


def _content_length(response: requests.Response) -> int | None:
    stated = response.headers.get("Content-Length", "")
    return int(stated) if stated.isdigit() else None


def _refused(url: str, response: requests.Response) -> DownloadError:
    status = response.status_code
    if status in _LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        advice = "The server is busy or out of order: run the same command again later."
    else:
        advice = (
            "The file is not where its publisher had put it, or a proxy forbids it: look at the "
            "dataset's homepage."
        )
    return DownloadError(
        f"{url}: expected the file, but the server answered {status} {response.reason}. {advice}"
    )
