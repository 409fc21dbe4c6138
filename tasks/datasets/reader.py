"""Reading one sample by its row in the manifest."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from tasks.config import DatasetConfig
from tasks.datasets.arrays import open_arrays
from tasks.datasets.huggingface import open_huggingface
from tasks.datasets.manifest import Manifest
from tasks.datasets.sample import BadSampleError, LoadedSample, Payload
from tasks.datasets.signals import signal_of
from tasks.datasets.storage import SampleStore, is_outage, open_files, reason
from tasks.datasets.webdataset import open_webdataset
from tasks.errors import ConfigError, DatasetError, IncompleteAuditError
from tasks.preprocessing import Preprocessing

_STORES: dict[str, Callable[[DatasetConfig, str], SampleStore]] = {
    "folder": open_files,
    "table": open_files,
    "arrays": open_arrays,
    "huggingface": open_huggingface,
    "webdataset": open_webdataset,
}


class SampleReader:
    """Reads samples of a manifest as signals of the model's input shape.

    Nothing is opened before the first read. A pickled reader opens its source anew, so one can be
    sent to another process.
    """

    def __init__(
        self, config: DatasetConfig, manifest: Manifest, preprocessing: Preprocessing
    ) -> None:
        if not preprocessing.antialias:
            raise ConfigError(
                "preprocessing has antialias: false, but images are resized by Pillow, which "
                "always antialiases; set it to true"
            )
        self._config = config
        self._manifest = manifest
        self._preprocessing = preprocessing

    def __reduce__(
        self,
    ) -> tuple[type[SampleReader], tuple[DatasetConfig, Manifest, Preprocessing]]:
        return type(self), (self._config, self._manifest, self._preprocessing)

    def read(self, row: int) -> LoadedSample:
        """The sample of a manifest row: its signal, or the status that says why there is none.

        Raises:
            IncompleteAuditError: If a remote storage does not answer. That says nothing about the
                sample, and must not be recorded as if it did.
            DatasetError: If the source as a whole can no longer be opened.
        """
        store = self._store
        source = str(self._manifest.table["source"].iat[row])
        address = store.root.address(source)
        try:
            payload = _fetch(store, source, address)
            signal = signal_of(payload, self._preprocessing, self._config)
        except BadSampleError as error:
            return LoadedSample(None, error.status, f"{address}: {error}")
        return LoadedSample(signal, "ok", "")

    @cached_property
    def _store(self) -> SampleStore:
        return _STORES[self._config.kind](self._config, self._manifest.digest)


def _fetch(store: SampleStore, source: str, address: str) -> Payload:
    try:
        return store.fetch(source)
    except BadSampleError:
        raise
    except DatasetError as error:
        raise BadSampleError("decode_error", str(error)) from error
    except Exception as error:
        if is_outage(error, store.root):
            raise IncompleteAuditError(
                f"{address}: the storage failed ({reason(error)}). Run the same command again "
                "when it answers; finished shards are kept."
            ) from error
        raise BadSampleError(
            "decode_error", f"expected a readable file, got {reason(error)}"
        ) from error
