"""Scores of every head and kind, against torch's own formulas."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch.nn import functional

from wam_core import ClassScore
from wam_core.scores import class_logits, class_probabilities, select_score

TARGETS = torch.tensor([2, 0, 1, 1])
BINARY_TARGETS = torch.tensor([1, 0, 1, 0])
KINDS = ["logit", "log_probability", "margin"]


@pytest.fixture
def logits():
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(4, 3, generator=generator, dtype=torch.float64)


def test_multiclass_logit(logits):
    expected = torch.stack([logits[row, target] for row, target in enumerate(TARGETS)])
    assert torch.equal(select_score(logits, TARGETS), expected)


def test_multiclass_log_probability_is_minus_the_cross_entropy(logits):
    actual = select_score(logits, TARGETS, kind="log_probability")
    expected = -functional.cross_entropy(logits, TARGETS, reduction="none")
    torch.testing.assert_close(actual, expected)


def test_multiclass_margin_is_to_the_best_other_class(logits):
    actual = select_score(logits, TARGETS, kind="margin")
    for row, target in enumerate(TARGETS.tolist()):
        others = [float(value) for place, value in enumerate(logits[row]) if place != target]
        assert float(actual[row]) == pytest.approx(float(logits[row, target]) - max(others))
    assert torch.equal(actual > 0, logits.argmax(1) == TARGETS)


def test_the_gradient_of_a_margin_is_plus_one_minus_one(logits):
    leaf = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(select_score(leaf, TARGETS, kind="margin").sum(), leaf)
    rivals = logits.scatter(1, TARGETS[:, None], -torch.inf).argmax(1)
    expected = functional.one_hot(TARGETS, 3) - functional.one_hot(rivals, 3)
    assert torch.equal(gradient, expected.double())


@pytest.mark.parametrize("shape", [(4,), (4, 1)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_a_binary_head_has_one_logit_for_class_one(logits, shape, kind):
    output = logits[:, 0].reshape(shape)
    actual = select_score(output, BINARY_TARGETS, kind=kind, head="binary")
    signed = torch.where(BINARY_TARGETS == 1, output.flatten(), -output.flatten())
    expected = functional.logsigmoid(signed) if kind == "log_probability" else signed
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_multilabel_head_has_one_sigmoid_per_class(logits, kind):
    actual = select_score(logits, TARGETS, kind=kind, head="multilabel")
    chosen = logits.gather(1, TARGETS[:, None])[:, 0]
    expected = functional.logsigmoid(chosen) if kind == "log_probability" else chosen
    torch.testing.assert_close(actual, expected)


def test_a_multilabel_head_may_have_one_class(logits):
    assert select_score(logits[:, :1], torch.zeros(4, dtype=torch.long), head="multilabel").shape


@pytest.mark.parametrize("head", ["multiclass", "binary", "multilabel"])
def test_probabilities_agree_with_log_probabilities(logits, head):
    output = logits[:, :1] if head == "binary" else logits
    probabilities = class_probabilities(output, head)
    for target in range(probabilities.shape[1]):
        log_probability = select_score(
            output, torch.full((4,), target), kind="log_probability", head=head
        )
        torch.testing.assert_close(probabilities[:, target], log_probability.exp())
    if head != "multilabel":
        torch.testing.assert_close(probabilities.sum(1), torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("head", ["multiclass", "binary", "multilabel"])
@pytest.mark.parametrize("size", [1e3, 1e30])
def test_w14_large_logits_do_not_overflow(head, size):
    """W14: a softmax of plain exponentials is NaN from logits of 89 on, in float32."""
    output = torch.tensor([[size, -size, 0.0]])
    output = output[:, :1] if head == "binary" else output
    targets = torch.tensor([1])
    probabilities = class_probabilities(output, head)
    assert bool(probabilities.isfinite().all())
    assert float(probabilities[0, 1]) == (0.0 if head != "binary" else 1.0)
    leaf = output.clone().requires_grad_()
    score = select_score(leaf, targets, kind="log_probability", head=head)
    assert bool(score.isfinite().all())
    (gradient,) = torch.autograd.grad(score.sum(), leaf)
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("targets", [[0, 3, 1, 1], [0, -1, 1, 1]], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_targets_that_are_no_classes_are_refused(logits, targets, kind):
    with pytest.raises(ValueError, match=r"classes 0 to 2; got .*Do the labels belong"):
        select_score(logits, torch.tensor(targets), kind=kind)


def test_a_binary_target_above_one_is_refused(logits):
    with pytest.raises(ValueError, match="classes 0 to 1; got 0 to 2"):
        select_score(logits[:, 0], TARGETS, head="binary")


@pytest.mark.parametrize(
    ("shape", "head", "advice"),
    [
        ((4, 3), "binary", "Use head: multiclass"),
        ((4, 1, 1), "binary", "Use head: multiclass"),
        ((4, 1), "multiclass", "Use head: binary"),
        ((4,), "multiclass", "Use head: binary"),
        ((4, 3, 7), "multiclass", "shape .batch, class.; got .4, 3, 7."),
        ((4,), "multilabel", "Use head: binary"),
    ],
    ids=str,
)
def test_outputs_that_do_not_fit_the_head_are_refused_with_advice(shape, head, advice):
    with pytest.raises(ValueError, match=advice):
        class_logits(torch.zeros(shape), head)


def test_an_output_without_a_batch_axis_is_refused():
    """A model that squeezes turns a batch of one into a number."""
    with pytest.raises(ValueError, match=r"one logit per sample.*got \(\)"):
        inspect.unwrap(class_logits)(torch.tensor(0.3), "binary")


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("kind", KINDS)
def test_targets_of_any_integer_type_are_taken(logits, dtype, kind):
    actual = select_score(logits, TARGETS.to(dtype), kind=kind)
    assert torch.equal(actual, select_score(logits, TARGETS, kind=kind))


def test_rows_are_scored_by_the_sample_they_are_copies_of(logits):
    """Several noisy copies of one sample share a pass, in any order."""
    score = ClassScore(lambda rows: logits[: len(rows)], TARGETS)
    rows = torch.tensor([3, 3, 0])
    actual = score(torch.zeros(3, 1, 4), rows)
    assert torch.equal(actual, torch.stack([logits[0, 1], logits[1, 1], logits[2, 2]]))


def test_the_kind_and_head_of_a_class_score_are_passed_on(logits):
    score = ClassScore(lambda rows: logits[:, 0], BINARY_TARGETS, "log_probability", "binary")
    expected = select_score(logits[:, 0], BINARY_TARGETS, kind="log_probability", head="binary")
    assert torch.equal(score(torch.zeros(4, 1, 4), torch.arange(4)), expected)
