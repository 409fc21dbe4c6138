"""The benchmark as a picture: three measures of every method with intervals."""

from __future__ import annotations

from pathlib import Path

from tasks.analyses.mixtures import MODEL_FREE
from tasks.benchmark.table import TITLES, BenchmarkTable
from tasks.errors import ConfigError

_MEASURES = (
    ("faith", "Faith, as published\n(insertion - deletion)"),
    ("energy_faith", "Faith over the fraction\nof energy, details only"),
    ("replacement_faith", "Faith, removed details\nreplaced by another sample's"),
)
_INPUT, _WAVELET, _CONTROL = "#7f7f7f", "#0072b2", "#d55e00"


def draw_benchmark(table: BenchmarkTable, path: Path) -> None:
    """Draw points with intervals: a panel per audit and measure.

    Raises:
        ConfigError: If the file's ending is not that of a picture.
    """
    from matplotlib.figure import Figure

    if path.suffix not in {".png", ".svg"}:
        raise ConfigError(f"a figure must end in .png or .svg; got {path}")
    audits = table.audits()
    most = max(len(table.methods(audit)) for audit in audits)
    figure = Figure(figsize=(11, len(audits) * (0.32 * most + 1.4)), layout="constrained")
    panels = figure.subplots(len(audits), len(_MEASURES), squeeze=False, sharey="row")
    for line, audit in zip(panels, audits, strict=True):
        methods = table.methods(audit)[::-1]
        for panel, (measure, title) in zip(line, _MEASURES, strict=True):
            for height, method in enumerate(methods):
                cell = table.cell(audit, method, measure)
                if cell is None:
                    continue
                colour = _colour(method)
                panel.plot(cell["estimate"], height, "o", color=colour, markersize=5)
                if cell["low"] is not None:
                    panel.plot([cell["low"], cell["high"]], [height] * 2, color=colour)
            panel.axvline(0, color="black", linewidth=0.6)
            panel.set_title(title, fontsize=9)
            panel.grid(axis="x", alpha=0.3)
        line[0].set_yticks(range(len(methods)), [TITLES.get(name, name) for name in methods])
        line[0].set_ylabel(f"{audit} (n = {_n(table, audit)})", fontsize=9)
    figure.savefig(path, dpi=110)


def _colour(method: str) -> str:
    if method in MODEL_FREE:
        return _CONTROL
    return _WAVELET if TITLES.get(method, "").startswith("WAM") else _INPUT


def _n(table: BenchmarkTable, audit: str) -> int:
    cell = table.cell(audit, "magnitude", "faith")
    return 0 if cell is None else int(cell["n"])
