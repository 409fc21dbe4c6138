"""Reading one sample by its row in the manifest."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from tasks.config import DatasetConfig
from tasks.datasets.arrays import open_arrays
from tasks.datasets.audio import read_clip
from tasks.datasets.huggingface import open_huggingface
from tasks.datasets.manifest import Manifest
from tasks.datasets.sample import BadSampleError, LoadedSample, Payload
from tasks.datasets.segments import split_source
from tasks.datasets.signals import signal_of
from tasks.datasets.storage import SampleStore, is_outage, open_files, reason
from tasks.datasets.volumes import grid_spacing, stored_volume
from tasks.datasets.webdataset import open_webdataset
from tasks.errors import ConfigError, DatasetError, IncompleteAuditError
from tasks.preprocessing import Preprocessing
from tasks.volume_config import VolumeConfig

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
        _check_duration(config, preprocessing)
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
        stored = str(self._manifest.table["source"].iat[row])
        source, segment = split_source(stored) if self._config.audio else (stored, 0)
        address = store.root.address(source)
        try:
            payload = _fetch(store, source, address)
            if self._config.audio is not None:
                shape = self._preprocessing.input_shape
                clip = read_clip(payload, self._config.audio, shape, segment)
                return LoadedSample(clip.signal, "ok", "", clip.n_valid)
            signal = signal_of(payload, self._preprocessing, self._config)
        except BadSampleError as error:
            return LoadedSample(None, error.status, f"{address}: {error}")
        return LoadedSample(signal, "ok", "")

    def spacing(self, row: int) -> tuple[float, ...] | None:
        """Millimetres per voxel of the model's input for a volume; None where it is not known."""
        rules = self._config.volume or VolumeConfig()
        source = str(self._manifest.table["source"].iat[row])
        try:
            payload = _fetch(self._store, source, self._store.root.address(source))
            stored = stored_volume(payload, self._preprocessing.input_shape, rules)
        except BadSampleError:
            return None
        return grid_spacing(stored, rules, self._preprocessing.spatial_shape)

    @cached_property
    def _store(self) -> SampleStore:
        return _STORES[self._config.kind](self._config, self._manifest.digest)


def _check_duration(config: DatasetConfig, preprocessing: Preprocessing) -> None:
    audio, space = config.audio, preprocessing.spatial_shape
    if audio is None:
        return
    if len(space) != 1:
        raise ConfigError(
            f"dataset.audio is given, but the model takes signals with {len(space)} axes; a model "
            "of sound has model.preprocessing.size: [samples]"
        )
    if audio.duration_s is not None and round(audio.duration_s * audio.sample_rate) != space[0]:
        raise ConfigError(
            f"dataset.audio says {audio.duration_s:g} s at {audio.sample_rate} Hz, "
            f"{round(audio.duration_s * audio.sample_rate)} samples, but model.preprocessing.size "
            f"is {space[0]}; make them agree"
        )


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
