"""Where each kind of damage lies in the spectrum, as audits measured it.

Run: python benchmarks/footprints_figure.py AUDIT [AUDIT …] FILE.png

Draws `robustness/footprint` of the folders' summaries side by side, one panel per audit: a row per
kind of damage, fine damage on top, a column per level, at the middle severity.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def main() -> None:
    """Draw the figure."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("audits", nargs="+", type=Path)
    arguments.add_argument("figure", type=Path)
    given = arguments.parse_args()
    draw([footprints(folder) for folder in given.audits], given.figure)


def footprints(folder: Path) -> tuple[str, list[str], list[str], NDArray[np.float64]]:
    """Title, kinds of damage, levels, and shares (kind, level)."""
    summary = json.loads((folder / "summary.json").read_text())
    entries = [entry for entry in summary["metrics"] if entry["name"] == "robustness/footprint"]
    severities = sorted({entry["labels"]["severity"] for entry in entries})
    middle = severities[len(severities) // 2]
    shares = {
        (entry["labels"]["corruption"], str(entry["labels"]["level"])): entry["estimate"]
        for entry in entries
        if entry["labels"]["severity"] == middle
    }
    levels = sorted({level for _, level in shares}, key=_coarseness)
    values = {name: [shares[name, level] for level in levels] for name, _ in shares}
    octaves = np.arange(1, len(levels) + 1)
    ordered = sorted(values, key=lambda name: float(np.dot(values[name], octaves)))
    title = f"{summary['name']}, severity {middle}, n = {entries[0]['n']}"
    return title, ordered, levels, np.array([values[name] for name in ordered])


def draw(panels: list[Any], path: Path) -> None:
    """One panel per audit."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    rows = max(len(names) for _, names, _, _ in panels)
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(5.4 * len(panels), 1.4 + 0.27 * rows), squeeze=False
    )
    for axis, (title, names, levels, shares) in zip(axes[0], panels, strict=True):
        axis.imshow(shares, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        axis.set_title(title, fontsize=9)
        axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=8)
        titles = ["approx." if level == "approximation" else level for level in levels]
        axis.set_xticks(range(len(levels)), titles, fontsize=8)
        axis.set_xlabel("level (1 is the finest)", fontsize=8)
        for (row, column), share in np.ndenumerate(shares):
            shade = "black" if share > 0.55 else "white"
            text = f"{100 * share:.0f}"
            axis.text(column, row, text, ha="center", va="center", fontsize=7, color=shade)
    figure.suptitle("Share of the energy of the damage in each level, in %", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=85)


def _coarseness(level: str) -> tuple[bool, int]:
    return not level.isdigit(), int(level) if level.isdigit() else 0


if __name__ == "__main__":
    main()
