"""Do measures of faithfulness tell orders that know the model from orders that do not?

Run: python benchmarks/faithfulness_controls.py [--figure PATH] [--samples N]

Three models are judged of which every weight is known. Signals are made of Haar
coefficients with the energy of photographs: few strong ones, coarse levels strongest.

* weak evidence: the classes differ in the weakest level; all other levels hold stronger structure
  that the model does not read.
* scattered evidence: every class reads a fifth of the coefficients of all levels, wherever they are
  strong or weak. Most of the energy is evidence for no class.
* evidence everywhere: every class reads all coefficients, and nearly all speak for it. Magnitudes
  of maps are magnitudes of coefficients then, and only signs know the class.

The true order is that of the contributions. It and magnitudes of the model's maps know the model;
the coefficients' magnitude, chance, and the map of a model with random weights do not. A measure
separates them if the worst of the first (where evidence is everywhere, the true order) lies above
the best of the second.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from wam_core import (
    ClassScore,
    CoefficientLayout,
    WaveletBasis,
    WaveletCoefficients,
    decompose,
    gradient,
    integrated_gradients,
    reconstruct,
)
from wam_core.faithfulness.contrast import class_contrast, runner_up
from wam_core.faithfulness.curves import Axis, Curves, insertion_deletion
from wam_core.faithfulness.domains import CoefficientDomain
from wam_core.faithfulness.outputs import OutputReader, read_ends
from wam_core.faithfulness.rankings import random_importance

BASIS = WaveletBasis("haar", 4)
SPACE = (32, 32)
CLASSES, STEPS = 4, 64

KNOWS = ("true order", "|attribution|", "|gradient|")
FREE = ("|z|", "random", "random weights")
MEASURES = (
    "Faith, count, zeros",
    "gain over |z|",
    "Faith, energy",
    "Faith, others' coefficients",
    "class contrast",
    "gap to random weights",
)
_COLOURS = dict(
    zip((*KNOWS, *FREE), ("#0072B2", "#56B4E9", "#009E73", "#D55E00", "#999999", "#CC79A7"),
        strict=True)
)  # fmt: skip

Values = dict[str, dict[str, np.ndarray]]
"""Per measure and order, one number per sample."""


class KnownVotes(torch.nn.Module):
    """Logits that are weighted sums of Haar coefficients."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, signal: Tensor) -> Tensor:
        """Logits of shape (row, class)."""
        return decompose(signal, BASIS).flat[:, 0] @ self.weights.T


@dataclass(frozen=True)
class Planted:
    """Signals and a model of which everything is known.

    Attributes:
        other: A model of the same kind with random weights; so is `third`.
    """

    name: str
    signal: Tensor
    targets: Tensor
    model: KnownVotes
    other: KnownVotes
    third: KnownVotes


def weak_evidence(n_samples: int) -> Planted:
    """Level 2 says the class, more weakly than anything else."""
    return _planted("weak evidence", n_samples, _level_mask("2"), strength=0.3)


def scattered_evidence(n_samples: int) -> Planted:
    """A fifth of all coefficients says the class."""
    return _planted("scattered evidence", n_samples, None)


def evidence_everywhere(n_samples: int) -> Planted:
    """Every coefficient says a class, and 19 of 20 the sample's own."""
    size = CoefficientLayout(SPACE, BASIS).size
    everything = torch.ones(size, dtype=torch.bool)
    return _planted("evidence everywhere", n_samples, everything, agreement=0.95)


