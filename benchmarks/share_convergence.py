"""Do shares of importance depend on how long one samples? Shares at 4 draws against 64.

Run: python benchmarks/share_convergence.py [CONFIG] [--images 32] [--draws 4 8 16 32 64]
         [--tolerances 0.001 0.0007 0.0005] [--numbers FILE.json] [--figure FILE.svg]

Prints, for every estimator, each level's share averaged over the images at every number of draws,
the largest distance of a level from its value at the most draws, the Monte-Carlo error of one
image, and what the estimator costs beside the passes of the model. The draws are nested: the first
8 of 64 are the 8, so what differs is their number. `signed` is the published estimator: the sum of
absolute values of the mean gradient (equation 6), which counts the noise of few draws as fine-scale
importance. `absolute` is the audit's default.

Then it asks what stopping at a tolerance does: a sample that stops when its error looks small has
been chosen by its draws. Its share is compared with that of all draws, and with that of the draws
after the stop, which the decision did not see.

`--numbers` keeps what was measured, and is read instead of measuring where it is there already;
`--figure` draws it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tasks.config_files import load_config
from tasks.explain import AGGREGATES
from tasks.session import AuditSession
from wam_core import attribution
from wam_core.draws import DRAW_GROUPS, DrawSchedule, jackknife
from wam_core.reliance import band_profile, energy_profile, level_profile, share_standard_error
from wam_core.scores import ClassScore
from wam_core.sums import band_sums, level_sums, shares
from wam_core.transform import coefficient_gradient, decompose

ESTIMATORS = (*AGGREGATES, "energy")
DEFAULT = "absolute"
TOLERANCE = 0.01
COLOURS = {"signed": "#c44536", "absolute": "#1f5f8b", "squared": "#7a9e3f", "energy": "#8a5fa8"}
LABELS = {
    "signed": "signed, as published",
    "absolute": "absolute, the default",
    "squared": "squared",
    "energy": "energy of the mean",
}


@dataclass
class Measured:
    """What one run measured; JSON-able.

    Attributes:
        shares: By estimator, shape (draws, image, level).
        errors: Monte-Carlo standard errors, shaped alike; NaN where there are too few draws.
        own_seconds: By estimator, seconds beside the passes at each number of draws, per image.
        pass_seconds: Seconds of one pass forward and backward.
        absolute_draws: Absolute importance of every level in every draw, (image, draw, level).
    """

    title: str
    levels: list[str]
    draws: list[int]
    shares: dict[str, list[Any]] = field(default_factory=dict)
    errors: dict[str, list[Any]] = field(default_factory=dict)
    own_seconds: dict[str, list[float]] = field(default_factory=dict)
    pass_seconds: float = 0.0
    absolute_draws: list[Any] = field(default_factory=list)

    def mean_share(self, name: str) -> np.ndarray:
        """Shape (draws, level)."""
        return np.asarray(self.shares[name]).mean(1)

    def shift(self, name: str) -> np.ndarray:
        """Distance of each level's mean share from its value at the most draws."""
        mean = self.mean_share(name)
        return mean - mean[-1]

    def error(self, name: str) -> np.ndarray:
        """Error of one image's share, root of the mean square over images, (draws, level)."""
        return np.sqrt(np.square(np.asarray(self.errors[name])).mean(1))


def main() -> None:
    options = _options()
    if options.numbers and options.numbers.exists():
        measured = Measured(**json.loads(options.numbers.read_text()))
    else:
        measured = _measure(options)
        if options.numbers:
            options.numbers.write_text(json.dumps(asdict(measured)))
    print(measured.title)
    for name in ESTIMATORS:
        _print_estimator(measured, name)
    _print_stopping(measured, options.tolerances)
    distance = float(np.abs(measured.shift(DEFAULT)[0]).max())
    verdict = "within" if distance <= TOLERANCE else "NOT within"
    print(f"\ndefault ({DEFAULT}): {distance:.4f}, {verdict} {TOLERANCE}")
    if options.figure:
        _draw(measured, options.figure)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "config", nargs="?", type=Path, default=Path("configs/imagenet_sample.yaml")
    )
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--draws", type=int, nargs="*", default=[4, 8, 16, 32, 64])
    parser.add_argument("--tolerances", type=float, nargs="*", default=[0.001, 0.0007, 0.0005])
    parser.add_argument("--numbers", type=Path, help="JSON file of what was measured.")
    parser.add_argument("--figure", type=Path, help="PNG or SVG file to draw.")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


