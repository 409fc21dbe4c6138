"""From tables to `summary.json`: every aggregate with its n, interval, unit and direction.

Each shard's tables become weighted sums per bootstrap replicate (`wam_core.intervals`); sums are
merged in any order and divided once at the end, so a million samples need no more memory than a
thousand. Samples that share a group are resampled together.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.analyses import ANALYSES, enabled_analyses
from tasks.config import AuditConfig
from tasks.errors import StoreError
from tasks.headline import write_headline
from tasks.identity import AUDIT_FILE
from tasks.shard_sums import CLASS_METRICS, ShardSums, merge_all, sum_partition
from tasks.store import AuditFolder, Receipt, Shard
from tasks.store.receipts import total_statuses
from tasks.store.tables import SCHEMAS, part_name
from tasks.texture import AGREEMENT
from tasks.trust import TRUSTWORTHY, judge_trust, trust_metrics, trust_sentences
from tasks.variables import Variable
from wam_core.intervals import Interval, ReplicateSums, quantile_interval, wilson_interval

Means = list[tuple[Variable, Interval]]
"""A mean over samples of each variable, with its interval."""

STATUSES = ("ok", "decode_error", "shape_error", "nonfinite", "degenerate", "quarantined")

_UNITS = {
    "accuracy/top1": ("fraction", "higher"),
    "reliance/share": ("fraction", "none"),
    "reliance/mean_share": ("fraction", "none"),
    "reliance/relative_share": ("ratio", "none"),
    "reliance/scale_centroid": ("octaves", "none"),
    "reliance/fine_share": ("fraction", "none"),
    "reliance/entropy": ("fraction", "none"),
    "attribution/completeness_gap": ("ratio", "lower"),
    "attribution/share_standard_error": ("fraction", "lower"),
    "attribution/draws": ("draws", "none"),
    AGREEMENT: ("correlation", "higher"),
    TRUSTWORTHY: ("fraction", "higher"),
} | {name: unit for analysis in ANALYSES for name, unit in analysis.units.items()}

_PROPORTIONS = frozenset(name for analysis in ANALYSES for name in analysis.proportions)


@dataclass(frozen=True)
class Summary:
    """The aggregates of one audit.

    Attributes:
        record: Content of `summary.json`.
        per_class: One row per class: n, accuracy with interval, centroid, fine share.
    """

    record: dict[str, Any]
    per_class: pd.DataFrame


def summarise(
    config: AuditConfig, folder: AuditFolder, shards: list[Shard], receipts: dict[int, Receipt]
) -> Summary:
    """Aggregate every finished shard.

    Missing shards lower n and leave `complete` false; nothing is imputed.
    """
    done = [shard for shard in shards if shard.index in receipts]
    sums = _sum_shards(config, folder, done)
    class_intervals = sums.class_means.intervals(config.analyses.intervals.confidence)
    by_class = list(zip(sums.class_variables, class_intervals, strict=True))
    metrics = [
        *_accuracy_metrics(config, sums),
        *_mean_metrics(config, sums, by_class),
        *_concluded_metrics(config, sums),
        *_completeness_metrics(config, folder, done),
        *_median_metrics(config, folder, done),
    ]
    verdicts = judge_trust(config, metrics)
    metrics += [
        metric(TRUSTWORTHY, dict(labels), value) for labels, value in trust_metrics(verdicts)
    ]
    audit = folder.read_json(AUDIT_FILE)
    counts = _counts(receipts)
    n_planned = shards[-1].stop if shards else 0
    record = {
        "schema_version": 1,
        "name": config.name,
        "digest": audit["digest"],
        "complete": len(done) == len(shards),
        "counts": {"samples": n_planned} | counts | _missing(n_planned, counts),
        "metrics": metrics,
        "passes": {
            "forward": sum(receipt.n_forward for receipt in receipts.values()),
            "backward": sum(receipt.n_backward for receipt in receipts.values()),
        },
    }
    if verdicts:
        record["trust"] = [verdict.record() for verdict in verdicts]
    record["headline"] = [
        *trust_sentences(verdicts),
        *write_headline(config, record, _element(audit)),
    ]
    return Summary(record, _per_class(config, sums, by_class))


def metric(name: str, labels: dict[str, str | int], interval: Interval) -> dict[str, Any]:
    """One entry of the list of metrics."""
    unit, direction = _UNITS[name]
    return {
        "name": name,
        "labels": labels,
        "estimate": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "n": interval.n,
        "unit": unit,
        "direction": direction,
    }


def _sum_shards(config: AuditConfig, folder: AuditFolder, done: list[Shard]) -> ShardSums:
    """Sum each shard's tables as one Dask partition, and merge the sums as a tree."""
    if not done:
        return ShardSums.empty()
    intervals = config.analyses.intervals
    analyses = enabled_analyses(config)
    names = [table for analysis in analyses for table in analysis.tables]
    partitions = {
        table: _lazy_table(folder, table, done).to_delayed()
        for table in ("samples", "attributions", "levels", *names)
    }
    sum_lazily = dask.delayed(sum_partition)
    sums = [
        sum_lazily(
            *(partitions[table][place] for table in ("samples", "attributions", "levels")),
            intervals.n_resamples,
            intervals.seed,
            analyses,
            {table: partitions[table][place] for table in names},
        )
        for place in range(len(done))
    ]
    merge_lazily = dask.delayed(merge_all)
    while len(sums) > 1:
        sums = [merge_lazily(sums[start : start + 8]) for start in range(0, len(sums), 8)]
    (total,) = dask.compute(sums[0], scheduler="threads", num_workers=2)
    result: ShardSums = total
    return result


