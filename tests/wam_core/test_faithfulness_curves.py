"""Curves of models whose answer to every removal is known."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import pywt
import torch
from hypothesis import given, settings
from scipy.special import expit
from torch import nn

from wam_core import WaveletBasis, decompose, reconstruct
from wam_core.faithfulness.budget import Effort
from wam_core.faithfulness.curves import curve_passes, insertion_deletion
from wam_core.faithfulness.domains import CoefficientDomain, InputDomain, SpectrogramDomain
from wam_core.faithfulness.halves import halves
from wam_core.faithfulness.outputs import END_PASSES, OutputReader, read_ends
from wam_core.faithfulness.rankings import energy_importance, places, random_importance
from wam_core.faithfulness.replacements import resampled_within_bands

HAAR = WaveletBasis("haar", 2)
IDS = ["a", "b", "c"]


class Linear(nn.Module):
    """A single logit, linear in the signal."""

    def __init__(self, weight, bias=0.0):
        super().__init__()
        self.weight, self.bias, self.rows = weight, bias, 0

    def forward(self, signal):
        self.rows += len(signal)
        return (signal * self.weight).flatten(1).sum(1) + self.bias


def _curves(model, domain, importance, *, axis="count", n_steps=16, target=1, max_batch=7):
    reader = OutputReader(model, head="binary", max_batch=max_batch)
    ends = read_ends(reader, domain)
    ends.check(1e-9)
    classes = torch.full((len(domain), 1), target)
    return insertion_deletion(
        reader, domain, ends, importance, classes,
        sample_ids=IDS, seed=0, n_steps=n_steps, axis=axis,
    )  # fmt: skip


def _flat(sample, level):
    """Coefficients of one channel in the order of the layout, by PyWavelets."""
    rest, *details = pywt.wavedecn(sample, "haar", mode="zero", level=level)
    parts = [rest.ravel()]
    names = {1: ["d"], 2: ["da", "ad", "dd"]}[sample.ndim]
    parts += [block[name].ravel() for block in details for name in names]
    return np.concatenate(parts)


@pytest.mark.parametrize("space", [(64,), (16, 8)], ids=str)
@pytest.mark.parametrize("axis", ["count", "energy"])
def test_curves_of_a_linear_model_are_sums_of_sorted_contributions(make_signal, space, axis):
    signal, weight = make_signal(3, *space), make_signal(1, *space, seed=5)[0]
    model = Linear(weight, bias=0.3)
    domain = CoefficientDomain.of(signal, HAAR, torch.zeros_like(signal))
    importance = (decompose(signal, HAAR).flat * decompose(weight[None], HAAR).flat).sum(1)
    curves = _curves(model, domain, importance, axis=axis)
    for sample in range(3):
        z = np.stack([_flat(channel.numpy(), 2) for channel in signal[sample]])
        w = np.stack([_flat(channel.numpy(), 2) for channel in weight])
        contribution, energy = (z * w).sum(0), (z**2).sum(0)
        order = np.argsort(-contribution)
        added = np.concatenate([[0], contribution[order].cumsum()])
        part = np.concatenate([[0], energy[order].cumsum() / energy.sum()])
        if axis == "count":
            counts = np.round(np.arange(17) / 16 * len(order)).astype(int)
            part = np.arange(len(order) + 1) / len(order)
        else:
            counts = np.array([np.abs(part - step / 16).argmin() for step in range(17)])
        insertion = expit(0.3 + added[counts])
        deletion = expit(0.3 + added[-1] - added[counts])
        np.testing.assert_allclose(curves.fraction[sample], part[counts], atol=1e-12)
        np.testing.assert_allclose(curves.insertion[sample, 0], insertion, atol=1e-9)
        np.testing.assert_allclose(curves.deletion[sample, 0], deletion, atol=1e-9)
        area = np.trapezoid(insertion, part[counts])
        np.testing.assert_allclose(curves.insertion_area[sample, 0], area, atol=1e-9)
        faith = area - np.trapezoid(deletion, part[counts])
        np.testing.assert_allclose(curves.faith[sample, 0], faith, atol=1e-9)


def test_no_ranking_of_a_linear_model_beats_that_by_contributions(make_signal):
    signal, weight = make_signal(3, 64), make_signal(1, 64, seed=5)[0]
    domain = CoefficientDomain.of(signal, HAAR, torch.zeros_like(signal))
    best = (decompose(signal, HAAR).flat * decompose(weight[None], HAAR).flat).sum(1)
    rivals = [
        energy_importance(domain),
        random_importance(domain.n_features, IDS, 0),
        best.abs(),
        -best,
    ]
    top = _curves(Linear(weight), domain, best)
    for rival in rivals:
        curves = _curves(Linear(weight), domain, rival)
        assert bool((curves.insertion <= top.insertion + 1e-12).all())
        assert bool((curves.deletion >= top.deletion - 1e-12).all())
    reverse = _curves(Linear(weight), domain, -best)
    torch.testing.assert_close(reverse.insertion.flip(2), top.deletion)


def test_every_curve_begins_and_ends_at_the_answers_of_the_model(make_signal, make_net):
    signal, net = make_signal(3, 16, 12), make_net(2)
    replacement = make_signal(3, 16, 12, seed=8)
    zero = torch.zeros_like(signal)
    classes = torch.tensor([[0], [1], [2]])
    approximation = decompose(signal - replacement, HAAR)
    flat = approximation.flat.clone()
    flat[..., 4 * 3 :] = 0
    emptied = {
        "coefficients": zero,
        "details": reconstruct(approximation.replace(flat)) + replacement,
        "apart": replacement,
        "input": replacement,
    }
    domains = {
        "coefficients": CoefficientDomain.of(signal, HAAR, zero),
        "details": CoefficientDomain.of(
            signal, HAAR, zero, replacement=replacement, details_only=True
        ),
        "apart": CoefficientDomain.of(
            signal, HAAR, zero, replacement=replacement, channels_apart=True
        ),
        "input": InputDomain.of(signal, zero, replacement=replacement),
    }
    for name, domain in domains.items():
        reader = OutputReader(net, max_batch=5)
        ends = read_ends(reader, domain)
        ends.check(1e-9)
        importance = random_importance(domain.n_features, IDS, 3)
        curves = insertion_deletion(
            reader, domain, ends, importance, classes, sample_ids=IDS, seed=0, n_steps=8
        )
        full = net(signal).softmax(1).gather(1, classes)
        empty = net(emptied[name]).softmax(1).gather(1, classes)
        for curve, first, last in (
            (curves.insertion, empty, full),
            (curves.deletion, full, empty),
        ):
            torch.testing.assert_close(curve[..., 0], first, atol=1e-9, rtol=0)
            torch.testing.assert_close(curve[..., -1], last, atol=1e-9, rtol=0)


def test_a_domain_that_does_not_give_the_signal_back_is_refused(make_signal):
    signal = make_signal(3, 64)
    domain = CoefficientDomain.of(signal, HAAR, torch.zeros_like(signal))
    calls = iter(range(100))
    ends = read_ends(
        OutputReader(lambda rows: rows.flatten(1).sum(1) + next(calls), head="binary"), domain
    )
    with pytest.raises(ValueError, match="must end at the model's own answers"):
        ends.check()


def test_curves_cost_the_passes_that_are_announced(make_signal):
    signal, weight = make_signal(3, 64), make_signal(1, 64, seed=5)[0]
    model = Linear(weight)
    domain = CoefficientDomain.of(signal, HAAR, torch.zeros_like(signal))
    _curves(model, domain, energy_importance(domain), n_steps=10)
    assert model.rows == 3 * (END_PASSES + curve_passes(10))
    assert Effort(1, 1, 0, n_steps=10).passes * 3 == model.rows


def test_curves_do_not_depend_on_the_batch(make_signal, make_net):
    signal, net = make_signal(3, 32), make_net(1)
    domain = CoefficientDomain.of(signal, HAAR, torch.zeros_like(signal))
    coarse = domain.energy.round()  # with equals among them
    reader = OutputReader(net, max_batch=4)
    classes = torch.zeros(3, 1, dtype=torch.long)
    together = insertion_deletion(
        reader, domain, read_ends(reader, domain), coarse, classes,
        sample_ids=IDS, seed=0, n_steps=8,
    )  # fmt: skip
    one = CoefficientDomain.of(signal[1:2], HAAR, torch.zeros_like(signal[1:2]))
    alone = insertion_deletion(
        OutputReader(net), one, read_ends(OutputReader(net), one), coarse[1:2], classes[1:2],
        sample_ids=IDS[1:2], seed=0, n_steps=8,
    )  # fmt: skip
    torch.testing.assert_close(together.insertion[1:2], alone.insertion)
    torch.testing.assert_close(together.deletion[1:2], alone.deletion)


def test_a_random_order_has_no_faith_on_average(make_signal, make_net):
    signal, net = make_signal(1, 32).expand(200, -1, -1), make_net(1)
    ids = [str(place) for place in range(200)]
    domain = InputDomain.of(signal, torch.zeros_like(signal))
    reader = OutputReader(net)
    importance = random_importance(domain.n_features, ids, 0)
    curves = insertion_deletion(
        reader, domain, read_ends(reader, domain), importance,
        torch.zeros(200, 1, dtype=torch.long), sample_ids=ids, seed=0, n_steps=16,
    )  # fmt: skip
    error = curves.faith.std() / 200**0.5
    assert abs(float(curves.faith.mean())) < 4 * float(error)


@given(seed=st.integers(0, 1000), n_equal=st.integers(0, 64))
@settings(max_examples=20, deadline=None)
def test_places_follow_importance_and_chance_alone_among_equals(seed, n_equal):
    signal = torch.zeros(2, 1, 64)
    domain = CoefficientDomain.of(signal, HAAR, signal, details_only=True)
    importance = torch.rand(2, 64, generator=torch.Generator().manual_seed(seed))
    importance[:, :n_equal] = 0.5
    rank = places(importance, domain, ["a", "b"], seed)
    assert rank.sort(dim=1).values.tolist() == [list(range(64))] * 2
    assert bool((rank[:, :16] >= 48).all())  # the approximation comes last
    for sample in range(2):
        values = importance[sample, 16:][rank[sample, 16:].argsort()]
        assert bool((values.diff() <= 0).all())
    if n_equal > 30:
        own = rank[:, 16:n_equal]
        assert not bool((own.diff(dim=1) > 0).all())
        assert not torch.equal(own[0].argsort(), own[1].argsort())


def test_an_order_by_energy_takes_the_same_energy_at_every_point_of_the_energy_axis(make_signal):
    signal = make_signal(3, 256)
    domain = CoefficientDomain.of(signal, HAAR, torch.zeros_like(signal))
    for importance in (domain.energy, -domain.energy, random_importance(256, IDS, 1)):
        curves = _curves(Linear(signal[0]), domain, importance, axis="energy")
        expected = torch.arange(17, dtype=torch.float64) / 16
        assert float((curves.fraction - expected).abs().max()) < 0.02


def test_halves_are_the_middle_of_the_curves(make_signal, make_net):
    signal, net = make_signal(3, 8, 8), make_net(2)
    domain = CoefficientDomain.of(signal, HAAR, torch.zeros_like(signal))
    reader, classes = OutputReader(net), torch.tensor([[0], [1], [2]])
    curves = insertion_deletion(
        reader, domain, read_ends(reader, domain), domain.energy, classes,
        sample_ids=IDS, seed=0, n_steps=4,
    )  # fmt: skip
    found = halves(curves)
    coefficients = decompose(signal, HAAR)
    top = coefficients.flat.square().sum(1)
    strong = top > top.sort(dim=1).values[:, 31:32]
    p, o, q = (
        net(reconstruct(coefficients.replace(coefficients.flat * mask[:, None]))).softmax(1)
        for mask in (torch.ones_like(strong), strong, ~strong)
    )
    own = [values.gather(1, classes)[:, 0] for values in (p, o, q)]
    torch.testing.assert_close(found.spectra, own[0] - own[2])
    torch.testing.assert_close(found.input_fidelity, (p.argmax(1) == o.argmax(1)).double())
    torch.testing.assert_close(found.increase, (own[1] > own[0]).double())
    torch.testing.assert_close(found.drop, (own[0] - own[1]).clamp(min=0) / own[0])
    torch.testing.assert_close(found.gain, (own[1] - own[0]).clamp(min=0) / (1 - own[0]))
    with pytest.raises(ValueError, match="even number of steps"):
        halves(_curves(Linear(signal[0]), domain, domain.energy, n_steps=5))


def test_cells_of_a_waveform_invert_and_hold_its_energy():
    noise = torch.randn(2, 1, 1000, generator=torch.Generator().manual_seed(0))
    tone = torch.sin(torch.arange(1000) * 2 * torch.pi / 8)
    signal = 0.01 * noise + tone
    domain = SpectrogramDomain.of(signal, torch.zeros_like(signal), n_fft=64)
    everything = torch.ones(2, domain.n_features, dtype=torch.bool)
    rows = torch.arange(2)
    torch.testing.assert_close(domain.present(everything, rows), signal, atol=1e-5, rtol=0)
    torch.testing.assert_close(domain.present(~everything, rows), torch.zeros_like(signal))
    share = domain.energy.unflatten(1, domain.shape)[:, 6:11].sum((1, 2)) / domain.energy.sum(1)
    assert bool((share > 0.97).all())  # an eighth of the rate is the eighth of 33 frequencies
    without = everything.clone().unflatten(1, domain.shape)
    without[:, 4:13] = False
    rest = domain.present(without.flatten(1), rows)
    assert float(rest[..., 64:-64].square().mean()) < 0.002 * float(signal.square().mean())


def test_resampled_bands_hold_the_same_values_elsewhere(make_signal):
    signal = make_signal(2, 16, 16)
    shuffled = decompose(
        resampled_within_bands(signal, HAAR, ["a", "b"], 0, details_only=True), HAAR
    )
    original = decompose(signal, HAAR)
    for band in original.layout.bands:
        place = original.layout.slices[band]
        before, after = original.flat[..., place], shuffled.flat[..., place]
        torch.testing.assert_close(before.sort(dim=-1).values, after.sort(dim=-1).values)
        assert torch.allclose(before, after) == band.is_approximation
        # Channels move together: a coefficient keeps its colour.
        norms = (values.square().sum(1).sort(dim=-1).values for values in (before, after))
        torch.testing.assert_close(*norms)
    alone = resampled_within_bands(signal[1:], HAAR, ["b"], 0, details_only=True)
    torch.testing.assert_close(reconstruct(shuffled)[1:], alone)


def test_a_budget_cuts_steps_and_subsets_alike_and_says_when_it_is_too_small():
    effort = Effort(n_domains=2, n_curves=6, n_games=1)
    assert effort.passes == 8 + 6 * 126 + 128
    cut = effort.within(500)
    assert cut.passes <= 500
    assert cut.n_steps % 2 == 0
    assert cut.n_subsets == 128 * cut.n_steps // 64
    assert Effort(2, 6, 1, cut.n_steps + 2, cut.n_subsets + 4).passes > 500
    assert effort.within(None) is effort
    with pytest.raises(ValueError, match="they need 28"):
        effort.within(20)