def _measure(options: argparse.Namespace) -> Measured:
    session = AuditSession(load_config(options.config, options.set))
    smoothing, basis = session.config.attribution.smoothgrad, session.config.basis
    table = session.manifest.table
    rows = np.unique(np.linspace(0, len(table) - 1, options.images).astype(int))
    measured = Measured(
        f"{session.model.description}; {len(rows)} images; {basis.wavelet}, {basis.levels} levels, "
        f"noise {smoothing.noise_fraction:g} of the range",
        list(session.layout.level_names),
        sorted(options.draws),
    )
    images = [_Image(session, int(row), measured.draws[-1]) for row in rows]
    found = [image.profiles(measured.draws) for image in images]
    for name in ESTIMATORS:
        for kind, place in ((measured.shares, 0), (measured.errors, 1)):
            kind[name] = [[each[n][name][place] for each in found] for n in measured.draws]
        measured.own_seconds[name] = [images[0].own_seconds(name, n) for n in measured.draws]
    measured.pass_seconds = float(np.median([image.pass_seconds for image in images]))
    measured.absolute_draws = [image.absolute_draws.tolist() for image in images]
    return measured


class _Image:
    """One image with the gradients of its draws: passed once, estimated from at every number."""

    def __init__(self, session: AuditSession, row: int, n_draws: int) -> None:
        self.session, self.layout = session, session.layout
        table = session.manifest.table
        self.sample_id = str(table["sample_id"].iat[row])
        signal = torch.from_numpy(session.reader.read(row).signal)[None]
        self.signal = signal.to(session.device)
        target = torch.tensor([int(table["label"].iat[row])], device=session.device)
        score = ClassScore(session.model.module, target, head=session.model.head)
        gradients: list[Tensor] = []

        def recorded(rows: Tensor, sample: Tensor) -> Tensor:
            rows.register_hook(lambda gradient: gradients.append(gradient.detach()))
            return score(rows, sample)

        begin = time.perf_counter()
        self._smoothgrad(recorded, n_draws)
        elapsed = time.perf_counter() - begin
        self.gradients = torch.cat(gradients)
        begin = time.perf_counter()
        smoothed = self._replayed(n_draws)
        self.pass_seconds = (elapsed - (time.perf_counter() - begin)) / n_draws
        self.absolute_draws = level_sums(smoothed.absolute_draws, self.layout)[:, 0]
        print(f"{self.sample_id}: {self.pass_seconds:.3f} s a pass", flush=True)

    def profiles(self, draws: list[int]) -> dict[int, dict[str, tuple[list[float], list[float]]]]:
        """Shares and their errors by number of draws and estimator."""
        return {n_draws: self._profile(n_draws) for n_draws in draws}

    def own_seconds(self, name: str, n_draws: int) -> float:
        """What an estimator costs beside the passes: the best of three."""
        work = {
            "signed": lambda each: [self._sums(each.mean(0), torch.abs)],
            "absolute": lambda each: [self._sums(gradient, torch.abs) for gradient in each],
            "squared": lambda each: [self._sums(gradient, torch.square) for gradient in each],
            "energy": lambda each: [
                self._sums(each[group::DRAW_GROUPS].mean(0), torch.square)
                for group in range(min(DRAW_GROUPS, len(each)))
            ],
        }[name]
        seconds = []
        for _ in range(3):
            begin = time.perf_counter()
            work(self.gradients[:n_draws])
            seconds.append(time.perf_counter() - begin)
        return min(seconds)

    def _sums(self, gradient: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
        return band_sums(of(coefficient_gradient(gradient, self.layout).flat), self.layout)

    def _profile(self, n_draws: int) -> dict[str, tuple[list[float], list[float]]]:
        smoothed = self._replayed(n_draws)
        coefficients = decompose(self.signal, self.layout.basis)
        bands = {name: band_profile(getattr(smoothed, name), coefficients) for name in AGGREGATES}
        bands["energy"] = energy_profile(smoothed, coefficients)
        found = {}
        for name, profile in bands.items():
            error = share_standard_error(smoothed, name)
            share = level_profile(profile, self.layout).share[0]
            unknown = torch.full_like(share, torch.nan)
            found[name] = share.tolist(), (unknown if error is None else error[0]).tolist()
        return found

    def _replayed(self, n_draws: int) -> attribution.SmoothedGradient:
        """The same draws again, without the model: a score that has the recorded gradients."""
        remaining = iter(self.gradients)

        def score(rows: Tensor, _: Tensor) -> Tensor:
            return (rows * next(remaining)).flatten(1).sum(1)

        return self._smoothgrad(score, n_draws)

    def _smoothgrad(self, score: Any, n_draws: int) -> attribution.SmoothedGradient:
        settings = self.session.config.attribution
        return attribution.smoothgrad(
            score,
            self.signal,
            self.layout.basis,
            sample_ids=[self.sample_id],
            seed=settings.seed,
            n_samples=n_draws,
            noise_fraction=settings.smoothgrad.noise_fraction,
            max_batch=1,
        )


def _print_estimator(measured: Measured, name: str) -> None:
    print(f"\n{name}")
    header = "".join(f"{level[:8]:>9}" for level in measured.levels)
    print(f"{'draws':>6}{header}{'largest shift':>15}{'MC error':>10}{'own passes':>12}")
    mean, shift, error = measured.mean_share(name), measured.shift(name), measured.error(name)
    for index, draws in enumerate(measured.draws):
        cells = "".join(f"{value:9.4f}" for value in mean[index])
        cost = measured.own_seconds[name][index] / measured.pass_seconds
        print(
            f"{draws:6}{cells}{np.abs(shift[index]).max():15.4f}{error[index].max():10.4f}"
            f"{cost:12.2f}"
        )


def _print_stopping(measured: Measured, tolerances: list[float]) -> None:
    """Draws taken, and the mean share at the stop less that of all draws and of the later ones."""
    draws = torch.tensor(measured.absolute_draws, dtype=torch.float64)
    print(f"\nstopping ({DEFAULT}); differences of the level that differs most, over its error")
    print(f"{'tolerance':>10}{'draws':>8}{'at most':>9}{'less all':>18}{'less later':>18}")
    for tolerance in tolerances:
        stops = [_stop(each, tolerance) for each in draws]
        at_stop = torch.stack(
            [shares(each[:stop].sum(0)) for each, stop in zip(draws, stops, strict=True)]
        )
        whole = shares(draws.sum(1))
        early = torch.tensor(stops) < draws.shape[1]
        later = torch.stack(
            [shares(each[stop:].sum(0)) for each, stop in zip(draws, stops, strict=True)]
        )[early]
        cells = [_largest(at_stop - whole), _largest(at_stop[early] - later)]
        print(
            f"{tolerance:10g}{np.mean(stops):8.1f}{max(stops):9}"
            + "".join(f"{cell:>18}" for cell in cells)
        )


def _stop(draws: Tensor, tolerance: float) -> int:
    """Draws of one sample until its error is small: the rule of `smoothgrad`, on recorded draws."""
    schedule = DrawSchedule(len(draws), antithetic=False, first_clean=False)
    for block in schedule.blocks(attribution.MIN_DRAWS):
        found = draws[: block.stop]
        error = jackknife(shares(found.sum(0) - found)[:, None])
        if float(error.max()) <= tolerance:
            return block.stop
    return len(draws)


def _largest(difference: Tensor) -> str:
    if not len(difference):
        return "-"
    mean, error = difference.mean(0), difference.std(0) / len(difference) ** 0.5
    level = int(mean.abs().argmax())
    return f"{float(mean[level]):+.5f} ({float(mean[level] / error[level]):+.1f})"


def _draw(measured: Measured, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    style = {"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}
    with pyplot.rc_context(style | {"svg.hashsalt": "estimators", "svg.fonttype": "path"}):
        figure, axes = pyplot.subplots(1, 3, figsize=(9.6, 3.1), layout="constrained")
        _draw_bias(measured, axes[0])
        _draw_scatter(measured, axes[1])
        _draw_cost(measured, axes[2])
        for axis in axes:
            axis.set_xscale("log", base=2)
            axis.set_xticks(measured.draws, [str(draws) for draws in measured.draws])
            axis.set_xlabel("draws")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
        figure.savefig(path, dpi=130, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw_bias(measured: Measured, axis: Any) -> None:
    n_images = len(measured.absolute_draws)
    for place, name in enumerate(ESTIMATORS):
        # Side by side, so that error bars of estimators that agree can be told apart.
        draws = np.asarray(measured.draws) * 1.05 ** (place - 1.5)
        error = measured.error(name)[:, 0] / np.sqrt(n_images)
        shift = measured.shift(name)[:, 0]
        style = {"color": COLOURS[name], "marker": "o", "markersize": 3, "linewidth": 1.2}
        axis.errorbar(draws, shift, error, label=LABELS[name], capsize=2, **style)
    axis.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    axis.set_title("bias: drift of the mean share", loc="left")
    axis.set_ylabel(f"share of level {measured.levels[0]}, less its value at {measured.draws[-1]}")


def _draw_scatter(measured: Measured, axis: Any) -> None:
    for name in ESTIMATORS:
        error = measured.error(name)[:, 0]
        axis.plot(measured.draws, error, color=COLOURS[name], marker="o", markersize=3, lw=1.2)
    axis.set_yscale("log")
    axis.set_title("scatter: error of one image's share", loc="left")
    axis.set_ylabel(f"Monte-Carlo standard error of level {measured.levels[0]}")


def _draw_cost(measured: Measured, axis: Any) -> None:
    for name in ESTIMATORS:
        own = np.asarray(measured.own_seconds[name]) / measured.pass_seconds
        axis.plot(measured.draws, own, color=COLOURS[name], marker="o", markersize=3, lw=1.2)
    axis.plot(measured.draws, measured.draws, color="0.3", linestyle="--", lw=1.2)
    axis.annotate(
        "the model's passes", (measured.draws[1], measured.draws[1]), (0, 8), color="0.3",
        textcoords="offset points", ha="center", rotation=18,
    )  # fmt: skip
    axis.set_yscale("log")
    axis.set_title("cost beside the passes", loc="left")
    axis.set_ylabel("in passes forward and backward")


if __name__ == "__main__":
    main()
