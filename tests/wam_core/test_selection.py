"""Which coefficients are kept, and where importance lies in the signal."""

from __future__ import annotations

import pytest
import torch

from wam_core import (
    CoefficientLayout,
    WaveletBasis,
    WaveletCoefficients,
    decompose,
    gradient,
    reconstruct,
)
from wam_core.selection import (
    importance_maps,
    keep_level,
    keep_most_important,
    weigh_by_importance,
)


def _importance(coefficients, seed=3):
    generator = torch.Generator().manual_seed(seed)
    shape = (len(coefficients.flat), coefficients.layout.size)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def coefficients(make_signal):
    return decompose(make_signal(3, 20, 13), WaveletBasis("db2", 1))


def test_keeping_all_changes_nothing_and_keeping_none_leaves_nothing(coefficients):
    importance = _importance(coefficients)
    everything = keep_most_important(coefficients, importance, 1.0)
    assert torch.equal(everything.flat, coefficients.flat)
    assert keep_most_important(coefficients, importance, 0.0).flat.count_nonzero() == 0


@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.5, 0.999])
def test_as_many_are_kept_as_asked_the_same_in_all_channels(coefficients, fraction):
    importance = _importance(coefficients)
    kept = keep_most_important(coefficients, importance, fraction).flat != 0
    size = coefficients.layout.size
    assert bool((kept.sum(-1) == round(fraction * size)).all())
    assert torch.equal(kept[:, 0], kept[:, 1])
    for row in range(3):
        in_order = importance[row].sort(descending=True).indices[: round(fraction * size)]
        assert bool(kept[row, 0, in_order].all())


def test_equal_importance_keeps_the_exact_number_too(coefficients):
    ties = torch.ones(3, coefficients.layout.size, dtype=torch.float64)
    kept = keep_most_important(coefficients, ties, 0.25).flat != 0
    assert bool((kept.sum(-1) == round(0.25 * coefficients.layout.size)).all())


def test_kept_values_are_unchanged(coefficients):
    kept = keep_most_important(coefficients, _importance(coefficients), 0.3).flat
    assert torch.equal(kept[kept != 0], coefficients.flat[kept != 0])


@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.5, 1.0])
def test_soft_selection_keeps_what_hard_selection_keeps_and_weighs_down_the_rest(
    coefficients, fraction
):
    importance = _importance(coefficients)
    hard = keep_most_important(coefficients, importance, fraction).flat
    weight = weigh_by_importance(coefficients, importance, fraction).flat / coefficients.flat
    kept = hard != 0
    torch.testing.assert_close(weight[kept], torch.ones_like(weight[kept]))
    dropped = weight[~kept]
    assert bool(((dropped >= 0) & (dropped < 1)).all())
    # Half the importance, half the weight.
    ratio = weight / importance[:, None]
    for row in range(3):
        soft = ratio[row][~kept[row]]
        torch.testing.assert_close(soft, soft[:1].expand_as(soft) if len(soft) else soft)


def test_soft_selection_of_nothing_is_nothing_and_ignores_what_has_no_importance(coefficients):
    importance = _importance(coefficients)
    assert weigh_by_importance(coefficients, importance, 0.0).flat.count_nonzero() == 0
    few = torch.zeros_like(importance)
    few[:, :5] = 1.0
    kept = weigh_by_importance(coefficients, few, 0.5).flat
    assert torch.equal(kept[..., :5], coefficients.flat[..., :5])
    assert kept[..., 5:].count_nonzero() == 0


def test_levels_add_up_to_the_signal(make_signal):
    signal = make_signal(2, 20, 12)
    coefficients = decompose(signal, WaveletBasis("haar", 2))
    parts = [
        reconstruct(keep_level(coefficients, name)) for name in coefficients.layout.level_names
    ]
    torch.testing.assert_close(sum(parts), signal)
    for part, name in zip(parts, coefficients.layout.level_names, strict=True):
        own = decompose(part, coefficients.layout.basis)
        torch.testing.assert_close(own.flat, keep_level(coefficients, name).flat)


@pytest.mark.parametrize("fraction", [-0.1, 1.1])
def test_a_fraction_out_of_range_is_refused(coefficients, fraction):
    with pytest.raises(ValueError, match=r"fraction must be in \[0, 1\]"):
        keep_most_important(coefficients, _importance(coefficients), fraction)


