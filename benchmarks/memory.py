"""Peak memory of whole audits, against the number of draws and the number of samples.

Run: python benchmarks/memory.py [CONFIG] [--draws 5 20 80] [--samples 16 128 1024 4096]

Every audit is a process of its own, run as a user runs it (`wam-audit run`, with preflight, report
and MLflow run); the figure is the largest resident memory that the operating system saw. The
dataset is that of the configuration, its table repeated under new ids. Draws are compared at the
model's own size, samples at a small crop with one draw, so that many fit into a few minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from tasks.config_files import load_config
from tasks.session import AuditSession

_SHARD = 16


def main() -> None:
    options = _options()
    session = AuditSession(load_config(options.config, []))
    table = session.manifest.table
    samples = pd.DataFrame({"path": table["source"], "label": table["label"].astype("int64")})
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'samples':>8}{'draws':>7}{'steps':>7}{'side':>6}{'peak memory':>14}", flush=True)
        for draws in options.draws:
            _report(options.config, Path(folder), samples, 8, draws, side=224)
        for n_samples in options.samples:
            _report(options.config, Path(folder), samples, n_samples, 1, side=64)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", nargs="?", type=Path, default=Path("configs/demo.yaml"))
    parser.add_argument("--draws", type=int, nargs="*", default=[5, 20, 80])
    parser.add_argument("--samples", type=int, nargs="*", default=[16, 128, 1024, 4096])
    return parser.parse_args()


def _report(
    config: Path, folder: Path, samples: pd.DataFrame, n_samples: int, draws: int, side: int
) -> None:
    repeats = -(-n_samples // len(samples))
    table = pd.concat([samples] * repeats, ignore_index=True).iloc[:n_samples]
    table = table.assign(identifier=[f"sample-{index}" for index in range(n_samples)])
    manifest = folder / f"manifest-{n_samples}.csv"
    table.to_csv(manifest, index=False)
    settings = {
        "name": f"memory-{n_samples}-{draws}",
        "dataset.manifest": manifest,
        "dataset.id_column": "identifier",
        "dataset.group_column": "null",
        "model.preprocessing.crop": side,
        "attribution.smoothgrad.n_samples": draws,
        "attribution.integrated_gradients.n_steps": draws,
        "basis.levels": 5,
        "store.shard_size": _SHARD,
    }
    command = [sys.executable, "-m", "flows.cli", "run", str(config.resolve())]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    peak = _peak_mib(command, folder)
    print(f"{n_samples:8}{draws:7}{draws:7}{side:6}{peak:10.0f} MiB", flush=True)


def _peak_mib(command: list[str], folder: Path) -> float:
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"the audit failed:\n{log.read_text()}")
    return usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
