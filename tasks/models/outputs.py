"""From whatever a model returns to one tensor of class scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Literal

from torch import Tensor

from tasks.errors import ModelError

Head = Literal["multiclass", "binary", "multilabel"]

_N_LISTED = 12


def select_output(output: object, key: int | str | None) -> Tensor:
    """Pick the class scores out of a model's output.

    Args:
        output: A tensor, a tuple or list, a mapping, or an object with tensors as attributes.
        key: `model.output`: index into a tuple or list, key of a mapping, or attribute. None takes
            a tensor as it is, and `logits` where the output has it.

    Raises:
        ModelError: If there is no such output or it is no tensor; lists the outputs there are.

    Example:
        >>> import torch
        >>> select_output({"features": torch.zeros(2, 8), "scores": torch.ones(2, 3)}, "scores")
        tensor([[1., 1., 1.],
                [1., 1., 1.]])
    """
    if isinstance(output, Tensor):
        if key is not None:
            raise ModelError(
                f"model.output is {key!r}, but the model returns a single tensor of shape "
                f"{tuple(output.shape)}; remove model.output"
            )
        return output
    chosen = _entry(output, "logits" if key is None else key)
    if isinstance(chosen, Tensor):
        return chosen
    what = (
        "the model returns no tensor and nothing called logits"
        if key is None
        else f"model.output is {key!r}, which is no tensor among the model's outputs"
    )
    raise ModelError(
        f"{what}. The model returns {describe_outputs(output)}. "
        "Set model.output to the index or name of the class scores."
    )


def check_scores(scores: Tensor, head: Head, n_samples: int) -> None:
    """Check that a tensor holds class scores as a head needs them.

    Args:
        scores: Selected output.
        n_samples: Samples that were passed.

    Raises:
        ModelError: If type or shape are wrong for the head.
    """
    shape = tuple(scores.shape)
    if not scores.is_floating_point():
        raise ModelError(
            f"class scores must be floating-point, got {scores.dtype} of shape {shape}; the audit "
            "needs logits, not class indices. Does model.output name the right output?"
        )
    if head == "binary":
        if shape not in ((n_samples,), (n_samples, 1)):
            raise ModelError(
                f"model.head is binary: expected one logit per sample, shape ({n_samples},) or "
                f"({n_samples}, 1), got {shape}. Use head: multiclass or multilabel for several."
            )
        return
    if len(shape) != 2 or shape[0] != n_samples:
        raise ModelError(
            f"model.head is {head}: expected class scores of shape (batch, class) with batch "
            f"{n_samples}, got {shape}. {_shape_advice(shape, n_samples)}"
        )
    if head == "multiclass" and shape[1] < 2:
        raise ModelError(
            f"model.head is multiclass: expected at least two classes, got shape {shape}. "
            "Use head: binary for a single logit."
        )


def describe_outputs(output: object) -> str:
    """Names and shapes of what a model returned, for messages.

    Example:
        >>> import torch
        >>> describe_outputs((torch.zeros(2, 3), [1]))
        'a tuple with 0: tensor (2, 3), 1: list'
    """
    if isinstance(output, Tensor):
        return f"tensor {tuple(output.shape)}"
    kind = type(output).__name__
    entries = _entries(output)
    if not entries:
        return f"a {kind}"
    listed = [f"{name}: {_brief(value)}" for name, value in list(entries.items())[:_N_LISTED]]
    if len(entries) > _N_LISTED:
        listed.append(f"… {len(entries)} in all")
    return f"a {kind} with {', '.join(listed)}"


def _entry(output: object, key: int | str) -> object:
    if isinstance(output, Mapping) and key in output:
        return output[key]
    if isinstance(key, int):
        inside = isinstance(output, tuple | list) and -len(output) <= key < len(output)
        return output[key] if inside else None  # type: ignore[index]
    return getattr(output, key, None)


def _entries(output: object) -> dict[str, object]:
    if isinstance(output, Mapping):
        return {str(name): value for name, value in output.items()}
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return dict(zip(output._fields, output, strict=True))
    if isinstance(output, tuple | list):
        return {str(index): value for index, value in enumerate(output)}
    if is_dataclass(output):
        return {field.name: getattr(output, field.name) for field in fields(output)}
    return {
        name: value for name, value in getattr(output, "__dict__", {}).items() if name[0] != "_"
    }


def _brief(value: object) -> str:
    return describe_outputs(value) if isinstance(value, Tensor) else type(value).__name__


def _shape_advice(shape: tuple[int, ...], n_samples: int) -> str:
    if len(shape) == 1 and shape[0] == n_samples:
        return "Use head: binary for a single logit."
    if len(shape) > 2:
        return "Scores per pixel or per token need a factory that pools them to one per class."
    return "Does the model keep the batch axis first?"
