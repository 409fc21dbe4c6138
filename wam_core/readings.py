"""What a model says about one class of a signal: score, probability, and whether it decides for it.

`ScoreFn` is the quantity that gradients explain. Searches that take a signal apart also need the
decision, and all of it from one pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wam_core.scores import Head, ScoreKind, select_score


@dataclass(frozen=True)
class ClassReading:
    """The model's word on the target class of each row.

    Attributes:
        score: What is optimised; differentiable where the pass was.
        probability: Of the class.
        margin: Logit of the class minus the largest other logit; for binary and multilabel heads
            the logit itself.
    """

    score: Float[Tensor, " row"]
    probability: Float[Tensor, " row"]
    margin: Float[Tensor, " row"]

    @property
    def kept(self) -> Bool[Tensor, " row"]:
        """Whether the model decides for the class; a tie or an output that is NaN does not."""
        return self.margin > 0

    def cpu(self) -> ClassReading:
        """The same numbers on the CPU."""
        return ClassReading(self.score.cpu(), self.probability.cpu(), self.margin.cpu())

    @staticmethod
    def join(parts: list[ClassReading]) -> ClassReading:
        """Readings of several batches, one after another."""
        return ClassReading(
            *(
                torch.cat([getattr(part, field.name) for part in parts])
                for field in fields(ClassReading)
            )
        )


@dataclass(frozen=True)
class ClassReader:
    """Reads a target class off a model, as a function of the signal.

    Attributes:
        model: Maps signals (row, channel, *space) to its output.
        targets: Class index of each sample.
        kind: Which score; see `select_score`.
        head: How the output is read.
        support: 1 where a signal is read and 0 in its padding, shape (batch, 1, *space or
            broadcast); None where nothing is padded. See `padding`.
    """

    model: Callable[[Tensor], Tensor]
    targets: Int[Tensor, " batch"]
    kind: ScoreKind = "log_probability"
    head: Head = "multiclass"
    support: Tensor | None = None

    def __call__(
        self, signal: Float[Tensor, "row channel *space"], sample: Int[Tensor, " row"]
    ) -> ClassReading:
        """Read each row; `sample[i]` is the position of the sample that row i is a version of."""
        if self.support is not None:
            signal = signal * self.support[sample]
        output, target = self.model(signal), self.targets[sample]

        def read(kind: ScoreKind) -> Tensor:
            return select_score(output, target, kind=kind, head=self.head)

        return ClassReading(
            score=read(self.kind),
            probability=read("log_probability").detach().exp(),
            margin=read("margin").detach(),
        )
