"""Do explanations show what the model learned? Sanity checks by randomisation.

Every sample taken is explained again by models that forgot part of what they learned: layers drawn
anew from the top, stage by stage, or one stage at a time, or a network trained on permuted
labels (Adebayo et al. 2018). An explanation that stays the same does not depend on what was
forgotten. Controls need no randomised model: the similarity to the magnitudes of the coefficients,
to a map shuffled within its bands, and of WAM_SG to itself under other noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from hashlib import sha256
from io import BytesIO
from typing import Any, ClassVar, cast

import numpy as np
import pandas as pd
import torch

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
from tasks.analyses.sanity_maps import ABSOLUTE, MAPS, Explainer, Maps
from tasks.analyses_config import SanityConfig
from tasks.config import ModelConfig
from tasks.datasets import Manifest
from tasks.errors import ModelError
from tasks.models import LoadedModel, load_model
from tasks.models.files import open_model_file
from tasks.variables import MeansOfSamples, Variable
from wam_core.basis import CoefficientLayout
from wam_core.intervals import FloatArray
from wam_core.map_similarity import MapSimilarity, compare_maps, shuffled_within_bands
from wam_core.randomisation import (
    layers_in_forward_order,
    randomised,
    randomised_share,
    stages_from_the_top,
)
from wam_core.transform import decompose

CASCADING, INDEPENDENT = "cascading", "independent"
ENERGY, SHUFFLED, SECOND_SEED = "energy", "shuffled", "second_seed"
RANDOM_LABELS = "random_labels"

PREFIXES = {
    CASCADING: "randomisation",
    INDEPENDENT: "independent",
    RANDOM_LABELS: "random_labels",
    SHUFFLED: "shuffled",
}
"""Beginning of the metrics of a comparison; those of the others have names of their own."""

MEASURES = {
    "spearman": "spearman",
    "spearman_signed": "spearman_signed",
    "spearman_within_bands": "spearman_within_bands",
    "ssim": "ssim",
    "hog": "hog",
    "profile_overlap": "profile_overlap",
}
"""Columns of the table, and the end of the metrics that they become."""

SPEARMAN = "sanity/randomisation_spearman"
RISE = "sanity/largest_rise"
ENERGY_SIMILARITY = "sanity/energy_similarity"
RELIABILITY = "sanity/seed_reliability"
SIGNED_RELIABILITY = "sanity/seed_reliability_signed"
SHARE = "sanity/randomised_share"
RANDOM_LABEL_SPEARMAN = "sanity/random_labels_spearman"

_UNSIGNED = frozenset({ABSOLUTE})


def _units() -> dict[str, tuple[str, str]]:
    units = {
        f"sanity/{prefix}_{measure}": (
            "fraction" if measure == "profile_overlap" else "correlation",
            "none" if prefix == "shuffled" else "lower",
        )
        for prefix in PREFIXES.values()
        for measure in MEASURES.values()
    }
    return units | {
        RISE: ("correlation", "lower"),
        ENERGY_SIMILARITY: ("correlation", "lower"),
        RELIABILITY: ("correlation", "higher"),
        SIGNED_RELIABILITY: ("correlation", "higher"),
        SHARE: ("fraction", "none"),
    }


@dataclass(frozen=True)
class Stage:
    """Layers that are randomised together.

    Attributes:
        number: 1 is the output layer alone.
        layers: Randomised in this stage.
        above: Randomised in it and in those before, where they cascade.
        share: Part of the parameters in `layers`.
        share_above: Part of the parameters in `above`.
    """

    number: int
    layers: tuple[str, ...]
    above: tuple[str, ...]
    share: float
    share_above: float

    @property
    def words(self) -> str:
        """Its layers from the top, such as `head` or `blocks.3 to blocks.1`."""
        names = [name.removeprefix("model.") for name in (self.layers[-1], self.layers[0])]
        return names[0] if len(self.layers) == 1 else " to ".join(names)


class Sanity(Analysis):
    """Similarity of explanations with those of randomised models."""

    section = "sanity"
    tables = ("sanity",)
    units: ClassVar = _units()
    settings: SanityConfig

    def check(self, manifest: Manifest) -> None:
        """The weights trained on permuted labels must be there."""
        self.inputs()

    def inputs(self) -> dict[str, str]:
        """The weights trained on permuted labels decide what is compared."""
        location = self.settings.random_label_checkpoint
        if location is None:
            return {}
        file = open_model_file(location, "analyses.sanity.random_label_checkpoint")
        content = file.getvalue() if isinstance(file, BytesIO) else file.read_bytes()
        return {"random_label_checkpoint": sha256(content).hexdigest()}

    def passes(self, layout: CoefficientLayout) -> Passes:
        """One explanation by every model, and smoothing once more; fewer for few layers."""
        settings, explainer = self.settings, Explainer.of(self.config, layout)
        models = 1 + settings.stages + (settings.random_label_checkpoint is not None)
        # The first stage alone is the first of the cascade, too.
        models += (settings.stages - 1) * settings.independent
        return Passes(
            models * explainer.passes.forward,
            models * explainer.passes.backward + explainer.smoothing_passes,
        )

    def open(self, parts: AuditParts) -> SanityAnalysis:
        """The analysis with the model in memory."""
        return SanityAnalysis(parts, Explainer.of(self.config, parts.layout))

    def measure(self, tables: ShardTables) -> Measures:
        """Every similarity by method and stage."""
        values: Measures = {}
        keys = ["comparison", "method", "stage"]
        for key, rows in tables["sanity"].groupby(keys, sort=True, dropna=False):
            comparison, method, stage = cast("tuple[str, str, Any]", key)
            number = None if pd.isna(stage) else int(stage)
            by_sample = rows.set_index("sample_index")
            for column, metric in _metrics_of(comparison).items():
                numbers = tables.aligned(by_sample[column])
                if not np.isnan(numbers).all():
                    values[Variable.of(metric, method=method, stage=number)] = numbers
            if comparison == CASCADING:
                layers = str(rows["layers"].iloc[0])
                share = Variable.of(SHARE, stage=number, layers=layers)
                values[share] = tables.aligned(by_sample["randomised_share"])
        return values

    def conclude(self, means: MeansOfSamples) -> Metrics:
        """By how much the similarity rises again at most while more layers are randomised."""
        by_method: dict[str, list[Variable]] = {}
        for variable in means.named(SPEARMAN):
            by_method.setdefault(variable.get("method"), []).append(variable)
        return [
            (
                Variable.of(RISE, method=method),
                means.derive(sorted(variables, key=_stage_of), largest_rise),
            )
            for method, variables in by_method.items()
        ]


def largest_rise(similarity: FloatArray) -> FloatArray:
    """The most that a curve rises from any stage to a later one; each begins at 1, the original.

    Args:
        similarity: Shape (row, stage).

    Example:
        >>> largest_rise(np.array([[0.5, 0.25, 0.5, 0.125]]))
        array([0.25])
    """
    curve = np.concatenate([np.ones((len(similarity), 1)), similarity], axis=1)
    return np.asarray((curve - np.minimum.accumulate(curve, axis=1)).max(axis=1))


def _stage_of(variable: Variable) -> int:
    return int(variable.get("stage"))


def _metrics_of(comparison: str) -> Mapping[str, str]:
    """Columns of a comparison's rows, and the metrics that they become."""
    if comparison == ENERGY:
        return {"spearman": ENERGY_SIMILARITY}
    if comparison == SECOND_SEED:
        return {"spearman": RELIABILITY, "spearman_signed": SIGNED_RELIABILITY}
    prefix = PREFIXES[comparison]
    return {
        column: f"sanity/{prefix}_{measure}"
        for column, measure in MEASURES.items()
        if (comparison, column) != (SHUFFLED, "profile_overlap")  # 1 by construction
    }


