"""Sums over one shard's tables: the monoid that aggregation merges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from tasks.mixtures import MODEL_FREE, WHOLE
from wam_core.intervals import FloatArray, ReplicateSums, poisson_weights

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
SEPARATION_METRICS = {
    "si_sdr_target": "separation/si_sdr_target",
    "si_sdr_interference": "separation/si_sdr_interference",
    "snr_target": "separation/snr_target",
    "snr_interference": "separation/snr_interference",
    "probability_target": "separation/probability_target",
}
SEPARATION_GAINS = {
    WHOLE: "separation/si_sdr_gain",
    **{selection: f"separation/si_sdr_gain_over_{selection}" for selection in MODEL_FREE},
}
"""SI-SDR towards the target less that of another version of the same mixture, by that version."""

CONTRAST_GAIN = "separation/contrast_gain"

CLASS_METHODS = ("gradient", "smoothgrad_absolute", "integrated_gradients")
CLASS_RESAMPLES = 400
"""Replicates kept per class; classes are many, and their intervals need no fourth digit."""

AccuracyCounts = dict[tuple[int, str], tuple[int, int]]


@dataclass(frozen=True, order=True)
class Variable:
    """A mean over samples: which number, of which method and level, over which subset.

    Attributes:
        level: Level name, or "" for numbers of a whole map.
        subset: "" for all samples, "correct" or "class".
        subset_value: "yes" or "no", or the class name.
        mixture: Which mixture of sounds, or "".
        fraction: Part of its coefficients that it is rebuilt from, or "".
    """

    metric: str
    method: str
    level: str = ""
    subset: str = ""
    subset_value: str = ""
    mixture: str = ""
    fraction: str = ""

    def labels(self) -> dict[str, str | int]:
        """Labels of the metric in the summary."""
        labels: dict[str, str | int] = {"method": self.method}
        if self.level:
            labels["level"] = int(self.level) if self.level.isdigit() else self.level
        if self.subset:
            labels[self.subset] = self.subset_value
        if self.mixture:
            labels["mixture"] = self.mixture
        if self.fraction:
            labels["fraction"] = self.fraction
        return labels


@dataclass(frozen=True)
class ShardSums:
    """Everything the summary needs from some shards.

    Attributes:
        accuracy: (correct, all) among samples with a prediction and a label.
        class_accuracy: The same per (class index, class name).
        variables: Variable of each column of `means`.
        class_variables: Variable of each column of `class_means`.
    """

    accuracy: tuple[int, int]
    class_accuracy: AccuracyCounts
    variables: tuple[Variable, ...]
    means: ReplicateSums
    class_variables: tuple[Variable, ...]
    class_means: ReplicateSums

    @classmethod
    def empty(cls) -> ShardSums:
        """Sums over no shard."""
        nothing = ReplicateSums.of(np.zeros((0, 0)), np.zeros((0, 1)))
        return cls((0, 0), {}, (), nothing, (), nothing)

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
    separation: pd.DataFrame | None = None,
) -> ShardSums:
    """Sum one shard's tables; that of mixtures where there is one."""
    samples = samples.set_index("sample_index")
    ok = samples.index[samples["status"] == "ok"]
    values = _values_by_sample(samples.index, ok, attributions, levels)
    groups = samples["group"].fillna(samples["sample_id"]).astype(str)
    weights = poisson_weights(groups.tolist(), n_resamples, seed)
    whole = _with_correct_subsets(values, samples["correct"])
    if separation is not None:
        whole |= _separation_values(samples.index, ok, separation)
    classes = _class_subsets(values, samples["class_name"])
    return ShardSums(
        accuracy=_accuracy(samples),
        class_accuracy=_class_accuracy(samples),
        variables=tuple(whole),
        means=ReplicateSums.of(_matrix(whole, len(samples)), weights),
        class_variables=tuple(classes),
        class_means=ReplicateSums.of(_matrix(classes, len(samples)), weights[:, :CLASS_RESAMPLES]),
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
    counts = dict(left.class_accuracy)
    for key, (correct, total) in right.class_accuracy.items():
        before = counts.get(key, (0, 0))
        counts[key] = (before[0] + correct, before[1] + total)
    accuracy = (left.accuracy[0] + right.accuracy[0], left.accuracy[1] + right.accuracy[1])
    return ShardSums(accuracy, counts, variables, means, class_variables, class_means)


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
            values[Variable(name, str(group))] = _aligned(by_sample[column], index)
        if group == DRAWN_METHOD:
            drawn = _aligned(by_sample["n_passes"], index)
            values[Variable(DRAWS_METRIC, DRAWN_METHOD)] = drawn
    keys = usable[["sample_index", "method"]]
    usable_levels = levels.merge(keys, on=["sample_index", "method"])
    for key, rows in usable_levels.groupby(["method", "level"], sort=True):
        method, level = map(str, key)
        by_sample = rows.set_index("sample_index")
        for column, name in LEVEL_METRICS.items():
            aligned = _aligned(by_sample[column], index)
            if not np.isnan(aligned).all():
                values[Variable(name, method, level)] = aligned
    return values


def _separation_values(
    index: pd.Index, ok: pd.Index, separation: pd.DataFrame
) -> dict[Variable, FloatArray]:
    """Every version of every mixture, and its gain over versions of the same samples' mixture."""
    usable = separation[separation["sample_index"].isin(ok)]
    values: dict[Variable, FloatArray] = {}
    for (mixture, selection, fraction), rows in usable.groupby(
        ["mixture", "selection", "fraction"], sort=True, dropna=False
    ):
        by_sample = rows.set_index("sample_index")
        for column, name in SEPARATION_METRICS.items():
            values[_of_mixture(name, mixture, selection, fraction)] = _aligned(
                by_sample[column], index
            )
    return dict(sorted((values | _separation_gains(values) | _contrast_gains(values)).items()))


def _separation_gains(values: dict[Variable, FloatArray]) -> dict[Variable, FloatArray]:
    gains: dict[Variable, FloatArray] = {}
    measured = SEPARATION_METRICS["si_sdr_target"]
    for variable, numbers in values.items():
        if variable.metric != measured or variable.method == WHOLE:
            continue
        for other, name in SEPARATION_GAINS.items():
            if other in MODEL_FREE and variable.method in MODEL_FREE:
                continue  # these are compared with the mixture, not with each other
            fraction = "" if other == WHOLE else variable.fraction
            before = values.get(replace(variable, method=other, fraction=fraction))
            if before is not None:
                gains[replace(variable, metric=name)] = numbers - before
    return gains


def _contrast_gains(values: dict[Variable, FloatArray]) -> dict[Variable, FloatArray]:
    """How much more of the target than of the interference is left, against the mixture."""
    contrasts = {
        variable: numbers
        - values[replace(variable, metric=SEPARATION_METRICS["si_sdr_interference"])]
        for variable, numbers in values.items()
        if variable.metric == SEPARATION_METRICS["si_sdr_target"]
    }
    return {
        replace(variable, metric=CONTRAST_GAIN): numbers
        - contrasts[replace(variable, method=WHOLE, fraction="")]
        for variable, numbers in contrasts.items()
        if variable.method != WHOLE
    }


def _of_mixture(name: str, mixture: object, selection: object, fraction: Any) -> Variable:
    part = "" if pd.isna(fraction) else f"{fraction:g}"
    return Variable(name, str(selection), mixture=str(mixture), fraction=part)


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
            subset = Variable(variable.metric, variable.method, variable.level, "correct", name)
            subsets[subset] = np.where(chosen, numbers, np.nan)
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
            if variable.method not in CLASS_METHODS:
                continue
            subset = Variable(variable.metric, variable.method, variable.level, "class", str(name))
            subsets[subset] = np.where(chosen, numbers, np.nan)
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
