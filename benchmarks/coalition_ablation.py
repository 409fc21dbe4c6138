"""What WAM_CG's choices are worth: coalitions, benefit of doubt, approximation first.

Run: python benchmarks/coalition_ablation.py configs/benchmark/images.yaml [--half selection]
     [--samples 24] [--steps 16] [--csv FILE]

Every variant is judged by Faith as published, over the fraction of energy, and with other samples'
coefficients as replacement, beside WAM_SG, WAM_IG and |z|, on the half of the data that constants
are chosen on. Printed is the mean of each measure, and the smallest lead over those three in units
of its standard error (paired over samples): the variant with the largest smallest lead is taken.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from tasks.analyses.contract import AuditParts, Batch
from tasks.analyses.faithfulness_removals import COUNT, ENERGY, REPLACEMENT, removal
from tasks.benchmark import load_benchmark
from tasks.explain import Explanation, explain, predict
from tasks.session import AuditSession
from wam_core.baselines import baseline
from wam_core.coalition_gradients import CoalitionGradient, coalition_gradients
from wam_core.faithfulness.curves import insertion_deletion
from wam_core.faithfulness.outputs import OutputReader, read_ends
from wam_core.padding import UnpaddedScore
from wam_core.scores import ClassScore, ScoreFn

COALITIONS = {
    "all sizes, all coefficients": (0.0, False),
    "at least half, all coefficients": (0.5, False),
    "all sizes, approximation kept": (0.0, True),
    "at least half, approximation kept": (0.5, True),
}
BENEFITS = (0.0, 0.25, 0.5, 0.75, 1.0)
REFERENCES = ("WAM_SG", "WAM_IG", "|z|")
MEASURES = (COUNT, ENERGY, REPLACEMENT)


def main() -> None:
    options = _options()
    overrides = [
        f"dataset.half={options.half}",
        f"dataset.sample={options.samples}",
        f"analyses.faithfulness.n_steps={options.steps}",
        "attribution.coalition_gradients.enabled=false",
        *options.set,
    ]
    _, audits = load_benchmark(options.config, overrides)
    tables = []
    for audit in audits:
        torch.set_num_threads(options.threads)
        table = pd.concat(_judged(AuditSession(audit.config), options.steps))
        table.insert(0, "audit", audit.title)
        tables.append(table)
        print(f"\n{audit.title}, {options.half} half, n = {table['sample'].nunique()}")
        print(_summary(table).to_string(float_format=lambda value: f"{value:.3f}"))
    if options.csv:
        pd.concat(tables).to_csv(options.csv, index=False)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--half", choices=("selection", "report"), default="selection")
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


def _judged(session: AuditSession, n_steps: int) -> Iterator[pd.DataFrame]:
    """Measures of every sample and order, batch by batch."""
    parts = AuditParts(
        session.config, session.manifest, session.reader, session.model, session.layout
    )
    rows = list(range(len(session.manifest.table)))
    size = session.config.execution.max_batch
    for start in range(0, len(rows), size):
        batch = _batch(session, rows[start : start + size])
        orders = dict(_orders(session, batch))
        reader = OutputReader(
            lambda signal: session.model.module(signal).float(),
            head=session.model.head,
            support=batch.support,
            max_batch=size,
        )
        for measure in MEASURES:
            way = removal(measure, parts, batch)
            ends = read_ends(reader, way.domain)
            energy = way.domain.energy.sqrt()
            for name, importance in (orders | {"|z|": energy}).items():
                faith = insertion_deletion(
                    reader, way.domain, ends, importance, batch.targets.cpu()[:, None],
                    sample_ids=batch.sample_ids, seed=session.config.attribution.seed,
                    n_steps=n_steps, axis=way.axis,
                ).faith[:, 0]  # fmt: skip
                yield pd.DataFrame(
                    {
                        "sample": list(batch.sample_ids),
                        "order": name,
                        "measure": measure,
                        "faith": torch.where(way.known, faith, torch.nan).tolist(),
                    }
                )


def _batch(session: AuditSession, rows: list[int]) -> Batch:
    loaded = [session.reader.read(row) for row in rows]
    signal = torch.stack([torch.from_numpy(sample.signal) for sample in loaded])
    signal = signal.to(session.device)
    lengths = [sample.n_valid for sample in loaded]
    padded = any(length is not None for length in lengths)
    full = signal.shape[-1]
    valid = torch.tensor([full if length is None else length for length in lengths])
    table = session.manifest.table.iloc[rows]
    targets = torch.tensor(table["label"].astype(int).tolist(), device=signal.device)
    return Batch(
        rows=rows,
        sample_ids=table["sample_id"].astype(str).tolist(),
        signal=signal,
        targets=targets,
        labels=targets.tolist(),
        n_valid=valid if padded else None,
        prediction=predict(session.model, signal),
        explanation=Explanation({}, {}, 0, 0),
    )


def _orders(session: AuditSession, batch: Batch) -> Iterator[tuple[str, Tensor]]:
    config, size = session.config, session.config.execution.max_batch
    references = explain(
        config, session.model, session.layout, batch.signal, batch.targets, batch.sample_ids,
        size, batch.n_valid,
    )  # fmt: skip
    yield "WAM_SG", references.ranking("smoothgrad")
    yield "WAM_IG", references.ranking("integrated_gradients")
    yield "WAM_IG signed", references.maps["integrated_gradients"].flat.sum(1)
    for name, (lowest, keep) in COALITIONS.items():
        found = _coalitions(session, batch, lowest, keep)
        for benefit in BENEFITS:
            for first in (False, True):
                words = f"{name}, benefit {benefit:g}{', approximation first' if first else ''}"
                yield words, found.importance(benefit, first).cpu()


def _coalitions(
    session: AuditSession, batch: Batch, lowest: float, keep: bool
) -> CoalitionGradient:
    attribution = session.config.attribution
    score: ScoreFn = ClassScore(
        session.model.module, batch.targets, kind=attribution.score, head=session.model.head
    )
    if batch.support is not None:
        score = UnpaddedScore(score, batch.support)
    settings = attribution.coalition_gradients
    return coalition_gradients(
        score,
        batch.signal,
        session.layout.basis,
        baseline=baseline(settings.baseline, batch.signal, session.model.preprocessing.data_mean()),
        sample_ids=batch.sample_ids,
        seed=attribution.seed,
        n_samples=settings.n_samples,
        lowest_presence=lowest,
        keep_approximation=keep,
        max_batch=session.config.execution.max_batch,
    )


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    by_sample = table.pivot_table(index=["measure", "sample"], columns="order", values="faith")
    means = by_sample.groupby("measure").mean().T[list(MEASURES)]
    leads = []
    for order in means.index:
        ratios = []
        for reference in REFERENCES:
            lead = (by_sample[order] - by_sample[reference]).groupby("measure")
            ratios.append((lead.mean() / lead.sem()).min() if order != reference else 0.0)
        leads.append(min(ratios))
    means["smallest lead / error"] = leads
    return means.sort_values("smallest lead / error", ascending=False)


if __name__ == "__main__":
    main()
