"""What a model says about changed signals: the logits of all classes, from one pass each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wam_core.faithfulness.domains import Domain
from wam_core.scores import Head, ScoreKind, class_logits, select_score


@dataclass(frozen=True)
class Outputs:
    """Logits of changed signals, on the CPU.

    Attributes:
        logits: Shape (row, class); a binary logit l stands as -l and l.
        head: How they are read.
    """

    logits: Float[Tensor, "row class"]
    head: Head = "multiclass"

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def predicted(self) -> Int[Tensor, " row"]:
        """Class with the largest logit."""
        return self.logits.argmax(dim=1)

    def probability(self, classes: Int[Tensor, "row scored"]) -> Float[Tensor, "row scored"]:
        """Probability of each row's classes: softmax, or a sigmoid each for other heads."""
        logits = self.logits.double()
        all_classes = logits.softmax(dim=1) if self.head == "multiclass" else logits.sigmoid()
        return all_classes.gather(1, classes.cpu().long())

    def score(self, target: Int[Tensor, " row"], kind: ScoreKind) -> Float[Tensor, " row"]:
        """The score of each row's class, see `select_score`."""
        head: Head = "multilabel" if self.head == "binary" else self.head
        return select_score(self.logits.double(), target.cpu(), kind=kind, head=head)


@dataclass(frozen=True)
class OutputReader:
    """Reads all classes off a model.

    Attributes:
        model: Maps signals (row, channel, *space) to its output.
        head: How the output is read.
        support: 1 where a signal is read and 0 in its padding, shape (batch, 1, *space or
            broadcast); None where nothing is padded.
        max_batch: Most rows in one pass; None for no bound.
    """

    model: Callable[[Tensor], Tensor]
    head: Head = "multiclass"
    support: Tensor | None = None
    max_batch: int | None = None

    def read(self, signal: Float[Tensor, "batch channel *space"]) -> Outputs:
        """Signals of the batch, one row each."""
        rows = torch.arange(len(signal), device=signal.device)
        size = self.max_batch or max(1, len(rows))
        return self._join([self._pass(signal[part], part) for part in rows.split(size)])

    def read_masks(
        self,
        domain: Domain,
        rows: Int[Tensor, " row"],
        mask_of: Callable[[Tensor, Tensor], Bool[Tensor, "row feature"]],
    ) -> Outputs:
        """Samples of a domain under one mask each.

        Args:
            rows: Position in the batch of each row's sample.
            mask_of: Masks of some rows, from their samples and their places in `rows`; masks are
                made for one pass at a time.
        """
        device = domain.signal.device
        rows = rows.to(device)
        order = torch.arange(len(rows), device=device)
        size = self.max_batch or max(1, len(rows))
        parts = [
            self._pass(domain.present(mask_of(rows[part], part), rows[part]), rows[part])
            for part in order.split(size)
        ]
        return self._join(parts)

    def _pass(self, signal: Tensor, sample: Tensor) -> Tensor:
        if self.support is not None:
            signal = signal * self.support[sample]
        with torch.no_grad():
            output = self.model(signal.clone())  # the first layer may work in place
            full = output if output.dtype == torch.float64 else output.float()
            return class_logits(full, self.head).cpu()

    def _join(self, logits: list[Tensor]) -> Outputs:
        return Outputs(torch.cat(logits), self.head)


@dataclass(frozen=True)
class Ends:
    """What the model says at both ends of every curve in a domain, which are the same for all.

    Attributes:
        full: Of the signals themselves.
        emptied: Of the signals without any removable feature.
        gap: Largest difference between these probabilities and those of the same signals put
            together from their features, shape (batch,): what the domain itself distorts.
    """

    full: Outputs
    emptied: Outputs
    gap: Float[Tensor, " batch"]

    def check(self, tolerance: float = 1e-3) -> None:
        """Refuse a domain that does not give signals back.

        Raises:
            ValueError: If a gap is larger than the tolerance.
        """
        worst = float(self.gap.max()) if len(self.gap) else 0.0
        if not worst <= tolerance:
            raise ValueError(
                f"a curve must end at the model's own answers, but put together from its features "
                f"a sample is off by {worst:.2g} in probability (tolerance {tolerance:g}): the "
                "domain does not invert, or the model's answer is not deterministic"
            )


END_PASSES = 4
"""Passes of a sample that `read_ends` makes."""


def read_ends(reader: OutputReader, domain: Domain) -> Ends:
    """The answers at both ends, each also through the domain."""
    direct = [reader.read(domain.signal), reader.read(domain.emptied)]
    rows = torch.arange(len(domain))
    gap = torch.zeros(len(domain), dtype=torch.float64)
    for outputs, is_present in zip(direct, (True, False), strict=True):
        through = reader.read_masks(domain, rows, _constant(domain, is_present))
        every = torch.arange(outputs.logits.shape[1]).expand_as(outputs.logits)
        difference = (outputs.probability(every) - through.probability(every)).abs()
        gap = torch.maximum(gap, difference.amax(1))
    return Ends(direct[0], direct[1], gap)


def _constant(domain: Domain, is_present: bool) -> Callable[[Tensor, Tensor], Tensor]:
    def mask_of(rows: Tensor, _: Tensor) -> Tensor:
        shape = (len(rows), domain.n_features)
        return torch.full(shape, is_present, device=domain.removable.device)

    return mask_of


def repeated_rows(n_samples: int, n_steps: int) -> Tensor:
    """Position of the sample of each (sample, step), steps fastest."""
    return torch.arange(n_samples).repeat_interleave(n_steps)
