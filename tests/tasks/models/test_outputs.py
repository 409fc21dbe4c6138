from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from tasks.errors import ModelError
from tasks.models.outputs import check_scores, describe_outputs, select_output

SCORES = torch.arange(6.0).reshape(2, 3)
FEATURES = torch.zeros(2, 8)
Named = namedtuple("Named", "features scores")


@dataclass
class Result:
    logits: Tensor
    hidden: Tensor | None = None


@pytest.mark.parametrize(
    ("output", "key"),
    [
        (SCORES, None),
        ((FEATURES, SCORES), 1),
        ([FEATURES, SCORES], -1),
        ({"features": FEATURES, "scores": SCORES}, "scores"),
        ({0: FEATURES, 1: SCORES}, 1),
        (Named(FEATURES, SCORES), "scores"),
        (Named(FEATURES, SCORES), 1),
        (Result(SCORES), None),
        (Result(FEATURES, SCORES), "hidden"),
        ({"loss": FEATURES, "logits": SCORES}, None),
    ],
)
def test_scores_are_found_in_every_kind_of_output(output, key):
    assert select_output(output, key) is SCORES


def test_a_tensor_is_never_indexed():
    with pytest.raises(ModelError, match=r"single tensor of shape \(2, 3\); remove model.output"):
        select_output(SCORES, 0)


@pytest.mark.parametrize(
    ("output", "key", "listed"),
    [
        ((FEATURES, SCORES), None, "a tuple with 0: tensor (2, 8), 1: tensor (2, 3)"),
        ((FEATURES, SCORES), 2, "a tuple with 0: tensor (2, 8), 1: tensor (2, 3)"),
        ((FEATURES, SCORES), "count", "a tuple with 0"),
        ({"a": SCORES, "b": [1]}, "c", "a dict with a: tensor (2, 3), b: list"),
        (Result(SCORES), "hidden", "a Result with logits: tensor (2, 3), hidden: NoneType"),
        (Named(FEATURES, SCORES), None, "a Named with features: tensor (2, 8), scores"),
        (None, None, "a NoneType"),
    ],
)
def test_a_missing_output_is_answered_with_those_there_are(output, key, listed):
    with pytest.raises(ModelError) as error:
        select_output(output, key)
    assert listed in str(error.value)
    assert "Set model.output" in str(error.value)


def test_long_outputs_are_cut_in_messages():
    assert describe_outputs([SCORES] * 40).endswith("… 40 in all")


@pytest.mark.parametrize(
    ("shape", "head"),
    [((2, 3), "multiclass"), ((2, 1), "multilabel"), ((2,), "binary"), ((2, 1), "binary")],
)
def test_shapes_that_fit_their_head_pass(shape, head):
    check_scores(torch.zeros(shape), head, 2)


@pytest.mark.parametrize(
    ("shape", "head", "message"),
    [
        ((2,), "multiclass", "Use head: binary"),
        ((2, 1), "multiclass", "Use head: binary"),
        ((2, 3), "binary", "Use head: multiclass or multilabel"),
        ((3, 2), "multiclass", "batch axis first"),
        ((3,), "multilabel", "batch axis first"),
        ((2, 3, 8, 8), "multiclass", "pools them"),
    ],
)
def test_shapes_that_do_not_fit_say_what_would(shape, head, message):
    with pytest.raises(ModelError, match=message):
        check_scores(torch.zeros(shape), head, 2)


def test_class_indices_are_no_scores():
    with pytest.raises(ModelError, match=r"floating-point, got torch.int64"):
        check_scores(torch.zeros(2, 3, dtype=torch.int64), "multiclass", 2)
