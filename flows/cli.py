"""The command line `wam-audit`. Heavy libraries are imported by the commands that need them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tasks.errors import EXIT_GATE_FAILED, EXIT_INCOMPLETE, AuditError

if TYPE_CHECKING:
    from tasks.config import AuditConfig
    from tasks.store import AuditFolder

app = typer.Typer(
    name="wam-audit",
    help="Audit what a model relies on, over a whole dataset, in the wavelet domain.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigPath = Annotated[Path, typer.Argument(help="Configuration file (YAML).")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Override a key: section.key=value, the value in YAML.", metavar="KEY=VALUE"
    ),
]
AuditPath = Annotated[str, typer.Argument(help="Audit folder: a path or an fsspec URL.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@app.command()
def run(
    config: ConfigPath,
    overrides: Overrides = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Discard what the folder has.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run an audit; after any interruption the same command continues it."""
    from flows.running import run_audit

    result = run_audit(_load(config, overrides), fresh=fresh, quiet=as_json)
    if as_json:
        _print_json(result)
    else:
        _print_result(result)
    _exit_as_judged(result)


@app.command()
def plan(config: ConfigPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Say what a run would cost, without running it."""
    from flows.running import describe_plan, plan_with_probe

    costs = plan_with_probe(_load(config, overrides))
    if as_json:
        _print_json(costs)
    else:
        typer.echo(describe_plan(costs))


@app.command()
def status(audit: AuditPath, as_json: AsJson = False) -> None:
    """Say how far an audit is; exit code 3 while shards are missing."""
    from tasks.inspection import audit_status, describe_status

    state = audit_status(_folder(audit))
    if as_json:
        _print_json(state)
    else:
        typer.echo(describe_status(state))
    if not state["complete"]:
        raise typer.Exit(EXIT_INCOMPLETE)


@app.command()
def verify(
    audit: AuditPath,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Drop the receipts of damaged shards: the next run redoes them."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check every file against its receipt; exit code 4 if one is damaged.

    A run itself compares only the files' sizes with their receipts.
    """
    from tasks.inspection import describe_verification, verify_files

    found = verify_files(_folder(audit), repair=repair)
    if as_json:
        _print_json(found)
    else:
        typer.echo(describe_verification(found))
    if found["exit_code"]:
        raise typer.Exit(found["exit_code"])


@app.command()
def show(
    audit: AuditPath,
    sample_id: Annotated[str, typer.Argument(help="Id of the sample, as in tables/samples.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="PNG file.")] = None,
) -> None:
    """Picture one sample's explanation; a sound is written as WAV files too."""
    from tasks.inspection import picture_sample

    for path in picture_sample(_folder(audit), sample_id, output):
        typer.echo(f"wrote {path}")


@app.command()
def report(
    audit: AuditPath,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Rebuild summary, gates, report and MLflow run from an audit folder."""
    from flows.running import republish
    from tasks.inspection import recorded_config

    folder = _folder(audit)
    result = republish(folder, recorded_config(folder, overrides or []))
    if as_json:
        _print_json(result)
    else:
        _print_result(result)
    _exit_as_judged(result)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="Audit folder A: a path or an fsspec URL.")],
    second: Annotated[str, typer.Argument(help="Audit folder B.")],
    force: Annotated[
        bool, typer.Option("--force", help="Compare although settings differ; they are listed.")
    ] = False,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="Folder of the comparison; else beside audit A."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two finished audits: what changed from A to B, with tests and intervals."""
    from tasks.comparison import compare_audits, publish_comparison

    comparison = compare_audits(first, second, force=force, output=output)
    published = publish_comparison(comparison)
    if as_json:
        _print_json(comparison.record | {"folder": comparison.folder.url})
        return
    for sentence in comparison.record["headline"]:
        typer.echo(f"  {sentence}")
    typer.echo(f"\nReport      {comparison.folder.uri('report.html')}")
    if published:
        typer.echo(f"MLflow      run {published.run_id}")


@app.command()
def validate(
    quick: Annotated[
        bool, typer.Option("--quick", help="Each kind of truth in one dimension only.")
    ] = False,
    figure: Annotated[
        Path | None, typer.Option(help="Draw truth against estimate: a PNG or SVG file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Audit models whose use of the input is known; exit code 1 if a statistic is wrong."""
    from flows.validation import print_validation, run_validation

    result = run_validation(quick=quick, figure=figure, quiet=as_json)
    if as_json:
        _print_json(result.record())
    else:
        print_validation(result)
    if not result.passed:
        raise typer.Exit(EXIT_GATE_FAILED)


@app.command()
def benchmark(
    config: Annotated[Path, typer.Argument(help="Benchmark (YAML): a list of audits.")],
    overrides: Overrides = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the CSV file and the figure.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare attribution methods: the published table, with intervals and controls.

    After any interruption the same command continues it.
    """
    from flows.benchmark import print_benchmark, run_benchmark

    result = run_benchmark(config, overrides or [], output, quiet=as_json)
    if as_json:
        _print_json(result.record())
    else:
        print_benchmark(result)


@app.command()
def train(config: ConfigPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Train a model by a recipe, and test it once after the last epoch."""
    from flows.training import describe_training, run_training
    from tasks.training import load_training_config

    result = run_training(load_training_config(config, overrides or []), quiet=as_json)
    if as_json:
        _print_json(result.metrics)
    else:
        typer.echo(describe_training(result))


@app.command()
def data(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Datasets to download; without any, list them."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Folder for datasets; else $WAM_DATA_ROOT, else ./data."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Download public datasets, checked; after any interruption the same command continues it."""
    from flows.data import (
        as_records,
        data_folder,
        describe_datasets,
        describe_placed,
        run_downloads,
    )

    if not names:
        typer.echo(describe_datasets())
        return
    root = data_folder(to)
    placed = run_downloads(names, root, quiet=as_json)
    if as_json:
        _print_json(as_records(placed))
    else:
        typer.echo(describe_placed(placed, root))


@app.command()
def ui(
    config: Annotated[
        Path | None, typer.Argument(help="Configuration whose store and tracking are shown.")
    ] = None,
    overrides: Overrides = None,
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
    prefect_port: Annotated[int, typer.Option(help="Port of the Prefect UI.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow UI.")] = 5000,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Serve other machines too (no passwords!).")
    ] = False,
) -> None:
    """Serve the Prefect and MLflow pages on this machine until Ctrl-C."""
    from flows.dashboards import run_dashboards
    from tasks.config import StoreConfig, TrackingConfig
    from tasks.tracking import resolve_tracking_uri

    store, tracking = StoreConfig(), TrackingConfig()
    if config is not None:
        loaded = _load(config, overrides)
        store, tracking = loaded.store, loaded.tracking
    run_dashboards(
        store.url,
        resolve_tracking_uri(tracking, store.url),
        experiment=tracking.experiment,
        host=host,
        prefect_port=prefect_port,
        mlflow_port=mlflow_port,
        allow_remote=allow_remote,
    )


def main() -> None:
    """Run the command line; errors the user can mend end with a message and an exit code."""
    _quiet_libraries()
    try:
        app()
    except AuditError as error:
        typer.secho(f"wam-audit: {error}", err=True, fg=_error_colour())
        sys.exit(error.exit_code)


def _load(config: Path, overrides: list[str] | None) -> AuditConfig:
    from tasks.config_files import load_config

    return load_config(config, overrides or [])


def _folder(audit: str) -> AuditFolder:
    from tasks.inspection import existing_folder

    return existing_folder(audit)


def _exit_as_judged(result: dict[str, Any]) -> None:
    if not result["summary"]["complete"]:
        raise typer.Exit(EXIT_INCOMPLETE)
    if result["gates_failed"]:
        raise typer.Exit(EXIT_GATE_FAILED)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))


def _print_result(result: dict[str, Any]) -> None:
    typer.echo("")
    for sentence in result["summary"]["headline"]:
        typer.echo(f"  {sentence}")
    typer.echo("")
    for line in result["where"]:
        typer.echo(line)


def _error_colour() -> str | None:
    return None if os.environ.get("NO_COLOR") or not sys.stderr.isatty() else typer.colors.RED


def _quiet_libraries() -> None:
    """Defaults for the embedded servers, unless the user has chosen; no telemetry from audits."""
    defaults = {
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,tasks,wam_core",
        # Runs are logged to the Prefect UI; the terminal shows progress and one message.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


if __name__ == "__main__":
    main()
