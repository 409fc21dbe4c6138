"""What coefficients at the border of the signal do to shares, of importance and of energy.

Run: python benchmarks/border_effect.py [CONFIG] [--images 20] [--draws 8] [--bases haar:5 db4:5]

A coefficient is at the border where its filters reach over it. Prints, for every basis, how many
coefficients of each level lie inside, and each level's share of the absolute importance with and
without the border, averaged over the images, with the error of the mean difference over images;
the share per coefficient; and the image's own energy. Then the energy of the coefficients, and that
of the finest level alone, over the energy of the image, under each boundary rule.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from tasks.config_files import load_config
from tasks.session import AuditSession
from wam_core import attribution
from wam_core.basis import BoundaryMode, CoefficientLayout, WaveletBasis
from wam_core.reliance import BandProfile, band_profile, level_profile
from wam_core.scores import ClassScore
from wam_core.sums import Border, band_counts, interior_counts, level_sums
from wam_core.transform import WaveletCoefficients, decompose

BORDERS: tuple[Border, Border] = ("include", "exclude")


def main() -> None:
    options = _options()
    session = AuditSession(load_config(options.config, options.set))
    n_samples = len(session.manifest.table)
    rows = np.unique(np.linspace(0, n_samples - 1, options.images).astype(int)).tolist()
    images = [_read(session, row) for row in rows]
    print(f"{session.model.description}; {len(rows)} images, {options.draws} draws")
    bases = [WaveletBasis(name, int(levels)) for name, levels in options.bases]
    for basis in bases:
        maps = [
            _absolute(session, row, image, basis, options.draws)
            for row, image in zip(rows, images, strict=True)
        ]
        _print_shares(basis, maps, images)
    _print_energies(bases, torch.cat(images))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "config", nargs="?", type=Path, default=Path("configs/imagenet_sample.yaml")
    )
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--bases", nargs="*", default=["haar:5", "db4:5"], metavar="WAVELET:LEVELS")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    options.bases = [basis.split(":") for basis in options.bases]
    return options


def _read(session: AuditSession, row: int) -> Tensor:
    return torch.from_numpy(session.reader.read(row).signal)[None].to(session.device)


def _absolute(
    session: AuditSession, row: int, image: Tensor, basis: WaveletBasis, draws: int
) -> WaveletCoefficients:
    """Mean of absolute gradients over draws: its sums are what the default estimator sums."""
    table, settings = session.manifest.table, session.config.attribution
    target = torch.tensor([int(table["label"].iat[row])], device=session.device)
    return attribution.smoothgrad(
        ClassScore(session.model.module, target, head=session.model.head),
        image,
        basis,
        sample_ids=[str(table["sample_id"].iat[row])],
        seed=settings.seed,
        n_samples=draws,
        noise_fraction=settings.smoothgrad.noise_fraction,
        max_batch=session.config.execution.max_batch,
    ).absolute


def _print_shares(
    basis: WaveletBasis, maps: list[WaveletCoefficients], images: list[Tensor]
) -> None:
    layout = maps[0].layout
    found = {
        border: [
            level_profile(band_profile(each, decompose(image, basis), border), layout)
            for each, image in zip(maps, images, strict=True)
        ]
        for border in BORDERS
    }
    share, mean_share, energy = (
        {border: torch.cat([of(profile) for profile in found[border]]) for border in BORDERS}
        for of in (_share, _mean_share, _energy_share)
    )
    counts = [
        level_sums(each, layout).tolist() for each in (band_counts(layout), interior_counts(layout))
    ]
    print(f"\n{basis.wavelet}, {basis.levels} levels, {basis.mode}")
    print(
        f"{'level':>14}{'coefficients':>13}{'inside':>8}{'part':>7}{'share':>9}{'without':>9}"
        f"{'difference':>20}{'per coef.':>11}{'without':>9}{'energy':>9}{'without':>9}"
    )
    for index, level in enumerate(layout.level_names):
        difference = (share["exclude"] - share["include"])[:, index]
        error = float(difference.std()) / len(difference) ** 0.5
        whole, inside = (int(count[index]) for count in counts)
        print(
            f"{level:>14}{whole:13}{inside:8}{inside / whole:7.2f}"
            + _pair(share, index)
            + f"{float(difference.mean()):+12.4f} ±{error:.4f}  "
            + _pair(mean_share, index)
            + _pair(energy, index)
        )


def _pair(values: dict[Border, Tensor], index: int) -> str:
    return "".join(f"{float(values[border][:, index].mean()):9.4f}" for border in BORDERS)


def _share(profile: BandProfile) -> Tensor:
    return profile.share


def _mean_share(profile: BandProfile) -> Tensor:
    return profile.mean_share


def _energy_share(profile: BandProfile) -> Tensor:
    return profile.signal_energy / profile.signal_energy.sum(-1, keepdim=True)


def _print_energies(bases: list[WaveletBasis], images: Tensor) -> None:
    energy = images.double().square().sum((1, 2, 3))
    print("\nenergy of all coefficients, and of the finest level, over that of the image")
    modes = get_args(BoundaryMode)
    print(f"{'basis':>14}" + "".join(f"{mode:>20}" for mode in modes))
    for basis in bases:
        cells = []
        for mode in modes:
            other = WaveletBasis(basis.wavelet, basis.levels, mode)
            layout = CoefficientLayout(tuple(images.shape[2:]), other)
            coefficients = decompose(images, other)
            levels = level_profile(band_profile(coefficients, coefficients), layout).signal_energy
            ratio = levels.sum(1) / energy.cpu()
            finest = levels[:, 0] / energy.cpu()
            cells.append(f"{float(ratio.mean()):12.4f}{float(finest.mean()):8.4f}")
        print(f"{basis.wavelet + ', ' + str(basis.levels):>14}" + "".join(cells))


if __name__ == "__main__":
    main()
