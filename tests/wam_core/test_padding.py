"""What pads a signal gains no importance and changes nothing."""

import pytest
import torch

from wam_core import attribution
from wam_core.basis import WaveletBasis
from wam_core.padding import UnpaddedScore, support_of

BASIS = WaveletBasis("haar", 3)
LENGTH, VALID = 64, 40


def nonlinear_score(weight):
    def score(signal, sample):
        del sample
        return torch.tanh(signal * weight).sum((1, 2)) + (signal.square() * weight).sum((1, 2))

    return score


@pytest.fixture
def padded():
    generator = torch.Generator().manual_seed(3)
    signal = torch.randn(2, 1, LENGTH, generator=generator, dtype=torch.float64)
    signal[0, :, VALID:] = 0
    return signal


@pytest.fixture
def score():
    weight = torch.linspace(-1, 2, LENGTH, dtype=torch.float64)
    support = support_of(torch.tensor([VALID, LENGTH]), LENGTH).double()
    return UnpaddedScore(nonlinear_score(weight), support)


def smoothed(score, signal):
    return attribution.smoothgrad(
        score, signal, BASIS, sample_ids=["a", "b"], seed=1, n_samples=4, noise_fraction=0.1
    )


def test_coefficients_in_the_padding_are_exactly_zero(padded, score):
    maps = smoothed(score, padded)
    # 40 samples are 20, 10 and 5 coefficients of the three levels.
    for band in maps.signed.layout.bands:
        first = VALID // 2**band.level
        assert maps.signed[band][0, :, :first].abs().min() > 0
        for aggregate in (maps.signed, maps.absolute, maps.squared):
            assert not aggregate[band][0, :, first:].any()
        assert maps.signed[band][1].all()


def test_a_padded_signal_has_the_importance_of_the_signal_without_padding(padded):
    weight = torch.linspace(-1, 2, LENGTH, dtype=torch.float64)
    short = padded[:1, :, :VALID]
    padded_score = UnpaddedScore(
        nonlinear_score(weight), support_of(torch.tensor([VALID]), LENGTH).double()
    )
    for explain in (
        lambda score, signal: attribution.gradient(score, signal, BASIS),
        lambda score, signal: (
            attribution.integrated_gradients(
                score, signal, BASIS, baseline=torch.zeros_like(signal), n_steps=8
            ).attribution
        ),
    ):
        with_padding = explain(padded_score, padded[:1])
        without = explain(nonlinear_score(weight[:VALID]), short)
        for band in without.layout.bands:
            first = VALID // 2**band.level
            torch.testing.assert_close(with_padding[band][..., :first], without[band])


def test_the_neighbour_of_a_padded_signal_keeps_its_map(padded, score):
    weight = torch.linspace(-1, 2, LENGTH, dtype=torch.float64)
    alone = attribution.smoothgrad(
        nonlinear_score(weight),
        padded[1:],
        BASIS,
        sample_ids=["b"],
        seed=1,
        n_samples=4,
        noise_fraction=0.1,
    )
    torch.testing.assert_close(smoothed(score, padded).signed.flat[1:], alone.signed.flat)
