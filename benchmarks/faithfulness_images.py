"""Faith of EfficientNet-Lite0's maps on photographs, beside orders that need no model.

Run: python benchmarks/faithfulness_images.py [--samples 40]     (needs WAM_DATA_ROOT, demo extra)

Labelled class, haar, 3 levels, zero baseline, 25 draws and steps: over the count with all
coefficients ranked, as published, and over the energy with the approximation kept. About half a
minute a photograph on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tasks.config_files import load_config
from tasks.session import new_session
from wam_core import ClassScore, WaveletBasis, integrated_gradients, smoothgrad
from wam_core.faithfulness.curves import Axis, insertion_deletion
from wam_core.faithfulness.domains import CoefficientDomain
from wam_core.faithfulness.outputs import OutputReader, read_ends
from wam_core.faithfulness.rankings import random_importance


def judge_images(n_samples: int) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Faith of EfficientNet-Lite0's maps by order: published, then over the energy."""
    overrides = ["basis.levels=3", f"dataset.sample={n_samples}"]
    session = new_session(load_config(Path("configs/imagenet_sample.yaml"), overrides))
    settings: tuple[tuple[str, Axis, bool, int], ...] = (
        ("over the count, all ranked", "count", False, 64),
        ("over the energy, approximation kept", "energy", True, 48),
    )
    found: dict[str, dict[str, list[float]]] = {title: {} for title, *_ in settings}
    for row in range(n_samples):
        signal = torch.from_numpy(session.reader.read(row).signal)[None]
        record = session.manifest.table.iloc[row]
        target, ids = torch.tensor([int(record["label"])]), [str(record["sample_id"])]
        orders = _image_orders(session.model.module, signal, target, ids, session.layout.basis)
        reader = OutputReader(session.model.module, max_batch=16)
        for title, axis, details_only, n_steps in settings:
            domain = CoefficientDomain.of(
                signal, session.layout.basis, torch.zeros_like(signal), details_only=details_only
            )
            ends = read_ends(reader, domain)
            ends.check()
            for name, order in orders(domain).items():
                curves = insertion_deletion(
                    reader, domain, ends, order, target[:, None],
                    sample_ids=ids, seed=0, n_steps=n_steps, axis=axis,
                )  # fmt: skip
                found[title].setdefault(name, []).append(float(curves.faith))
        print(f"{row + 1} of {n_samples}", end="\r", flush=True)
    for title, by_order in found.items():
        yield title, {name: np.array(values) for name, values in by_order.items()}


def _image_orders(
    model: torch.nn.Module, signal: Tensor, target: Tensor, ids: list[str], basis: WaveletBasis
) -> Callable[[CoefficientDomain], dict[str, Tensor]]:
    score = ClassScore(model, target)
    path = integrated_gradients(
        score, signal, basis, baseline=torch.zeros_like(signal), n_steps=25, max_batch=8
    ).attribution.flat
    smooth = smoothgrad(
        score, signal, basis, sample_ids=ids, seed=0, n_samples=25, noise_fraction=0.25,
        max_batch=8,
    )  # fmt: skip
    return lambda domain: {
        "|z|": domain.energy,
        "random": random_importance(domain.n_features, ids, 0),
        "WAM_IG magnitude": path.abs().sum(1),
        "WAM_IG signed": path.sum(1),
        "WAM_SG absolute": smooth.absolute.flat.sum(1),
    }


def _mean_interval(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(1.96 * values.std(ddof=1) / np.sqrt(len(values)))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=40)
    n_samples = parser.parse_args().samples
    for title, values in judge_images(n_samples):
        print(f"\nFaith {title} (n = {n_samples})")
        for name, faith in values.items():
            mean, half = _mean_interval(faith)
            gain, gain_half = _mean_interval(faith - values["|z|"])
            print(f"  {name:18} {mean:+.3f} ±{half:.3f}   over |z| {gain:+.3f} ±{gain_half:.3f}")


if __name__ == "__main__":
    main()
