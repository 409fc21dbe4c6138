"""The table rows of one shard, collected batch by batch.

Every manifest row becomes one row of the table of samples, whatever happened to it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from tasks.analyses import Findings, enabled_analyses
from tasks.config import AuditConfig
from tasks.datasets import LoadedSample, Manifest
from tasks.explain import Explanation, MethodProfile, Prediction
from tasks.store import Shard
from wam_core.basis import CoefficientLayout
from wam_core.reliance import (
    BandProfile,
    entropy,
    fine_share,
    level_profile,
    scale_centroid,
)
from wam_core.sums import DEGENERATE_TOTAL

Row = dict[str, object]


class ShardRows:
    """Rows of all tables for the samples of one shard."""

    def __init__(
        self, config: AuditConfig, manifest: Manifest, layout: CoefficientLayout, shard: Shard
    ) -> None:
        self.config, self.layout = config, layout
        self._class_names = manifest.class_names
        targets = manifest.table["target"].iloc[shard.start : shard.stop]
        self._target_column = {
            row: int(target)
            for row, target in zip(range(shard.start, shard.stop), targets, strict=True)
            if not pd.isna(target)
        }
        self._samples = {
            row: self._new_sample(manifest, row) for row in range(shard.start, shard.stop)
        }
        self._others: dict[str, list[Row]] = {"attributions": [], "levels": [], "bands": []}
        for analysis in enabled_analyses(config):
            self._others |= {table: [] for table in analysis.tables}

    def sample_id(self, row: int) -> str:
        """Id of a manifest row."""
        return str(self._samples[row]["sample_id"])

    def status(self, row: int) -> str:
        """Status of a manifest row so far."""
        return str(self._samples[row]["status"])

    def status_counts(self) -> dict[str, int]:
        """Number of samples per status."""
        return dict(Counter(str(sample["status"]) for sample in self._samples.values()))

    def tables(self) -> dict[str, list[Row]]:
        """All rows by table."""
        return {"samples": list(self._samples.values()), **self._others}

    def add_sample(self, row: int, sample: LoadedSample) -> None:
        """Record how reading went."""
        self._samples[row] |= {"status": sample.status, "detail": sample.detail}

    def add_predictions(self, rows: list[int], prediction: Prediction) -> None:
        """Record the clean pass; a sample with a logit that is not finite is `nonfinite`."""
        for index, row in enumerate(rows):
            sample = self._samples[row]
            if not bool(prediction.finite[index]):
                self._mark(row, "nonfinite", "the model's output is not finite")
                continue
            predicted = int(prediction.predicted[index])
            label, target = sample["label"], self._target(sample, predicted)
            probabilities = prediction.probabilities[index]
            n_classes = len(probabilities)
            sample |= {
                "target": target,
                "predicted": predicted,
                "correct": None if label is None else predicted == label,
                "probability_label": _at(probabilities, label, n_classes),
                "probability_target": _at(probabilities, target, n_classes),
                "probability_predicted": float(probabilities[predicted]),
                "logit_target": _at(prediction.logits[index], target, n_classes),
            }

    def mark_constant(self, rows: list[int], constant: Tensor) -> None:
        """A constant signal has no structure to attribute anything to."""
        for index, row in enumerate(rows):
            if bool(constant[index]) and self.status(row) == "ok":
                self._mark(row, "degenerate", "the signal is constant")

    def targets(self, rows: list[int]) -> Tensor:
        """Class explained for each row."""
        return torch.tensor([self._samples[row]["target"] for row in rows], dtype=torch.long)

    def add_explanation(self, rows: list[int], explanation: Explanation) -> None:
        """Record all methods' profiles, and what is wrong with a map if something is."""
        for method, profile in explanation.profiles.items():
            levels = level_profile(profile.bands, self.layout)
            statuses = _map_statuses(levels)
            for index, row in enumerate(rows):
                if statuses[index] != "ok" and profile.judges_sample:
                    self._mark(row, statuses[index], f"the map of {method} is {statuses[index]}")
            self._add_attributions(method, rows, profile, levels, statuses)
            self._add_levels(method, rows, profile, levels)
            self._add_bands(method, rows, profile.bands)

    def label(self, row: int) -> int | None:
        """Labelled class of a manifest row."""
        label = self._samples[row]["label"]
        return label if isinstance(label, int) else None

    def add_findings(self, rows: Sequence[int], findings: Findings) -> None:
        """Record what an analysis found in a batch of rows."""
        for table, entries in findings.rows.items():
            self._others[table] += [
                {"sample_index": rows[place], "sample_id": self.sample_id(rows[place])} | columns
                for place, columns in entries
            ]

    def _new_sample(self, manifest: Manifest, row: int) -> Row:
        record = manifest.table.iloc[row]
        label = _optional(record["label"])
        return {
            "sample_index": row,
            "sample_id": str(record["sample_id"]),
            "source": str(record["source"]),
            "label": None if label is None else int(label),
            "class_name": self._class_name(label),
            **{name: _optional(record[name]) for name in ("group", "fold", "split")},
        }

    def _class_name(self, label: Any) -> str | None:
        if label is None or self._class_names is None or int(label) >= len(self._class_names):
            return None if label is None else str(int(label))
        return self._class_names[int(label)]

    def _target(self, sample: Row, predicted: int) -> object:
        settings = self.config.attribution
        choices = {
            "label": sample["label"],
            "predicted": predicted,
            "column": self._target_column.get(int(str(sample["sample_index"]))),
            "class": settings.target_class,
        }
        return choices[settings.target]

    def _mark(self, row: int, status: str, detail: str) -> None:
        sample = self._samples[row]
        if sample["status"] == "ok":
            sample |= {"status": status, "detail": detail}

    def _address(self, row: int, method: str) -> Row:
        return {"sample_index": row, "sample_id": self.sample_id(row), "method": method}

    def _add_attributions(
        self,
        method: str,
        rows: list[int],
        profile: MethodProfile,
        levels: BandProfile,
        statuses: list[str],
    ) -> None:
        share, total = levels.share, levels.total
        fine_levels = self.config.analyses.reliance.fine_levels
        columns = {
            "total_importance": total,
            "scale_centroid_octaves": scale_centroid(share),
            "fine_share": fine_share(share, fine_levels),
            "entropy": entropy(share),
            **profile.columns,
        }
        for index, row in enumerate(rows):
            numbers = {name: float(values[index]) for name, values in columns.items()}
            self._others["attributions"].append(
                self._address(row, method)
                | {"status": statuses[index], "n_passes": int(profile.n_passes[index])}
                | numbers
            )

    def _add_levels(
        self, method: str, rows: list[int], profile: MethodProfile, levels: BandProfile
    ) -> None:
        error = profile.standard_error
        for index, place, columns in _profile_columns(levels):
            scatter = None if error is None else float(error[index, place])
            self._others["levels"].append(
                self._address(rows[index], method)
                | {"level": self.layout.level_names[place], "share_standard_error": scatter}
                | columns
            )

    def _add_bands(self, method: str, rows: list[int], bands: BandProfile) -> None:
        for index, place, columns in _profile_columns(bands):
            band = self.layout.bands[place]
            self._others["bands"].append(
                self._address(rows[index], method)
                | {"level": band.level_name, "filters": band.filters}
                | columns
            )


def _profile_columns(profile: BandProfile) -> Iterator[tuple[int, int, Row]]:
    """Position in the batch, position of the group, and the columns of its table row."""
    columns = {
        "importance": profile.importance.tolist(),
        "signal_energy": profile.signal_energy.tolist(),
        "share": profile.share.tolist(),
        "mean_share": profile.mean_share.tolist(),
        "relative_share": profile.relative_share.tolist(),
    }
    counts = profile.n_coefficients.tolist()
    for index in range(len(profile.importance)):
        for place, count in enumerate(counts):
            numbers = {name: values[index][place] for name, values in columns.items()}
            yield index, place, {"n_coefficients": round(count)} | numbers


def _map_statuses(levels: BandProfile) -> list[str]:
    def status(total: float) -> str:
        if not math.isfinite(total):
            return "nonfinite"
        return "degenerate" if total <= DEGENERATE_TOTAL else "ok"

    return [status(total) for total in levels.total.tolist()]


def _at(values: Tensor, index: object, n_classes: int) -> float | None:
    if not isinstance(index, int) or index >= n_classes:
        return None
    return float(values[index])


def _optional(value: Any) -> Any:
    return None if pd.isna(value) else value
