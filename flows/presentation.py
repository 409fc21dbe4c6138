"""What the Prefect UI shows of an audit: progress, the summary table, links.

All of it is decoration: an API that does not answer never fails an audit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from tasks.publish import Outcome

_LOGGER = logging.getLogger(__name__)

ProgressListener = Callable[[int, int, list[dict[str, Any]]], None]

_listeners: list[ProgressListener] = []


def on_progress(listener: ProgressListener) -> Callable[[], None]:
    """Call `listener(shards done, shards, reports)` as shards finish; returns how to stop that."""
    _listeners.append(listener)
    return lambda: _listeners.remove(listener)


class RunPages:
    """The progress artifact of one run."""

    def __init__(self, n_shards: int, done: int) -> None:
        self._n_shards, self._done = n_shards, done
        self._artifact: UUID | None = _quietly(
            lambda: create_progress_artifact(
                progress=self._percent(),
                key="audit-progress",
                description=f"Shards finished, of {n_shards}",
            )
        )
        for listener in _listeners:
            listener(done, n_shards, [])

    def advance(self, reports: list[dict[str, Any]]) -> None:
        """Show that some shards are finished."""
        self._done += len(reports)
        if self._artifact is not None:
            artifact = self._artifact
            _quietly(lambda: update_progress_artifact(artifact, progress=self._percent()))
        for listener in _listeners:
            listener(self._done, self._n_shards, reports)

    @staticmethod
    def summary(outcome: Outcome) -> None:
        """Show the headline, the counts and gates, and where the report is."""
        summary = outcome.summary
        headline = "\n".join(f"- {sentence}" for sentence in summary["headline"])
        _quietly(
            lambda: create_markdown_artifact(
                f"# {summary['name']}\n\n{headline}", key="audit-headline"
            )
        )
        _quietly(
            lambda: create_table_artifact(
                table=_table(outcome), key="audit-summary", description="Counts and gates"
            )
        )
        for name in ("report.html", "summary.json"):
            link = outcome.folder.uri(name)
            link = link if "://" in link else f"file://{link}"
            _quietly(
                lambda link=link, name=name: create_link_artifact(  # type: ignore[misc]
                    link=link, link_text=name, key=f"audit-{name.replace('.', '-')}"
                )
            )

    def _percent(self) -> float:
        return 100.0 * self._done / max(1, self._n_shards)


def _table(outcome: Outcome) -> list[dict[str, Any]]:
    counts = [
        {"what": status.replace("_", " "), "value": count, "reason": ""}
        for status, count in outcome.summary["counts"].items()
    ]
    gates = [
        {"what": result.gate, "value": result.verdict, "reason": result.reason}
        for result in outcome.gates
    ]
    return counts + gates


def _quietly(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        _LOGGER.warning("Prefect did not take an artifact: %s", error)
        return None
