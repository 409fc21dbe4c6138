"""Where an audit is published: the tracking URI and the folder of the artifacts.

The default is a sqlite database beside the audits. MLflow's own default (a database in whatever
folder the command was started from) would scatter runs, and its file store is refused by current
versions, so both are settled here, explicitly and as absolute paths.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tasks.errors import ConfigError
from tasks.locations import expand

if TYPE_CHECKING:
    from tasks.config import TrackingConfig

DATABASE_NAME = "mlflow.db"
ARTIFACTS_NAME = "mlflow-artifacts"

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):")
_PASSWORD = re.compile(r"//[^/@\s]+@")
_DATABASES = frozenset({"sqlite", "postgresql", "mysql", "mssql"})
_SERVERS = frozenset({"http", "https", "databricks", "databricks-uc", "uc"})
_SQLITE = "sqlite:///"


def resolve_tracking_uri(config: TrackingConfig, store_url: str) -> str:
    """The MLflow tracking URI of an audit, with absolute paths.

    Environment variables such as MLFLOW_TRACKING_URI are not read: the place stands in the
    configuration. Credentials for a server do come from MLflow's own variables.

    Args:
        config: Its `uri` is used when it is set; placeholders are expanded.
        store_url: `store.url`; a local folder gets `mlflow.db` beside the audits.

    Raises:
        ConfigError: If the store is remote and no URI is set, or the URI is a file store or
            something MLflow does not know.
    """
    if config.uri is not None:
        return _checked(expand(config.uri))
    folder = _local_folder(expand(store_url))
    if folder is None:
        raise ConfigError(
            f"the audits stand in {without_password(store_url)}, which is not a local folder, so "
            "the MLflow database cannot stand beside them. Set tracking.uri to a server "
            f"(http://HOST:5000) or a database ({_SQLITE}/absolute/path/{DATABASE_NAME}), or "
            "tracking.enabled to false."
        )
    return f"{_SQLITE}{folder / DATABASE_NAME}"


def artifact_root(uri: str) -> Path | None:
    """Folder of the artifacts of new experiments: beside a sqlite database.

    Returns:
        None where the server decides (http), or where only an existing experiment knows.
    """
    path = sqlite_path(uri)
    return None if path is None else path.parent / ARTIFACTS_NAME


def sqlite_path(uri: str) -> Path | None:
    """File of a sqlite URI; None for every other kind."""
    if not uri.startswith(_SQLITE):
        return None
    return Path(uri.removeprefix(_SQLITE).partition("?")[0])


def is_server(uri: str) -> bool:
    """Whether the URI names a running MLflow server."""
    return _scheme(uri) in {"http", "https"}


def without_password(text: str) -> str:
    """The text with the user and password of every URL blanked.

    Example:
        >>> without_password("http://ann:secret@host:5000 refused")
        'http://***@host:5000 refused'
    """
    return _PASSWORD.sub("//***@", text)


def _checked(uri: str) -> str:
    scheme = _scheme(uri)
    if scheme == "sqlite":
        return _absolute_sqlite(uri)
    if scheme in _DATABASES or scheme in _SERVERS or uri == "databricks":
        return uri.rstrip("/") if scheme in {"http", "https"} else uri
    advice = (
        f"Use a database ({_SQLITE}/absolute/path/{DATABASE_NAME}) or a server "
        "(http://HOST:5000), or leave tracking.uri out: then a database stands beside the audits."
    )
    if scheme in {"", "file"}:
        raise ConfigError(
            f"tracking.uri is '{uri}', a folder of files; MLflow no longer keeps runs in folders. "
            f"{advice} Old runs are moved with `mlflow migrate-filestore`."
        )
    raise ConfigError(
        f"tracking.uri is '{without_password(uri)}'; MLflow knows no tracking store '{scheme}:'. "
        f"{advice}"
    )


def _absolute_sqlite(uri: str) -> str:
    path = sqlite_path(uri)
    if path is None or not path.name or ":memory:" in uri:
        raise ConfigError(
            f"tracking.uri is '{uri}', which names no file; an audit's runs must outlive the "
            f"process. Write {_SQLITE}/absolute/path/{DATABASE_NAME}."
        )
    _, mark, options = uri.partition("?")
    return f"{_SQLITE}{path.expanduser().resolve()}{mark}{options}"


def _local_folder(store_url: str) -> Path | None:
    scheme = _scheme(store_url)
    if scheme in {"", "local"}:
        return Path(store_url.removeprefix("local:").removeprefix("//")).expanduser().resolve()
    if scheme == "file":
        return Path(unquote(urlsplit(store_url).path)).resolve()
    return None


def _scheme(uri: str) -> str:
    """Scheme without the driver: `postgresql+psycopg2:` is `postgresql`; a plain path has none."""
    match = _SCHEME.match(uri)
    # One letter is a Windows drive.
    if match is None or len(match[1]) == 1:
        return ""
    return match[1].partition("+")[0].lower()
