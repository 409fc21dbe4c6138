"""Experiments with closed forms: the Haar transform of dyadic signals, magnitudes set by hand.

Every coefficient of a band has the same magnitude, in the signals and in the models, with signs
drawn at random. Sums over a band are then its number of coefficients times a known number.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
from scipy import stats

from tasks.config_files import merge
from tasks.shard_sums import CLASS_METHODS
from tasks.texture import FEWEST_CLASSES
from tasks.validation.experiments import Experiment
from tasks.validation.profiles import KnownProfile
from tasks.validation.signals import Array, HaarGrid, haar_grid, random_signs
from tasks.validation.truths import NOTHING, ROUNDING, Tolerance, Truth

_AMPLITUDE = 0.3
"""Largest distance of the signals from 0.5."""


def prescribed_profile(dimension: int, n_classes: int = 2) -> Experiment:
    """Classes whose scores weigh the bands by known numbers, linearly.

    Their gradients are the weights, whatever the input and the noise; WAM_IG multiplies them by the
    signal. One sample in four is labelled wrongly. Where there are enough classes, how methods rank
    them by fine share, and so how far the rankings agree, is known as well.
    """
    grid, rng = haar_grid(dimension), np.random.default_rng(11 + dimension)
    n_samples = 4 * n_classes
    magnitudes = _unequal(rng, grid)
    signs = random_signs(rng, n_classes * int(grid.counts.sum())).reshape(n_classes, -1)
    weights = np.stack([_unequal(rng, grid) / grid.counts for _ in range(n_classes)])
    labels = np.arange(n_samples) % n_classes
    coefficients = grid.spread(magnitudes) * _mostly(rng, signs[labels])
    signals, scale = _signals(grid, coefficients)
    mislabelled = np.arange(n_samples) < n_samples // 4
    given = np.where(mislabelled, (labels + 1) % n_classes, labels)
    gradients = weights[given]
    attributions = gradients * magnitudes * scale[:, np.newaxis]
    known = {
        "gradient": gradients * grid.counts,
        "smoothgrad_signed": gradients * grid.counts,
        "smoothgrad_absolute": gradients * grid.counts,
        "smoothgrad_squared": gradients**2 * grid.counts,
        "smoothgrad_energy": gradients**2 * grid.counts,
        "integrated_gradients": attributions * grid.counts,
        "coalition_gradients": attributions * grid.counts,
    }
    truths: list[Truth] = []
    fine_shares = {}
    for method, importance in known.items():
        profile = KnownProfile(method, grid, importance, ROUNDING)
        truths += profile.everything(signals)
        if method in CLASS_METHODS:
            of_classes = [profile.fine_share[given == label] for label in range(n_classes)]
            fine_shares[method] = [values.mean() for values in of_classes]
        for label in range(n_classes if method in CLASS_METHODS else 0):
            chosen = importance[given == label]
            by_class = KnownProfile(method, grid, chosen, ROUNDING)
            truths += by_class.shares(**{"class": str(label)})
    truths += [
        Truth("accuracy/top1", {}, 0.75, ROUNDING),
        Truth("attribution/completeness_gap", {"quantile": "p95"}, 0.0, _SUMS, "at_most"),
        Truth("counts/ok", {}, n_samples, ROUNDING),
    ]
    if n_classes >= FEWEST_CLASSES:
        truths += _agreements(fine_shares)
    return Experiment(
        name=f"prescribed profile{'' if n_classes == 2 else f' of {n_classes} classes'}",
        signals=signals,
        labels=given,
        model="template_votes",
        arguments={"space": list(grid.space), "units": n_classes, "classes": n_classes},
        weights=votes(
            np.stack([grid.synthesise(row) for row in grid.spread(weights) * signs]),
            np.eye(n_classes),
        ),
        truths=tuple(truths),
        settings={
            "basis": {"wavelet": "haar", "levels": grid.levels},
            "attribution": {
                "smoothgrad": {"n_samples": 6},
                "integrated_gradients": {"n_steps": 3},
                "coalition_gradients": {"enabled": True, "n_samples": 4, "baseline": "mean"},
            },
        },
    )


def _agreements(fine_shares: dict[str, list[float]]) -> list[Truth]:
    """Rank correlation over classes of the fine shares of every two methods."""
    return [
        Truth(
            "texture/agreement",
            {"first": f"fine_share of {first}", "second": f"fine_share of {second}"},
            float(stats.spearmanr(fine_shares[first], fine_shares[second]).statistic),
            ROUNDING,
        )
        for first, second in itertools.combinations(sorted(fine_shares), 2)
    ]


def noisy_energies(dimension: int, copies: int = 100) -> Experiment:
    """A score that is the weighted energy of the bands, explained for copies of one signal.

    The gradient of a coefficient is its value times its band's weight, so noise enters it as it
    enters the signal and every estimator of WAM_SG has a closed form: the absolute one is a folded
    normal distribution's mean, the squared one holds the noise's energy, the signed one what the
    mean over draws leaves of it, the energy none. Copies have different noise, so the scatter of
    their shares is the Monte-Carlo error that each of them must state.
    """
    grid, rng = haar_grid(dimension), np.random.default_rng(21 + dimension)
    n_draws, noise_fraction = 10, 0.1
    magnitudes = _unequal(rng, grid) / np.sqrt(grid.counts)
    signs = random_signs(rng, int(grid.counts.sum()))
    signals, (scale,) = _signals(grid, (grid.spread(magnitudes) * signs)[np.newaxis])
    magnitudes = magnitudes * scale
    weights = _unequal(rng, grid) / magnitudes / np.sqrt(grid.counts)
    deviation = noise_fraction * float(np.ptp(signals))
    energy = grid.counts * weights**2 * magnitudes**2
    path = grid.counts * weights * magnitudes**2
    known = {
        "gradient": (grid.counts * weights * magnitudes, ROUNDING),
        "integrated_gradients": (path, ROUNDING),
        "smoothgrad_signed": (
            grid.counts * weights * _folded(magnitudes, deviation / math.sqrt(n_draws)), _DRAWS,
        ),
        "smoothgrad_absolute": (grid.counts * weights * _folded(magnitudes, deviation), _DRAWS),
        "smoothgrad_squared": (energy + grid.counts * weights**2 * deviation**2, _DRAWS),
        "smoothgrad_energy": (energy, _DRAWS_OF_PRODUCTS),
    }  # fmt: skip
    truths: list[Truth] = []
    for method, (importance, tolerance) in known.items():
        profile = KnownProfile(method, grid, importance[np.newaxis], tolerance)
        truths += [*profile.shares(), *profile.scalars(), *profile.bands()]
    truths += [
        Truth("calibration/share_standard_error", {"method": method, "level": level}, 1.0, _SCATTER)
        for method in known
        if method.startswith("smoothgrad")
        for level in grid.level_names
    ]
    columns = {"score_input": float(path.sum()) / 2, "score_baseline": 0.0}
    truths += [
        Truth(f"mean/attributions/{column}", {"method": "integrated_gradients"}, value, _SUMS)
        for column, value in columns.items()
    ]
    return Experiment(
        name="noisy energies",
        signals=np.repeat(signals, copies, axis=0),
        labels=np.ones(copies, dtype=np.int64),
        model="haar_energies",
        arguments={"levels": grid.levels, "bands": len(grid.bands)},
        weights={"weights": np.stack([np.zeros(len(grid.bands)), weights])},
        truths=tuple(truths),
        settings={
            "basis": {"wavelet": "haar", "levels": grid.levels},
            "attribution": {
                "smoothgrad": {"n_samples": n_draws, "noise_fraction": noise_fraction},
                "integrated_gradients": {"n_steps": 2},
            },
        },
    )


def drawn_to_tolerance(dimension: int, copies: int = 60) -> Experiment:
    """The score of `noisy_energies`, drawn until every share is known as well as was asked.

    The stated error must keep the tolerance in the mean, the shares of copies must scatter no more
    than that, and stopping early must not move them.
    """
    tolerance = {1: 0.003, 2: 0.002, 3: 0.001}[dimension]  # ten draws do not reach it
    noisy = noisy_energies(dimension, copies)
    levels = haar_grid(dimension).level_names
    method = "smoothgrad_absolute"
    truths = [
        replace(truth, tolerance=_STOPPED)
        for truth in noisy.truths
        if truth.statistic == "reliance/share" and truth.labels["method"] == method
    ]
    for level in levels:
        which = {"method": method, "level": level}
        truths += [
            Truth("mean/levels/share_standard_error", which, tolerance, NOTHING, "at_most"),
            Truth("scatter/levels/share", which, tolerance, _EXCESS, "at_most"),
        ]
    draws = Truth("attribution/draws", {"method": method}, 11.0, NOTHING, "at_least")
    truths.append(draws)
    smoothgrad = {"n_samples": 400, "min_samples": 10, "tolerance": tolerance}
    attribution = {"smoothgrad": smoothgrad, "integrated_gradients": {"enabled": False}}
    settings = merge(noisy.settings, {"attribution": attribution})
    return replace(noisy, name="drawn to a tolerance", truths=tuple(truths), settings=settings)


def saturating_path(dimension: int, n_steps: int) -> Experiment:
    """A score that saturates, for which few points on the path do not add up, by a known gap."""
    grid, rng = haar_grid(dimension), np.random.default_rng(31 + dimension)
    weights = _unequal(rng, grid) / grid.counts
    magnitudes = _unequal(rng, grid)
    signs = random_signs(rng, int(grid.counts.sum()))
    n_samples = 5  # odd: the median gap is that of one sample
    turned = _mostly(rng, np.stack([signs] * n_samples))
    signals, _ = _signals(grid, grid.spread(magnitudes) * turned)
    template = grid.synthesise(grid.spread(weights) * signs)
    agreement = (signals - 0.5).reshape(n_samples, -1) @ template.ravel()
    gain = 2.0 / agreement.max()
    agreement = gain * agreement
    points = (np.arange(n_steps) + 0.5) / n_steps
    slopes = 1 - np.tanh(np.outer(agreement, points)) ** 2
    gaps = np.abs(agreement * slopes.mean(1) / np.tanh(agreement) - 1)
    importance = grid.counts * weights * magnitudes
    profile = KnownProfile("integrated_gradients", grid, importance[np.newaxis], ROUNDING)
    gap = {"quantile": "median"}
    truths = [
        *profile.shares(),
        Truth("attribution/completeness_gap", gap, float(np.median(gaps)), _GAPS),
    ]
    if n_steps >= 32:
        truths.append(Truth("attribution/completeness_gap", gap, 1e-3, NOTHING, "at_most"))
    return Experiment(
        name=f"path of {n_steps} points",
        signals=signals,
        labels=np.ones(len(signals), dtype=np.int64),
        model="template_votes",
        arguments={"space": list(grid.space), "units": 1, "tanh": True},
        weights=votes(gain * template[np.newaxis], np.array([[-1.0], [1.0]])),
        truths=tuple(truths),
        settings={
            "basis": {"wavelet": "haar", "levels": grid.levels},
            "attribution": {
                "smoothgrad": {"enabled": False},
                "integrated_gradients": {"n_steps": n_steps},
            },
        },
    )


_SUMS = Tolerance(1e-4, "exact; a sum of float32 over a difference of two of them", relative=1e-5)
_GAPS = Tolerance(1e-5, "exact; rounding of a difference of scores in float32", relative=1e-3)
_DRAWS = Tolerance(0.004, "Monte-Carlo error of 10 draws in each of 100 copies, four times")
_DRAWS_OF_PRODUCTS = Tolerance(
    0.01, "Monte-Carlo error of 10 draws in each of 100 copies, four times; products scatter more"
)
_STOPPED = Tolerance(0.002, "four standard errors of 60 copies whose shares scatter by 0.003")
_EXCESS = Tolerance(
    0.0, "errors that are estimated themselves let a share stop early", relative=0.4
)
_SCATTER = Tolerance(0.3, "a standard deviation from 100 copies is known to 7 %; four times that")


def _folded(mean: Array, deviation: float) -> Array:
    """Expected magnitude of a normal variable."""
    ratio = mean / deviation
    spread = math.sqrt(2 / math.pi) * np.exp(-(ratio**2) / 2)
    magnitude: Array = deviation * spread + mean * (1 - 2 * stats.norm.cdf(-ratio))
    return magnitude


def _unequal(rng: np.random.Generator, grid: HaarGrid) -> Array:
    """Numbers per band that differ by up to a factor of five."""
    return rng.uniform(0.2, 1.0, len(grid.bands))


def _mostly(rng: np.random.Generator, signs: Array) -> Array:
    """The signs with one in five turned."""
    turned: Array = np.where(rng.random(signs.shape) < 0.8, signs, -signs)
    return turned


def _signals(grid: HaarGrid, coefficients: Array) -> tuple[Array, Array]:
    """Signals around 0.5 and the factor each sample's coefficients were multiplied by."""
    waves = np.stack([grid.synthesise(row) for row in coefficients])
    scale = _AMPLITUDE / np.abs(waves).reshape(len(waves), -1).max(1)
    return 0.5 + waves * scale.reshape(-1, *[1] * len(grid.space)), scale


def votes(templates: Array, alone: Array) -> dict[str, Array]:
    """Weights of `TemplateVotes` without pairs; `alone` has shape (class, unit)."""
    classes, units = alone.shape
    return {
        "templates": templates,
        "alone": alone,
        "pairs": np.zeros((classes, units, units)),
        "bias": np.zeros(classes),
    }
