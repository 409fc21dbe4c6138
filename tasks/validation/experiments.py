"""An experiment: signals, a model whose use of them is known, and what the audit must say."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from tasks.aggregate import summarise
from tasks.compute import compute_shard
from tasks.config import AuditConfig
from tasks.config_files import merge, validate_config
from tasks.session import AuditSession
from tasks.store import AuditFolder, Shard
from tasks.store.tables import read_table
from tasks.validation.signals import Array
from tasks.validation.truths import Check, Labels, Truth

_NO_VALUES = pd.Series(dtype=float)


@dataclass(frozen=True)
class Experiment:
    """One audit whose results are known.

    Attributes:
        name: The same in every dimension.
        signals: Shape (sample, *space), values in [0, 1].
        labels: Class of each sample.
        model: Factory in `tasks.validation.models`.
        arguments: Of the factory.
        weights: The model's state, by name.
        truths: What the audit must say.
        settings: Laid over the audit's configuration.
        columns: Further columns of the dataset, one cell per sample.
        files: Content of files beside the dataset, by name.
    """

    name: str
    signals: Array
    labels: np.ndarray[Any, np.dtype[np.int64]]
    model: str
    arguments: Mapping[str, Any]
    weights: Mapping[str, Array]
    truths: tuple[Truth, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def dimension(self) -> int:
        """Number of axes of a signal."""
        return self.signals.ndim - 1

    def run(self) -> list[Check]:
        """Audit the model on the signals, and compare the results with the truths."""
        with tempfile.TemporaryDirectory(prefix="wam-validate-") as name:
            results = self._audit(Path(name))
            return [
                Check(self.name, self.dimension, truth, results.find(truth.statistic, truth.labels))
                for truth in self.truths
            ]

    def _audit(self, folder: Path) -> Results:
        session = AuditSession(self._config(folder))
        session.prepare_folder()
        for shard in session.shards:
            compute_shard(session, shard)
        summary = summarise(session.config, session.folder, session.shards, session.completed())
        return Results(summary.record, session.folder, session.shards)

    def _config(self, folder: Path) -> AuditConfig:
        arrays: dict[str, Any] = {
            "image": self.signals.astype(np.float32),
            "label": self.labels,
            **self.columns,
        }
        np.savez(folder / "signals.npz", **arrays)
        for name, content in self.files.items():
            (folder / name).write_text(content, encoding="utf-8")
        weights = {key: np.ascontiguousarray(v, np.float32) for key, v in self.weights.items()}
        save_file(weights, folder / "weights.safetensors")
        values: dict[str, Any] = {
            "name": "validate",
            "dataset": {
                "kind": "arrays",
                "root": str(folder / "signals.npz"),
                "preprocessed": True,
                **({"extra_columns": list(self.columns)} if self.columns else {}),
            },
            "model": {
                "source": "factory",
                "name": f"tasks.validation.models:{self.model}",
                "arguments": dict(self.arguments),
                "checkpoint": str(folder / "weights.safetensors"),
                "preprocessing": {
                    "size": list(self.signals.shape[1:]),
                    "channels": 1,
                    "mean": [0.5],
                    "std": [1.0],
                },
            },
            "attribution": {"gradient": {"enabled": True}},
            "analyses": {"intervals": {"n_resamples": 20}, "gallery_size": 0},
            "store": {"url": str(folder / "audits"), "shard_size": 64, "coefficients": False},
            "execution": {"device": "cpu", "max_batch": 64},
            "tracking": {"enabled": False},
        }
        where = f"the experiment '{self.name}'"
        return validate_config(merge(values, self.settings), where=where)


@dataclass(frozen=True)
class Results:
    """What an audit reported: its summary, and means of its tables over samples."""

    summary: Mapping[str, Any]
    folder: AuditFolder
    shards: list[Shard]
    _grouped: dict[tuple[str, tuple[str, ...]], dict[tuple[str, ...], pd.DataFrame]] = field(
        default_factory=dict
    )

    def find(self, statistic: str, labels: Labels) -> float | None:
        """The number of a statistic; None if it is not reported.

        `counts/STATUS` is a number of samples, `mean/TABLE/COLUMN` and `scatter/TABLE/COLUMN` mean
        and standard deviation over the rows that have the labels, and
        `calibration/share_standard_error` the scatter of shares over the stated error.
        """
        group, _, name = statistic.partition("/")
        if group == "counts":
            return float(self.summary["counts"][name])
        if group in ("mean", "scatter"):
            table, _, column = name.partition("/")
            values = self._values(table, column, labels)
            if len(values) < 1 + (group == "scatter"):
                return None
            return float(values.mean() if group == "mean" else values.std(ddof=1))
        if statistic == "calibration/share_standard_error":
            return self._calibration(labels)
        return self._metrics.get((statistic, frozenset(labels.items())))

    @cached_property
    def _metrics(self) -> dict[tuple[str, frozenset[tuple[str, str | int]]], float | None]:
        return {
            (entry["name"], frozenset(entry["labels"].items())): entry["estimate"]
            for entry in self.summary["metrics"]
        }

    def _values(self, table: str, column: str, labels: Labels) -> pd.Series:
        keys = tuple(sorted(labels))
        groups = self._groups(table, keys)
        wanted = tuple(str(labels[key]) for key in keys)
        return groups[wanted][column].dropna().astype(float) if wanted in groups else _NO_VALUES

    def _groups(self, table: str, keys: tuple[str, ...]) -> dict[tuple[str, ...], pd.DataFrame]:
        if (table, keys) not in self._grouped:
            rows = self._table(table)
            names = rows[list(keys)].astype(str).agg(tuple, axis=1) if keys else [()] * len(rows)
            self._grouped[table, keys] = dict(iter(rows.groupby(pd.Series(names, rows.index))))
        return self._grouped[table, keys]

    def _table(self, table: str) -> pd.DataFrame:
        """Rows of samples that are ok, with their class."""
        samples = read_table(self.folder, "samples", self.shards)
        samples = samples[samples["status"] == "ok"]
        if table == "samples":
            return samples
        rows = read_table(self.folder, table, self.shards)
        classes = samples[["sample_index", "label"]].rename(columns={"label": "class"})
        return rows.merge(classes, on="sample_index")

    def _calibration(self, labels: Labels) -> float | None:
        """Scatter over samples that are copies of one signal, over their root mean square error."""
        shares = self._values("levels", "share", labels)
        errors = self._values("levels", "share_standard_error", labels)
        if len(shares) < 2 or not len(errors):
            return None
        return float(shares.std(ddof=1) / np.sqrt(np.mean(errors**2)))
