"""The ground-truth suite recovers its truths, and notices when a statistic or a truth is wrong."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
import pywt
import torch

from tasks.errors import ConfigError
from tasks.validation import planned_experiments, run_suite
from tasks.validation import suite as suite_module
from tasks.validation.causal import harmful_level, one_level
from tasks.validation.exact import prescribed_profile
from tasks.validation.figure import draw_validation
from tasks.validation.models import haar_bands
from tasks.validation.signals import HaarGrid, band_responses, haar_grid, level_mask
from tasks.validation.suite import Planned, Validation
from tasks.validation.truths import ROUNDING, Check, Tolerance, Truth, absent, grouped

SHORT = {
    "prescribed_profile",
    "blind",
    "border",
    "one_level",
    "harmful_level",
    "texture_model",
    "hybrids",
    "decisions",
    "weak_evidence",
}
"""Experiments that take less than a second; the others wait for `-m slow`."""


def _is_short(plan):
    return getattr(plan.build, "func", plan.build).__name__ in SHORT


@pytest.fixture(scope="module")
def quick() -> Validation:
    return run_suite([plan for plan in planned_experiments(quick=True) if _is_short(plan)])


def test_every_truth_of_the_quick_suite_is_recovered(quick):
    assert _misses(quick) == []
    assert quick.passed


@pytest.mark.slow
def test_every_truth_of_the_rest_is_recovered():
    everything = planned_experiments()
    some = {plan for plan in planned_experiments(quick=True) if _is_short(plan)}
    assert _misses(run_suite([plan for plan in everything if plan not in some])) == []


def _misses(result):
    return [check.record() for check in result.checks if not check.passed]


def test_the_quick_suite_is_a_part_in_every_dimension(quick):
    assert {check.dimension for check in quick.checks} == {1, 2, 3}
    some, everything = planned_experiments(quick=True), planned_experiments()
    assert len(some) < len(everything) / 2
    assert {plan.build for plan in some} <= {plan.build for plan in everything}


def test_the_figure_shows_the_checks(quick, tmp_path):
    draw_validation(quick, tmp_path / "truth.png")
    assert (tmp_path / "truth.png").stat().st_size > 10_000
    with pytest.raises(ConfigError, match=r"expected a file that ends in \.png"):
        draw_validation(quick, tmp_path / "truth.txt")


# The suite must be able to fail.


def _run(experiment):
    return Validation(experiment.run(), 1, 0.0)


def _failed(result):
    return {check.truth.statistic for check in result.checks if not check.passed}


def test_a_mislabelled_truth_is_reported():
    experiment = one_level(1, 1)
    truths = tuple(_with_swapped_levels(truth) for truth in experiment.truths)
    result = _run(dataclasses.replace(experiment, truths=truths))
    assert not result.passed
    assert {"shapley/value", "ablation/accuracy", "reliance/share"} <= _failed(result)


def _with_swapped_levels(truth):
    level = truth.labels.get("level")
    if level is None:
        return truth
    swapped = {2: 3, 3: 2}.get(level, level)
    return dataclasses.replace(truth, labels={**truth.labels, "level": swapped})


def test_levels_in_the_wrong_order_are_noticed(monkeypatch):
    from tasks import rows

    def reversed_levels(bands, layout):
        profile = original(bands, layout)
        return dataclasses.replace(profile, importance=profile.importance.flip(-1))

    original = rows.level_profile
    monkeypatch.setattr(rows, "level_profile", reversed_levels)
    assert {"reliance/share", "reliance/scale_centroid", "reliance/fine_share"} <= _failed(
        _run(prescribed_profile(1))
    )


def test_swapped_orientations_are_noticed(monkeypatch):
    from tasks import explain

    def transposed(attribution, *arguments):
        profile = original(attribution, *arguments)
        order = torch.tensor(
            [
                attribution.layout.bands.index(dataclasses.replace(b, filters=b.filters[::-1]))
                for b in attribution.layout.bands
            ]
        )
        return dataclasses.replace(profile, importance=profile.importance[:, order])

    original = explain.band_profile
    monkeypatch.setattr(explain, "band_profile", transposed)
    assert _failed(_run(prescribed_profile(2))) == {"mean/bands/share"}


def test_an_overconfident_error_is_noticed(monkeypatch):
    from tasks import explain

    original = explain.share_standard_error
    monkeypatch.setattr(
        explain, "share_standard_error", lambda *arguments: original(*arguments) / 2
    )
    result = _run(suite_module.exact.noisy_energies(1, copies=40))
    assert "calibration/share_standard_error" in _failed(result)


def test_shapley_values_of_the_wrong_sign_are_noticed(monkeypatch):
    from tasks.analyses import level_game

    original = level_game.shapley_values
    monkeypatch.setattr(level_game, "shapley_values", lambda values, n: np.abs(original(values, n)))
    assert {"shapley/value", "shapley/harmful_share", "shapley/efficiency_gap"} <= _failed(
        _run(harmful_level(1))
    )


def test_a_profile_of_a_blind_model_is_noticed():
    blind = suite_module.adversarial.blind(1)
    sighted = dataclasses.replace(
        blind,
        weights=blind.weights | {"alone": np.array([[0.0], [1.0]])},
        labels=blind.labels * 0 + 1,
    )
    assert "reliance/share" in _failed(_run(sighted))


# The suite's own tools, against libraries and closed forms.


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_a_signal_has_the_coefficients_it_was_built_from(dimension):
    grid = haar_grid(dimension)
    coefficients = np.random.default_rng(0).standard_normal(int(grid.counts.sum()))
    signal = grid.synthesise(coefficients)
    assert signal.shape == grid.space
    np.testing.assert_allclose(grid.analyse(signal), coefficients, atol=1e-12)


@pytest.mark.parametrize("space", [(32,), (16, 8), (8, 16, 8)])
def test_the_model_of_energies_sees_the_bands_of_pywavelets(space):
    grid = HaarGrid(space, 2)
    signal = np.random.default_rng(1).standard_normal(space)
    bands = haar_bands(torch.from_numpy(signal)[None], 2)
    energies = [float(band.square().sum()) for band in bands]
    edges = np.cumsum(grid.counts).astype(int)[:-1]
    expected = [float((part**2).sum()) for part in np.split(grid.analyse(signal), edges)]
    np.testing.assert_allclose(energies, expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("wavelet", "space"), [("haar", (64,)), ("sym8", (32, 16)), ("db4", (8,) * 3)]
)
def test_bands_share_the_energy_of_every_frequency_out(wavelet, space):
    total = sum(band_responses(space, wavelet, 2).values())
    np.testing.assert_allclose(total, 1.0, atol=1e-9)


def test_the_response_of_a_band_is_the_energy_it_takes_of_a_wave():
    size, level = 1024, 3
    responses = band_responses((size,), "db4", 4)
    for bin_number in (40, 90, 200):
        wave = np.cos(2 * np.pi * bin_number * np.arange(size) / size + 0.3)
        coefficients = pywt.wavedec(wave, "db4", mode="periodization", level=4)
        taken = (coefficients[4 - level + 1] ** 2).sum() / (wave**2).sum()
        assert taken == pytest.approx(responses[str(level), "d"][bin_number], abs=0.02)


def test_levels_share_the_frequencies_out_too():
    space = (32, 16)
    masks = [level_mask(space, level) for level in (1, 2, 3)]
    for first, second in itertools.combinations(masks, 2):
        assert float((first * second).sum()) == 0.0
    assert masks[0].sum() == pytest.approx(0.75 * 512, rel=0.1)


# The verdict.


@pytest.mark.parametrize(
    ("truth", "estimate", "passed"),
    [
        (Truth("a", {}, 1.0, Tolerance(0.1, "")), 1.05, True),
        (Truth("a", {}, 1.0, Tolerance(0.1, "")), 1.15, False),
        (Truth("a", {}, 10.0, Tolerance(0.0, "", relative=0.1)), 10.9, True),
        (Truth("a", {}, 1.0, Tolerance(0.1, "")), None, False),
        (Truth("a", {}, 1.0, Tolerance(0.1, "")), math.nan, False),
        (Truth("a", {}, 0.7, Tolerance(0.0, ""), "at_least"), 0.8, True),
        (Truth("a", {}, 0.7, Tolerance(0.0, ""), "at_least"), 0.6, False),
        (Truth("a", {}, 0.7, Tolerance(0.0, ""), "at_most"), 0.8, False),
        (absent("a"), None, True),
        (absent("a"), 0.3, False),
    ],
)
def test_an_estimate_is_judged_by_the_kind_of_its_truth(truth, estimate, passed):
    check = Check("x", 1, truth, estimate)
    assert check.passed is passed
    assert (check.strain <= 1) is passed
    assert check.record()["passed"] is passed


def test_the_worst_number_of_a_line_is_the_one_that_strains_its_tolerance_most():
    truth = Truth("a", {}, 1.0, ROUNDING)
    (group,) = grouped([Check("x", 1, truth, value) for value in (1.0, 1.000002, 1.000001)])
    assert group.worst.estimate == 1.000002


# The command.


@pytest.fixture
def command(monkeypatch, capsys):
    def run(*arguments):
        from typer.testing import CliRunner

        from flows.cli import app

        return CliRunner().invoke(app, ["validate", *arguments])

    return run


def test_the_command_prints_a_table_and_ends_with_zero(monkeypatch, command, tmp_path):
    _only(monkeypatch, Planned(lambda dimension: one_level(dimension, 0), 1))
    finished = command("--figure", str(tmp_path / "figure.png"))
    assert finished.exit_code == 0, finished.output
    assert "shapley/value" in finished.output
    assert "every truth is recovered" in finished.output
    assert (tmp_path / "figure.png").exists()


def test_the_command_ends_with_one_where_a_statistic_is_wrong(monkeypatch, command):
    def wrong(dimension):
        experiment = one_level(dimension, 0)
        t_pass = Truth("texture/t_pass", {}, 0.2, Tolerance(0.01, "none"))
        return dataclasses.replace(experiment, truths=(*experiment.truths, t_pass))

    _only(monkeypatch, Planned(wrong, 1))
    finished = command()
    assert finished.exit_code == 1
    assert "FAIL texture/t_pass in 'class in level 1', 1D" in " ".join(finished.output.split())
    finished = command("--json")
    assert finished.exit_code == 1
    record = json.loads(finished.stdout)
    assert (record["passed"], record["n_failed"]) == (False, 1)


def _only(monkeypatch, planned):
    from flows import validation

    monkeypatch.setattr(validation, "planned_experiments", lambda *, quick: [planned])
