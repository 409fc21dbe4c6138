"""Published measures of faithfulness on models of which every weight is known.

Run: python benchmarks/faithfulness_published.py [--figure PATH] [--samples N]

Models, signals and orders are those of `faithfulness_controls.py`; removed coefficients are zero.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from faithfulness_controls import (
    BASIS,
    FREE,
    KNOWS,
    PLANTED,
    SPACE,
    STEPS,
    Planted,
    Values,
    draw,
    mean_interval,
    orders_of,
)

from wam_core import CoefficientLayout
from wam_core.faithfulness.concentration import gini
from wam_core.faithfulness.curves import insertion_deletion
from wam_core.faithfulness.domains import CoefficientDomain, coefficient_blocks
from wam_core.faithfulness.halves import halves
from wam_core.faithfulness.outputs import OutputReader, read_ends
from wam_core.faithfulness.subsets import mu_fidelity, subset_effects

MEASURES = (
    "Insertion", "Deletion*", "mu-Fidelity", "FF", "Fid-In", "Drop*", "Increase", "Gain", "Gini",
)  # fmt: skip
"""With a star: lower is better."""


def judge(planted: Planted) -> Values:
    """Every measure of every order."""
    reader = OutputReader(planted.model, max_batch=512)
    domain = CoefficientDomain.of(planted.signal, BASIS, torch.zeros_like(planted.signal))
    ends = read_ends(reader, domain)
    ids = [str(place) for place in range(len(planted.signal))]
    effects = subset_effects(
        reader, domain, ends, coefficient_blocks(CoefficientLayout(SPACE, BASIS)), planted.targets,
        sample_ids=ids, seed=0, kind="logit", n_subsets=128,
    )  # fmt: skip
    values: Values = {measure: {} for measure in MEASURES}
    for name, order in orders_of(
        planted.model, planted.other, planted.signal, planted.targets, ids
    ).items():
        curves = insertion_deletion(
            reader, domain, ends, order, planted.targets[:, None],
            sample_ids=ids, seed=0, n_steps=STEPS,
        )  # fmt: skip
        half = halves(curves)
        columns = (
            curves.insertion_area[:, 0], curves.deletion_area[:, 0], mu_fidelity(effects, order),
            half.spectra, half.input_fidelity, half.drop, half.increase, half.gain, gini(order),
        )  # fmt: skip
        for measure, column in zip(MEASURES, columns, strict=True):
            values[measure][name] = np.nan_to_num(column.numpy())
    return values


def main() -> None:
    """Print tables, and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--samples", type=int, default=48)
    options = parser.parse_args()
    found = {
        planted.name: judge(planted) for planted in (build(options.samples) for build in PLANTED)
    }
    for name, values in found.items():
        print(f"\n{name}{'':20}" + "".join(f"{order:>19}" for order in (*KNOWS, *FREE)))
        for measure in MEASURES:
            cells = [mean_interval(values[measure][order]) for order in (*KNOWS, *FREE)]
            print(f"  {measure:30}" + "".join(f"{m:12.3f} ±{half:.3f}" for m, half in cells))
    if options.figure:
        draw(found, options.figure, MEASURES, judged=False)


if __name__ == "__main__":
    main()
