"""Sums over one shard's tables: the monoid that aggregation merges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tasks.analyses import Analysis, ShardTables
from tasks.texture import Votes, VotesByClass
from tasks.variables import MeansOfSamples, Tallies, Variable, add_tallies
from wam_core.intervals import NO_SUMS, FloatArray, ReplicateSums, poisson_weights

LEVEL_METRICS = {
    "share": "reliance/share",
    "mean_share": "reliance/mean_share",
    "relative_share": "reliance/relative_share",
    "share_standard_error": "attribution/share_standard_error",
}
SAMPLE_METRICS = {
    "scale_centroid_octaves": "reliance/scale_centroid",
    "fine_share": "reliance/fine_share",
    "entropy": "reliance/entropy",
}
DRAWS_METRIC, DRAWN_METHOD = "attribution/draws", "smoothgrad_absolute"
"""Draws per sample; all aggregates of WAM_SG have the same, so one of them stands for all."""

CLASS_METRICS = {
    "reliance/scale_centroid": "scale_centroid_octaves",
    "reliance/fine_share": "fine_share",
}
CLASS_METHODS = (
    "gradient",
    "smoothgrad_absolute",
    "integrated_gradients",
    "coalition_gradients",
)
CLASS_RESAMPLES = 400
"""Replicates kept per class, and of other means that are many; their intervals need no fourth
digit."""

AccuracyCounts = dict[tuple[int, str], tuple[int, int]]


@dataclass(frozen=True)
class ShardSums:
    """Everything the summary needs from some shards.

    Attributes:
        accuracy: (correct, all) among samples with a prediction and a label.
        class_accuracy: The same per (class index, class name).
        variables: Variable of each column of `means`.
        class_variables: Variable of each column of `class_means`.
        votes: What the indices of texture reliance are made of.
        tallies: Sums of the analyses that need no replicates.
        many: Variable of each column of `means_of_many`, which have fewer replicates.
    """

    accuracy: tuple[int, int]
    class_accuracy: AccuracyCounts
    variables: tuple[Variable, ...]
    means: ReplicateSums
    class_variables: tuple[Variable, ...]
    class_means: ReplicateSums
    votes: VotesByClass
    tallies: Tallies = field(default_factory=dict)
    many: tuple[Variable, ...] = ()
    means_of_many: ReplicateSums = NO_SUMS

    @classmethod
    def empty(cls) -> ShardSums:
        """Sums over no shard."""
        return cls((0, 0), {}, (), NO_SUMS, (), NO_SUMS, VotesByClass())

    def means_of_samples(self, confidence: float) -> MeansOfSamples:
        """All means with their replicates, for what is a function of several."""
        totals = [total for _, total in self.class_accuracy.values()]
        chance = max(totals) / sum(totals) if totals else None
        return MeansOfSamples(
            self.variables,
            self.means,
            confidence,
            chance,
            self.tallies,
            self.many,
            self.means_of_many,
        )

    def accuracy_by_labels(self) -> list[tuple[dict[str, str | int], tuple[int, int]]]:
        """Counts over all samples, then per class."""
        overall: list[tuple[dict[str, str | int], tuple[int, int]]] = []
        if self.accuracy[1]:
            overall.append(({}, self.accuracy))
        classes = sorted(self.class_accuracy.items())
        return overall + [({"class": name}, counts) for (_, name), counts in classes]


def sum_partition(
    samples: pd.DataFrame,
    attributions: pd.DataFrame,
    levels: pd.DataFrame,
    n_resamples: int,
    seed: int,
    analyses: Sequence[Analysis] = (),
    others: Mapping[str, pd.DataFrame] | None = None,
) -> ShardSums:
    """Sum one shard's tables.

    Args:
        others: Tables of the analyses, by name.
    """
    samples = samples.set_index("sample_index")
    ok = samples.index[samples["status"] == "ok"]
    values = _values_by_sample(samples.index, ok, attributions, levels)
    groups = samples["group"].fillna(samples["sample_id"]).astype(str)
    weights = poisson_weights(groups.tolist(), n_resamples, seed)
    whole = _with_correct_subsets(values, samples["correct"])
    tables = ShardTables(
        samples.index,
        {"samples": samples[samples["status"] == "ok"]}
        | {
            name: table[table["sample_index"].isin(ok)]
            for name, table in (
                {"levels": levels, "attributions": attributions} | dict(others or {})
            ).items()
        },
    )
    votes = _fine_shares(values)
    many: dict[Variable, FloatArray] = {}
    tallies: Tallies = {}
    for analysis in analyses:
        for variable, numbers in sorted(analysis.measure(tables).items()):
            (many if variable.metric in analysis.many else whole)[variable] = numbers
        tallies |= analysis.tally(tables)
        votes |= analysis.votes(tables)
    classes = _class_subsets(values, samples["class_name"])
    return ShardSums(
        accuracy=_accuracy(samples),
        class_accuracy=_class_accuracy(samples),
        variables=tuple(whole),
        means=ReplicateSums.of(_matrix(whole, len(samples)), weights),
        class_variables=tuple(classes),
        class_means=ReplicateSums.of(_matrix(classes, len(samples)), weights[:, :CLASS_RESAMPLES]),
        votes=VotesByClass.of(votes, samples["class_name"]),
        tallies=tallies,
        many=tuple(many),
        means_of_many=ReplicateSums.of(_matrix(many, len(samples)), weights[:, :CLASS_RESAMPLES]),
    )


def merge_all(parts: Sequence[ShardSums]) -> ShardSums:
    """Sums over all parts; variables that a part lacks count as absent there."""
    merged = parts[0]
    for part in parts[1:]:
        merged = _merge(merged, part)
    return merged


def _merge(left: ShardSums, right: ShardSums) -> ShardSums:
    variables, means = _merge_means(left.variables, left.means, right.variables, right.means)
    class_variables, class_means = _merge_means(
        left.class_variables, left.class_means, right.class_variables, right.class_means
    )
    many, means_of_many = _merge_means(
        left.many, left.means_of_many, right.many, right.means_of_many
    )
    counts = dict(left.class_accuracy)
    for key, (correct, total) in right.class_accuracy.items():
        before = counts.get(key, (0, 0))
        counts[key] = (before[0] + correct, before[1] + total)
    accuracy = (left.accuracy[0] + right.accuracy[0], left.accuracy[1] + right.accuracy[1])
    return ShardSums(
        accuracy,
        counts,
        variables,
        means,
        class_variables,
        class_means,
        left.votes.merge(right.votes),
        add_tallies(left.tallies, right.tallies),
        many,
        means_of_many,
    )


def _merge_means(
    left_variables: tuple[Variable, ...],
    left: ReplicateSums,
    right_variables: tuple[Variable, ...],
    right: ReplicateSums,
) -> tuple[tuple[Variable, ...], ReplicateSums]:
    if left_variables == right_variables:
        return left_variables, left.merge(right)
    union = tuple(sorted({*left_variables, *right_variables}))
    return union, _spread(left_variables, left, union).merge(_spread(right_variables, right, union))


def _spread(
    variables: tuple[Variable, ...], sums: ReplicateSums, union: tuple[Variable, ...]
) -> ReplicateSums:
    place = {variable: index for index, variable in enumerate(union)}
    columns = [place[variable] for variable in variables]

    def spread(values: FloatArray) -> FloatArray:
        wide = np.zeros((*values.shape[:-1], len(union)))
        wide[..., columns] = values
        return wide

    return ReplicateSums(
        spread(sums.sums),
        spread(sums.counts),
        spread(sums.weighted_sums),
        spread(sums.weighted_counts),
    )


def _values_by_sample(
    index: pd.Index, ok: pd.Index, attributions: pd.DataFrame, levels: pd.DataFrame
) -> dict[Variable, FloatArray]:
    """One array over the shard's samples per variable; NaN where a sample has no value."""
    # One method's map may be sound where another's is not; the sample is left out, and counted.
    sound = attributions["sample_index"].isin(ok)
    usable = attributions[sound & (attributions["status"] == "ok")]
    values: dict[Variable, FloatArray] = {}
    for group, rows in usable.groupby("method", sort=True):
        by_sample = rows.set_index("sample_index")
        for column, name in SAMPLE_METRICS.items():
            values[Variable.of(name, method=group)] = _aligned(by_sample[column], index)
        if group == DRAWN_METHOD:
            drawn = _aligned(by_sample["n_passes"], index)
            values[Variable.of(DRAWS_METRIC, method=group)] = drawn
    keys = usable[["sample_index", "method"]]
    usable_levels = levels.merge(keys, on=["sample_index", "method"])
    for key, rows in usable_levels.groupby(["method", "level"], sort=True):
        method, level = map(str, key)
        by_sample = rows.set_index("sample_index")
        for column, name in LEVEL_METRICS.items():
            aligned = _aligned(by_sample[column], index)
            if not np.isnan(aligned).all():
                values[Variable.of(name, method=method, level=level)] = aligned
    return values


