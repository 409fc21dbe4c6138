"""Insertion, deletion and random subsets of a batch, with the model in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from tasks.analyses.contract import AuditParts, Batch, Findings, Row
from tasks.analyses.faithfulness_removals import (
    COUNT,
    PREFIXES,
    REPLACEMENT,
    Removal,
    effort,
    judged_methods,
    removal,
    removals,
    wants,
)
from tasks.analyses.mixtures import EVIDENCE, MODEL_FREE
from tasks.analyses.random_weights import orders_with_random_weights
from tasks.config import AuditConfig
from tasks.explain import Explanation, explain
from wam_core.faithfulness.budget import Effort
from wam_core.faithfulness.concentration import gini, hoyer
from wam_core.faithfulness.contrast import class_contrast, runner_up
from wam_core.faithfulness.curves import Curves, insertion_deletion
from wam_core.faithfulness.domains import coefficient_blocks
from wam_core.faithfulness.halves import halves
from wam_core.faithfulness.outputs import Ends, OutputReader, read_ends
from wam_core.faithfulness.rankings import energy_importance, random_importance
from wam_core.faithfulness.reliability import split_half_reliability
from wam_core.faithfulness.subsets import mu_fidelity, subset_effects

Orders = dict[str, Tensor]
"""Importance of every coefficient, shape (batch, coefficient), by ranking."""


@dataclass(frozen=True)
class FaithfulnessCurves:
    """The analysis with the model in memory."""

    parts: AuditParts

    def run(self, batch: Batch, max_batch: int) -> Findings:
        """Remove the coefficients of every sample in every order and in every way."""
        return _BatchRun(self.parts, batch, max_batch).run()


@dataclass
class _BatchRun:
    """One batch: what is found fills the columns of each ranking."""

    parts: AuditParts
    batch: Batch
    max_batch: int
    findings: Findings = field(default_factory=Findings)
    columns: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    ends: dict[str, Ends] = field(default_factory=dict)

    def __post_init__(self) -> None:
        module = self.parts.model.module
        self.config = self.parts.config
        self.seed = self.config.attribution.seed
        self.effort: Effort = effort(self.config, self.parts.layout)
        self.reader = OutputReader(
            lambda rows: module(rows).float(),
            head=self.parts.model.head,
            support=self.batch.support,
            max_batch=self.max_batch,
        )

    def run(self) -> Findings:
        by_count = removal(COUNT, self.parts, self.batch)
        energy = energy_importance(by_count.domain)
        orders = map_orders(self.config, self.batch.explanation) | self._model_free(energy)
        self._describe(orders)
        for name in removals(self.config):
            way = by_count if name == COUNT else removal(name, self.parts, self.batch)
            self._remove(way, orders)
        if wants(self.config, "mu_fidelity"):
            self._remove_subsets(by_count, orders)
        self.findings.n_forward += len(self.batch) * self.effort.passes
        self._add_rows()
        return self.findings

    def _model_free(self, energy: Tensor) -> Orders:
        size = self.parts.layout.size
        chance = random_importance(size, self.batch.sample_ids, self.seed)
        return dict(zip(MODEL_FREE, (energy.sqrt().cpu(), chance), strict=True))

    def _describe(self, orders: Orders) -> None:
        """What maps are by themselves: how sparse, and how far the same with other draws."""
        for name, importance in orders.items():
            self.columns[name] = {"gini": gini(importance), "hoyer": hoyer(importance)}
        groups = self.batch.explanation.draw_groups
        if "smoothgrad" in judged_methods(self.config) and groups is not None:
            reliability = split_half_reliability(groups)
            if reliability is not None:
                ranking = self.config.attribution.profile_of_map("smoothgrad")
                self.columns[ranking]["reliability"] = reliability

    def _remove(self, way: Removal, orders: Orders) -> None:
        """Curves of every order; with replacements, of the runner-up's orders too."""
        ends = self._ends(way)
        classes = self.batch.targets.cpu()[:, None]
        contrast = way.name == REPLACEMENT and wants(self.config, "class_contrast")
        if contrast:
            classes = torch.cat([classes, runner_up(ends.full, classes[:, 0])[:, None]], dim=1)
        found = {
            name: self._curves(way, ends, importance, classes)
            for name, importance in orders.items()
        }
        for name, curves in found.items():
            self._keep_curves(way, name, curves)
        if contrast:
            self._contrast(way, ends, found, classes)
        if way.name == COUNT and wants(self.config, "random_weights"):
            self._compare_with_random_weights(way, ends, found)

    def _contrast(
        self, way: Removal, ends: Ends, own: Mapping[str, Curves], classes: Tensor
    ) -> None:
        batch = self.batch
        explanation = explain(
            _with_methods(self.config, judged_methods(self.config)),
            self.parts.model,
            self.parts.layout,
            batch.signal,
            classes[:, 1],
            batch.sample_ids,
            self.max_batch,
            batch.n_valid,
        )
        self.findings.n_forward += explanation.n_forward
        self.findings.n_backward += explanation.n_backward
        for name, importance in map_orders(self.config, explanation).items():
            other = self._curves(way, ends, importance, classes)
            contrast = class_contrast(own[name], other)
            self.columns[name]["class_contrast"] = torch.where(way.known, contrast, torch.nan)
        for name in MODEL_FREE:  # the same order for every class
            nothing = torch.where(way.known, 0.0, torch.nan)
            self.columns[name]["class_contrast"] = nothing

    def _compare_with_random_weights(
        self, way: Removal, ends: Ends, own: Mapping[str, Curves]
    ) -> None:
        """Faith less that of the same method's map of a network that has learned nothing."""
        config = _with_methods(self.config, judged_methods(self.config))
        orders, n_forward, n_backward = orders_with_random_weights(
            self.parts, config, self.batch, self.max_batch, partial(map_orders, self.config)
        )
        self.findings.n_forward += n_forward
        self.findings.n_backward += n_backward
        classes = self.batch.targets.cpu()[:, None]
        for name, importance in orders.items():
            curves = self._curves(way, ends, importance, classes)
            gap = own[name].faith[:, 0] - curves.faith[:, 0]
            self.columns[name]["random_weights_gap"] = torch.where(way.known, gap, torch.nan)
        for name in MODEL_FREE:  # no weight enters
            self.columns[name]["random_weights_gap"] = torch.zeros(len(self.batch))

    def _remove_subsets(self, way: Removal, orders: Orders) -> None:
        effects = subset_effects(
            self.reader,
            way.domain,
            self._ends(way),
            coefficient_blocks(self.parts.layout),
            self.batch.targets.cpu(),
            sample_ids=self.batch.sample_ids,
            seed=self.seed,
            kind=self.config.attribution.score,
            n_subsets=self.effort.n_subsets,
        )
        for name, importance in orders.items():
            self.columns[name]["mu_fidelity"] = mu_fidelity(effects, importance)

    def _ends(self, way: Removal) -> Ends:
        if way.name not in self.ends:
            self.ends[way.name] = read_ends(self.reader, way.domain)
        return self.ends[way.name]

    def _curves(self, way: Removal, ends: Ends, importance: Tensor, classes: Tensor) -> Curves:
        return insertion_deletion(
            self.reader,
            way.domain,
            ends,
            importance,
            classes,
            sample_ids=self.batch.sample_ids,
            seed=self.seed,
            n_steps=self.effort.n_steps,
            axis=way.axis,
        )

    def _keep_curves(self, way: Removal, name: str, curves: Curves) -> None:
        prefix, columns = PREFIXES[way.name], self.columns[name]
        areas = {
            "insertion": curves.insertion_area,
            "deletion": curves.deletion_area,
            "faith": curves.faith,
        }
        for measure, values in areas.items():
            columns[prefix + measure] = torch.where(way.known, values[:, 0], torch.nan)
        if way.name == COUNT:
            columns |= vars(halves(curves))
        for place in way.known.nonzero()[:, 0].tolist():
            for step in range(curves.n_steps + 1):
                self.findings.add(
                    "curves",
                    place,
                    {
                        "method": name,
                        "removal": way.name,
                        "step": step,
                        "fraction": float(curves.fraction[place, step]),
                        "insertion_probability": float(curves.insertion[place, 0, step]),
                        "deletion_probability": float(curves.deletion[place, 0, step]),
                    },
                )

    def _add_rows(self) -> None:
        subsets = wants(self.config, "mu_fidelity")
        gap = torch.stack([ends.gap for ends in self.ends.values()]).amax(0)
        for name, columns in self.columns.items():
            for place in range(len(self.batch)):
                row: Row = {column: float(values[place]) for column, values in columns.items()}
                for column in ("input_fidelity", "increase"):
                    if column in row:
                        row[column] = bool(row[column])
                row |= {
                    "method": name,
                    "end_point_gap": float(gap[place]),
                    "n_steps": self.effort.n_steps,
                    "n_subsets": self.effort.n_subsets if subsets else None,
                }
                self.findings.add("faithfulness", place, row)


def map_orders(config: AuditConfig, explanation: Explanation) -> Orders:
    """The orders of the judged methods; where a map is not finite it ranks nothing."""
    found: Orders = {}
    for method in judged_methods(config):
        found[config.attribution.profile_of_map(method)] = explanation.ranking(method)
        if method == "integrated_gradients":
            # With its sign: what speaks against the class comes last.
            values = explanation.maps[method].flat.nan_to_num(0.0, 0.0, 0.0)
            found[EVIDENCE] = values.sum(1)
    return found


def _with_methods(config: AuditConfig, methods: list[str]) -> AuditConfig:
    """The same audit with no other attributions than these."""
    attribution = config.attribution
    changed = {
        method: getattr(attribution, method).model_copy(update={"enabled": method in methods})
        for method in attribution.methods
    }
    return config.model_copy(update={"attribution": attribution.model_copy(update=changed)})
