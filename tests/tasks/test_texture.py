"""Agreement of texture indices across classes, against scipy and planted orders."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tasks.texture import VotesByClass


def votes_of(values, classes):
    """One sample per class and index, each vote one of one."""
    ones = np.ones(len(classes))
    votes = {name: (np.array(numbers, dtype=float), ones) for name, numbers in values.items()}
    return VotesByClass.of(votes, pd.Series(classes))


def agreements(votes):
    found = votes.agreements(confidence=0.9, n_resamples=300, seed=0)
    return {variable.labels()["second"]: interval for variable, interval in found}


def test_it_is_spearmans_correlation_over_classes():
    rng = np.random.default_rng(0)
    classes = [f"class {index}" for index in range(12)]
    first, second = rng.normal(size=12), rng.normal(size=12)
    found = agreements(votes_of({"a": first, "b": second}, classes))["b"]
    assert found.estimate == pytest.approx(stats.spearmanr(first, second).statistic)
    assert found.low < found.estimate < found.high
    assert found.n == 12


def test_indices_are_ratios_of_sums_over_the_samples_of_a_class_whatever_the_shards():
    fine, everything = np.array([1.0, 0.0, 3.0, np.nan]), np.array([1.0, 1.0, 4.0, 1.0])
    classes = pd.Series(["cat", "cat", "dog", "dog"])
    whole = VotesByClass.of({"index": (fine, everything)}, classes)
    assert whole.sums == {("index", "cat"): (1.0, 2.0), ("index", "dog"): (3.0, 4.0)}
    parts = [
        VotesByClass.of({"index": (fine[rows], everything[rows])}, classes[rows])
        for rows in (slice(0, 1), slice(1, 4))
    ]
    assert parts[0].merge(parts[1]) == parts[1].merge(parts[0]) == whole


def test_few_classes_and_equal_indices_say_nothing():
    values = {"a": [1, 2, 3, 4], "b": [1, 2, 3, 4]}
    assert agreements(votes_of(values, list("wxyz"))) == {}
    assert agreements(votes_of({"a": [1] * 6, "b": range(6)}, list("uvwxyz"))) == {}


def test_a_sample_without_a_class_has_no_vote():
    votes = votes_of({"a": [1.0, 2.0]}, [None, "cat"])
    assert votes.sums == {("a", "cat"): (2.0, 1.0)}
