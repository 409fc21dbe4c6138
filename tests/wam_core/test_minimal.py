"""Minimal signals of models whose minimal coefficients are known."""

from __future__ import annotations

import inspect
import itertools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
import pywt
import torch
from hypothesis import given, settings
from torch import nn

from wam_core import Band, ClassScore, WaveletBasis, decompose, reconstruct
from wam_core.masked_signals import MaskedSignal, composition, read_masked
from wam_core.minimal import (
    available_coefficients,
    bisection_passes,
    candidate_counts,
    fine_preference,
    minimal_selection,
)
from wam_core.readings import ClassReader

HAAR = WaveletBasis("haar", 2)


class LinearInCoefficients(nn.Module):
    """Two classes; the margin of class 1 is a weighted sum of coefficients plus a bias.

    The weights are the same in every channel.
    """

    def __init__(self, weight, bias, basis):
        super().__init__()
        self.weight, self.bias, self.basis = weight, bias, basis

    def forward(self, signal):
        margin = decompose(signal, self.basis).flat.sum(1) @ self.weight + self.bias
        return torch.stack([-margin / 2, margin / 2], dim=1)


def _mean(signal):
    return signal.mean(tuple(range(2, signal.ndim)), keepdim=True).expand_as(signal)


def _linear(signal, bias=0.0, seed=1):
    """The samples taken apart, and a model whose margin is linear in their coefficients."""
    masked = MaskedSignal.of(signal, _mean(signal), HAAR)
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(masked.layout.size, generator=generator, dtype=torch.float64)
    return masked, LinearInCoefficients(weight, bias, HAAR)


def _contribution(masked, model):
    """What each coefficient, in all channels, adds to the margin at the mean."""
    return (masked.coefficients.flat * model.weight).sum(1)


def _reader(model, batch=4, target=1):
    return ClassReader(model, torch.full((batch,), target))


@pytest.mark.parametrize("space", [(32,), (8, 12), (4, 8, 4)], ids=str)
def test_the_count_of_a_linear_model_is_where_its_sorted_margin_turns_positive(make_signal, space):
    masked, model = _linear(make_signal(4, *space))
    # Without what speaks against the class, the margin only grows with more coefficients.
    speaks_for = _contribution(masked, model).clamp(min=0)
    flat = torch.where(speaks_for[:, None] > 0, masked.coefficients.flat, 0.0)
    masked = MaskedSignal(masked.baseline, masked.coefficients.replace(flat))
    model.bias = -float(speaks_for.sum(1).min()) / 2
    found = minimal_selection(
        _reader(model), masked, speaks_for, spacing="linear", resolution=1 / masked.layout.size
    )
    empty = decompose(masked.baseline, HAAR).flat.sum(1) @ model.weight + model.bias
    margin = speaks_for.sort(dim=1, descending=True).values.cumsum(1) + empty[:, None]
    assert bool((empty < 0).any())
    for row in range(4):
        expected = 0 if empty[row] > 0 else int((margin[row] > 0).nonzero()[0]) + 1
        assert int(found.count[row]) == expected
        assert int(found.mask[row].sum()) == expected
        if expected:
            assert int(found.next_smaller[row]) == expected - 1
            probability = margin[row, expected - 1].sigmoid()
            assert float(found.probability[row]) == pytest.approx(float(probability))
        else:
            assert math.isnan(found.next_smaller[row])
    torch.testing.assert_close(found.fraction, found.count / masked.layout.size)


@settings(max_examples=5)
@given(
    seed=st.integers(0, 1000),
    spacing=st.sampled_from(["log", "linear"]),
    resolution=st.sampled_from([0.02, 0.1, 0.5]),
)
def test_kept_at_the_count_and_lost_at_the_candidate_below(seed, spacing, resolution):
    """The curve of a ranking by magnitude goes up and down: the guarantee holds all the same."""
    generator = torch.Generator().manual_seed(seed)
    signal = torch.randn(4, 2, 16, 8, generator=generator, dtype=torch.float64)
    masked, model = _linear(signal, seed=seed)
    read, importance = _reader(model), _contribution(masked, model).abs()
    found = minimal_selection(read, masked, importance, spacing=spacing, resolution=resolution)
    candidates = candidate_counts(masked.layout.size, spacing, resolution)
    order = importance.argsort(dim=1, descending=True)

    def kept(row, count):
        mask = torch.zeros(1, masked.layout.size, dtype=torch.bool)
        mask[0, order[row, :count]] = True
        return bool(read_masked(read, masked, mask, rows=torch.tensor([row])).kept)

    for row in range(4):
        assert kept(row, masked.layout.size) == bool(found.succeeds[row])
        if not found.succeeds[row]:
            continue
        count = int(found.count[row])
        assert kept(row, count)
        assert torch.equal(found.mask[row].nonzero()[:, 0], order[row, :count].sort().values)
        if count:
            below = candidates[candidates.index(count) - 1]
            assert int(found.next_smaller[row]) == below
            assert not kept(row, below)


