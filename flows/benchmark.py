"""Run a benchmark: its audits one after another, then one table, a CSV file and a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from flows.running import run_audit
from tasks.benchmark import BenchmarkTable, load_benchmark, table_of
from tasks.benchmark.figure import draw_benchmark
from tasks.benchmark.table import COLUMNS, TITLES
from tasks.tracking import add_files, resolve_tracking_uri

_REFERENCES = ("magnitude", "smoothgrad_absolute", "integrated_gradients")


@dataclass(frozen=True)
class BenchmarkResult:
    """What a benchmark left.

    Attributes:
        audits: Results of `run_audit` by title.
    """

    table: BenchmarkTable
    audits: dict[str, dict[str, Any]]
    csv: Path
    figure: Path

    def record(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "name": self.table.name,
            "rows": self.table.rows.to_dict(orient="records"),
            "csv": str(self.csv),
            "figure": str(self.figure),
            "audits": {title: result["folder"] for title, result in self.audits.items()},
        }


def run_benchmark(
    path: Path, overrides: Sequence[str], output: Path | None = None, *, quiet: bool = False
) -> BenchmarkResult:
    """Run every audit of a benchmark that is not complete, and put their numbers together.

    Args:
        output: Folder for the CSV file and the figure; `benchmarks/<name>` below the audits'
            store when it is local, else below the working directory.

    Raises:
        AuditError: What went wrong and what to do; finished shards are safe.
    """
    name, audits = load_benchmark(path, overrides)
    results = {audit.title: run_audit(audit.config, quiet=quiet) for audit in audits}
    table = table_of(name, {title: result["summary"] for title, result in results.items()})
    folder = output or _folder(audits[0].config.store.url) / name
    folder.mkdir(parents=True, exist_ok=True)
    csv, figure = folder / "benchmark.csv", folder / "benchmark.png"
    csv.write_text(table.csv(), encoding="utf-8")
    draw_benchmark(table, figure)
    for audit in audits:
        run_id = results[audit.title]["mlflow_run"]
        if run_id:
            uri = resolve_tracking_uri(audit.config.tracking, audit.config.store.url)
            add_files(uri, run_id, [csv, figure], "benchmark")
    return BenchmarkResult(table, results, csv, figure)


def print_benchmark(result: BenchmarkResult) -> None:
    """The table of every audit and the paired differences on standard output."""
    console = Console(width=None if Console().is_terminal else 190)
    for audit in result.table.audits():
        console.print(_numbers(result.table, audit))
        console.print(_differences(result.table, audit))
    for title, run in result.audits.items():
        for sentence in run["summary"]["headline"][:1]:
            console.print(f"{title}: {sentence}")
    console.print(f"Table       {result.csv}")
    console.print(f"Figure      {result.figure}")


def _numbers(table: BenchmarkTable, audit: str) -> Table:
    shown = Table(title=audit, box=None, pad_edge=False, header_style="bold")
    shown.add_column("method")
    for _, title in COLUMNS:
        shown.add_column(title, justify="right")
    for method in table.methods(audit):
        cells = [_text(table.cell(audit, method, measure)) for measure, _ in COLUMNS]
        shown.add_row(TITLES.get(method, method), *cells)
    return shown


def _differences(table: BenchmarkTable, audit: str) -> Table:
    """Sample by sample: what the methods over coefficients gain over every other."""
    best = [name for name in table.methods(audit) if TITLES.get(name, "").startswith("WAM")]
    shown = Table(
        title="Paired differences in Faith, column less row",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    shown.add_column("over")
    for name in best:
        shown.add_column(TITLES[name], justify="right")
    for over in table.methods(audit):
        cells = [_text(table.difference(audit, name, over), signed=True) for name in best]
        shown.add_row(TITLES.get(over, over), *cells)
    for measure, title in COLUMNS[-3:]:
        for over in _REFERENCES:
            cells = [_text(table.difference(audit, name, over, measure), signed=True)
                     for name in best]  # fmt: skip
            shown.add_row(f"{title}: {TITLES[over]}", *cells)
    return shown


def _text(cell: Any, *, signed: bool = False) -> str:
    if cell is None or cell["estimate"] is None:
        return ""
    sign = "+" if signed else ""
    text = f"{cell['estimate']:{sign}.3f}"
    if cell["low"] is None:
        return text
    return f"{text} [{cell['low']:{sign}.2f}, {cell['high']:{sign}.2f}]"


def _folder(store: str) -> Path:
    return Path("benchmarks") if "://" in store else Path(store) / "benchmarks"