@pytest.mark.parametrize("space", [(64,), (16, 32), (8, 16, 24)], ids=str)
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_haar_maps_of_dyadic_signals_sum_to_the_importance(make_signal, make_score, space, levels):
    signal = make_signal(2, *space)
    attribution = gradient(make_score(signal), signal, WaveletBasis("haar", levels))
    maps = importance_maps(attribution)
    layout = attribution.layout
    assert maps.shape == (2, levels + 1, *space)
    for place, name in enumerate(layout.level_names):
        expected = sum(attribution[band].abs().flatten(1).sum(1) for band in layout.bands_of(name))
        torch.testing.assert_close(maps[:, place].flatten(1).sum(1), expected)


def test_a_haar_coefficient_covers_exactly_its_points():
    layout = CoefficientLayout((16, 8), WaveletBasis("haar", 2))
    for band in layout.bands:
        flat = torch.zeros(1, 1, layout.size, dtype=torch.float64)
        attribution = WaveletCoefficients(flat, layout)
        attribution[band][0, 0, 1, 1] = -2.0
        (place,) = [i for i, name in enumerate(layout.level_names) if name == band.level_name]
        atom = reconstruct(attribution)[0, 0]
        maps = importance_maps(attribution)[0]
        assert torch.equal(maps[place] > 0, atom != 0)
        assert float(maps.sum()) == pytest.approx(2.0)
        assert float(maps[place].sum()) == pytest.approx(2.0)


@pytest.mark.parametrize("wavelet", ["haar", "db4", "db8", "sym8", "coif2", "bior4.4", "rbio2.2"])
@pytest.mark.parametrize("size", [200, 203])
def test_maps_show_a_coefficient_where_its_wavelet_is(wavelet, size):
    """The centre of the map against the centre of energy of the reconstructed unit coefficient."""
    basis = WaveletBasis(wavelet, min(3, WaveletBasis(wavelet, 1).max_levels((size,))))
    layout = CoefficientLayout((size,), basis)
    points = torch.arange(size, dtype=torch.float64)
    for band in layout.bands:
        (band_size,) = layout.band_shape(band)
        for index in range(2 * band_size // 5, 3 * band_size // 5):
            attribution = WaveletCoefficients(
                torch.zeros(1, 1, layout.size, dtype=torch.float64), layout
            )
            attribution[band][0, 0, index] = 1.0
            energy = reconstruct(attribution)[0, 0].square()
            shown = importance_maps(attribution)[0].sum(0)
            truth = float(points @ energy / energy.sum())
            centre = float(points @ shown / shown.sum())
            # Half a coefficient is as near as a whole number of points allows.
            assert abs(centre - truth) <= 0.5 * 2**band.level
            assert float(shown.sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("wavelet", ["db4", "bior4.4"])
@pytest.mark.parametrize("space", [(61, 80), (20, 23, 26)], ids=str)
def test_maps_place_a_coefficient_on_every_axis_by_its_own_filter(wavelet, space):
    levels = WaveletBasis(wavelet, 1).max_levels(space)
    layout = CoefficientLayout(space, WaveletBasis(wavelet, min(2, levels)))
    for band in layout.bands:
        attribution = WaveletCoefficients(
            torch.zeros(1, 1, layout.size, dtype=torch.float64), layout
        )
        shape = layout.band_shape(band)
        index = tuple(size // 2 - axis for axis, size in enumerate(shape))
        attribution[band][(0, 0, *index)] = 1.0
        energy = reconstruct(attribution)[0, 0].square()
        shown = importance_maps(attribution)[0].sum(0)
        for axis, size in enumerate(space):
            points = torch.arange(size, dtype=torch.float64)
            others = tuple(other for other in range(len(space)) if other != axis)
            truth = points @ energy.sum(others) / energy.sum()
            centre = points @ shown.sum(others) / shown.sum()
            assert abs(float(centre - truth)) <= 0.5 * 2**band.level


def test_w4_maps_add_channels_after_the_absolute_value(make_signal):
    """W4: opposite gradients in two colours must not vanish from the picture."""
    layout = CoefficientLayout((8, 8), WaveletBasis("haar", 1))
    flat = make_signal(1, layout.size, channels=1)
    opposite = WaveletCoefficients(torch.cat([flat, -flat], 1), layout)
    single = WaveletCoefficients(flat, layout)
    torch.testing.assert_close(importance_maps(opposite), 2 * importance_maps(single))


def test_w5_w6_maps_of_every_sample_have_the_size_of_the_signal(make_signal, make_score):
    """W5 squares only; W6 the approximation of the last sample only."""
    signal = make_signal(3, 31, 46)
    maps = importance_maps(gradient(make_score(signal), signal, WaveletBasis("db4", 2)))
    assert maps.shape == (3, 3, 31, 46)
    assert bool((maps[:, -1].flatten(1).sum(1) > 0).all())
