"""From a model's output to one score per sample, the quantity whose gradient explains it.

Three heads are known: `multiclass` (softmax over classes), `binary` (a single logit of class 1)
and `multilabel` (one sigmoid per class).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

Head = Literal["multiclass", "binary", "multilabel"]
ScoreKind = Literal["logit", "log_probability", "margin"]


@runtime_checkable
class ScoreFn(Protocol):
    """One score per row of signals.

    `sample[i]` is the position, in the batch being explained, of the sample that row i is a copy
    of; several rows may be noisy copies of one sample.
    """

    def __call__(self, signal: Tensor, sample: Tensor) -> Tensor:
        """Scores of shape (row,)."""
        ...


def class_logits(output: Float[Tensor, "batch ..."], head: Head) -> Float[Tensor, "batch class"]:
    """Logits with one column per class; a binary logit l becomes the columns -l and l.

    Raises:
        ValueError: If the output's shape does not fit the head.
    """
    if head == "binary":
        if output.ndim == 2 and output.shape[1] == 1:
            output = output[:, 0]
        if output.ndim != 1:
            raise ValueError(
                "a binary head has one logit per sample, shape (batch,) or (batch, 1); got "
                f"{tuple(output.shape)}. Use head: multiclass for several logits."
            )
        return torch.stack([-output, output], dim=1)
    if output.ndim != 2 or (head == "multiclass" and output.shape[1] < 2):
        raise ValueError(
            f"a {head} head has logits of shape (batch, class); got {tuple(output.shape)}. "
            "Use head: binary for a single logit."
        )
    return output


def class_probabilities(
    output: Float[Tensor, "batch ..."], head: Head
) -> Float[Tensor, "batch class"]:
    """Probability of each class: softmax over classes, or a sigmoid each for `multilabel`."""
    logits = class_logits(output, head)
    if head == "multiclass":
        return logits.softmax(dim=1)
    return logits.sigmoid()


def select_score(
    output: Float[Tensor, "batch ..."],
    target: Int[Tensor, " batch"],
    *,
    kind: ScoreKind = "logit",
    head: Head = "multiclass",
) -> Float[Tensor, " batch"]:
    """The score of each sample's target class.

    Args:
        output: Raw output of the model.
        target: Class index per sample.
        kind: `logit`; `log_probability`; or `margin`, the logit minus the largest other logit
            (for binary and multilabel heads the logit itself, whose decision boundary is 0).
        head: How the output is read.

    Raises:
        ValueError: If the output does not fit the head, or a target is not one of its classes.
    """
    logits = class_logits(output, head)
    target = target.long()
    n_classes = logits.shape[1]
    if target.numel() and not (int(target.min()) >= 0 and int(target.max()) < n_classes):
        raise ValueError(
            f"targets must be classes 0 to {n_classes - 1}; got {int(target.min())} to "
            f"{int(target.max())}. Do the labels belong to this model?"
        )
    chosen = logits.gather(1, target[:, None])[:, 0]
    if kind == "logit" or (kind == "margin" and head != "multiclass"):
        return chosen
    if kind == "log_probability":
        if head != "multiclass":
            return functional.logsigmoid(chosen)
        return logits.log_softmax(dim=1).gather(1, target[:, None])[:, 0]
    others = logits.scatter(1, target[:, None], -torch.inf)
    return chosen - others.max(dim=1).values


@dataclass(frozen=True)
class ClassScore:
    """The score of a target class, as a function of the signal.

    Attributes:
        model: Maps signals (row, channel, *space) to its output.
        targets: Class index of each sample being explained.
    """

    model: Callable[[Tensor], Tensor]
    targets: Int[Tensor, " batch"]
    kind: ScoreKind = "logit"
    head: Head = "multiclass"

    def __call__(self, signal: Tensor, sample: Tensor) -> Tensor:
        """Scores of shape (row,); see `ScoreFn`."""
        return select_score(
            self.model(signal), self.targets[sample], kind=self.kind, head=self.head
        )
