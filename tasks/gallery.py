"""Picture samples of a finished audit: chosen by a stated rule, rebuilt from the folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from tasks.analyses.hybrid import picture_rows
from tasks.analyses.hybrid_pictures import hybrid_file
from tasks.analyses.mixtures import WHOLE, selections, sound_name, sound_rows
from tasks.config import AuditConfig
from tasks.config_files import validate_config
from tasks.datasets import Manifest, SampleReader, build_manifest
from tasks.datasets.sample import Signal
from tasks.errors import ConfigError, IdentityError, IncompleteAuditError
from tasks.identity import AUDIT_FILE, basis_layout
from tasks.mean_curves import MeanCurve, mean_curves
from tasks.minimal_gallery import masked_examples
from tasks.preprocessing import Preprocessing
from tasks.reporting import MixtureSounds, SampleExplanation
from tasks.reporting.hybrid import HybridExample
from tasks.reporting.separation import selection_title
from tasks.sounds import read_wav, sound_file
from tasks.store import AuditFolder, CoefficientStore, completed_shards, plan_shards
from tasks.store.tables import read_part
from wam_core.noise import generator
from wam_core.selection import (
    importance_maps,
    keep_level,
    keep_most_important,
    weigh_by_importance,
)
from wam_core.transform import WaveletCoefficients, decompose, reconstruct

RECONSTRUCTION_FRACTIONS = (0.02, 0.1)
_METHOD_NAMES = {
    "gradient": "gradient",
    "smoothgrad": "WAM_SG",
    "integrated_gradients": "WAM_IG",
    "coalition_gradients": "WAM_CG",
}


@dataclass(frozen=True)
class _Ranking:
    """A sample's coefficients (1, channel, coefficient) and one method's importance of each."""

    method: str
    coefficients: WaveletCoefficients
    importance: torch.Tensor

    def reconstructions(self, *, softly: bool) -> dict[str, Any]:
        """Rebuilt signals by caption, also with a soft selection if asked for."""
        by = f"by {_METHOD_NAMES[self.method]}"
        rebuilt = {
            f"{100 * fraction:.0f} % of coefficients, {by}": self._kept(fraction)
            for fraction in RECONSTRUCTION_FRACTIONS
        }
        if softly:
            widest = max(RECONSTRUCTION_FRACTIONS)
            kept = weigh_by_importance(self.coefficients, self.importance, widest)
            rebuilt[f"{100 * widest:.0f} % of coefficients and softly the others, {by}"] = kept
        return {caption: reconstruct(kept)[0].numpy() for caption, kept in rebuilt.items()}

    def by_level(self) -> dict[str, Any]:
        """What the widest selection holds of each level."""
        kept = self._kept(max(RECONSTRUCTION_FRACTIONS))
        return {
            name: reconstruct(keep_level(kept, name))[0].numpy() for name in kept.layout.level_names
        }

    def _kept(self, fraction: float) -> WaveletCoefficients:
        return keep_most_important(self.coefficients, self.importance, fraction)


@dataclass(frozen=True)
class StoredAudit:
    """A finished audit, opened from its folder alone; the model is not needed.

    Attributes:
        audit: Content of `audit.json`.
    """

    folder: AuditFolder
    audit: dict[str, Any]
    config: AuditConfig
    manifest: Manifest
    preprocessing: Preprocessing
    reader: SampleReader

    @classmethod
    def open(cls, folder: AuditFolder, config: AuditConfig | None = None) -> StoredAudit:
        """Open an audit folder.

        Args:
            config: Where this machine keeps the data; None for what the folder recorded.

        Raises:
            StoreError: If the folder is not an audit's.
            IdentityError: If the dataset is not the one that was audited.
        """
        audit = folder.read_json(AUDIT_FILE)
        config = config or validate_config(audit["config"], where=folder.uri(AUDIT_FILE))
        manifest = build_manifest(config.dataset)
        if manifest.digest != audit["dataset"]["digest"]:
            raise IdentityError(
                f"the dataset at {config.dataset.root} is not the one that {folder.url} describes: "
                "ids, labels or file contents differ. Bring the data back, or audit what there is "
                "now with `wam-audit run`."
            )
        preprocessing = Preprocessing.model_validate(audit["preprocessing"])
        reader = SampleReader(config.dataset, manifest, preprocessing)
        return cls(folder, audit, config, manifest, preprocessing, reader)

    def row_of(self, sample_id: str) -> int:
        """Manifest row of a sample.

        Raises:
            ConfigError: If there is none with this id; names the closest ones.
        """
        ids = self.manifest.table["sample_id"].astype(str)
        matches = np.flatnonzero(ids.to_numpy() == sample_id)
        if len(matches):
            return int(matches[0])
        containing = [name for name in ids if sample_id in name][:3]
        close = ", ".join(containing or ids.head(3).tolist())
        raise ConfigError(
            f"the audit has no sample '{sample_id}'; ids look like {close}. All stand in "
            f"{self.folder.uri('tables/samples')}."
        )

    def explanation(self, row: int) -> SampleExplanation:
        """Everything that pictures one sample.

        Raises:
            IncompleteAuditError: If the sample's shard is not finished.
        """
        size = self.config.store.shard_size
        shard = plan_shards(len(self.manifest.table), size)[row // size]
        if not completed_shards(self.folder, [shard], self.audit["digest"]):
            raise IncompleteAuditError(
                f"row {row} of the manifest stands in shard {shard.index}, which is not finished; "
                "run the audit again to compute it"
            )
        sample = read_part(self.folder, "samples", shard).iloc[row - shard.start]
        levels = read_part(self.folder, "levels", shard)
        signal = self.reader.read(row).signal
        maps, ranking = self._maps(row, sample, signal)
        sound = self.audit.get("sound") or {}
        return SampleExplanation(
            sample_id=str(sample["sample_id"]),
            source=str(sample["source"]),
            status=str(sample["status"]),
            detail=str(sample["detail"]),
            signal=signal,
            label=_whole(sample["label"]),
            label_name=self._name(sample["label"]),
            predicted=_whole(sample["predicted"]),
            predicted_name=self._name(sample["predicted"]),
            probability_label=_number(sample["probability_label"]),
            probability_predicted=_number(sample["probability_predicted"]),
            maps=maps,
            shares=_shares(levels[levels["sample_index"] == row], set(maps)),
            reconstructions=ranking.reconstructions(softly=bool(sound)) if ranking else {},
            level_reconstructions=ranking.by_level() if ranking and sound else {},
            frequency_labels=dict(self.audit["frequency_labels"]),
            sample_rate=sound.get("sample_rate_hz"),
            **_voxels(self.audit),
        )

    def examples(self) -> dict[str, Any]:
        """What analyses kept beside their metrics, by section of the configuration."""
        return {
            "separation": self.mixtures(),
            "hybrid": self.hybrids(),
            "minimal": masked_examples(self, "minimal"),
            "minimal_masks": masked_examples(self, "minimal_masks"),
            "faithfulness": self.curves(),
        }

    def curves(self) -> list[MeanCurve]:
        """Mean curves of insertion and deletion of the shards that are done."""
        if not self.config.analyses.faithfulness.enabled:
            return []
        shards = plan_shards(len(self.manifest.table), self.config.store.shard_size)
        receipts = completed_shards(self.folder, shards, self.audit["digest"])
        done = [shard for shard in shards if shard.index in receipts]
        return mean_curves(self.folder, done, self.config.analyses.intervals.confidence)

    def mixtures(self) -> list[MixtureSounds]:
        """Sounds of the examples of mixtures, rebuilt from the most coefficients, where stored."""
        settings = self.config.analyses.separation
        if not settings.enabled or self.config.dataset.audio is None:
            return []
        fraction = max(settings.fractions, default=None)
        titles = {"clean": "Clean", sound_name(WHOLE, None): selection_title(WHOLE)} | {
            sound_name(selection, fraction): selection_title(selection, f"{fraction:g}")
            for selection in selections(self.config)
            if fraction is not None
        }
        found = []
        for mixture, rows in sound_rows(self.config, self.manifest).items():
            for row in sorted(rows):
                files = {title: sound_file(mixture, row, what) for what, title in titles.items()}
                sounds = {
                    title: read_wav(self.folder.read_bytes(name))
                    for title, name in files.items()
                    if self.folder.exists(name)
                }
                if sounds:
                    sample_id = str(self.manifest.table["sample_id"].iat[row])
                    rate = self.config.dataset.audio.sample_rate
                    found.append(MixtureSounds(mixture, sample_id, rate, sounds))
        return found

    def hybrids(self) -> list[HybridExample]:
        """Pictures of the examples of hybrids and their parents, where stored."""
        if not self.config.analyses.hybrid.enabled:
            return []
        size = self.config.store.shard_size
        shards = plan_shards(len(self.manifest.table), size)
        found = []
        for row in sorted(picture_rows(self.config, self.manifest)):
            shard = shards[row // size]
            if completed_shards(self.folder, [shard], self.audit["digest"]):
                table = read_part(self.folder, "hybrid", shard)
                of_row = table[table["sample_index"] == row]
                if len(of_row):
                    found.append(self._hybrid(row, of_row))
        return found

    def _hybrid(self, row: int, of_row: pd.DataFrame) -> HybridExample:
        """One sample's hybrids, from its rows of the table."""
        first = of_row.iloc[0]
        captions = {
            "coarse": f"Coarse levels from: {self._name(first['coarse_label'])}",
            "fine": f"Fine levels from: {self._name(first['fine_label'])}",
        } | {
            f"cut-{cut}": f"Hybrid, levels 1 to {cut} exchanged: taken for {self._name(predicted)}"
            for cut, predicted in zip(of_row["cut"], of_row["predicted"], strict=True)
        }
        pictures = [
            (caption, self.folder.read_bytes(hybrid_file(row, what)))
            for what, caption in captions.items()
            if self.folder.exists(hybrid_file(row, what))
        ]
        return HybridExample(str(first["sample_id"]), str(first["fine_id"]), tuple(pictures))

    def _maps(
        self, row: int, sample: pd.Series, signal: Signal | None
    ) -> tuple[dict[str, dict[str, Any]], _Ranking | None]:
        store = CoefficientStore(self.folder)
        if sample["status"] != "ok" or signal is None or not self.config.store.coefficients:
            return {}, None
        layout = basis_layout(self.config, self.preprocessing.spatial_shape)
        maps: dict[str, dict[str, Any]] = {}
        ranking = None
        for method in store.methods():
            stored = torch.from_numpy(store.read(method, row))[None]
            by_level = importance_maps(WaveletCoefficients(stored, layout))[0].numpy()
            profile = self.config.attribution.profile_of_map(method)
            maps[profile] = dict(zip(layout.level_names, by_level, strict=True))
            if ranking is None:
                coefficients = decompose(torch.from_numpy(signal)[None], layout.basis)
                ranking = _Ranking(method, coefficients, stored.abs().sum(1))
        return maps, ranking

    def _name(self, label: Any) -> str:
        index, names = _whole(label), self.manifest.class_names
        if index is None:
            return ""
        return names[index] if names is not None and index < len(names) else str(index)


