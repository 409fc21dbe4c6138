"""Explain a batch by the model, by what randomisation makes of it, and compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch

from tasks.analyses.contract import AuditParts, Batch, Findings
from tasks.analyses.sanity_comparisons import (
    CASCADING,
    ENERGY,
    INDEPENDENT,
    RANDOM_LABELS,
    SECOND_SEED,
    SHUFFLED,
)
from tasks.analyses.sanity_maps import ABSOLUTE, MAPS, Explainer, Maps
from tasks.config import ModelConfig
from tasks.errors import ModelError
from tasks.models import LoadedModel, load_model
from tasks.trust_config import SanityConfig
from wam_core.map_similarity import MapSimilarity, compare_maps, shuffled_within_bands
from wam_core.noise import generator
from wam_core.randomisation import (
    layers_in_forward_order,
    randomised,
    randomised_share,
    stages_from_the_top,
)
from wam_core.transform import decompose

_UNSIGNED = frozenset({ABSOLUTE})


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
        for draw, places in self._networks(batch).items():
            part = batch.take(places)
            own = {name: maps.replace(maps.flat[places]) for name, maps in original.items()}
            for comparisons, stage, layers in self._randomisations():
                module = randomised(self.parts.model.module, layers, self._seed, draw)
                model = replace(self.parts.model, module=module)
                found = self._maps(model, part, max_batch, result)
                for comparison in comparisons:
                    self._compare(comparison, own, found, result, places, stage)
        if self.random_label_model is not None:
            found = self._maps(self.random_label_model, batch, max_batch, result)
            self._compare(RANDOM_LABELS, original, found, result, range(len(batch)))
        return result

    def _networks(self, batch: Batch) -> dict[int, list[int]]:
        """Places of the samples that meet each of the randomised networks: chosen by their ids."""
        groups: dict[int, list[int]] = {}
        for place, name in enumerate(batch.sample_ids):
            choice = generator(self._seed, f"network\0{name}", draw=0)
            draw = int(choice.integers(self._settings.networks))
            groups.setdefault(draw, []).append(place)
        return groups

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
        every = range(len(batch))
        self._compare(ENERGY, original, dict.fromkeys(original, coefficients), result, every)
        shuffled = {
            name: shuffled_within_bands(maps, batch.sample_ids, self._seed)
            for name, maps in original.items()
        }
        self._compare(SHUFFLED, original, shuffled, result, every)
        again = self.explainer.with_other_draws(self.parts.model, batch, max_batch)
        result.n_backward += self.explainer.redrawn_passes * len(batch)
        self._compare(SECOND_SEED, original, again, result, every)

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
        places: Sequence[int],
        stage: Stage | None = None,
    ) -> None:
        for method in (name for name in MAPS if name in found):
            signed = method not in _UNSIGNED and comparison != ENERGY
            similarity = compare_maps(original[method], found[method], signed=signed)
            columns = {"method": method, "comparison": comparison, **_address(comparison, stage)}
            for of, place in enumerate(places):
                result.add("sanity", place, columns | _numbers(similarity, of))

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
