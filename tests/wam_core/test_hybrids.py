"""Hybrids of two signals against PyWavelets."""

from __future__ import annotations

import numpy as np
import pytest
import pywt
import torch

from wam_core.basis import WaveletBasis
from wam_core.hybrids import exchange_fine_levels
from wam_core.transform import decompose, reconstruct


@pytest.mark.parametrize("space", [(37,), (16, 21), (10, 12, 11)])
@pytest.mark.parametrize(
    ("wavelet", "levels", "cut"), [("haar", 2, 1), ("haar", 2, 2), ("db2", 1, 1), ("bior2.2", 1, 1)]
)
def test_a_hybrid_is_what_pywavelets_makes_of_both_lists(space, wavelet, levels, cut):
    coarse, fine = (np.random.default_rng(seed).normal(size=(2, 1, *space)) for seed in (0, 1))
    basis = WaveletBasis(wavelet, levels)
    hybrid = reconstruct(
        exchange_fine_levels(
            *(decompose(torch.from_numpy(signal), basis) for signal in (coarse, fine)), cut
        )
    )
    for row in range(2):
        lists = [
            pywt.wavedecn(signal[row, 0], wavelet, mode="zero", level=levels)
            for signal in (coarse, fine)
        ]
        joined = [*lists[0][: 1 + levels - cut], *lists[1][1 + levels - cut :]]
        expected = pywt.waverecn(joined, wavelet, mode="zero")[tuple(map(slice, space))]
        np.testing.assert_allclose(hybrid[row, 0].numpy(), expected, atol=1e-10)


def test_a_signal_joined_with_itself_is_itself():
    signal = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 12, 10)))
    own = decompose(signal, WaveletBasis("haar", 2))
    torch.testing.assert_close(reconstruct(exchange_fine_levels(own, own, 1)), signal)


def test_what_cannot_be_joined_is_refused():
    first = decompose(torch.zeros(1, 1, 16), WaveletBasis("haar", 2))
    second = decompose(torch.zeros(1, 1, 18), WaveletBasis("haar", 2))
    with pytest.raises(ValueError, match="one layout"):
        exchange_fine_levels(first, second, 1)
    for cut in (0, 3):
        with pytest.raises(ValueError, match=f"cut must be a level, 1 to 2, got {cut}"):
            exchange_fine_levels(first, first, cut)
