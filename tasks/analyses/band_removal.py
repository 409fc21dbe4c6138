"""What a model does without a level, with it alone, and with every combination of levels.

An attribution claims which levels a model relies on; taking levels away shows it. Removed levels
are replaced by those of the sample's own mean (or of zero), so that brightness alone is never the
cue. All that is asked for is computed from one set of coalitions, each passed through the model
once: with Shapley values switched on, ablation and pass curves cost nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from tasks.analyses.band_conclusions import (
    correlations_of_means,
    pass_metrics,
    scales_of_values,
    spreads,
)
from tasks.analyses.band_sentences import band_sentences
from tasks.analyses.contract import (
    Analysis,
    AuditParts,
    Batch,
    Findings,
    Measures,
    Metrics,
    Passes,
    ShardTables,
)
from tasks.analyses.level_game import LevelGame, orientation_measures
from tasks.analyses_config import BandRemovalConfig
from tasks.config import AuditConfig
from tasks.datasets import Manifest
from tasks.errors import ConfigError
from tasks.explain import predict
from tasks.texture import Votes
from tasks.variables import MeansOfSamples
from wam_core.baselines import absent_signal
from wam_core.basis import Band, CoefficientLayout
from wam_core.coalitions import (
    MOST_PLAYERS,
    components,
    finest,
    full,
    only,
    without,
)
from wam_core.transform import decompose


class BandRemoval(Analysis):
    """Ablation, pass curves and the game of levels."""

    section = "band_removal"
    tables = ("coalitions", "orientations")
    units: ClassVar = {
        "ablation/accuracy": ("fraction", "higher"),
        "ablation/agreement": ("fraction", "higher"),
        "ablation/probability": ("fraction", "higher"),
        "ablation/probability_drop": ("fraction", "none"),
        "pass/accuracy": ("fraction", "higher"),
        "pass/half_accuracy_cutoff": ("octaves", "none"),
        "texture/t_pass": ("fraction", "none"),
        "shapley/value": ("fraction", "none"),
        "shapley/standard_deviation": ("fraction", "none"),
        "shapley/fine_share": ("fraction", "none"),
        "shapley/scale_centroid": ("octaves", "none"),
        "shapley/negative_share": ("fraction", "lower"),
        "shapley/harmful_share": ("fraction", "lower"),
        "shapley/interaction": ("fraction", "none"),
        "shapley/efficiency_gap": ("fraction", "lower"),
        "causality/spearman": ("correlation", "higher"),
        "causality/spearman_of_means": ("correlation", "higher"),
    }
    proportions = frozenset(
        {
            "ablation/accuracy",
            "ablation/agreement",
            "pass/accuracy",
            "shapley/negative_share",
            "shapley/harmful_share",
        }
    )
    settings: BandRemovalConfig

    def check(self, manifest: Manifest) -> None:
        """All coalitions of many levels are too many."""
        n_players = self.config.basis.levels + 1
        if self.settings.shapley and n_players > MOST_PLAYERS:
            raise ConfigError(
                f"analyses.band_removal.shapley counts all 2^{n_players} coalitions of "
                f"{n_players - 1} levels and the approximation; at most {MOST_PLAYERS - 1} levels "
                "are accepted. Lower basis.levels, or set analyses.band_removal.shapley to false."
            )

    def passes(self, layout: CoefficientLayout) -> Passes:
        """One pass per coalition, but for the whole sample, whose pass is made already."""
        n_coalitions = len(wanted_coalitions(self.config)) - 1
        return Passes(forward=n_coalitions + 2 * len(self._oriented(layout)))

    def open(self, parts: AuditParts) -> RemovedBands:
        """The analysis with the model in memory."""
        return RemovedBands(
            parts, wanted_coalitions(self.config), tuple(self._oriented(parts.layout))
        )

    def measure(self, tables: ShardTables) -> Measures:
        """Accuracy of every coalition with a name, Shapley values, and agreement with shares."""
        game = LevelGame.of(self.config, tables)
        return game.measures() | orientation_measures(tables)

    def conclude(self, means: MeansOfSamples) -> Metrics:
        """Cut-offs, the texture index, spread of Shapley values, and correlation over levels."""
        metrics: Metrics = []
        if self.settings.pass_curves and means.chance is not None:
            metrics += pass_metrics(self.config, means)
        if self.settings.shapley:
            metrics += spreads(means)
            metrics += scales_of_values(self.config, means)
        return metrics + correlations_of_means(means)

    def votes(self, tables: ShardTables) -> Votes:
        """Right answers of fine levels against coarse ones; what fine levels are worth."""
        return LevelGame.of(self.config, tables).votes()

    def sentences(self, metrics: Sequence[Mapping[str, Any]], element: str) -> list[str]:
        """Whether the attributed profile is what the model uses, and what it uses."""
        return band_sentences(self.config, metrics, element)

    def _oriented(self, layout: CoefficientLayout) -> list[Band]:
        """Bands that are examined on their own: none in 1D, where a level is one band."""
        if not self.settings.orientations or layout.ndim == 1:
            return []
        return [band for band in layout.bands if not band.is_approximation]


def wanted_coalitions(config: AuditConfig) -> list[int]:
    """Coalitions that are evaluated; the last is the whole sample."""
    settings = config.analyses.band_removal
    n_players = config.basis.levels + 1
    if settings.shapley:
        return list(range(1 << n_players))
    wanted = {0, full(n_players)}
    if settings.ablation:
        wanted |= {only(player) for player in range(n_players)}
        wanted |= {without(player, n_players) for player in range(n_players)}
    if settings.pass_curves:
        for n_levels in range(1, n_players):
            wanted |= {finest(n_levels), full(n_players) & ~finest(n_levels)}
    return sorted(wanted)


@dataclass(frozen=True)
class RemovedBands:
    """The analysis with the model in memory.

    Attributes:
        coalitions: Those that are evaluated.
        oriented: Bands that are removed and kept on their own.
    """

    parts: AuditParts
    coalitions: list[int]
    oriented: tuple[Band, ...]

    def run(self, batch: Batch, max_batch: int) -> Findings:
        """Predict every coalition of every sample."""
        findings = Findings()
        layout, settings = self.parts.layout, self.parts.config.analyses.band_removal
        baseline = absent_signal(settings.baseline, batch.signal, batch.support)
        deviation = decompose(batch.signal - baseline, layout.basis)
        levels = [layout.bands_of(name) for name in layout.level_names]
        parts = components(deviation, levels)
        everything = full(len(levels))
        for place in range(len(batch)):
            verdict = batch.verdicts(batch.prediction, place)
            findings.add("coalitions", place, {"coalition": everything} | verdict)
        for coalition in self.coalitions:
            if coalition != everything:
                members = [player for player in range(len(levels)) if coalition >> player & 1]
                signal = baseline + parts[:, members].sum(1)
                for place, verdict in self._verdicts(batch, signal, max_batch, findings):
                    findings.add("coalitions", place, {"coalition": coalition} | verdict)
        for band in self.oriented:
            part = components(deviation, [[band]])[:, 0]
            for kind, signal in (("without", batch.signal - part), ("only", baseline + part)):
                address = {"level": band.level_name, "filters": band.filters, "kind": kind}
                for place, verdict in self._verdicts(batch, signal, max_batch, findings):
                    findings.add("orientations", place, address | verdict)
        return findings

    def _verdicts(
        self, batch: Batch, signal: Tensor, max_batch: int, findings: Findings
    ) -> Iterator[tuple[int, dict[str, object]]]:
        if batch.support is not None:
            signal = signal * batch.support
        prediction = predict(self.parts.model, signal, max_batch)
        findings.n_forward += len(signal)
        for place in range(len(batch)):
            yield place, batch.verdicts(prediction, place)