def _lazy_table(folder: AuditFolder, table: str, done: list[Shard]) -> Any:
    paths = [folder.uri(part_name(table, shard)) for shard in done]
    columns = [name for name in SCHEMAS[table].names if name != "detail"]
    return dd.from_map(_read_parquet, paths, columns=columns, meta=_meta(table, columns))


def _read_parquet(path: str, columns: list[str]) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, columns=columns, dtype_backend="numpy_nullable")
    except (pa.ArrowException, OSError) as error:
        raise StoreError(
            f"{path} is damaged: {error}. `wam-audit verify AUDIT --repair` drops the receipts of "
            "damaged shards; running the audit again computes them anew."
        ) from error


def _meta(table: str, columns: list[str]) -> pd.DataFrame:
    empty = SCHEMAS[table].empty_table().to_pandas()
    converted: pd.DataFrame = empty[columns].convert_dtypes(dtype_backend="numpy_nullable")
    return converted


def _element(audit: dict[str, Any]) -> str:
    spacing = (audit.get("voxels") or {}).get("spacing_mm")
    if spacing:
        sizes = spacing[:1] if len(set(spacing)) == 1 else spacing
        return f"voxels of {' x '.join(f'{step:g}' for step in sizes)} mm"
    input_shape = audit["preprocessing"]["input_shape"]
    return {2: "samples", 3: "pixels"}.get(len(input_shape), "voxels")


def _counts(receipts: dict[int, Receipt]) -> dict[str, int]:
    totals = total_statuses(receipts)
    return {status: totals.get(status, 0) for status in STATUSES}


def _missing(n_planned: int, counts: dict[str, int]) -> dict[str, int]:
    missing = n_planned - sum(counts.values())
    return {"not_computed": missing} if missing else {}


def _accuracy_metrics(config: AuditConfig, sums: ShardSums) -> list[dict[str, Any]]:
    confidence = config.analyses.intervals.confidence
    return [
        metric("accuracy/top1", labels, wilson_interval(correct, total, confidence))
        for labels, (correct, total) in sums.accuracy_by_labels()
    ]


def _mean_metrics(config: AuditConfig, sums: ShardSums, by_class: Means) -> list[dict[str, Any]]:
    confidence = config.analyses.intervals.confidence
    pairs = [
        *_intervals(sums.variables, sums.means, confidence),
        *_intervals(sums.many, sums.means_of_many, confidence),
    ]
    entries = [
        (variable, interval)
        for variable, interval in pairs
        if interval.n and variable.metric in _UNITS
    ]
    # A class of one sample has no interval; its numbers stand in the tables.
    entries += [pair for pair in by_class if pair[1].n >= 2]
    return [metric(variable.metric, variable.labels(), interval) for variable, interval in entries]


