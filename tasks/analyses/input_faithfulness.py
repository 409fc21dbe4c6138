"""Benchmark: methods over the input beside those over coefficients, under the same removals.

A method over the input is scored where it speaks: by removing points of the signal, or cells of the
spectrogram that a front end makes of it. So that both kinds can be ranked by the same removals,
their maps are also carried over to coefficients, and maps of coefficients to points. What methods
over coefficients come to among coefficients is found by the analysis of faithfulness, on the same
samples; the paired differences here use both tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tasks.analyses.benchmark_measures import (
    MEDIANS,
    PROPORTIONS,
    UNITS,
    benchmark_measures,
    benchmark_sentences,
)
from tasks.analyses.contract import (
    Analysis,
    AuditParts,
    Batch,
    Findings,
    Measures,
    Passes,
    Row,
    ShardTables,
)
from tasks.analyses.faithfulness_removals import rankings
from tasks.analyses.faithfulness_run import map_orders
from tasks.analyses.input_methods import NOISE_FRACTION, Explained, NamedMethod, input_method
from tasks.analyses.mixtures import MODEL_FREE
from tasks.config import AuditConfig
from tasks.datasets import Manifest
from tasks.errors import ConfigError
from tasks.trust_config import BenchmarkConfig
from wam_core.baselines import absent_signal
from wam_core.basis import CoefficientLayout
from wam_core.faithfulness.budget import Effort
from wam_core.faithfulness.curves import curve_passes, insertion_deletion
from wam_core.faithfulness.domains import (
    CoefficientDomain,
    Domain,
    InputDomain,
    coefficient_blocks,
    input_blocks,
)
from wam_core.faithfulness.front_end import FrontEnd, own_copy
from wam_core.faithfulness.halves import halves
from wam_core.faithfulness.outputs import END_PASSES, OutputReader, read_ends
from wam_core.faithfulness.projections import to_coefficients, to_points
from wam_core.faithfulness.rankings import energy_importance, random_importance
from wam_core.faithfulness.subsets import mu_fidelity, subset_effects

POINTS, CELLS, COEFFICIENTS = "points", "front_end", "coefficients"
"""What is removed: points of the signal, cells of the front end's output, wavelet coefficients."""

Orders = dict[str, Tensor]
Forward = Callable[[Tensor], Tensor]


class Benchmark(Analysis):
    """Insertion, deletion and random subsets for methods over the input."""

    section = "benchmark"
    tables = ("benchmark",)
    units: ClassVar = UNITS
    proportions = PROPORTIONS
    medians = MEDIANS
    settings: BenchmarkConfig

    def check(self, manifest: Manifest) -> None:
        """Methods must exist, and the analysis of faithfulness must take the same samples."""
        _ = self.methods
        faithfulness = self.config.analyses.faithfulness
        if not faithfulness.enabled or faithfulness.samples != self.settings.samples:
            raise ConfigError(
                "analyses.benchmark compares with what analyses.faithfulness finds on the same "
                "samples: enable it, with faithfulness.samples equal to benchmark.samples "
                f"({self.settings.samples})"
            )

    def passes(self, layout: CoefficientLayout) -> Passes:
        """Methods pass backward; removals pass forward."""
        spaces = 2 if self.settings.front_end else 1
        forward = input_effort(self.config).passes + 2 * bool(self.settings.front_end)
        backward = sum(method.n_backward for method in self.methods.values()) * spaces
        return Passes(forward=forward, backward=backward)

    def open(self, parts: AuditParts) -> InputFaithfulness:
        """The analysis with the model in memory."""
        return InputFaithfulness(parts, self.methods)

    def measure(self, tables: ShardTables) -> Measures:
        """Measures where each method speaks, in the common domains, and paired differences."""
        return benchmark_measures(tables, own=CELLS if self.settings.front_end else POINTS)

    def sentences(self, metrics: Sequence[Mapping[str, Any]], element: str) -> list[str]:
        """The best methods over coefficients against the best over the input."""
        return benchmark_sentences(metrics)

    @cached_property
    def methods(self) -> dict[str, NamedMethod]:
        """Methods over the input by name."""
        return {name: input_method(name) for name in self.settings.methods}


