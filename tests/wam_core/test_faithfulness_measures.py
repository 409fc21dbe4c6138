"""Measures beside the curves, against closed forms, SciPy and Captum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from captum.metrics import infidelity
from scipy import stats
from torch import nn

from wam_core import (
    ClassScore,
    WaveletBasis,
    decompose,
    integrated_gradients,
    reconstruct,
    smoothgrad,
)
from wam_core.faithfulness.concentration import gini, hoyer
from wam_core.faithfulness.contrast import class_contrast, runner_up
from wam_core.faithfulness.curves import Curves, insertion_deletion
from wam_core.faithfulness.domains import (
    CoefficientDomain,
    InputDomain,
    coefficient_blocks,
    input_blocks,
    n_blocks,
)
from wam_core.faithfulness.front_end import FrontEnd
from wam_core.faithfulness.outputs import OutputReader, Outputs, read_ends
from wam_core.faithfulness.projections import to_coefficients, to_points
from wam_core.faithfulness.reliability import split_half_reliability
from wam_core.faithfulness.subsets import mu_fidelity, subset_effects

HAAR = WaveletBasis("haar", 2)
IDS = ["a", "b", "c"]


def _effects(net, domain, blocks, **options):
    reader = OutputReader(net, max_batch=16)
    ends = read_ends(reader, domain)
    targets = torch.tensor([0, 1, 2])[: len(domain)]
    return subset_effects(
        reader, domain, ends, blocks, targets, sample_ids=IDS[: len(domain)], seed=0, **options
    )


class LinearLogits(nn.Module):
    """Three logits, linear in the signal."""

    def __init__(self, shape):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = torch.randn(3, *shape, generator=generator, dtype=torch.float64)

    def forward(self, signal):
        return signal.flatten(1) @ self.weight.flatten(1).T


@pytest.mark.parametrize("space", [(64,), (16, 16), (8, 8, 8)], ids=str)
def test_products_of_a_linear_model_have_a_mu_fidelity_of_one(make_signal, space):
    signal = make_signal(3, *space)
    net, zero = LinearLogits(signal.shape[1:]), torch.zeros_like(signal)
    targets = torch.tensor([0, 1, 2])
    coefficients = CoefficientDomain.of(signal, HAAR, zero)
    effects = _effects(net, coefficients, coefficient_blocks(coefficients.layout), n_subsets=40)
    found = integrated_gradients(
        ClassScore(net, targets), signal, HAAR, baseline=zero, n_steps=2
    ).attribution.flat.sum(1)
    torch.testing.assert_close(mu_fidelity(effects, found), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(mu_fidelity(effects, -found), -torch.ones(3, dtype=torch.float64))
    assert bool(mu_fidelity(effects, torch.zeros_like(found)).isnan().all())
    points = InputDomain.of(signal, zero)
    effects = _effects(net, points, input_blocks(space, 4), n_subsets=40)
    captum = IntegratedGradients(net).attribute(signal, zero, target=targets).sum(1).flatten(1)
    torch.testing.assert_close(mu_fidelity(effects, captum), torch.ones(3, dtype=torch.float64))


def test_mu_fidelity_is_spearmans_correlation_over_subsets_removed_by_hand(make_signal, make_net):
    signal, net = make_signal(2, 64), make_net(1)
    mean = signal.mean(-1, keepdim=True).expand_as(signal)
    domain = CoefficientDomain.of(signal, HAAR, mean)
    blocks = coefficient_blocks(domain.layout, 5)
    assert n_blocks(blocks) == 15
    effects = _effects(net, domain, blocks, n_subsets=30)
    assert effects.members.sum(2).unique().tolist() == [3]  # a fifth, exactly
    importance = torch.randn(2, 64, generator=torch.Generator().manual_seed(1))
    found = mu_fidelity(effects, importance)
    z = decompose(signal - mean, HAAR)
    for sample in range(2):
        sums, drops = [], []
        for members in effects.members[sample]:
            removed = torch.isin(blocks, members.nonzero()[:, 0])
            kept = z.replace(torch.where(removed, 0.0, z.flat[sample]))
            changed = reconstruct(kept) + mean[sample]
            with torch.no_grad():
                change = net(signal[sample][None]) - net(changed[None])
            drops.append(float(change[0, sample]))
            sums.append(float(importance[sample][removed].sum()))
        expected = stats.spearmanr(sums, drops).statistic
        assert found[sample] == pytest.approx(expected, abs=1e-9)


def test_the_residual_of_subset_sums_is_captums_infidelity(make_signal, make_net):
    signal, net = make_signal(1, 8, 8), make_net(2)
    domain = InputDomain.of(signal, torch.zeros_like(signal))
    effects = _effects(net, domain, input_blocks((8, 8), 4), n_subsets=25)
    importance = torch.randn(1, 64, generator=torch.Generator().manual_seed(1)).double()
    members = effects.members[0].double() @ torch.nn.functional.one_hot(effects.blocks).T.double()
    removals = iter(members)

    def perturb(inputs):
        removed = next(removals).reshape(1, 1, 8, 8).expand_as(inputs)
        return removed, inputs * (1 - removed)

    spread = (importance / 2).reshape(1, 1, 8, 8).expand_as(signal)  # over two channels
    expected = infidelity(
        net, perturb, signal, spread, target=0, n_perturb_samples=25, max_examples_per_batch=1
    )
    residual = members @ importance[0] - effects.drop[0]
    torch.testing.assert_close(residual.square().mean(), expected[0])


def test_subsets_depend_on_sample_and_seed_alone(make_signal, make_net):
    signal, net = make_signal(3, 64), make_net(1)
    domain = CoefficientDomain.of(signal, HAAR, torch.zeros_like(signal), details_only=True)
    blocks = coefficient_blocks(domain.layout)
    together = _effects(net, domain, blocks, n_subsets=12)
    assert bool((together.blocks[:16] == -1).all())
    assert together.blocks[16:].unique().tolist() == list(range(32))
    first = CoefficientDomain.of(signal[:1], HAAR, torch.zeros_like(signal[:1]), details_only=True)
    alone = _effects(net, first, blocks, n_subsets=12)
    assert torch.equal(together.members[:1], alone.members)
    torch.testing.assert_close(together.drop[:1], alone.drop)
    assert not torch.equal(together.members[0], together.members[1])


def test_blocks_are_bands_and_the_places_in_them():
    layout = decompose(torch.zeros(1, 1, 16, 8), HAAR).layout
    blocks = coefficient_blocks(layout, 2)
    assert n_blocks(blocks) == 7 * 4
    for place, band in enumerate(layout.bands):
        values = blocks[layout.slices[band]].unflatten(0, layout.band_shape(band)) - 4 * place
        height, width = values.shape
        corners = [values[: height // 2, : width // 2], values[height // 2 :, width // 2 :]]
        assert [part.unique().tolist() for part in corners] == [[0], [3]]
    assert n_blocks(coefficient_blocks(layout, 100)) == layout.size


@pytest.mark.parametrize(("wavelet", "space"), [("haar", (32,)), ("db4", (45, 50))], ids=str)
def test_importance_carried_to_points_stays_where_it_is(wavelet, space):
    layout = decompose(torch.zeros(1, 1, *space), WaveletBasis(wavelet, 2)).layout
    importance = torch.rand(2, layout.size, generator=torch.Generator().manual_seed(0))
    points = to_points(importance, layout)
    if wavelet == "haar":
        torch.testing.assert_close(points.sum(1), importance.sum(1))
        finest = torch.zeros(1, layout.size)
        finest[0, layout.slices[layout.bands[-1]]] = torch.arange(16.0)
        expected = torch.arange(16.0).repeat_interleave(2) / 2
        torch.testing.assert_close(to_points(finest, layout)[0], expected)
    torch.testing.assert_close(to_points(-importance, layout), -points)
    constant = to_coefficients(torch.full((1, points.shape[1]), 3.0), layout)
    torch.testing.assert_close(constant, torch.full((1, layout.size), 3.0))
    bump = torch.zeros(1, *space)
    bump[(0, *(slice(size // 2, size // 2 + 4) for size in space))] = 1.0
    carried = to_coefficients(bump.flatten(1), layout)
    for band in layout.bands:
        peak = np.unravel_index(
            int(carried[0, layout.slices[band]].argmax()), layout.band_shape(band)
        )
        centre = torch.zeros(1, layout.size)
        index = np.ravel_multi_index(peak, layout.band_shape(band))
        centre[0, layout.slices[band].start + index] = 1.0
        back = to_points(centre, layout)[0].unflatten(0, space).nonzero().double().mean(0)
        target = torch.tensor([size / 2 + 1.5 for size in space], dtype=torch.float64)
        assert float((back - target).abs().max()) <= 2**band.level


def test_maps_of_both_kinds_are_judged_in_either_domain():
    """A model that reads one corner of an image, with both signs."""
    generator = torch.Generator().manual_seed(2)
    weight = torch.zeros(1, 16, 16)
    weight[:, :8, :8] = torch.randn(8, 8, generator=generator)
    signal = torch.rand(3, 1, 16, 16, generator=generator)
    signal[:, :, :8, :8] = 0.5 + 0.5 * weight[:, :8, :8].sign()

    def net(rows):
        return (rows * weight).flatten(1).sum(1) - 4

    score = ClassScore(net, torch.ones(3, dtype=torch.long), head="binary")
    zero = torch.zeros_like(signal)
    waves = integrated_gradients(score, signal, HAAR, baseline=zero, n_steps=2).attribution
    layout, products = waves.layout, (signal * weight).flatten(1)
    by_coefficients, by_points = waves.flat[:, 0], products
    orders = {
        CoefficientDomain: (by_coefficients, to_coefficients(by_points.abs(), layout)),
        InputDomain: (by_points, to_points(by_coefficients, layout).abs()),
    }
    domains = {
        CoefficientDomain: CoefficientDomain.of(signal, HAAR, zero),
        InputDomain: InputDomain.of(signal, zero),
    }
    for kind, domain in domains.items():
        reader = OutputReader(net, head="binary")
        ends = read_ends(reader, domain)
        for importance in orders[kind]:
            curves = insertion_deletion(
                reader, domain, ends, importance, torch.ones(3, 1, dtype=torch.long),
                sample_ids=IDS, seed=0, n_steps=16,
            )  # fmt: skip
            assert bool((curves.faith > 0.3).all())


def test_sparseness_against_its_definitions():
    values = torch.randn(3, 200, generator=torch.Generator().manual_seed(0)).double() ** 3
    magnitude = values.abs().numpy()
    differences = np.abs(magnitude[:, :, None] - magnitude[:, None]).sum((1, 2))
    expected = differences / (2 * 200 * magnitude.sum(1))
    np.testing.assert_allclose(gini(values), expected)
    norms = magnitude.sum(1) / np.sqrt((magnitude**2).sum(1))
    np.testing.assert_allclose(hoyer(values), (np.sqrt(200) - norms) / (np.sqrt(200) - 1))
    assert bool(gini(torch.zeros(1, 4)).isnan())
    assert bool(hoyer(torch.zeros(1, 4)).isnan())


def test_reliability_rises_with_draws_and_is_one_without_noise(make_signal, make_net):
    signal, score = make_signal(3, 64), ClassScore(make_net(1), torch.tensor([0, 1, 2]))

    def reliability(n_samples, noise):
        found = split_half_reliability(
            smoothgrad(
                score, signal, HAAR, sample_ids=IDS, seed=0, n_samples=n_samples,
                noise_fraction=noise,
            ).group_means
        )  # fmt: skip
        return None if found is None else float(found.mean())

    assert reliability(1, 0.5) is None
    assert reliability(4, 0.0) == pytest.approx(1.0)
    few, many = reliability(4, 0.5), reliability(64, 0.5)
    assert few < many < 1


def test_the_contrast_of_an_order_that_knows_no_class_is_nothing(make_signal, make_net):
    signal, net = make_signal(3, 32), make_net(1)
    domain = CoefficientDomain.of(signal, HAAR, torch.zeros_like(signal))
    reader = OutputReader(net)
    ends = read_ends(reader, domain)
    target = ends.full.predicted
    second = runner_up(ends.full, target)
    assert bool((second == net(signal).argsort(dim=1, descending=True)[:, 1]).all())
    classes = torch.stack([target, second], dim=1)

    def curves(importance):
        return insertion_deletion(
            reader, domain, ends, importance, classes, sample_ids=IDS, seed=0, n_steps=16
        )

    by_energy = class_contrast(curves(domain.energy), curves(domain.energy))
    assert by_energy.tolist() == [0.0] * 3
    maps = [
        integrated_gradients(
            ClassScore(net, labels), signal, HAAR, baseline=torch.zeros_like(signal), n_steps=16
        ).attribution.flat.sum(1)
        for labels in (target, second)
    ]
    own, other = curves(maps[0]), curves(maps[1])
    f = [[own.faith[:, 0], own.faith[:, 1]], [other.faith[:, 0], other.faith[:, 1]]]
    expected = (f[0][0] - f[1][0] + f[1][1] - f[0][1]) / 2
    torch.testing.assert_close(class_contrast(own, other), expected)
    assert bool((expected > 0).all())
    with pytest.raises(ValueError, match="between two classes"):
        class_contrast(_first_class(own), _first_class(other))


def _first_class(curves):
    return Curves(
        curves.axis, curves.fraction, curves.insertion[:, :1], curves.deletion[:, :1],
        curves.insertion_predicted, curves.deletion_predicted,
    )  # fmt: skip


def test_outputs_are_read_as_the_head_says():
    logits = torch.tensor([[0.5, 1.5, -1.0]])
    classes = torch.tensor([[1, 0]])
    torch.testing.assert_close(
        Outputs(logits).probability(classes).float(), logits.softmax(1)[:, [1, 0]]
    )
    torch.testing.assert_close(
        Outputs(logits, "multilabel").probability(classes).float(), logits.sigmoid()[:, [1, 0]]
    )
    binary = OutputReader(lambda rows: rows.flatten(1).sum(1), head="binary").read(
        torch.full((1, 1, 2), 0.4)
    )
    torch.testing.assert_close(
        binary.probability(classes).float(), torch.sigmoid(torch.tensor([[0.8, -0.8]]))
    )
    torch.testing.assert_close(
        binary.score(torch.tensor([1]), "log_probability").float(),
        torch.sigmoid(torch.tensor([0.8])).log(),
    )


def test_the_rest_of_a_model_answers_for_features_as_the_whole_does():
    whole = nn.Sequential(nn.Conv1d(1, 4, 5), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 28, 3))
    signal = torch.randn(6, 1, 32, generator=torch.Generator().manual_seed(0))
    parts = FrontEnd(whole, "0", torch.zeros(1, 1, 32))
    features = parts.features(signal)
    assert features.shape == (6, 4, 28)
    torch.testing.assert_close(parts.rest(features), whole(signal))
    assert not torch.allclose(parts.rest(2 * features), whole(signal))
    torch.testing.assert_close(whole(signal), parts.rest(features))  # nothing is left behind