def choose_gallery(samples: pd.DataFrame, size: int, seed: int) -> list[int]:
    """Rows to picture: half predicted wrongly if there are so many, spread over classes, by seed.

    Args:
        samples: The table of samples.
        size: Number of rows, or fewer if there are not so many that are ok.
    """
    usable = samples[samples["status"] == "ok"]
    order = {
        row: generator(seed, str(sample_id), 0).random()
        for row, sample_id in zip(usable["sample_index"], usable["sample_id"], strict=True)
    }
    ranked = usable.assign(order=usable["sample_index"].map(order)).sort_values("order")
    # One of each class comes before a second of any.
    ranked = ranked.assign(turn=ranked.groupby("label", dropna=False).cumcount())
    ranked = ranked.sort_values(["turn", "order"], kind="stable")
    wrong = (ranked["correct"] == False).fillna(value=False)  # noqa: E712
    chosen = ranked[wrong].head(size // 2)
    rest = ranked[~ranked.index.isin(chosen.index)].head(size - len(chosen))
    return sorted(int(row) for row in pd.concat([chosen, rest])["sample_index"])


def _shares(levels: pd.DataFrame, methods: set[str]) -> dict[str, dict[str, float]]:
    shares: dict[str, dict[str, float]] = {}
    known = levels.dropna(subset=["share"])
    for method, level, share in zip(known["method"], known["level"], known["share"], strict=True):
        if method in methods:
            shares.setdefault(str(method), {})[str(level)] = float(share)
    return shares


def _voxels(audit: dict[str, Any]) -> dict[str, Any]:
    """Spacing and axes of volumes, as the audit recorded them."""
    voxels = audit.get("voxels")
    if voxels is None:
        return {}
    spacing = voxels["spacing_mm"]
    return {"spacing": None if spacing is None else tuple(spacing), "axes": voxels["axes"]}


def _whole(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)