def input_effort(config: AuditConfig) -> Effort:
    """What removals cost a sample, within the budget that caps those among coefficients.

    Raises:
        ConfigError: If the budget is too small.
    """
    settings = config.analyses.benchmark
    n_inputs, n_orders = len(settings.methods), len(rankings(config))
    spaces = 2 if settings.front_end else 1
    carried = n_inputs + n_orders - len(MODEL_FREE) if settings.common else 0
    domains = spaces + settings.common
    whole = Effort(
        n_domains=domains,
        n_curves=(n_inputs + len(MODEL_FREE)) * spaces + carried,
        n_games=domains,
        n_steps=settings.n_steps,
        n_subsets=settings.n_subsets,
    )
    try:
        return whole.within(config.analyses.faithfulness.budget)
    except ValueError as error:
        raise ConfigError(f"analyses.benchmark, within faithfulness.budget: {error}") from error


@dataclass(frozen=True)
class _Space:
    """Something that methods over the input explain, and points of it that can be removed."""

    name: str
    explained: Explained
    domain: InputDomain
    reader: OutputReader


@dataclass(frozen=True)
class InputFaithfulness:
    """The analysis with the model in memory."""

    parts: AuditParts
    methods: Mapping[str, NamedMethod]

    def run(self, batch: Batch, max_batch: int) -> Findings:
        """Explain by every method over the input, and remove what each calls important.

        Captum and front ends hang hooks into the model, which other threads pass through at the
        same time: each batch has a copy of its own.
        """
        findings = Findings()
        module = own_copy(self.parts.model.module)
        for space in self._spaces(module, batch, max_batch, findings):
            orders = {name: each.method(space.explained) for name, each in self.methods.items()}
            findings.n_backward += len(batch) * sum(m.n_backward for m in self.methods.values())
            controls = self._controls(space.domain, batch)
            common = self._settings.common and space.name == POINTS
            others = self._carried_to_points(batch) if common else {}
            self._score(space.name, space.domain, space.reader, orders | controls | others,
                        batch, findings)  # fmt: skip
            if common:
                self._score_among_coefficients(space, orders, batch, findings)
        return findings

    def _spaces(
        self, module: nn.Module, batch: Batch, max_batch: int, findings: Findings
    ) -> list[_Space]:
        support = batch.support
        everywhere = torch.ones_like(batch.signal[:, :1]) if support is None else support
        absent = absent_signal(self._faithfulness.baseline, batch.signal, support)

        def read(rows: Tensor) -> Tensor:
            return module(rows).float()

        spaces = [
            _Space(
                POINTS,
                self._explained(module, read, batch, batch.signal, everywhere, max_batch),
                InputDomain.of(batch.signal, absent),
                self._reader(read, support, max_batch),
            )
        ]
        if self._settings.front_end is not None:
            spaces.append(self._cells(module, batch, batch.signal * everywhere, absent, max_batch))
            findings.n_forward += 2 * len(batch)
        return spaces

    def _cells(
        self, module: nn.Module, batch: Batch, signal: Tensor, absent: Tensor, max_batch: int
    ) -> _Space:
        """The front end's output: removed cells take what the front end makes of the baseline."""
        front = FrontEnd(module, self._front_end, batch.signal[:1])
        parts = [signal.split(max_batch), absent.split(max_batch)]
        cells, emptied = (torch.cat([front.features(rows) for rows in each]) for each in parts)
        everywhere = torch.ones_like(cells[:, :1])

        def rest(rows: Tensor) -> Tensor:
            return front.rest(rows).float()

        return _Space(
            CELLS,
            self._explained(module, rest, batch, cells, everywhere, max_batch),
            InputDomain.of(cells, emptied),
            self._reader(rest, None, max_batch),
        )

    def _explained(
        self,
        module: nn.Module,
        forward: Forward,
        batch: Batch,
        points: Tensor,
        support: Tensor,
        max_batch: int,
    ) -> Explained:
        fraction = self._settings.noise_fraction
        return Explained(
            forward=forward,
            module=module,
            head=self.parts.model.head,
            points=points,
            targets=batch.targets,
            support=support,
            sample_ids=batch.sample_ids,
            seed=self._seed,
            max_batch=max_batch,
            noise_fraction=NOISE_FRACTION[batch.signal.ndim - 2] if fraction is None else fraction,
            layer=self._settings.gradcam_layer,
        )

    def _reader(self, model: Forward, support: Tensor | None, max_batch: int) -> OutputReader:
        head = self.parts.model.head
        return OutputReader(model, head=head, support=support, max_batch=max_batch)

    def _controls(self, domain: Domain, batch: Batch) -> Orders:
        chance = random_importance(domain.n_features, batch.sample_ids, self._seed)
        return dict(zip(MODEL_FREE, (energy_importance(domain), chance), strict=True))

    def _carried_to_points(self, batch: Batch) -> Orders:
        layout = self.parts.layout
        found = map_orders(self.parts.config, batch.explanation)
        return {name: to_points(values, layout) for name, values in found.items()}

    def _score_among_coefficients(
        self, space: _Space, orders: Orders, batch: Batch, findings: Findings
    ) -> None:
        layout = self.parts.layout
        absent = absent_signal(self._faithfulness.baseline, batch.signal, batch.support)
        domain = CoefficientDomain.of(batch.signal, layout.basis, absent)
        carried = {name: to_coefficients(values, layout) for name, values in orders.items()}
        self._score(COEFFICIENTS, domain, space.reader, carried, batch, findings)

    def _score(
        self,
        name: str,
        domain: Domain,
        reader: OutputReader,
        orders: Orders,
        batch: Batch,
        findings: Findings,
    ) -> None:
        effort = input_effort(self.parts.config)
        ends = read_ends(reader, domain)
        space = tuple(domain.signal.shape[2:])
        blocks = (
            coefficient_blocks(self.parts.layout) if name == COEFFICIENTS else input_blocks(space)
        )
        effects = subset_effects(
            reader, domain, ends, blocks, batch.targets.cpu(), sample_ids=batch.sample_ids,
            seed=self._seed, kind=self.parts.config.attribution.score,
            n_subsets=effort.n_subsets,
        )  # fmt: skip
        findings.n_forward += len(batch) * (END_PASSES + effort.n_subsets)
        for method, importance in orders.items():
            finite = importance.nan_to_num(0.0, 0.0, 0.0)
            curves = insertion_deletion(
                reader, domain, ends, finite, batch.targets.cpu()[:, None],
                sample_ids=batch.sample_ids, seed=self._seed, n_steps=effort.n_steps,
            )  # fmt: skip
            findings.n_forward += len(batch) * curve_passes(effort.n_steps)
            half = halves(curves)
            columns = {
                "insertion": curves.insertion_area[:, 0],
                "deletion": curves.deletion_area[:, 0],
                "faith": curves.faith[:, 0],
                "mu_fidelity": mu_fidelity(effects, finite),
                "spectra": half.spectra,
            }
            for place in range(len(batch)):
                row: Row = {column: float(values[place]) for column, values in columns.items()}
                row |= {"method": method, "domain": name}
                row["input_fidelity"] = bool(half.input_fidelity[place])
                findings.add("benchmark", place, row)

    @property
    def _settings(self) -> BenchmarkConfig:
        return self.parts.config.analyses.benchmark

    @property
    def _faithfulness(self) -> Any:
        return self.parts.config.analyses.faithfulness

    @property
    def _front_end(self) -> str:
        assert self._settings.front_end is not None
        return f"model.{self._settings.front_end}"

    @property
    def _seed(self) -> int:
        return self.parts.config.attribution.seed
