"""The Prefect server of one run: the configured one, or an embedded one shared by all processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from flows.cancellation import children_without_interrupts
from tasks.errors import IncompleteAuditError
from tasks.tracking import without_password

_ANSWERS_S = 15.0


@contextlib.contextmanager
def answering_prefect() -> Iterator[None]:
    """Have a Prefect server that answers before any work begins.

    Raises:
        IncompleteAuditError: If the configured server does not answer, or no embedded one starts.
    """
    from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

    url = get_current_settings().api.url
    if url:
        _check(url)
        yield
        return
    # Named for the length of the run: each process of a pool would start a server of its own.
    with temporary_settings({PREFECT_API_URL: _embedded_server()}):
        yield


def _check(url: str) -> None:
    """Any answer will do; whether the run is allowed is the server's to say."""
    import httpx

    try:
        httpx.get(f"{url.rstrip('/')}/health", timeout=_ANSWERS_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise IncompleteAuditError(
            f"the Prefect server at {without_password(url)} (PREFECT_API_URL, or the active "
            f"profile) does not answer: {type(error).__name__}: {error}. Start it (prefect server "
            "start), or run with a server of its own: PREFECT_API_URL= wam-audit run …. Nothing "
            "was computed and nothing is lost."
        ) from error


def _embedded_server() -> str:
    """Address of the server that Prefect starts for this process, and stops at its end.

    A terminal sends Ctrl-C to the server as well. It must not see it: a run whose server is gone
    waits for minutes in retries, and with a pool of processes for ever.
    """
    import httpx
    from prefect.client.orchestration import get_client

    try:
        with children_without_interrupts(), get_client(sync_client=True) as client:
            client.hello()
            return str(client.api_url)
    except (RuntimeError, ValueError, OSError, httpx.HTTPError) as error:
        raise IncompleteAuditError(
            f"Prefect's embedded server does not start: {type(error).__name__}: {error}. Is its "
            "folder (PREFECT_HOME) writable, and the machine not overloaded? Nothing was computed "
            "and nothing is lost; run the same command again."
        ) from error
