"""Train a model from a terminal, with a progress bar."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tasks.training import EpochReport, TrainingConfig, TrainingResult, train


def run_training(config: TrainingConfig, *, quiet: bool = False) -> TrainingResult:
    """Run a recipe to its end, with progress on standard error."""
    console = Console(stderr=True, quiet=quiet)
    console.print(f"Training [bold]{config.name}[/bold]: reading samples …")
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    with progress:
        bar = progress.add_task("epochs", total=None)

        def show(report: EpochReport) -> None:
            words = f"epochs, loss {report.loss:.4f}"
            progress.update(bar, completed=report.epoch, total=report.n_epochs, description=words)
            if not console.is_terminal and report.epoch % max(1, report.n_epochs // 10) == 0:
                console.print(f"epoch {report.epoch} of {report.n_epochs}: loss {report.loss:.4f}")

        return train(config, show)


def describe_training(result: TrainingResult) -> str:
    """What came out, in lines for a terminal."""
    test = result.metrics["test"]
    auc = f", AUC {test['auc']:.3f}" if "auc" in test else ""
    return "\n".join(
        [
            f"test       accuracy {test['accuracy']:.3f}{auc}, loss {test['loss']:.3f} "
            f"(n = {test['n']})",
            f"weights    {result.weights} ({result.metrics['n_parameters']} parameters)",
            f"metrics    {result.metrics_file}",
            f"time       {result.metrics['seconds']:.0f} s",
        ]
    )
