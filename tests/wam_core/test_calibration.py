"""Losses of answers against torch's and the definition; gaps of confidence against a loop."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from wam_core.calibration import N_BINS, brier_score, confidence_gaps, log_loss


@pytest.fixture
def answers():
    rng = torch.Generator().manual_seed(0)
    return 4 * torch.randn(20, 5, generator=rng), torch.arange(20) % 5


def test_log_loss_is_cross_entropy(answers):
    logits, label = answers
    expected = functional.cross_entropy(logits.double(), label, reduction="none")
    torch.testing.assert_close(log_loss(logits, label, "multiclass"), expected)


def test_log_loss_of_one_logit_is_binary_cross_entropy():
    logit = torch.tensor([-3.0, 0.5, 80.0])
    label = torch.tensor([0, 1, 0])
    columns = torch.stack([-logit, logit], 1)
    expected = functional.binary_cross_entropy_with_logits(
        logit.double(), label.double(), reduction="none"
    )
    torch.testing.assert_close(log_loss(columns, label, "binary"), expected)


def test_log_loss_stays_finite_where_probabilities_round_to_zero():
    logits = torch.tensor([[300.0, 0.0]])
    assert float(logits.softmax(1)[0, 1]) == 0
    assert float(log_loss(logits, torch.tensor([1]), "multiclass")) == pytest.approx(300)


def test_brier_is_the_squared_distance_to_the_label(answers):
    logits, label = answers
    probabilities = logits.softmax(1)
    truth = functional.one_hot(label, 5).double()
    expected = (probabilities.double() - truth).square().sum(1)
    torch.testing.assert_close(brier_score(probabilities, label), expected)


def test_no_label_is_no_loss(answers):
    logits, _ = answers
    label = torch.tensor([-1, 7] * 10)
    assert log_loss(logits, label, "multiclass").isnan().all()
    assert brier_score(logits.softmax(1), label).isnan().all()
    assert log_loss(logits, label.clamp(0, 4), "multilabel").isnan().all()


def test_gaps_sum_to_the_expected_calibration_error():
    rng = np.random.default_rng(1)
    confidence, correct = rng.uniform(0, 1, 300), rng.integers(0, 2, 300).astype(float)
    confidence[:3] = (1 / N_BINS, 1.0, 0.0)  # edges belong to the bin below them
    expected = 0.0
    for number in range(N_BINS):
        inside = (confidence > number / N_BINS) & (confidence <= (number + 1) / N_BINS)
        inside |= (confidence == 0) & (number == 0)
        if inside.any():
            gap = correct[inside].mean() - confidence[inside].mean()
            expected += inside.mean() * abs(gap)
    gaps = confidence_gaps(confidence, correct)
    assert np.abs(gaps.mean(0)).sum() == pytest.approx(expected)
    assert np.isnan(confidence_gaps(np.array([0.5, np.nan]), np.array([np.nan, 1.0]))).all()
