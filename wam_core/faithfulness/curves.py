"""Insertion and deletion: the probability of a class while features come or go by rank.

Petsiuk, Das, Saenko (BMVC 2018). Features are ranked, the most important first. Insertion starts
without any and puts them in; deletion starts with all and takes them away. With p_i the probability
after the part x_i of the features, the area is that of trapezoids,

    area = sum_i (x_(i+1) - x_i) (p_i + p_(i+1)) / 2,    x_0 = 0, x_n = 1,

and Faith = insertion area - deletion area. Nothing is divided by a curve's own maximum.

The part is one of the number of features (`count`, as published) or of their energy (`energy`).
Removal by rank of magnitude alone scores high over the count, because energy is compact in few
coefficients: what is removed first is simply more. Over the energy every ranking has removed the
same amount at the same point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from wam_core.faithfulness.domains import Domain
from wam_core.faithfulness.outputs import Ends, OutputReader, repeated_rows
from wam_core.faithfulness.rankings import places

Axis = Literal["count", "energy"]


@dataclass(frozen=True)
class Curves:
    """Both curves of every sample, on the CPU.

    Attributes:
        axis: What the fraction is one of.
        fraction: Part of the removable features inserted or deleted at each point, 0 to 1.
        insertion: Probability of each class asked for, at each point.
        deletion: As `insertion`.
        insertion_predicted: Class predicted at each point.
        deletion_predicted: As `insertion_predicted`.
    """

    axis: Axis
    fraction: Float64[Tensor, "batch point"]
    insertion: Float64[Tensor, "batch scored point"]
    deletion: Float64[Tensor, "batch scored point"]
    insertion_predicted: Int[Tensor, "batch point"]
    deletion_predicted: Int[Tensor, "batch point"]

    @property
    def n_steps(self) -> int:
        """Steps from one end to the other."""
        return self.fraction.shape[1] - 1

    @property
    def insertion_area(self) -> Float64[Tensor, "batch scored"]:
        """Area under insertion, in [0, 1]; higher is better."""
        return trapezoid_area(self.insertion, self.fraction)

    @property
    def deletion_area(self) -> Float64[Tensor, "batch scored"]:
        """Area under deletion, in [0, 1]; lower is better."""
        return trapezoid_area(self.deletion, self.fraction)

    @property
    def faith(self) -> Float64[Tensor, "batch scored"]:
        """Insertion area minus deletion area, in [-1, 1]; 0 in expectation for a random order."""
        return self.insertion_area - self.deletion_area


def insertion_deletion(
    reader: OutputReader,
    domain: Domain,
    ends: Ends,
    importance: Float[Tensor, "batch feature"],
    classes: Int[Tensor, "batch scored"],
    *,
    sample_ids: Sequence[str],
    seed: int,
    n_steps: int = 64,
    axis: Axis = "count",
) -> Curves:
    """Both curves of a ranking.

    Args:
        ends: Of the same domain; every curve begins and ends there.
        importance: Its order decides, with its sign; among equals chance does (`places`).
        classes: Whose probabilities are read, the explained class first.
        seed: With the sample's id, decides among equals.
        n_steps: Steps of each curve; costs `curve_passes`.
        axis: See the module.

    Raises:
        ValueError: If importance does not fit, or there are fewer features than steps.
    """
    rank = places(importance, domain, sample_ids, seed)
    counts, fraction = step_counts(rank, domain, n_steps, axis)
    inner = counts[:, 1:-1].to(rank.device)
    rows = repeated_rows(len(domain), n_steps - 1)
    thresholds = inner.flatten()

    def inserted(sample: Tensor, place: Tensor) -> Tensor:
        return rank[sample] < thresholds[place, None]

    def deleted(sample: Tensor, place: Tensor) -> Tensor:
        return rank[sample] >= thresholds[place, None]

    scored = classes.cpu()
    full, emptied = (
        (end.probability(scored)[..., None], end.predicted[:, None])
        for end in (ends.full, ends.emptied)
    )
    curves = []
    for mask_of, first, last in ((inserted, emptied, full), (deleted, full, emptied)):
        outputs = reader.read_masks(domain, rows, mask_of)
        inside = outputs.probability(scored[rows]).unflatten(0, (len(domain), -1)).mT
        predicted = outputs.predicted.unflatten(0, (len(domain), -1))
        curves.append(
            (
                torch.cat([first[0], inside, last[0]], dim=2),
                torch.cat([first[1], predicted, last[1]], dim=1),
            )
        )
    (insertion, insertion_predicted), (deletion, deletion_predicted) = curves
    return Curves(axis, fraction, insertion, deletion, insertion_predicted, deletion_predicted)


def curve_passes(n_steps: int) -> int:
    """Forward passes of a sample that both curves of a ranking cost, beside the ends."""
    return 2 * (n_steps - 1)


def step_counts(
    rank: Int[Tensor, "batch feature"], domain: Domain, n_steps: int, axis: Axis
) -> tuple[Int[Tensor, "batch point"], Float64[Tensor, "batch point"]]:
    """How many features each point has, and which part of the axis they are; on the CPU.

    Over the energy a point has as many features of the ranking as come nearest to its part of the
    energy; the part that they really have is returned. Where a sample has no energy, its points are
    those over the count.

    Raises:
        ValueError: If there are fewer features than steps, or the axis is unknown.
    """
    n = domain.n_removable
    if not 2 <= n_steps <= n:
        raise ValueError(f"n_steps must be 2 to the number of features, {n}; got {n_steps}")
    parts = torch.arange(n_steps + 1, dtype=torch.float64) / n_steps
    by_count = (parts * n).round().long().expand(len(rank), -1)
    if axis == "count":
        return by_count, by_count.double() / n
    if axis != "energy":
        raise ValueError(f"axis must be count or energy, got '{axis}'")
    cumulative = _cumulative_energy(rank, domain)
    total = cumulative[:, -1:]
    counts = _nearest(cumulative, parts * total).clamp(max=n)
    counts[:, 0], counts[:, -1] = 0, n
    has_energy = total > 0
    counts = torch.where(has_energy, counts, by_count)
    fraction = torch.where(has_energy, cumulative.gather(1, counts) / total, counts / n)
    return counts, fraction


def trapezoid_area(
    values: Float[Tensor, "batch scored point"], fraction: Float[Tensor, "batch point"]
) -> Float[Tensor, "batch scored"]:
    """Area under each curve."""
    width = fraction.diff(dim=1)[:, None]
    return (width * (values[..., 1:] + values[..., :-1]) / 2).sum(-1)


def _cumulative_energy(rank: Tensor, domain: Domain) -> Tensor:
    """Energy of the first k removable features of each ranking, k = 0 to all; on the CPU."""
    energy = torch.zeros_like(domain.energy).scatter_(1, rank, domain.energy)
    energy = energy[:, : domain.n_removable].cpu().double()
    return torch.nn.functional.pad(energy.cumsum(1), (1, 0))


def _nearest(cumulative: Tensor, wanted: Tensor) -> Tensor:
    """Index of the value nearest to each wanted one in rows that do not fall."""
    above = torch.searchsorted(cumulative, wanted).clamp(1, cumulative.shape[1] - 1)
    below = above - 1
    nearer = wanted - cumulative.gather(1, below) <= cumulative.gather(1, above) - wanted
    return torch.where(nearer, below, above)
