"""What is left of explanations when layers are randomised: audits with `analyses.sanity`.

Run: python benchmarks/sanity_curves.py AUDIT [AUDIT ...] [--figure FILE.png]

Prints, for every audit folder, the similarities at every stage and the controls, and every check of
the verdict. `--figure` draws the curves: above, the rank correlation of magnitudes; below, how much
of the profile over levels stays the same.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tasks.reporting.sanity import TITLES

COLOURS = {
    "gradient": "#1f5f8b",
    "smoothgrad_absolute": "#c44536",
    "smoothgrad_signed": "#8a5fa8",
    "integrated_gradients": "#7a9e3f",
    "path_gradient": "#3d5a1e",
    "coalition_gradients": "#7b8794",
    "coalition_mean_gradient": "#a05195",
}
CONTROLS = ("energy_similarity", "shuffled_spearman", "seed_reliability", "random_labels_spearman")
MEASURES = ("spearman", "spearman_within_bands", "spearman_signed", "ssim", "hog",
            "profile_overlap")  # fmt: skip
LIMIT = 0.2


def main() -> None:
    """Print the tables and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("audits", nargs="+", type=Path)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    summaries = [json.loads((audit / "summary.json").read_text()) for audit in arguments.audits]
    for summary in summaries:
        print_summary(summary)
    if arguments.figure:
        draw(summaries, arguments.figure)


def print_summary(summary: dict[str, Any]) -> None:
    """Similarities by stage and controls, then every check."""
    print(f"\n## {summary['name']}\n\n{summary['headline'][0]}\n")
    n_stages = last_stage(summary)
    print("| explanation | measure |", *(f"{stage} |" for stage in range(1, n_stages + 1)))
    print("|-|-|" + "-|" * n_stages)
    for prefix in ("randomisation", "independent"):
        for method in TITLES:
            for measure in MEASURES:
                cells = [
                    cell(summary, f"sanity/{prefix}_{measure}", method=method, stage=stage)
                    for stage in range(1, n_stages + 1)
                ]
                if any(cells):
                    print(f"| {method} | {prefix} {measure} |", *(f"{text} |" for text in cells))
    for method in TITLES:
        cells = [f"{name} {cell(summary, f'sanity/{name}', method=method)}" for name in CONTROLS]
        print(f"{method}: {'; '.join(cells)}")
    for verdict in summary.get("trust", ()):
        for check in verdict["checks"]:
            print(f"{verdict['method']}: {check['check']}: {check['reason']} -> {check['verdict']}")


def last_stage(summary: dict[str, Any]) -> int:
    """Number of stages in which everything was randomised."""
    return max(
        entry["labels"]["stage"]
        for entry in summary["metrics"]
        if entry["name"] == "sanity/randomisation_spearman"
    )


def find(summary: dict[str, Any], name: str, **labels: object) -> dict[str, Any] | None:
    """A metric with exactly these labels."""
    return next(
        (
            entry
            for entry in summary["metrics"]
            if entry["name"] == name and entry["labels"] == labels
        ),
        None,
    )


def cell(summary: dict[str, Any], name: str, **labels: object) -> str:
    """A number with its interval, or nothing."""
    entry = find(summary, name, **labels)
    if entry is None:
        return ""
    interval = "" if entry["low"] is None else f" [{entry['low']:.2f}, {entry['high']:.2f}]"
    return f"{entry['estimate']:.2f}{interval}"


def draw(summaries: list[dict[str, Any]], path: Path) -> None:
    """One column per audit."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    size = (4.2 * len(summaries), 6.4)
    figure, axes = pyplot.subplots(2, len(summaries), figsize=size, squeeze=False, sharey="row")
    for column, summary in enumerate(summaries):
        upper, lower = axes[0][column], axes[1][column]
        draw_curves(upper, summary, "spearman")
        draw_curves(lower, summary, "profile_overlap")
        upper.axhline(LIMIT, color="0.3", linestyle=":", linewidth=1)
        upper.set_title(summary["name"].removesuffix("-sanity"), loc="left", fontsize=10)
        lower.set_xlabel("stages randomised, from the output")
        upper.set_ylim(-0.1, 1.03)
        lower.set_ylim(0.5, 1.02)
    axes[0][0].set_ylabel("rank correlation of magnitudes\nwith the original")
    axes[1][0].set_ylabel("overlap of level profiles\nwith the original")
    handles = axes[0][0].get_legend_handles_labels()
    figure.legend(*handles, frameon=False, fontsize=8, loc="lower center", ncols=len(summaries) + 2)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(path, dpi=110, metadata={"Software": None})


def draw_curves(axis: Any, summary: dict[str, Any], measure: str) -> None:
    """One curve per explanation, beginning at the original."""
    n_stages = last_stage(summary)
    for place, method in enumerate(TITLES):
        found = [
            find(summary, f"sanity/randomisation_{measure}", method=method, stage=stage)
            for stage in range(1, n_stages + 1)
        ]
        known = [(stage, entry) for stage, entry in enumerate(found, start=1) if entry]
        if not known:
            continue
        across = [0.0, *(stage + 0.04 * (place - 2) for stage, _ in known)]
        values = [1.0, *(entry["estimate"] for _, entry in known)]
        errors = [[0.0, *(distance(entry, end) for _, entry in known)] for end in ("low", "high")]
        axis.errorbar(
            across,
            values,
            errors,
            label=TITLES[method],
            color=COLOURS[method],
            linestyle="--" if method in ("path_gradient", "coalition_mean_gradient") else "-",
            marker="o",
            markersize=3,
            linewidth=1.2,
            capsize=2,
        )
    axis.set_xticks(range(n_stages + 1), ["none", *map(str, range(1, n_stages)), "all"])


def distance(entry: dict[str, Any], end: str) -> float:
    """From the estimate to an end of its interval; 0 without one."""
    return 0.0 if entry[end] is None else abs(entry[end] - entry["estimate"])


if __name__ == "__main__":
    main()
