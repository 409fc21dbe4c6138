"""What removals came to: numbers per sample, and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from tasks.analyses.contract import Measures, ShardTables
from tasks.analyses.faithfulness_removals import PREFIXES
from tasks.analyses.mixtures import EVIDENCE, MODEL_FREE
from tasks.sentences import Metric, find_metric, with_interval
from tasks.variables import Variable
from wam_core.intervals import FloatArray

_AREAS = {
    f"{prefix}{area}": direction
    for prefix in PREFIXES.values()
    for area, direction in (("insertion", "higher"), ("deletion", "lower"), ("faith", "higher"))
}
_BY_METHOD = {
    **{column: ("fraction", direction) for column, direction in _AREAS.items()},
    "class_contrast": ("fraction", "higher"),
    "random_weights_gap": ("fraction", "higher"),
    "mu_fidelity": ("correlation", "higher"),
    "input_fidelity": ("fraction", "higher"),
    "drop": ("fraction", "lower"),
    "increase": ("fraction", "higher"),
    "gain": ("fraction", "higher"),
}
"""Columns whose means are metrics of the same name, with unit and better direction."""

SPECTRA = "faithfulness/spectra"
SPARSENESS = "faithfulness/sparseness"
RELIABILITY = "faithfulness/reliability"
GAP = "faithfulness/end_point_gap"
STEPS, SUBSETS = "faithfulness/n_steps", "faithfulness/n_subsets"
GAINS = {
    control: f"faithfulness/faith_gain_over_{name}"
    for control, name in zip(MODEL_FREE, ("energy", "random"), strict=True)
}
"""Faith of a map minus that of each order without a model."""

UNITS = {
    **{f"faithfulness/{column}": unit for column, unit in _BY_METHOD.items()},
    **dict.fromkeys(GAINS.values(), ("fraction", "higher")),
    SPECTRA: ("fraction", "higher"),
    SPARSENESS: ("fraction", "none"),
    RELIABILITY: ("correlation", "higher"),
    GAP: ("fraction", "lower"),
    STEPS: ("steps", "none"),
    SUBSETS: ("subsets", "none"),
}
PROPORTIONS = frozenset({"faithfulness/input_fidelity", "faithfulness/increase"})

_SMOOTHED = "smoothgrad_signed"
"""The reliability of WAM_SG is that of its signed mean, whatever ranks the coefficients."""

_WORDS = {
    "gradient": "the gradient",
    "smoothgrad_signed": "WAM_SG (signed mean)",
    "smoothgrad_absolute": "WAM_SG (mean of absolute values)",
    "smoothgrad_squared": "WAM_SG (mean of squares)",
    "integrated_gradients": "WAM_IG's magnitude",
    EVIDENCE: "WAM_IG's evidence for the class",
    "coalition_gradients": "WAM_CG",
    MODEL_FREE[0]: "|z| alone",
    MODEL_FREE[1]: "chance",
}


_PROOF: tuple[tuple[str, dict[str, str], str], ...] = (
    (
        "faithfulness/energy_faith",
        {},
        "Faith (insertion less deletion) over the fraction of the coefficients' energy",
    ),
    (
        GAINS[MODEL_FREE[0]],
        {"removal": "replacement"},
        "Faith gained over the order by |z|, with other signals' coefficients in place of removed "
        "ones",
    ),
    (
        "faithfulness/class_contrast",
        {},
        "Faith of a class's own map over that of the runner-up's",
    ),
    (
        "faithfulness/random_weights_gap",
        {},
        "Faith of a map over that of the same network's with random weights",
    ),
)
"""Measures that an order by energy cannot win, and what sentences call them."""


def faithfulness_measures(tables: ShardTables) -> Measures:
    """Numbers per sample by metric and labels."""
    table = tables["faithfulness"]
    by_method = {
        str(method): rows.set_index("sample_index")
        for method, rows in table.groupby("method", sort=True)
    }
    found: Measures = {}
    for method, rows in by_method.items():
        for column in _BY_METHOD:
            _add(found, tables, rows, column, f"faithfulness/{column}", method=method)
        for index in ("gini", "hoyer"):
            _add(found, tables, rows, index, SPARSENESS, method=method, index=index)
        _add(found, tables, rows, "reliability", RELIABILITY, method=_SMOOTHED)
    every_row = table.drop_duplicates("sample_index").set_index("sample_index")
    for column, name in (("end_point_gap", GAP), ("n_steps", STEPS), ("n_subsets", SUBSETS)):
        _add(found, tables, every_row, column, name)
    return found | _gains(found)


def _add(
    found: Measures,
    tables: ShardTables,
    rows: pd.DataFrame,
    column: str,
    metric: str,
    **labels: str,
) -> None:
    """A column as a variable, unless it is empty."""
    if rows[column].notna().any():
        found[Variable.of(metric, **labels)] = tables.aligned(rows[column])


def _gains(found: Measures) -> Measures:
    """Faith over that of the orders without a model, sample by sample, by way of removal."""
    gains: Measures = {}
    for removal, prefix in PREFIXES.items():
        faith: dict[str, FloatArray] = {
            variable.get("method"): values
            for variable, values in found.items()
            if variable.metric == f"faithfulness/{prefix}faith"
        }
        for control, name in GAINS.items():
            for method, values in faith.items():
                if method not in MODEL_FREE and control in faith:
                    labels = {"method": method, "removal": removal if prefix else ""}
                    gains[Variable.of(name, **labels)] = values - faith[control]
    return gains


def faithfulness_sentences(metrics: Sequence[Metric]) -> list[str]:
    """The measures that energy alone cannot win, then the published one beside its control."""
    sentences = [
        f"{words}: {listed}."
        for name, labels, words in _PROOF
        if (listed := _listed(metrics, name, labels))
    ]
    published = _published(metrics)
    return [*sentences, published] if published else sentences


def _listed(metrics: Sequence[Metric], name: str, labels: Mapping[str, str]) -> str:
    found = [
        (title, metric)
        for method, title in _WORDS.items()
        if (metric := find_metric(metrics, name, {**labels, "method": method})) is not None
    ]
    if not found:
        return ""
    parts = ", ".join(f"{with_interval(metric, 2)} by {title}" for title, metric in found)
    return f"{parts} (n = {found[0][1]['n']})"


def _published(metrics: Sequence[Metric]) -> str:
    energy = find_metric(metrics, "faithfulness/faith", {"method": MODEL_FREE[0]})
    gains = [
        f"{with_interval(gain, 2)} by {title}"
        for method, title in _WORDS.items()
        if (gain := find_metric(metrics, GAINS[MODEL_FREE[0]], {"method": method})) is not None
    ]
    if energy is None or not gains:
        return ""
    return (
        f"Faith as published, over the number of coefficients, is {with_interval(energy, 2)} for "
        f"the order by |z|, which needs no model; gained over that: {', '.join(gains)} (paired, "
        f"n = {energy['n']})."
    )
