"""Time of the attribution stage over the bare passes of the same model.

Run: python benchmarks/attribution_overhead.py [CONFIG] [--images 8] [--passes 25] [--repeats 5]

Both sides use the same model, batch, threads and memory format, in one process, interleaved; the
figure is the median of the ratios of neighbouring runs, with the smallest and largest as noise.
Processor time says the same on a machine that others use too, where wall time wavers.
The bare side only derives the score by the input, as often as the attribution does; the attribution
side also draws noise, transforms, measures bands and writes the coefficient shards.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from tasks.config_files import load_config
from tasks.explain import explain
from tasks.planning import passes_per_sample
from tasks.session import AuditSession
from tasks.store import AuditFolder, CoefficientStore, Shard
from tasks.store.coefficients import round_mantissa
from wam_core.scores import ClassScore


def main() -> None:
    options = _options()
    overrides = [f"attribution.smoothgrad.n_samples={options.passes}"]
    overrides += [f"attribution.integrated_gradients.n_steps={options.passes}"]
    session = AuditSession(load_config(options.config, overrides))
    signal, targets, ids = _batch(session, options.images)
    print(f"{session.model.description}; {len(signal)} images of {tuple(signal.shape[1:])};")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {session.device}")
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        store = CoefficientStore(AuditFolder(folder))
        methods = session.config.attribution.methods
        store.create(methods, len(signal), signal.shape[1], session.layout, len(signal))
        for _ in range(options.repeats + 1):
            bare = _time(lambda: _bare_passes(session, signal, targets))
            full = _time(lambda: _attribution_stage(session, store, signal, targets, ids))
            rounds.append(np.array([bare, full]))
    times = np.stack(rounds[1:])  # the first round warms up; axes (round, side, clock)
    ratios = times[:, 1] / times[:, 0]
    n_passes = passes_per_sample(session.config).backward * len(signal)
    print(f"{'':24}{'wall':>10}{'processor':>12}")
    for side, name in enumerate((f"bare, {n_passes} passes", "attribution stage")):
        wall, processor = np.median(times[:, side], axis=0)
        print(f"{name:24}{wall:8.2f} s{processor:10.2f} s")
    print(f"{'ratio, median':24}{np.median(ratios[:, 0]):10.3f}{np.median(ratios[:, 1]):12.3f}")
    for name, value in (("smallest", ratios.min(0)), ("largest", ratios.max(0))):
        print(f"{'  ' + name:24}{value[0]:10.3f}{value[1]:12.3f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", nargs="?", type=Path, default=Path("configs/demo.yaml"))
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--passes", type=int, default=25)
    return parser.parse_args()


def _batch(session: AuditSession, n_images: int) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """The first images of the dataset, repeated if there are fewer."""
    n_samples = len(session.manifest.table)
    rows = [index % n_samples for index in range(n_images)]
    signals = [session.reader.read(row).signal for row in rows]
    labels = session.manifest.table["label"].iloc[rows].astype("int64").to_numpy()
    ids = [f"{row}-{index}" for index, row in enumerate(rows)]
    return torch.from_numpy(np.stack(signals)), torch.tensor(labels), ids


def _bare_passes(session: AuditSession, signal: torch.Tensor, targets: torch.Tensor) -> None:
    config = session.config
    score = ClassScore(session.model.module, targets, head=session.model.head)
    for rows in torch.arange(len(signal)).split(config.execution.max_batch):
        for _ in range(passes_per_sample(config).backward):
            leaf = signal[rows].requires_grad_()
            torch.autograd.grad(score(leaf, rows).sum(), leaf)


def _attribution_stage(
    session: AuditSession,
    store: CoefficientStore,
    signal: torch.Tensor,
    targets: torch.Tensor,
    ids: list[str],
) -> None:
    config = session.config
    parts: dict[str, list[np.ndarray]] = {method: [] for method in config.attribution.methods}
    for rows in torch.arange(len(signal)).split(config.execution.max_batch):
        names = [ids[row] for row in rows.tolist()]
        explained = explain(
            config, session.model, session.layout, signal[rows], targets[rows], names, len(rows)
        )
        for method, values in explained.maps.items():
            parts[method].append(round_mantissa(values.flat.numpy(), config.store.mantissa_bits))
    for method, arrays in parts.items():
        store.write(method, Shard(index=0, start=0, stop=len(signal)), np.concatenate(arrays))


def _time(work: Callable[[], None]) -> tuple[float, float]:
    """Wall time and processor time of all threads, in seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


if __name__ == "__main__":
    main()
