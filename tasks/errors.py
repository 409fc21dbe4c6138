"""Errors a user can act on, each with the exit code the command line ends with.

The message says what was expected, what came, where, and what to do. The command line prints it
without a traceback; anything that is not an `AuditError` is a defect of ours.
"""

from __future__ import annotations

from typing import ClassVar

EXIT_DONE = 0
EXIT_GATE_FAILED = 1
EXIT_WRONG_USAGE = 2
EXIT_INCOMPLETE = 3
EXIT_DAMAGED = 4


class AuditError(Exception):
    """A failure with a message for the person who runs the audit."""

    exit_code: ClassVar[int] = EXIT_WRONG_USAGE


class ConfigError(AuditError):
    """The configuration, or a path or option it names, is wrong."""


class DatasetError(AuditError):
    """The dataset cannot be turned into a manifest, or too many of its samples are bad."""


class ModelError(AuditError):
    """The model cannot be loaded, or does not behave as the audit needs."""


class IncompleteAuditError(AuditError):
    """The audit stopped before every shard had its receipt; running it again continues."""

    exit_code: ClassVar[int] = EXIT_INCOMPLETE


class StoreError(AuditError):
    """The audit folder contradicts the run: other data, other weights, or damaged files."""

    exit_code: ClassVar[int] = EXIT_DAMAGED


class IdentityError(StoreError):
    """The folder belongs to another audit: a field of its identity differs."""

    exit_code: ClassVar[int] = EXIT_WRONG_USAGE
