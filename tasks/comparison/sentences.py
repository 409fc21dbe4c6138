"""A comparison in a few plain sentences, each with its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.sentences import find_metric, with_interval

_MAIN = (
    "smoothgrad_absolute",
    "gradient",
    "integrated_gradients",
    "coalition_gradients",
)


def comparison_sentences(record: Mapping[str, Any]) -> list[str]:
    """Sentences for the terminal, the report and MLflow."""
    first, second = (record["audits"][side]["name"] for side in ("first", "second"))
    sentences = []
    if record["forced"]:
        fields = ", ".join(difference["field"] for difference in record["forced"])
        sentences.append(f"Compared by force although these settings differ: {fields}.")
    if record["paired"]:
        sentences.append(
            f"{second} is compared with {first} on the {record['n_common']} samples that both "
            "explain; changes are the second less the first."
        )
    else:
        sentences.append(
            f"{first} and {second} share {record['n_common']} samples, fewer than half of the "
            "smaller audit: only their mean profiles are compared, with random splits as the null."
        )
    if any(note["field"] == "dataset.digest" for note in record["noted"]):
        sentences.append(
            "The two datasets differ in ids, labels or file contents: equal ids are taken to name "
            "the same samples."
        )
    metrics = record["metrics"]
    accuracy = find_metric(metrics, "compare/accuracy_change")
    if accuracy:
        sentences.append(
            f"Accuracy goes from {accuracy['first']:.3f} to {accuracy['second']:.3f}, a change of "
            f"{with_interval(accuracy, 3)}: {accuracy['gained']} samples gained, "
            f"{accuracy['lost']} lost (McNemar {_p(accuracy['p_value'])}, n = {accuracy['n']})."
        )
    for method in _MAIN:
        sentences += _of_method(metrics, method, first, second)
    return sentences


def _of_method(metrics: list[Any], method: str, first: str, second: str) -> list[str]:
    labels = {"method": method}
    sentences = []
    ratio = find_metric(metrics, "compare/finest_level_ratio", labels)
    if ratio:
        sentences.append(
            f"By {method}, the finest level holds {ratio['first']:.3f} of the importance in "
            f"{first} and {ratio['second']:.3f} in {second}: {with_interval(ratio, 2)} times as "
            f"much in the first (n = {ratio['n']})."
        )
    fine = find_metric(metrics, "compare/fine_share_change", labels)
    if fine:
        sentences.append(
            f"By {method}, the fine share goes from {fine['first']:.3f} to {fine['second']:.3f}, "
            f"a change of {with_interval(fine, 3)} ({_p(fine['p_value'])}, n = {fine['n']})."
        )
    whole = find_metric(metrics, "compare/composition_distance", labels)
    distance = find_metric(metrics, "compare/wasserstein_octaves", labels)
    if whole and distance:
        sentences.append(
            f"By {method}, the mean profiles are {distance['estimate']:.3f} octaves apart; a test "
            f"of all levels together gives {_p(whole['p_value'])}."
        )
    drift = find_metric(metrics, "compare/drift_octaves", labels)
    if drift:
        sentences.append(
            f"By {method}, the mean profiles are {drift['estimate']:.3f} octaves apart; random "
            f"splits stay below {drift['null_95']:.3f} in 95 % of cases ({_p(drift['p_value'])})."
        )
    return sentences


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