class EnergyOf(nn.Module):
    """Decides for class 1 if a band of the signal holds more energy than 15."""

    def __init__(self, band):
        super().__init__()
        self.band = band

    def forward(self, signal):
        energy = decompose(signal, HAAR)[self.band].square().flatten(1).sum(1)
        return torch.stack([torch.full_like(energy, 15.0), energy], dim=1)


@pytest.mark.parametrize("band", [Band(1, "ad"), Band(1, "da"), Band(2, "dd"), Band(2, "da")])
def test_the_minimal_set_lies_in_the_only_band_the_class_depends_on(make_signal, band):
    masked = MaskedSignal.of(make_signal(3, 16, 16), torch.zeros(3, 2, 16, 16), HAAR)
    in_band = torch.zeros(masked.layout.size, dtype=torch.bool)
    in_band[masked.layout.slices[band]] = True
    read = _reader(EnergyOf(band), 3)
    importance = masked.coefficients.flat.square().sum(1) * in_band
    found = minimal_selection(read, masked, importance)
    assert bool((found.count > 1).all())
    assert torch.equal(found.mask[:, in_band].sum(1), found.count.long())
    scales = composition(found.mask, masked.coefficients)
    place = masked.layout.level_names.index(band.level_name)
    for share in (scales.coefficient_share, scales.energy_share):
        assert share[:, place].tolist() == [1.0, 1.0, 1.0]
        assert share.sum(1).tolist() == [1.0, 1.0, 1.0]
    searches = [
        minimal_selection(read, masked, importance, available=names)
        for names in (["1"], ["2", "approximation"])
    ]
    is_fine = band.level_name == "1"
    assert [bool(search.succeeds.all()) for search in searches] == [is_fine, not is_fine]
    lost = searches[is_fine]
    assert bool(lost.fraction.isnan().all())
    preference = fine_preference(*(search.succeeds for search in searches))
    assert preference.tolist() == [float(is_fine)] * 3


def test_restricted_searches_keep_available_coefficients_only(make_signal):
    masked, model = _linear(make_signal(4, 8, 12), bias=3.0)
    contribution = _contribution(masked, model)
    for names in (["1"], ["2", "approximation"], ["approximation"]):
        allowed = available_coefficients(masked.layout, names)
        found = minimal_selection(
            # Most important is what is not available.
            _reader(model),
            masked,
            contribution.abs() + 100.0 * ~allowed,
            available=names,
        )
        assert not bool(found.mask[:, ~allowed].any())
        everything = read_masked(_reader(model), masked, allowed.expand(4, -1))
        assert torch.equal(found.succeeds, everything.kept)


def test_a_class_that_the_whole_signal_does_not_have_is_not_applicable(make_signal):
    masked, model = _linear(make_signal(4, 8, 12))
    contribution = _contribution(masked, model)
    whole = read_masked(_reader(model), masked, torch.ones(4, masked.layout.size))
    for target, applicable in ((1, whole.kept), (0, ~whole.kept)):
        found = minimal_selection(_reader(model, target=target), masked, contribution.abs())
        assert torch.equal(found.succeeds, applicable)
        assert torch.equal(found.fraction.isnan(), ~applicable)
        assert torch.equal(found.probability.isnan(), ~applicable)
        scales = composition(found.mask, masked.coefficients)
        assert bool(scales.coefficient_share[~applicable].isnan().all())


def test_an_output_that_is_not_a_number_keeps_no_class(make_signal):
    masked, model = _linear(make_signal(4, 8, 12))
    contribution = _contribution(masked, model)
    model.bias = torch.nan
    found = minimal_selection(_reader(model), masked, contribution.abs())
    assert not bool(found.succeeds.any())


def test_a_class_kept_by_the_baseline_needs_no_coefficients(make_signal):
    masked, model = _linear(make_signal(4, 8, 12), bias=1e3)
    contribution = _contribution(masked, model)
    found = minimal_selection(_reader(model), masked, contribution.abs())
    assert found.count.tolist() == [0.0] * 4
    assert found.fraction.tolist() == [0.0] * 4
    assert not bool(found.mask.any())
    assert bool(composition(found.mask, masked.coefficients).energy_share.isnan().all())