def _fine_shares(values: dict[Variable, FloatArray]) -> Votes:
    """The fine share of every method, as an index of texture reliance."""
    return {
        f"fine_share of {variable.get('method')}": (numbers, np.where(np.isnan(numbers), np.nan, 1))
        for variable, numbers in values.items()
        if variable.metric == "reliance/fine_share" and variable.get("method") in CLASS_METHODS
    }


def _aligned(series: pd.Series, index: pd.Index) -> FloatArray:
    aligned = series.reindex(index).astype("Float64")
    return np.asarray(aligned.to_numpy(dtype=np.float64, na_value=np.nan))


def _with_correct_subsets(
    values: dict[Variable, FloatArray], correct: pd.Series
) -> dict[Variable, FloatArray]:
    subsets = dict(values)
    for value, name in ((True, "yes"), (False, "no")):
        chosen = (correct == value).fillna(value=False).to_numpy(dtype=bool)
        for variable, numbers in values.items():
            if variable.metric not in {"reliance/share", *SAMPLE_METRICS.values()}:
                continue
            subsets[variable.relabelled(correct=name)] = np.where(chosen, numbers, np.nan)
    return dict(sorted(subsets.items()))


def _class_subsets(
    values: dict[Variable, FloatArray], class_name: pd.Series
) -> dict[Variable, FloatArray]:
    subsets: dict[Variable, FloatArray] = {}
    names = class_name.dropna().astype(str)
    for name in names.unique():
        chosen = (class_name == name).fillna(value=False).to_numpy(dtype=bool)
        for variable, numbers in values.items():
            if variable.metric not in {"reliance/share", *CLASS_METRICS}:
                continue
            if variable.get("method") not in CLASS_METHODS:
                continue
            subsets[variable.relabelled(**{"class": name})] = np.where(chosen, numbers, np.nan)
    return dict(sorted(subsets.items()))


def _matrix(values: dict[Variable, FloatArray], n_samples: int) -> FloatArray:
    if not values:
        return np.zeros((n_samples, 0))
    return np.stack(list(values.values()), axis=1)


def _accuracy(samples: pd.DataFrame) -> tuple[int, int]:
    judged = samples["correct"].dropna()
    return int(judged.sum()), len(judged)


def _class_accuracy(samples: pd.DataFrame) -> AccuracyCounts:
    judged = samples.dropna(subset=["correct", "label", "class_name"])
    counts: AccuracyCounts = {}
    rows = zip(judged["label"], judged["class_name"], judged["correct"], strict=True)
    for label, name, is_correct in rows:
        correct, total = counts.get((int(label), str(name)), (0, 0))
        counts[int(label), str(name)] = (correct + bool(is_correct), total + 1)
    return counts
