"""The experiments of the suite, and what came out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tasks.validation import (
    adversarial,
    causal,
    conflicts,
    cues,
    exact,
    faithfulness,
    masking,
    minimal,
    octaves,
)
from tasks.validation.experiments import Experiment
from tasks.validation.truths import Check, CheckGroup, grouped

Build = Callable[[int], Experiment]

DIMENSIONS = (1, 2, 3)

_EVERYWHERE: tuple[Build, ...] = (
    exact.prescribed_profile,
    exact.noisy_energies,
    exact.drawn_to_tolerance,
    partial(exact.saturating_path, n_steps=3),
    adversarial.blind,
    adversarial.white_gradient,
    adversarial.border,
    partial(octaves.planted_octaves, wavelet="haar"),
    partial(causal.one_level, place=1),
    partial(causal.one_level, place=-1),
    causal.harmful_level,
    causal.levels_together,
    causal.shortcut,
    causal.sensitivity_against_content,
    cues.texture_model,
    cues.shape_model,
    partial(conflicts.hybrids, place=1),
    partial(minimal.countable, place=1),
    masking.known_channel,
    partial(exact.prescribed_profile, n_classes=6),
    faithfulness.weak_evidence,
)
"""Experiments that are made in every dimension."""

_SOMEWHERE: tuple[tuple[Build, int], ...] = (
    (partial(octaves.planted_octaves, wavelet="sym8"), 1),
    (partial(octaves.planted_octaves, wavelet="sym8"), 2),
    (partial(octaves.planted_octaves, wavelet="db4"), 3),
    (partial(octaves.planted_octaves, wavelet="sym8", windowed=False, repeats=8), 1),
    (partial(octaves.planted_octaves, wavelet="db4", windowed=False, repeats=8), 2),
    (partial(octaves.planted_octaves, wavelet="db4", windowed=False, repeats=8), 3),
    (causal.one_orientation, 2),
    (causal.one_orientation, 3),
    (conflicts.decisions, 2),
)
"""Experiments with their dimension: long filters need long signals, orientations two axes, and
conflicts of shape and texture images."""

_FULL_ONLY: tuple[Build, ...] = (
    partial(exact.saturating_path, n_steps=32),
    partial(causal.one_level, place=0),
    partial(minimal.countable, place=-1),
    partial(conflicts.hybrids, place=-1),
)
"""Variants of others in every dimension, left out of the quick suite."""

_QUICK_TOO = (0, 8)
"""Places in `_SOMEWHERE` of what the quick suite takes."""


@dataclass(frozen=True)
class Planned:
    """An experiment that has not been made yet: signals take memory."""

    build: Build
    dimension: int

    def run(self) -> list[Check]:
        """Build and run it."""
        return self.build(self.dimension).run()


@dataclass(frozen=True)
class Validation:
    """What the suite found.

    Attributes:
        checks: Every truth beside its estimate.
        n_experiments: Audits that were made.
    """

    checks: list[Check]
    n_experiments: int
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every statistic recovered every truth."""
        return all(check.passed for check in self.checks)

    @property
    def groups(self) -> list[CheckGroup]:
        """Checks by statistic, experiment, dimension and method."""
        return grouped(self.checks)

    def record(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {
            "passed": self.passed,
            "n_experiments": self.n_experiments,
            "n_checks": len(self.checks),
            "n_failed": sum(not check.passed for check in self.checks),
            "seconds": self.seconds,
            "checks": [check.record() for check in self.checks],
        }


def planned_experiments(*, quick: bool = False) -> list[Planned]:
    """All experiments; with `quick` each kind in one dimension, all dimensions taking part."""
    if not quick:
        kinds = (*_EVERYWHERE, *_FULL_ONLY)
        everywhere = [Planned(build, at) for build in kinds for at in DIMENSIONS]
        return everywhere + [Planned(build, at) for build, at in _SOMEWHERE]
    turns = zip(_EVERYWHERE, itertools.cycle(DIMENSIONS), strict=False)
    somewhere = [_SOMEWHERE[place] for place in _QUICK_TOO]
    return [Planned(build, at) for build, at in [*turns, *somewhere]]


def run_suite(
    experiments: Sequence[Planned], on_done: Callable[[int], None] = lambda _number: None
) -> Validation:
    """Run experiments one after the other.

    Args:
        on_done: Told how many are done.

    Raises:
        AuditError: If an audit cannot be made at all.
    """
    begin = time.perf_counter()
    checks = [check for part in _each(experiments, on_done) for check in part]
    return Validation(checks, len(experiments), time.perf_counter() - begin)


def _each(experiments: Iterable[Planned], on_done: Callable[[int], None]) -> Iterator[list[Check]]:
    for number, experiment in enumerate(experiments, 1):
        yield experiment.run()
        on_done(number)
