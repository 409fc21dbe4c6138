"""Prove the statistics from a terminal: truth beside estimate, and whether they agree."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tasks.validation import Validation, planned_experiments, run_suite
from tasks.validation.truths import Check, CheckGroup

_SIGNS = {"about": "", "at_least": "≥ ", "at_most": "≤ "}


def run_validation(
    *, quick: bool = False, figure: Path | None = None, quiet: bool = False
) -> Validation:
    """Run the suite with progress on standard error, and draw truth against estimate.

    Args:
        figure: PNG or SVG file; None for no figure.
    """
    console = Console(stderr=True, quiet=quiet)
    experiments = planned_experiments(quick=quick)
    progress = Progress(
        TextColumn("audits whose results are known"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
    with progress:
        bar = progress.add_task("audits", total=len(experiments))

        def show(done: int) -> None:
            progress.update(bar, completed=done)
            if not console.is_terminal and done % 10 == 0:
                console.print(f"{done} of {len(experiments)} audits")

        result = run_suite(experiments, show)
    if figure is not None:
        from tasks.validation.figure import draw_validation

        draw_validation(result, figure)
        console.print(f"wrote {figure}")
    return result


def print_validation(result: Validation) -> None:
    """The table on standard output, and what it comes to."""
    console = Console(width=None if Console().is_terminal else 170)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("statistic", "signal", "truth"):
        table.add_column(name)
    for name in ("numbers", "estimate", "expected", "tolerance"):
        table.add_column(name, justify="right")
    for name in ("", "the number that lies farthest off"):
        table.add_column(name)
    for group in result.groups:
        table.add_row(*_cells(group))
    console.print(table)
    failed = [group for group in result.groups if not group.passed]
    n_failed = sum(not check.passed for check in result.checks)
    verdict = "every truth is recovered" if not failed else f"{n_failed} are NOT recovered"
    console.print(
        f"\n{len(result.checks)} numbers in {result.n_experiments} audits, "
        f"{result.seconds:.0f} s: {verdict}. Each line shows the number that lies farthest from "
        "its truth, measured by its tolerance."
    )
    for group in failed:
        console.print(
            f"FAIL {group.statistic} in '{group.experiment}', {group.dimension}D "
            f"({_address(group.worst)}): expected {_expected(group.worst)}, got "
            f"{_number(group.worst.estimate)}; tolerance: {group.worst.truth.tolerance.reason}"
        )


def _cells(group: CheckGroup) -> list[str]:
    worst = group.worst
    allowed = 0.0 if worst.truth.kind == "absent" else worst.truth.tolerance.around(
        worst.truth.expected
    )  # fmt: skip
    return [
        group.statistic,
        f"{group.dimension}D",
        group.experiment,
        str(len(group.checks)),
        _number(worst.estimate),
        _expected(worst),
        f"{allowed:.1g}" if allowed else "",
        "[green]pass[/green]" if group.passed else "[red]FAIL[/red]",
        _address(worst),
    ]


def _address(check: Check) -> str:
    labels = dict(check.truth.labels)
    if "level" in labels:
        level = labels.pop("level")
        labels["in"] = f"level {level}" if level != "approximation" else "approximation"
    return ", ".join(
        str(value) if key in ("method", "in", "filters", "kind") else f"{key} {value}"
        for key, value in labels.items()
    )


def _expected(check: Check) -> str:
    truth = check.truth
    return "none" if truth.kind == "absent" else f"{_SIGNS[truth.kind]}{_number(truth.expected)}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