@pytest.mark.parametrize("max_batch", [None, 1, 3])
def test_a_sample_is_searched_as_if_it_were_alone(make_signal, make_net, max_batch):
    signal = make_signal(5, 12, 8)
    masked = MaskedSignal.of(signal, _mean(signal), HAAR)
    importance = masked.coefficients.flat.abs().sum(1)
    net = make_net(2)
    targets = net(signal).argmax(1)
    together = minimal_selection(ClassReader(net, targets), masked, importance, max_batch=max_batch)
    for row in range(5):
        one = slice(row, row + 1)
        alone = minimal_selection(
            ClassReader(net, targets[one]),
            MaskedSignal.of(signal[one], _mean(signal[one]), HAAR),
            importance[one],
        )
        assert torch.equal(alone.count, together.count[one])
        assert torch.equal(alone.mask, together.mask[one])
        torch.testing.assert_close(alone.probability, together.probability[one])


def test_no_pass_has_more_rows_than_allowed_and_passes_are_counted(make_signal):
    masked, model = _linear(make_signal(4, 8, 12))
    contribution = _contribution(masked, model)
    rows = []

    class Counting(nn.Module):
        def forward(self, signal):
            rows.append(len(signal))
            return model(signal)

    found = minimal_selection(_reader(Counting()), masked, contribution.abs(), max_batch=3)
    assert max(rows) <= 3
    assert sum(rows) == found.n_forward
    assert found.n_forward <= 4 * bisection_passes(masked.layout.size, "log", 0.05)


@pytest.mark.parametrize("filters", ["da", "ad"])
def test_minimal_images_keep_orientation_and_contrast(filters):
    """The published code masks vertical coefficients by horizontal importance, then stretches.

    The rebuilt image against PyWavelets, whose horizontal details (cH) vary along the first axis.
    """
    image = np.random.default_rng(0).normal(size=(16, 24))
    signal = torch.from_numpy(image)[None, None]
    masked = MaskedSignal.of(signal, torch.zeros_like(signal), WaveletBasis("haar", 1))
    mask = torch.zeros(1, masked.layout.size, dtype=torch.bool)
    mask[:, masked.layout.slices[Band(1, filters)]] = True
    _, (horizontal, vertical, _) = pywt.dwt2(image, "haar", mode="zero")
    kept = (horizontal, None, None) if filters == "da" else (None, vertical, None)
    expected = pywt.idwt2((None, kept), "haar", mode="zero")
    np.testing.assert_allclose(masked.present(mask)[0, 0].numpy(), expected, atol=1e-12)


def test_absent_coefficients_are_those_of_the_baseline(make_signal):
    """Also at borders, where the zero-padded transform of a constant has details."""
    signal = make_signal(2, 21, 18)
    basis = WaveletBasis("db2", 2)
    masked = MaskedSignal.of(signal, _mean(signal), basis)
    size = masked.layout.size
    torch.testing.assert_close(masked.present(torch.zeros(2, size)), _mean(signal))
    torch.testing.assert_close(masked.present(torch.ones(2, size)), signal)
    mask = torch.rand(2, size, generator=torch.Generator().manual_seed(0)) > 0.5
    of_signal, of_mean = decompose(signal, basis), decompose(_mean(signal), basis)
    mixed = of_signal.replace(torch.where(mask[:, None], of_signal.flat, of_mean.flat))
    torch.testing.assert_close(masked.present(mask), reconstruct(mixed))
    torch.testing.assert_close(
        masked.present(mask[1:], torch.tensor([1])), masked.present(mask)[1:]
    )


