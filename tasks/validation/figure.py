"""Truth against estimate, drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.errors import ConfigError
from tasks.validation.suite import Validation
from tasks.validation.truths import Check

_COLOURS = {1: "#0072B2", 2: "#D55E00", 3: "#009E73"}
_MARKERS = {1: "o", 2: "s", 3: "^"}
_FORMATS = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class _Panel:
    """Numbers that are drawn together.

    Attributes:
        statistics: Beginnings of their names.
        experiments: Beginnings of the experiments' names; none for all.
        logarithmic: Both axes.
    """

    title: str
    unit: str
    statistics: tuple[str, ...]
    experiments: tuple[str, ...] = ()
    logarithmic: bool = False

    def takes(self, check: Check) -> bool:
        return (
            check.truth.kind == "about"
            and check.estimate is not None
            and check.truth.statistic.startswith(self.statistics)
            and (not self.experiments or check.experiment.startswith(self.experiments))
        )


_PANELS = (
    _Panel(
        "shares of levels and orientations,\nclosed forms (haar)",
        "share of the importance",
        ("reliance/share", "mean/bands/share", "reliance/mean_share", "reliance/fine_share"),
        ("prescribed", "noisy", "path", "border", "sensitivity", "white"),
    ),
    _Panel(
        "planted octaves: shares, with leakage\n(haar, db4, sym8)",
        "share of the importance",
        ("mean/levels/", "mean/bands/share"),
        ("planted octaves",),
    ),
    _Panel(
        "scale centroid; cut-off of pass curves;\ncentre and width of a channel",
        "octaves",
        (
            "reliance/scale_centroid",
            "shapley/scale_centroid",
            "pass/half",
            "critical_band/centre",
            "critical_band/width",
        ),
    ),
    _Panel(
        "share over share of energy; gap of path\nintegration; noise a level stands",
        "ratio",
        ("reliance/relative_share", "attribution/completeness_gap", "critical_band/threshold"),
        logarithmic=True,
    ),
    _Panel(
        "Shapley values and interactions\nof levels",
        "change of probability",
        ("shapley/value", "shapley/interaction"),
    ),
    _Panel(
        "accuracy without a level, with it alone,\nof pass curves, without a cue",
        "fraction",
        ("ablation/accuracy", "pass/accuracy", "texture/relative_loss"),
    ),
    _Panel(
        "minimal signals; biases of hybrids and\nconflicts; texture indices",
        "fraction",
        (
            "minimal/fraction",
            "minimal/kept",
            "texture/hybrid",
            "texture/t_",
            "texture/shape",
            "texture/coverage",
        ),
    ),
)


def draw_validation(result: Validation, path: Path) -> None:
    """Write the figure; the ending of the path decides the format.

    Raises:
        ConfigError: If the ending is no known format.
    """
    if path.suffix.lower() not in _FORMATS:
        raise ConfigError(f"--figure {path}: expected a file that ends in {', '.join(_FORMATS)}")
    figure = Figure(figsize=(15.0, 7.6), layout="constrained")
    axes = figure.subplots(2, 4).ravel()
    for panel, place in zip(_PANELS, axes, strict=False):
        _draw_identity(place, panel, [check for check in result.checks if panel.takes(check)])
    _draw_calibration(axes[len(_PANELS)], result.checks)
    n_passed = sum(check.passed for check in result.checks)
    figure.suptitle(
        f"Truth by construction against what the audit reports: {n_passed} of "
        f"{len(result.checks)} numbers within their tolerance"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw_identity(axes: Axes, panel: _Panel, checks: Sequence[Check]) -> None:
    axes.set_title(panel.title, fontsize=10)
    axes.set_xlabel(f"truth ({panel.unit})")
    axes.set_ylabel("estimate")
    values = [check.truth.expected for check in checks]
    values += [check.estimate for check in checks if check.estimate is not None]
    if panel.logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
        values = [value for value in values if value > 0]
    if values:
        ends = [min(values), max(values)]
        axes.plot(ends, ends, color="#BBBBBB", linewidth=1, zorder=0)
    _draw_points(axes, [(c, c.truth.expected, c.estimate) for c in checks])


def _draw_points(
    axes: Axes, points: Iterable[tuple[Check, float, float | None]], size: float = 14
) -> None:
    """One marker per dimension; what failed is a red cross."""
    placed = list(points)
    for dimension, marker in _MARKERS.items():
        chosen = [(x, y) for check, x, y in placed if check.dimension == dimension and check.passed]
        if chosen:
            across, up = zip(*chosen, strict=True)
            axes.scatter(
                across, up, s=size, marker=marker, facecolors="none", linewidths=0.8,
                edgecolors=_COLOURS[dimension], label=f"{dimension}D",
            )  # fmt: skip
    failed = [(x, y) for check, x, y in placed if not check.passed]
    if failed:
        across, up = zip(*failed, strict=True)
        axes.scatter(across, up, s=50, marker="x", color="red", label="not recovered")
    if placed:
        axes.legend(fontsize=8, frameon=False)


def _draw_calibration(axes: Axes, checks: Sequence[Check]) -> None:
    """Scatter of shares between copies over the Monte-Carlo error they state, per estimator."""
    axes.set_title("scatter of shares over seeds over the\nMonte-Carlo error stated", fontsize=10)
    chosen = [c for c in checks if c.truth.statistic.startswith("calibration/")]
    methods = sorted({str(check.truth.labels["method"]) for check in chosen})
    rng = np.random.default_rng(0)
    points = [
        (check, methods.index(str(check.truth.labels["method"])) + rng.uniform(-0.2, 0.2), estimate)
        for check in chosen
        if (estimate := check.estimate) is not None
    ]
    axes.axhline(1.0, color="#BBBBBB", linewidth=1, zorder=0)
    if chosen:
        allowed = chosen[0].truth.tolerance.around(1.0)
        axes.axhspan(1 - allowed, 1 + allowed, color="#EEEEEE", zorder=-1)
    _draw_points(axes, points)
    axes.set_xticks(range(len(methods)), [name.removeprefix("smoothgrad_") for name in methods])
    axes.set_ylabel("ratio (1: calibrated)")
    axes.set_ylim(0.5, 1.5)
