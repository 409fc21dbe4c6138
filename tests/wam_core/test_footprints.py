"""Footprints of damage whose spectrum is known, and errors over a reference."""

import numpy as np
import pytest
import torch

from wam_core.basis import WaveletBasis
from wam_core.corruption_error import ALEXNET, REFERENCES
from wam_core.corruptions import corruptions_for
from wam_core.footprints import footprint, footprint_centroid, frequency_class
from wam_core.sums import band_sums, level_sums
from wam_core.transform import decompose


@pytest.mark.parametrize("shape", [(1, 4096), (1, 64, 64), (1, 16, 16, 16)])
def test_white_noise_lies_where_the_coefficients_are(shape):
    noise = torch.randn(8, *shape, generator=torch.Generator().manual_seed(0))
    coefficients = decompose(noise, WaveletBasis("haar", 3))
    layout = coefficients.layout
    power = level_sums(band_sums(coefficients.flat.square(), layout), layout).mean(0).numpy()
    sizes = np.array([layout.level_size(name) for name in layout.level_names])
    np.testing.assert_allclose(footprint(power), sizes / layout.size, atol=0.02)


def test_an_offset_is_low_and_a_chequerboard_high():
    board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(8, 8)[None, None]
    for signal, kind, centroid in ((torch.ones(1, 1, 16, 16), "low", 4), (board, "high", 1)):
        coefficients = decompose(signal, WaveletBasis("haar", 3))
        power = level_sums(band_sums(coefficients.flat.square(), coefficients.layout),
                           coefficients.layout).numpy()  # fmt: skip
        assert frequency_class(power, 1) == kind
        assert footprint_centroid(power)[0] == pytest.approx(centroid, abs=1e-5)


def test_no_damage_has_no_footprint():
    assert np.isnan(footprint(np.zeros((2, 3)))).all()


def test_the_model_that_is_the_reference_has_an_error_of_one():
    for name, error in ALEXNET.corrupted.items():
        assert ALEXNET.corruption_error(name, np.array([error])) == pytest.approx(1)
        both = np.array([error]), np.array([ALEXNET.clean])
        assert ALEXNET.relative_corruption_error(name, *both) == pytest.approx(1)
    assert REFERENCES[ALEXNET.name] is ALEXNET


def test_the_reference_knows_the_benchmark_and_not_its_extras():
    regular = {name for name, each in corruptions_for(2, 3).items() if not each.extra}
    assert regular == set(ALEXNET.corrupted)
    # The mean over corruptions of AlexNet's errors, as published beside them.
    assert np.mean(list(ALEXNET.corrupted.values())) == pytest.approx(0.788, abs=5e-3)
