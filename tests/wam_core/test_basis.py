"""Bases and layouts: what is refused before any work, and where the bands lie."""

from __future__ import annotations

import inspect
import itertools
import json

import pytest
import torch

from wam_core import Band, CoefficientLayout, WaveletBasis, decompose
from wam_core.basis import detail_filters, frequency_range

SPACES = [(64,), (29,), (40, 28), (31, 45), (12, 11, 17)]


@pytest.mark.parametrize("name", ["haarr", "", "morl", "cmor1.5-1.0", "gaus1"])
def test_an_unknown_or_continuous_wavelet_is_refused_by_name(name):
    with pytest.raises(ValueError, match=f"'{name}' is not a discrete wavelet.*haar"):
        WaveletBasis(name, levels=1)


def test_a_level_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        WaveletBasis("haar", levels=0)


def test_an_unknown_boundary_mode_is_refused_with_the_known_ones():
    # Unwrapped: in tests the type checker would refuse it first.
    create = inspect.unwrap(WaveletBasis.__init__)
    with pytest.raises(
        ValueError, match="zero, reflect, symmetric, periodic, constant; got 'wrap'"
    ):
        create(object.__new__(WaveletBasis), "haar", 1, "wrap")


@pytest.mark.parametrize(
    ("space", "wavelet", "largest"),
    [((64,), "haar", 6), ((64, 17), "haar", 4), ((64, 64, 3), "haar", 1), ((64, 64), "db4", 3)],
)
def test_too_many_levels_are_refused_naming_the_largest_valid_one(space, wavelet, largest):
    CoefficientLayout(space, WaveletBasis(wavelet, largest))
    with pytest.raises(
        ValueError, match=f"largest valid level is {largest}; use at most {largest}"
    ):
        CoefficientLayout(space, WaveletBasis(wavelet, largest + 1))


def test_a_signal_shorter_than_the_filter_is_refused_with_advice():
    with pytest.raises(ValueError, match=r"size 64x5: the largest valid level is 0; .*shorter"):
        CoefficientLayout((64, 5), WaveletBasis("db4", 1))


@pytest.mark.parametrize("space", [(), (8, 8, 8, 8)])
def test_other_than_one_to_three_axes_are_refused(space):
    with pytest.raises(ValueError, match="one, two or three spatial axes"):
        CoefficientLayout(space, WaveletBasis("haar", 1))


def test_the_transform_refuses_before_it_touches_the_signal():
    """An impossible level on a signal that holds no memory: no work can have been done."""
    huge = torch.empty(1, 1, 5, 10**6, device="meta")
    with pytest.raises(ValueError, match="largest valid level is 2"):
        decompose(huge, WaveletBasis("haar", 3))


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("wavelet", ["haar", "db2", "bior2.2"])
def test_the_bands_partition_the_coefficient_axis(space, wavelet):
    basis = WaveletBasis(wavelet, 1)
    layout = CoefficientLayout(space, WaveletBasis(wavelet, basis.max_levels(space)))
    places = [layout.slices[band] for band in layout.bands]
    assert [place.start for place in places] == [0, *(place.stop for place in places[:-1])]
    assert places[-1].stop == layout.size
    assert sum(layout.level_size(level) for level in layout.level_names) == layout.size


@pytest.mark.parametrize("space", SPACES)
def test_every_band_belongs_to_exactly_one_level(space):
    layout = CoefficientLayout(space, WaveletBasis("haar", 2))
    bands = itertools.chain.from_iterable(layout.bands_of(name) for name in layout.level_names)
    assert sorted(map(str, bands)) == sorted(map(str, layout.bands))
    assert layout.level_names == ("1", "2", "approximation")


def test_the_layout_record_is_json_and_places_every_band():
    layout = CoefficientLayout((12, 9), WaveletBasis("db2", 1))
    record = json.loads(json.dumps(layout.record()))
    assert [(row["level"], row["filters"]) for row in record] == [
        ("approximation", "aa"),
        ("1", "da"),
        ("1", "ad"),
        ("1", "dd"),
    ]
    for row, band in zip(record, layout.bands, strict=True):
        assert slice(row["start"], row["stop"]) == layout.slices[band]
        assert tuple(row["shape"]) == layout.band_shape(band) == (7, 6)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_there_is_one_detail_for_every_choice_of_filters_but_all_low(ndim):
    letters = {"".join(choice) for choice in itertools.product("ad", repeat=ndim)}
    assert set(detail_filters(ndim)) == letters - {"a" * ndim}


def test_levels_cover_the_frequencies_without_gaps():
    names = ["1", "2", "3", "approximation"]
    ranges = [frequency_range(name, levels=3) for name in names]
    assert ranges[0] == (0.25, 0.5)
    assert [low for low, _ in ranges[:-1]] == [high for _, high in ranges[1:]]
    assert ranges[-1][0] == 0.0


def test_the_name_of_a_level_tells_the_approximation_apart():
    assert Band(3, "aaa").level_name == "approximation"
    assert Band(3, "aad").level_name == "3"