def _intervals(variables: tuple[Variable, ...], means: ReplicateSums, confidence: float) -> Means:
    """Percentile intervals of means, Wilson's of proportions."""
    intervals = means.intervals(confidence)
    for place, variable in enumerate(variables):
        if variable.metric in _PROPORTIONS:
            successes, n = round(means.sums[place]), round(means.counts[place])
            intervals[place] = wilson_interval(successes, n, confidence)
    return list(zip(variables, intervals, strict=True))


def _concluded_metrics(config: AuditConfig, sums: ShardSums) -> list[dict[str, Any]]:
    """What the analyses make of several means."""
    settings = config.analyses.intervals
    means = sums.means_of_samples(settings.confidence)
    agreements = sums.votes.agreements(
        confidence=settings.confidence, n_resamples=settings.n_resamples, seed=settings.seed
    )
    concluded = [analysis.conclude(means) for analysis in enabled_analyses(config)]
    return [
        metric(variable.metric, variable.labels(), interval)
        for variable, interval in itertools.chain(*concluded, agreements)
        if interval.n
    ]


def _completeness_metrics(
    config: AuditConfig, folder: AuditFolder, done: list[Shard]
) -> list[dict[str, Any]]:
    if not config.attribution.integrated_gradients.enabled or not done:
        return []
    table = _lazy_table(folder, "attributions", done)
    sound = (table["method"] == "integrated_gradients") & (table["status"] == "ok")
    gaps = table[sound]["completeness_gap"]
    values = gaps.compute(scheduler="threads").astype("float64").to_numpy(na_value=np.nan)
    confidence = config.analyses.intervals.confidence
    quantiles: Iterable[tuple[str, float]] = (("median", 0.5), ("p95", 0.95))
    return [
        metric(
            "attribution/completeness_gap",
            {"quantile": name},
            quantile_interval(values, probability, confidence),
        )
        for name, probability in quantiles
        if np.isfinite(values).any()
    ]


def _median_metrics(
    config: AuditConfig, folder: AuditFolder, done: list[Shard]
) -> list[dict[str, Any]]:
    """Medians that analyses ask for, over the samples that are ok."""
    medians = [median for analysis in enabled_analyses(config) for median in analysis.medians]
    if not medians or not done:
        return []
    statuses = _lazy_table(folder, "samples", done)[["sample_index", "status"]]
    statuses = statuses.compute(scheduler="threads")
    ok = statuses.loc[statuses["status"] == "ok", "sample_index"]
    confidence = config.analyses.intervals.confidence
    found = []
    for median in medians:
        table = _lazy_table(folder, median.table, done)
        columns = ["sample_index", *median.by, median.column]
        rows = table[columns].compute(scheduler="threads")
        rows = rows[rows["sample_index"].isin(ok)]
        for values, part in rows.groupby(list(median.by), sort=True):
            labels: dict[str, str | int] = {
                name: str(value) for name, value in zip(median.by, values, strict=True)
            }
            numbers = part[median.column].astype("float64").to_numpy(na_value=np.nan)
            if np.isfinite(numbers).any():
                interval = quantile_interval(numbers, 0.5, confidence)
                found.append(metric(median.metric, labels, interval))
    return found


def _per_class(config: AuditConfig, sums: ShardSums, by_class: Means) -> pd.DataFrame:
    means = _class_means(config, by_class)
    rows = []
    for (index, name), (correct, total) in sorted(sums.class_accuracy.items()):
        interval = wilson_interval(correct, total, config.analyses.intervals.confidence)
        rows.append(
            {
                "class_index": index,
                "class_name": name,
                "n": total,
                "accuracy": interval.estimate,
                "accuracy_low": interval.low,
                "accuracy_high": interval.high,
                **{column: means.get((name, column)) for column in CLASS_METRICS.values()},
            }
        )
    columns = [
        "class_index", "class_name", "n", "accuracy", "accuracy_low", "accuracy_high",
        *CLASS_METRICS.values(),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _class_means(config: AuditConfig, by_class: Means) -> dict[tuple[str, str], float | None]:
    method = primary_method(config)
    return {
        (variable.get("class"), CLASS_METRICS[variable.metric]): interval.estimate
        for variable, interval in by_class
        if variable.metric in CLASS_METRICS and variable.get("method") == method
    }


def primary_method(config: AuditConfig) -> str:
    """The method whose profile the headline and the tables of classes show."""
    attribution = config.attribution
    if attribution.smoothgrad.enabled:
        return "smoothgrad_absolute"
    return attribution.methods[0]
