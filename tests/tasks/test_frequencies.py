"""Levels in units of the world."""

import pytest

from tasks.frequencies import frequency_bands, frequency_labels
from wam_core.basis import CoefficientLayout, WaveletBasis


def layout(*space):
    return CoefficientLayout(space, WaveletBasis("haar", 2))


@pytest.mark.parametrize(
    ("space", "label"),
    [
        ((64,), "0.25–0.5 cycles/sample (1–2 samples)"),
        ((64, 64), "0.25–0.5 cycles/pixel (1–2 px)"),
        ((64, 64, 64), "0.25–0.5 cycles/voxel (1–2 voxels)"),
    ],
)
def test_without_a_size_frequencies_are_per_step(space, label):
    assert frequency_labels(layout(*space))["1"] == label


def test_equal_spacing_gives_one_octave():
    labels = frequency_labels(layout(64, 32, 16), (0.5, 0.5, 0.5))
    assert labels == {
        "1": "0.5–1 cycles/mm (0.5–1 mm)",
        "2": "0.25–0.5 cycles/mm (1–2 mm)",
        "approximation": "below 0.25 cycles/mm (above 2 mm)",
    }


def test_anisotropic_spacing_gives_an_octave_per_axis():
    labels = frequency_labels(layout(16, 32, 64), (2.0, 1.0, 0.5))
    assert labels["2"] == (
        "z 0.0625–0.125, y 0.125–0.25, x 0.25–0.5 cycles/mm (z 4–8, y 2–4, x 1–2 mm)"
    )
    bands = frequency_bands(layout(16, 32, 64), (2.0, 1.0, 0.5), "zyx")
    assert bands["1"] == {"z": [0.125, 0.25], "y": [0.25, 0.5], "x": [0.5, 1.0]}
    assert bands["approximation"]["x"] == [0.0, 0.25]
