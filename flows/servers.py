"""Child processes that serve a page: start, wait until they answer, stop with all descendants."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.errors import AuditError, ConfigError

if TYPE_CHECKING:
    import threading
    from collections.abc import Container, Iterator, Mapping, Sequence
    from pathlib import Path

_PORTS_TRIED = 50
_LOG_LINES = 15
_GRACE_S = 10.0
_LOOK_EVERY_S = 0.3
_ANSWER_S = 5.0


@dataclass(frozen=True)
class Server:
    """A running server and where it is reached.

    Args:
        address: What a person opens in a browser.
        health_url: Answers 200 once the server works; always on this machine.
    """

    name: str
    address: str
    health_url: str
    process: subprocess.Popen[bytes]
    log: Path


@contextlib.contextmanager
def serving(
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    address: str,
    health_url: str,
    log: Path,
) -> Iterator[Server]:
    """Run a server for the length of the block; afterwards nothing of it is left.

    The server leads a session of its own, so that Ctrl-C reaches only us, and its end reaches all
    of its children.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(command),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Server(name, address, health_url, process, log)
    finally:
        _end(process)


def wait_until_healthy(server: Server, timeout_s: float, stop: threading.Event) -> bool:
    """Wait until the server answers.

    Returns:
        False if `stop` was set before that.

    Raises:
        AuditError: If the server ends, or does not answer in time; with the end of its log.
    """
    deadline = time.monotonic() + timeout_s
    while not stop.is_set():
        check_running(server)
        if answers(server.health_url):
            return True
        if time.monotonic() > deadline:
            raise AuditError(
                f"{server.name} did not answer at {server.health_url} within {timeout_s:g} s. "
                f"The end of its log:\n{_tail(server.log)}"
            )
        stop.wait(_LOOK_EVERY_S)
    return False


def check_running(server: Server) -> None:
    """Raise an AuditError with the end of the log if the server has ended."""
    status = server.process.poll()
    if status is not None:
        raise AuditError(
            f"{server.name} ended with status {status}. The end of its log:\n{_tail(server.log)}"
        )


def read(url: str) -> bytes | None:
    """What a server on this machine answers; None unless it is a success.

    A proxy set in the environment is not asked: it could not reach a loopback address.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_ANSWER_S) as response:
            content: bytes = response.read()
            return content
    except (OSError, ValueError, urllib.error.URLError):
        return None


def answers(url: str) -> bool:
    """Whether a server on this machine answers with success."""
    return read(url) is not None


def free_port(host: str, wanted: int, taken: Container[int] = ()) -> int:
    """The wanted port, or the next one that nobody listens on.

    Args:
        taken: Ports that are spoken for, though nobody listens on them yet.

    Raises:
        ConfigError: If the host is not of this machine, or no port nearby is free.
    """
    last = min(wanted + _PORTS_TRIED, 65536)
    for port in range(wanted, last):
        if port not in taken and _is_free(host, port):
            return port
    raise ConfigError(
        f"no free port on {host} between {wanted} and {last - 1}. Stop what listens there, or "
        "choose another port."
    )


def _is_free(host: str, port: int) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ConfigError(
            f"the host '{host}' is unknown: {error}. Use 127.0.0.1 to serve this machine only."
        ) from error
    with socket.socket(family, kind, protocol) as probe:
        # As the servers do: a port just given up counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError:
            return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the session to end, then make sure: also what outlived its parent."""
    _signal_session(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)
    _signal_session(process, signal.SIGKILL)
    process.wait()


def _signal_session(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # Its id is the leader's; it stays valid while any member lives.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _tail(log: Path) -> str:
    lines = log.read_text("utf-8", errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-_LOG_LINES:]) or "  (empty)"
