"""What an audit is: recorded in `audit.json` when it begins, compared whenever it goes on."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
from dataclasses import dataclass
from typing import Any

import torch

from tasks.analyses import enabled_analyses
from tasks.config import AuditConfig
from tasks.datasets import Manifest
from tasks.datasets.spacing import VoxelGrid, voxel_grid
from tasks.errors import ConfigError, IdentityError, StoreError
from tasks.frequencies import frequency_labels, hertz_bands
from tasks.models import LoadedModel
from tasks.store import AuditFolder
from wam_core.basis import CoefficientLayout, WaveletBasis

AUDIT_FILE = "audit.json"

_RECORDED_LIBRARIES = (
    "torch", "torchvision", "timm", "ptwt", "PyWavelets", "numpy", "zarr", "pandas", "pillow",
    "soundfile", "soxr",
)  # fmt: skip

# A folder goes on only with the same numbers: path in audit.json, and what it is to a person.
_MUST_MATCH = {
    ("digest",): "configuration",
    ("dataset", "digest"): "dataset (ids, labels or file contents)",
    ("dataset", "sample_ids_digest"): "sample ids and their order",
    ("model", "weights_digest"): "model weights",
    ("preprocessing_digest",): "preprocessing",
    ("analyses",): "files that analyses read",
    ("versions", "wam-audit"): "version of wam-audit",
    ("device",): "device type",
}


@dataclass(frozen=True)
class AuditIdentity:
    """The content of `audit.json`."""

    record: dict[str, Any]

    @classmethod
    def of(
        cls, config: AuditConfig, manifest: Manifest, model: LoadedModel, device: torch.device
    ) -> AuditIdentity:
        """Collect everything that decides an audit's numbers."""
        layout = basis_layout(config, model.preprocessing.spatial_shape)
        voxels = voxel_grid(config.dataset, manifest, model.preprocessing)
        return cls(
            {
                "schema_version": 1,
                "name": config.name,
                "digest": config.digest(),
                "config": config.model_dump(mode="json"),
                "dataset": {
                    "digest": manifest.digest,
                    "sample_ids_digest": manifest.sample_ids_digest,
                    "n_samples": len(manifest.table),
                    "description": manifest.description,
                },
                "model": {
                    "weights_digest": model.weights_digest,
                    "description": model.description,
                    "n_parameters": model.n_parameters,
                    "head": model.head,
                },
                "preprocessing": model.preprocessing.record(),
                "preprocessing_digest": model.preprocessing.digest(),
                "analyses": _inputs(config) or None,
                "basis": config.basis.model_dump(mode="json"),
                "layout": layout.record(),
                "frequency_labels": _frequency_labels(config, layout, voxels),
                "voxels": None if voxels is None else voxels.record(layout),
                "sound": _sound(config, layout),
                "seeds": {
                    "noise": config.attribution.seed,
                    "bootstrap": config.analyses.intervals.seed,
                    "sample": config.dataset.sample_seed,
                },
                "versions": _versions(),
                "device": device.type,
                "dtype": "float32",
                "deterministic": torch.are_deterministic_algorithms_enabled(),
                "created_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            }
        )

    def open(self, folder: AuditFolder) -> None:
        """Record the identity in a new folder, or check it against the one that is there.

        Raises:
            IdentityError: If the folder belongs to another audit; names every field that differs.
            StoreError: If the folder has results, but nothing says whose.
        """
        if folder.exists(AUDIT_FILE):
            self.check(folder)
            return
        if folder.names("receipts", ".json"):
            raise StoreError(
                f"{folder.url} has finished shards but no {AUDIT_FILE}, so nothing says which data "
                "and weights they belong to. Put the file back, or run with --fresh to discard "
                "what the folder has."
            )
        folder.write_json(AUDIT_FILE, self.record)

    def check(self, folder: AuditFolder) -> None:
        """Compare the identity with the one in the folder.

        Raises:
            IdentityError: If they differ; names every field that does.
        """
        stored = folder.read_json(AUDIT_FILE)
        differences = [
            f"  {meaning}: the folder has {_at(stored, path)!r}, this run has "
            f"{_at(self.record, path)!r}"
            for path, meaning in _MUST_MATCH.items()
            if _at(stored, path) != _at(self.record, path)
        ]
        if differences:
            raise IdentityError(
                f"{folder.url} holds another audit:\n" + "\n".join(differences) + "\n"
                "Give this audit another name, or run with --fresh to discard what the folder has."
            )


def basis_layout(config: AuditConfig, space: tuple[int, ...]) -> CoefficientLayout:
    """The layout of the configured basis over a signal's space.

    Raises:
        ConfigError: If the wavelet is unknown or the levels do not fit; names the largest.
    """
    basis = config.basis
    try:
        return CoefficientLayout(space, WaveletBasis(basis.wavelet, basis.levels, basis.mode))
    except ValueError as error:
        raise ConfigError(f"basis: {error}") from error


def _frequency_labels(
    config: AuditConfig, layout: CoefficientLayout, voxels: VoxelGrid | None
) -> dict[str, str]:
    if config.dataset.audio is not None:
        return frequency_labels(layout, sample_rate=config.dataset.audio.sample_rate)
    if voxels is not None:
        return frequency_labels(layout, voxels.spacing, voxels.axes)
    return frequency_labels(layout)


def _sound(config: AuditConfig, layout: CoefficientLayout) -> dict[str, Any] | None:
    """Sample rate and the octave of every level; None for other signals."""
    if config.dataset.audio is None:
        return None
    rate = config.dataset.audio.sample_rate
    return {
        "sample_rate_hz": rate,
        "frequency_unit": "Hz",
        "frequency_bands": hertz_bands(layout, rate),
    }


def _inputs(config: AuditConfig) -> dict[str, dict[str, str]]:
    """Digests of the files that analyses read, by section and setting."""
    inputs = {analysis.section: analysis.inputs() for analysis in enabled_analyses(config)}
    return {section: digests for section, digests in inputs.items() if digests}


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for library in ("wam-audit", *_RECORDED_LIBRARIES):
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _at(record: dict[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = record
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value
