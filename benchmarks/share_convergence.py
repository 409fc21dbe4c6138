"""Do shares of importance depend on how long one samples? Shares at 8 draws against 64.

Run: python benchmarks/share_convergence.py [CONFIG] [--images 32] [--draws 8 16 32 64]

Prints, for every estimator, each level's share averaged over the images at every number of draws,
and the largest distance of a level from its value at the most draws. The draws are nested: the
first 8 of 64 are the 8, so what differs is their number. `signed` is the published estimator: the
sum of absolute values of the mean gradient (equation 6), which counts the noise of few draws as
fine-scale importance. `absolute` is the audit's default.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from tasks.config_files import load_config
from tasks.explain import AGGREGATES
from tasks.session import AuditSession
from wam_core import attribution
from wam_core.reliance import band_profile, energy_profile, level_profile, share_standard_error
from wam_core.scores import ClassScore
from wam_core.transform import decompose

ESTIMATORS = (*AGGREGATES, "energy")
DEFAULT = "absolute"
TOLERANCE = 0.01


def main() -> None:
    options = _options()
    session = AuditSession(load_config(options.config, options.set))
    smoothing = session.config.attribution.smoothgrad
    print(f"{session.model.description}; {options.images} images; {session.config.basis.wavelet},")
    print(f"{session.config.basis.levels} levels, noise {smoothing.noise_fraction:g} of the range")
    shares: dict[str, dict[int, torch.Tensor]] = {name: {} for name in ESTIMATORS}
    errors: dict[str, dict[int, float]] = {name: {} for name in ESTIMATORS}
    for draws in options.draws:
        found = _profiles(session, options.images, draws)
        for name, (share, error) in found.items():
            shares[name][draws], errors[name][draws] = share, error
    for name in ESTIMATORS:
        _print_estimator(name, session.layout.level_names, shares[name], errors[name])
    most = max(options.draws)
    distance = float((shares[DEFAULT][min(options.draws)] - shares[DEFAULT][most]).abs().max())
    verdict = "within" if distance <= TOLERANCE else "NOT within"
    print(f"default ({DEFAULT}): {distance:.4f}, {verdict} {TOLERANCE}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "config", nargs="?", type=Path, default=Path("configs/imagenet_sample.yaml")
    )
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--draws", type=int, nargs="*", default=[8, 16, 32, 64])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


def _profiles(
    session: AuditSession, n_images: int, draws: int
) -> dict[str, tuple[torch.Tensor, float]]:
    """Mean share per level and mean Monte-Carlo error of the worst level, by estimator."""
    table = session.manifest.table
    rows = np.unique(np.linspace(0, len(table) - 1, n_images).astype(int))
    shares: dict[str, list[torch.Tensor]] = {name: [] for name in ESTIMATORS}
    errors: dict[str, list[torch.Tensor]] = {name: [] for name in ESTIMATORS}
    settings = session.config.attribution
    for row in rows:
        signal = torch.from_numpy(session.reader.read(int(row)).signal)[None]
        signal = signal.to(session.device)
        target = torch.tensor([int(table["label"].iat[row])], device=session.device)
        smoothed = attribution.smoothgrad(
            ClassScore(session.model.module, target, head=session.model.head),
            signal,
            session.layout.basis,
            sample_ids=[str(table["sample_id"].iat[row])],
            seed=settings.seed,
            n_samples=draws,
            noise_fraction=settings.smoothgrad.noise_fraction,
            max_batch=session.config.execution.max_batch,
        )
        coefficients = decompose(signal, session.layout.basis)
        profiles = {
            name: band_profile(getattr(smoothed, name), coefficients) for name in AGGREGATES
        }
        profiles["energy"] = energy_profile(smoothed, coefficients)
        for name, profile in profiles.items():
            shares[name].append(level_profile(profile, session.layout).share[0])
            errors[name].append(share_standard_error(smoothed, name)[0])
    return {
        name: (torch.stack(values).mean(0), float(torch.stack(errors[name]).mean(0).max()))
        for name, values in shares.items()
    }


def _print_estimator(
    name: str,
    levels: tuple[str, ...],
    shares: dict[int, torch.Tensor],
    errors: dict[int, float],
) -> None:
    print(f"\n{name}")
    header = "".join(f"{level[:8]:>9}" for level in levels)
    print(f"{'draws':>6}{header}{'largest shift':>15}{'MC error':>10}")
    last = shares[max(shares)]
    for draws, share in shares.items():
        cells = "".join(f"{value:9.4f}" for value in share.tolist())
        shift = float((share - last).abs().max())
        print(f"{draws:6}{cells}{shift:15.4f}{errors[draws]:10.4f}")


if __name__ == "__main__":
    main()