def test_the_composition_of_a_soft_mask_adds_up(make_signal):
    signal = make_signal(2, 12, 20)
    masked = MaskedSignal.of(signal, _mean(signal), WaveletBasis("db2", 2))
    size, layout = masked.layout.size, masked.layout
    mask = torch.rand(2, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    scales = composition(mask, masked.coefficients)
    ones = torch.ones(2, dtype=torch.float64)
    torch.testing.assert_close(scales.coefficient_share.sum(1), ones)
    torch.testing.assert_close(scales.energy_share.sum(1), ones)
    for place, name in enumerate(layout.level_names):
        inside = available_coefficients(layout, [name])
        torch.testing.assert_close(
            scales.coefficient_share[:, place], mask[:, inside].sum(1) / mask.sum(1)
        )
        torch.testing.assert_close(scales.kept_of_level[:, place], mask[:, inside].mean(1))
        kept = (mask[:, None] * masked.coefficients.flat).square()
        torch.testing.assert_close(
            scales.energy_share[:, place], kept[..., inside].sum((1, 2)) / kept.sum((1, 2))
        )


@given(
    n=st.integers(1, 10**6),
    resolution=st.floats(0.01, 1.0),
    spacing=st.sampled_from(["log", "linear"]),
)
def test_candidates_go_from_none_to_all_at_the_stated_resolution(n, resolution, spacing):
    counts = candidate_counts(n, spacing, resolution)
    assert counts[0] == 0
    assert counts[-1] == n
    for smaller, larger in itertools.pairwise(counts):
        exact = resolution * (smaller if spacing == "log" else n)
        # Both numbers are rounded to whole coefficients.
        assert 1 <= larger - smaller <= exact * 1.0001 + 1 + resolution
    assert bisection_passes(n, spacing, resolution) <= 2 + math.ceil(math.log2(len(counts)))


def test_a_reader_reads_what_scores_and_probabilities_say(make_signal, make_net):
    signal, net = make_signal(6, 20), make_net(1)
    targets = torch.arange(6) % 3
    rows = torch.arange(6)
    for kind in ("log_probability", "logit"):
        reading = ClassReader(net, targets, kind=kind)(signal, rows)
        expected = ClassScore(net, targets, kind=kind)(signal, rows)
        assert torch.equal(reading.score, expected)
        probability = net(signal).softmax(1).gather(1, targets[:, None])[:, 0]
        torch.testing.assert_close(reading.probability, probability)
        assert torch.equal(reading.kept, net(signal).argmax(1) == targets)


@pytest.mark.parametrize("head", ["binary", "multilabel"])
def test_sigmoid_heads_decide_at_one_half(head):
    logits = torch.tensor([[-2.0], [0.5], [3.0]])
    reading = ClassReader(lambda rows: rows, torch.tensor([1, 1, 1]), head=head)
    output = logits if head == "binary" else torch.cat([-logits, logits], dim=1)
    found = reading(output, torch.arange(3))
    torch.testing.assert_close(found.probability, logits[:, 0].sigmoid())
    assert found.kept.tolist() == [False, True, True]


def test_padding_is_not_read():
    support = torch.tensor([[[1.0, 1.0, 0.0, 0.0]], [[1.0, 1.0, 1.0, 1.0]]])

    def model(rows):
        return torch.stack([rows.sum((1, 2)), torch.zeros(len(rows))], dim=1)

    read = ClassReader(model, torch.tensor([0, 0]), support=support)
    signal = torch.ones(3, 1, 4)
    assert read(signal, torch.tensor([0, 1, 0])).margin.tolist() == [2.0, 4.0, 2.0]


def test_samples_where_both_or_neither_succeed_have_no_preference():
    fine = torch.tensor([True, True, False, False])
    coarse = torch.tensor([True, False, True, False])
    preference = fine_preference(fine, coarse)
    assert preference.isnan().tolist() == [True, False, False, True]
    assert preference[1:3].tolist() == [1.0, 0.0]


def test_what_does_not_fit_is_refused(make_signal):
    masked, model = _linear(make_signal(4, 8, 12))
    contribution = _contribution(masked, model)
    read = _reader(model)
    broken = contribution.clone()
    broken[2, 5] = torch.nan
    with pytest.raises(ValueError, match="not finite for the samples at \\[2\\]"):
        minimal_selection(read, masked, broken)
    with pytest.raises(ValueError, match="shape \\(4, 96\\); got \\(4, 95\\)"):
        minimal_selection(read, masked, contribution[:, :-1])
    with pytest.raises(ValueError, match="some of 1, 2, approximation; got 3"):
        minimal_selection(read, masked, contribution, available=["3"])
    with pytest.raises(ValueError, match="got none"):
        minimal_selection(read, masked, contribution, available=[])
    with pytest.raises(ValueError, match=r"resolution must be in \(0, 1\]"):
        minimal_selection(read, masked, contribution, resolution=0.0)
    with pytest.raises(ValueError, match="spacing must be log or linear"):
        inspect.unwrap(candidate_counts)(10, "cubic", 0.1)
    with pytest.raises(ValueError, match="baseline must have the signal's shape"):
        inspect.unwrap(MaskedSignal.of.__func__)(
            MaskedSignal, make_signal(2, 8), make_signal(2, 9), HAAR
        )
