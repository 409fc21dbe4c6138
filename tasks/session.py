"""Everything a shard needs, loaded once per process: the manifest, the reader and the model.

Only a configuration crosses process boundaries; each worker builds its own session from it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property

import torch
from fsspec.core import url_to_fs

from tasks.allocator import keep_freed_memory
from tasks.analyses import AuditParts, BatchAnalysis, enabled_analyses
from tasks.analyses.subsets import chosen_rows
from tasks.config import AuditConfig
from tasks.datasets import Manifest, SampleReader, build_manifest
from tasks.errors import ConfigError, DatasetError, IdentityError
from tasks.identity import AuditIdentity, basis_layout
from tasks.locations import expand
from tasks.models import LoadedModel, load_model, resolve_preprocessing
from tasks.preprocessing import Preprocessing
from tasks.store import AuditFolder, CoefficientStore, Receipt, Shard, completed_shards, plan_shards
from tasks.store.folder import explain_write_errors
from wam_core.basis import CoefficientLayout


@dataclass(frozen=True)
class AuditSession:
    """One audit in one process; parts are loaded when they are first used."""

    config: AuditConfig

    @cached_property
    def folder(self) -> AuditFolder:
        """The audit folder."""
        return AuditFolder(audit_url(self.config))

    @cached_property
    def store(self) -> CoefficientStore:
        """The coefficient arrays."""
        return CoefficientStore(self.folder)

    @cached_property
    def device(self) -> torch.device:
        """Where the model runs."""
        return choose_device(self.config.execution.device)

    @cached_property
    def manifest(self) -> Manifest:
        """All samples, in order."""
        manifest = build_manifest(self.config.dataset)
        _check_labels(self.config, manifest)
        for analysis in enabled_analyses(self.config):
            analysis.check(manifest)
        return manifest

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """Rules from a decoded sample to the model's input; does not load the weights."""
        return resolve_preprocessing(self.config.model)

    @cached_property
    def model(self) -> LoadedModel:
        """The audited model, on its device."""
        keep_freed_memory()
        threads = self.config.execution.torch_threads
        if threads is not None:
            torch.set_num_threads(threads)
        model = load_model(
            self.config.model,
            device=self.device,
            channels_last=self.config.execution.channels_last,
        )
        _check_sample_rate(self.config, model)
        return model

    @cached_property
    def reader(self) -> SampleReader:
        """Reads samples by manifest row."""
        return SampleReader(self.config.dataset, self.manifest, self.preprocessing)

    @cached_property
    def analyses(self) -> dict[str, BatchAnalysis]:
        """The analyses that are switched on, by section."""
        parts = AuditParts(self.config, self.manifest, self.reader, self.model, self.layout)
        return {
            analysis.section: analysis.open(parts) for analysis in enabled_analyses(self.config)
        }

    @cached_property
    def chosen(self) -> dict[str, frozenset[int] | None]:
        """Manifest rows that each analysis takes, by section; None for all."""
        seed = self.config.attribution.seed
        return {
            analysis.section: chosen_rows(
                self.manifest, getattr(analysis.settings, "samples", None), seed
            )
            for analysis in enabled_analyses(self.config)
        }

    @cached_property
    def layout(self) -> CoefficientLayout:
        """Where the bands lie; known before the model is loaded."""
        return basis_layout(self.config, self.preprocessing.spatial_shape)

    @property
    def shards(self) -> list[Shard]:
        """All shards of the manifest."""
        return plan_shards(len(self.manifest.table), self.config.store.shard_size)

    def identity(self) -> AuditIdentity:
        """What `audit.json` holds, or must hold."""
        return AuditIdentity.of(self.config, self.manifest, self.model, self.device)

    def prepare_folder(self) -> None:
        """Record or check the identity, sweep what killed writers left, lay out the arrays.

        Raises:
            IdentityError: If the folder belongs to another audit.
        """
        self.identity().open(self.folder)
        self.folder.sweep_partial_files()
        if self.config.store.coefficients:
            self.store.create(
                self.config.attribution.methods,
                n_samples=len(self.manifest.table),
                channels=self.preprocessing.input_shape[0],
                layout=self.layout,
                shard_size=self.config.store.shard_size,
            )

    def discard_results(self) -> None:
        """Empty the audit folder; the receipts go first, so a killed removal leaves none behind."""
        with explain_write_errors(self.folder.url):
            self.folder.remove("receipts")
            self.folder.remove("")

    def completed(self) -> dict[int, Receipt]:
        """Receipts of the finished shards."""
        return completed_shards(self.folder, self.shards, self.config.digest())


_sessions: dict[str, AuditSession] = {}
_sessions_lock = threading.Lock()


def process_session(config: AuditConfig) -> AuditSession:
    """The session of this process for a configuration, with its model loaded once."""
    key = config.model_dump_json()
    with _sessions_lock:
        if key not in _sessions:
            _sessions.clear()
            session = AuditSession(config)
            # Threads share the session: load what is slow while only one of them can.
            _ = session.model, session.reader
            _sessions[key] = session
        return _sessions[key]


def new_session(config: AuditConfig) -> AuditSession:
    """A session that reads data and weights as they are now, for the beginning of a run."""
    with _sessions_lock:
        _sessions.clear()
    return process_session(config)


def joined_session(config: AuditConfig) -> AuditSession:
    """The session of a worker that takes part in an audit another process has prepared.

    A worker that outlives its run (a Dask worker, a server) may hold data and weights that have
    changed since, and one on another machine may never have had the same.

    Raises:
        IdentityError: If this worker's data, weights or device are not those of the audit.
    """
    session = process_session(config)
    try:
        session.identity().check(session.folder)
    except IdentityError:
        session = new_session(config)
        session.identity().check(session.folder)
    return session


def audit_url(config: AuditConfig) -> str:
    """Path or URL of the configuration's audit folder.

    Raises:
        ConfigError: If the URL's scheme is unknown or its library is not installed.
    """
    url = f"{expand(config.store.url).rstrip('/')}/{config.folder_name()}"
    try:
        url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"store.url '{config.store.url}' cannot be opened: {error}. Use a local path, or a URL "
            "whose fsspec library is installed (for s3:// the extra wam-audit[s3])."
        ) from error
    return url


def choose_device(name: str) -> torch.device:
    """The device for a name; `auto` is CUDA where there is one.

    Raises:
        ConfigError: If the device is not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    available = {
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }.get(device.type, True)
    if not available:
        raise ConfigError(
            f"execution.device is {name}, but this machine has {torch.cuda.device_count()} CUDA "
            "devices; use auto or cpu"
        )
    return device


def _check_sample_rate(config: AuditConfig, model: LoadedModel) -> None:
    """A model that says which rate it takes must get it: nothing else would notice."""
    wanted = getattr(getattr(model.module, "model", None), "sample_rate", None)
    audio = config.dataset.audio
    if audio is not None and isinstance(wanted, int) and wanted != audio.sample_rate:
        raise ConfigError(
            f"dataset.audio.sample_rate is {audio.sample_rate} Hz, but the model takes {wanted} Hz "
            "(its attribute sample_rate, which may be among model.arguments); make them agree"
        )


def _check_labels(config: AuditConfig, manifest: Manifest) -> None:
    column = {"label": "label", "column": "target"}.get(config.attribution.target)
    missing = int(manifest.table[column].isna().sum()) if column else 0
    if missing:
        raise DatasetError(
            f"attribution.target is {config.attribution.target}, but {missing} of "
            f"{len(manifest.table)} samples have no {column}; add them, or explain the predicted "
            "class (attribution.target: predicted)"
        )