def _planted(
    name: str,
    n_samples: int,
    used: Tensor | None,
    strength: float | None = None,
    agreement: float = 0.75,
) -> Planted:
    rng = torch.Generator().manual_seed(7)
    layout = CoefficientLayout(SPACE, BASIS)
    scale = torch.cat(
        [torch.full((layout.slices[band].stop - layout.slices[band].start,),
                    3.0 * 2.0 ** (band.level - 1) if band.is_approximation else
                    2.0 ** (band.level - 1))
         for band in layout.bands]
    )  # fmt: skip
    if used is not None and strength is not None:
        scale = torch.where(used, strength, scale.clamp(min=1.0))
    # Magnitudes with heavy tails, as of photographs.
    magnitude = scale * torch.empty(n_samples, layout.size).exponential_(generator=rng) ** 1.5
    targets = torch.arange(n_samples) % CLASSES
    weights = _weights(layout.size, used, rng)
    others = [_weights(layout.size, None, rng) for _ in range(2)]
    signs = torch.randint(0, 2, magnitude.shape, generator=rng) * 2.0 - 1
    voted = weights[targets].sign()
    agrees = torch.rand(magnitude.shape, generator=rng) < agreement
    flat = magnitude * torch.where(voted == 0, signs, torch.where(agrees, voted, -voted))
    signal = reconstruct(WaveletCoefficients(flat[:, None], layout))
    # The logit of the class is 6 on average: the model is sure, but not saturated.
    gain = 6.0 / (flat * weights[targets]).sum(1).mean()
    return Planted(name, signal, targets, KnownVotes(gain * weights), *map(KnownVotes, others))


def _weights(size: int, used: Tensor | None, rng: torch.Generator) -> Tensor:
    part = torch.rand(CLASSES, size, generator=rng) < 0.2 if used is None else used
    signs = torch.randint(0, 2, (CLASSES, size), generator=rng) * 2.0 - 1
    return signs * part


def _level_mask(level: str) -> Tensor:
    layout = CoefficientLayout(SPACE, BASIS)
    mask = torch.zeros(layout.size, dtype=torch.bool)
    for band in layout.bands_of(level):
        mask[layout.slices[band]] = True
    return mask


PLANTED = (weak_evidence, scattered_evidence, evidence_everywhere)


def judge(planted: Planted) -> Values:
    """Every measure of every order."""
    reader = OutputReader(planted.model, max_batch=512)
    zero = torch.zeros_like(planted.signal)
    # The next sample is of another class.
    domains: dict[str, tuple[CoefficientDomain, Axis]] = {
        MEASURES[0]: (CoefficientDomain.of(planted.signal, BASIS, zero), "count"),
        MEASURES[2]: (
            CoefficientDomain.of(planted.signal, BASIS, zero, details_only=True), "energy",
        ),
        MEASURES[3]: (
            CoefficientDomain.of(
                planted.signal, BASIS, zero, replacement=planted.signal.roll(1, 0),
                details_only=True,
            ),
            "count",
        ),
    }  # fmt: skip
    whole = reader.read(planted.signal)
    second = runner_up(whole, planted.targets)
    classes = torch.stack([planted.targets, second], dim=1)
    ids = [str(place) for place in range(len(planted.signal))]
    own, others = (
        orders_of(planted.model, planted.other, planted.signal, labels, ids)
        for labels in (planted.targets, second)
    )
    randomised = orders_of(planted.other, planted.third, planted.signal, planted.targets, ids)
    values: Values = {}
    curves: dict[str, dict[str, Curves]] = {}
    for measure, (domain, axis) in domains.items():
        ends = read_ends(reader, domain)
        ends.check(1e-4)

        scored = partial(
            insertion_deletion,
            reader, domain, ends, classes=classes,
            sample_ids=ids, seed=0, n_steps=STEPS, axis=axis,
        )  # fmt: skip
        curves[measure] = {name: scored(importance=order) for name, order in own.items()}
        values[measure] = {name: c.faith[:, 0].numpy() for name, c in curves[measure].items()}
        if measure == MEASURES[3]:
            values["class contrast"] = {
                name: class_contrast(curves[measure][name], scored(importance=order)).numpy()
                for name, order in others.items()
            }
            values["gap to random weights"] = {
                name: values[measure][name] - scored(importance=order).faith[:, 0].numpy()
                for name, order in randomised.items()
            }
    count = values[MEASURES[0]]
    values["gain over |z|"] = {name: faith - count["|z|"] for name, faith in count.items()}
    return {measure: values[measure] for measure in MEASURES}