@dataclass(frozen=True)
class SanityAnalysis:
    """The analysis with the model in memory."""

    parts: AuditParts
    explainer: Explainer

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Layers from the top, in as many stages as there are layers for."""
        model = self.parts.model
        shape = (1, *model.preprocessing.input_shape)
        mean = torch.tensor(model.preprocessing.data_mean() or (0.0,), dtype=torch.float32)
        example = mean.reshape(1, -1, *[1] * (len(shape) - 2)).expand(shape).contiguous()
        try:
            layers = layers_in_forward_order(model.module, example.to(_device_of(model)))
        except ValueError as error:
            raise ModelError(f"analyses.sanity: {error}; switch the analysis off") from error
        groups = stages_from_the_top(layers, self._settings.stages)
        above: tuple[str, ...] = ()
        stages = []
        for number, group in enumerate(groups, start=1):
            above += group
            shares = (randomised_share(model.module, names) for names in (group, above))
            stages.append(Stage(number, group, above, *shares))
        return tuple(stages)

    @cached_property
    def random_label_model(self) -> LoadedModel | None:
        """The same network with the weights trained on permuted labels."""
        checkpoint = self._settings.random_label_checkpoint
        if checkpoint is None:
            return None
        config = self.parts.config
        update = {"checkpoint": checkpoint, "pretrained": False, "checkpoint_mapping": "names"}
        values = config.model.model_dump() | update
        try:
            return load_model(
                ModelConfig.model_validate(values),
                device=_device_of(self.parts.model),
                channels_last=config.execution.channels_last,
            )
        except ModelError as error:
            raise ModelError(f"analyses.sanity.random_label_checkpoint: {error}") from error

    def run(self, batch: Batch, max_batch: int) -> Findings:
        """Explain the batch by every model, and compare."""
        result = Findings()
        original = self._maps(self.parts.model, batch, max_batch, result)
        self._add_controls(batch, original, max_batch, result)
        for comparisons, stage, layers in self._randomisations():
            model = replace(
                self.parts.model,
                module=randomised(self.parts.model.module, layers, self._seed),
            )
            found = self._maps(model, batch, max_batch, result)
            for comparison in comparisons:
                self._compare(comparison, original, found, result, stage)
        if self.random_label_model is not None:
            found = self._maps(self.random_label_model, batch, max_batch, result)
            self._compare(RANDOM_LABELS, original, found, result)
        return result

    def _randomisations(self) -> Iterator[tuple[tuple[str, ...], Stage, tuple[str, ...]]]:
        """Comparisons that a randomised model serves, its stage, and what is randomised in it."""
        independent = self._settings.independent
        for stage in self.stages:
            if stage.layers == stage.above:
                yield (CASCADING, INDEPENDENT)[: 1 + independent], stage, stage.layers
                continue
            yield (CASCADING,), stage, stage.above
            if independent:
                yield (INDEPENDENT,), stage, stage.layers

    def _add_controls(self, batch: Batch, original: Maps, max_batch: int, result: Findings) -> None:
        coefficients = decompose(batch.signal, self.parts.layout.basis)
        self._compare(ENERGY, original, dict.fromkeys(original, coefficients), result)
        shuffled = {
            name: shuffled_within_bands(maps, batch.sample_ids, self._seed)
            for name, maps in original.items()
        }
        self._compare(SHUFFLED, original, shuffled, result)
        again = self.explainer.with_other_noise(self.parts.model, batch, max_batch)
        result.n_backward += self.explainer.smoothing_passes * len(batch)
        self._compare(SECOND_SEED, original, again, result)

    def _maps(self, model: LoadedModel, batch: Batch, max_batch: int, result: Findings) -> Maps:
        result.n_forward += self.explainer.passes.forward * len(batch)
        result.n_backward += self.explainer.passes.backward * len(batch)
        return self.explainer.maps(model, batch, max_batch)

    def _compare(
        self,
        comparison: str,
        original: Maps,
        found: Maps,
        result: Findings,
        stage: Stage | None = None,
    ) -> None:
        for method in (name for name in MAPS if name in found):
            signed = method not in _UNSIGNED and comparison != ENERGY
            similarity = compare_maps(original[method], found[method], signed=signed)
            columns = {"method": method, "comparison": comparison, **_address(comparison, stage)}
            for place in range(len(similarity.spearman)):
                result.add("sanity", place, columns | _numbers(similarity, place))

    @property
    def _settings(self) -> SanityConfig:
        return self.parts.config.analyses.sanity

    @property
    def _seed(self) -> int:
        return self.parts.config.attribution.seed


def _address(comparison: str, stage: Stage | None) -> dict[str, object]:
    if stage is None:
        return {"stage": None, "layers": None, "randomised_share": None}
    share = stage.share_above if comparison == CASCADING else stage.share
    return {"stage": stage.number, "layers": stage.words, "randomised_share": share}


def _numbers(similarity: MapSimilarity, place: int) -> dict[str, float]:
    return {
        measure.name: float(getattr(similarity, measure.name)[place])
        for measure in fields(similarity)
    }


def _device_of(model: LoadedModel) -> torch.device:
    tensors: Sequence[torch.Tensor] = [*model.module.parameters(), *model.module.buffers()]
    return tensors[0].device if tensors else torch.device("cpu")