def orders_of(
    model: KnownVotes, other: KnownVotes, signal: Tensor, labels: Tensor, ids: list[str]
) -> dict[str, Tensor]:
    def attribution(votes: KnownVotes) -> Tensor:
        return integrated_gradients(
            ClassScore(votes, labels), signal, BASIS, baseline=torch.zeros_like(signal), n_steps=2
        ).attribution.flat[:, 0]

    found = attribution(model)
    return {
        "true order": found,
        "|attribution|": found.abs(),
        "|gradient|": gradient(ClassScore(model, labels), signal, BASIS).flat[:, 0].abs(),
        "|z|": decompose(signal, BASIS).flat[:, 0].abs(),
        "random": random_importance(found.shape[1], ids, 0),
        "random weights": attribution(other),
    }


def separation(values: Mapping[str, np.ndarray], model: str) -> tuple[float, float]:
    """The worst order that knows the model less the best that does not, and its half interval."""
    knows = KNOWS[:1] if model == "evidence everywhere" else KNOWS
    worst = min(knows, key=lambda name: values[name].mean())
    best = max(FREE, key=lambda name: values[name].mean())
    return mean_interval(values[worst] - values[best])


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(1.96 * values.std(ddof=1) / np.sqrt(len(values)))


def draw(
    found: Mapping[str, Values],
    path: Path,
    measures: Sequence[str] = MEASURES,
    judged: bool = True,
) -> None:
    """One row a model: every order under every measure, with intervals.

    Args:
        judged: Say below each measure whether it separates.
    """
    figure = Figure(figsize=(10.5, 8.4), layout="constrained")
    rows = figure.subplots(len(found), 1, sharex=True)
    for axes, (name, values) in zip(rows, found.items(), strict=True):
        axes.axhline(0, color="#444444", linewidth=0.8)
        for place, measure in enumerate(measures):
            if place % 2:
                axes.axvspan(place - 0.5, place + 0.5, color="#f2f3f5", zorder=0)
            for offset, order in enumerate((*KNOWS, *FREE)):
                mean, half = mean_interval(values[measure][order])
                axes.errorbar(
                    place + (offset - 2.5) * 0.13, mean, half,
                    fmt="o" if order in KNOWS else "s", color=_COLOURS[order], markersize=6,
                    markerfacecolor=_COLOURS[order] if order in KNOWS else "white", capsize=2,
                    label=order if not place else None,
                )  # fmt: skip
            if not judged:
                continue
            gap, half = separation(values[measure], name)
            verdict = "separates" if gap > half else "does not"
            axes.annotate(
                verdict, (place, 0.02), xycoords=("data", "axes fraction"), ha="center",
                color="#1a6b3c" if gap > half else "#a03020", fontsize=9,
            )  # fmt: skip
        axes.set_title(
            f"{name} (n = {len(values[measures[0]]['random'])})", loc="left", fontsize=11
        )
        axes.set_ylabel("difference of areas" if judged else "value")
        axes.margins(y=0.18)
        axes.set_xlim(-0.5, len(measures) - 0.5)
    rows[-1].set_xticks(range(len(measures)), measures)
    figure.legend(*rows[0].get_legend_handles_labels(), loc="outside upper center", ncols=6,
                  frameon=False, title="filled: knows the model    hollow: does not")  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def main() -> None:
    """Print tables, and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--samples", type=int, default=48)
    options = parser.parse_args()
    found = {
        planted.name: judge(planted) for planted in (build(options.samples) for build in PLANTED)
    }
    for name, values in found.items():
        print(f"\n{name}{'':20}" + "".join(f"{order:>17}" for order in (*KNOWS, *FREE)) + "   gap")
        for measure in MEASURES:
            cells = "".join(f"{values[measure][o].mean():17.3f}" for o in (*KNOWS, *FREE))
            gap, half = separation(values[measure], name)
            print(f"  {measure:30}{cells}   {gap:+.3f} ±{half:.3f}")
    if options.figure:
        draw(found, options.figure)


if __name__ == "__main__":
    main()
