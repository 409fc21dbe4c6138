"""What the benchmark comes to: every method where it speaks, and differences sample by sample."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.analyses.contract import Measures, Median, ShardTables
from tasks.analyses.mixtures import MODEL_FREE
from tasks.sentences import Metric, with_interval
from tasks.variables import Variable
from wam_core.intervals import FloatArray

COEFFICIENTS = "coefficients"

_COLUMNS = {
    "insertion": ("fraction", "higher"),
    "deletion": ("fraction", "lower"),
    "faith": ("fraction", "higher"),
    "mu_fidelity": ("correlation", "higher"),
    "input_fidelity": ("fraction", "higher"),
}
_PROOF = ("energy_faith", "replacement_faith", "class_contrast")
"""Measures of the analysis of faithfulness under which energy alone cannot win."""

WAVELET_METHODS = (
    "gradient",
    "smoothgrad_signed",
    "smoothgrad_absolute",
    "smoothgrad_squared",
    "integrated_gradients",
    "integrated_gradients_positive",
    "coalition_gradients",
)
DIFFERENCE = "benchmark/difference"
SPECTRA = "benchmark/spectra"

UNITS = {
    **{f"benchmark/{column}": unit for column, unit in _COLUMNS.items()},
    DIFFERENCE: ("fraction", "none"),
    SPECTRA: ("fraction", "higher"),
}
PROPORTIONS = frozenset({"benchmark/input_fidelity"})
MEDIANS = (Median(SPECTRA, "benchmark", "spectra", ("method", "domain")),)


def benchmark_measures(tables: ShardTables, own: str) -> Measures:
    """Numbers per sample by metric and labels.

    Args:
        own: Domain in which methods over the input speak: `points` or `front_end`.
    """
    found: Measures = {}
    faith: dict[str, dict[str, FloatArray]] = {"faith": {}}
    for (method, domain), rows in tables["benchmark"].groupby(["method", "domain"], sort=True):
        by_sample = rows.set_index("sample_index")
        for column in _COLUMNS:
            variable = Variable.of(f"benchmark/{column}", method=method, domain=domain)
            found[variable] = tables.aligned(by_sample[column])
        if domain == own and str(method) not in (*WAVELET_METHODS, *MODEL_FREE):
            faith["faith"][str(method)] = tables.aligned(by_sample["faith"])
    for method, rows in tables["faithfulness"].groupby("method", sort=True):
        by_sample = rows.set_index("sample_index")
        for measure in ("faith", *_PROOF):
            if by_sample[measure].notna().any():
                values = tables.aligned(by_sample[measure])
                faith.setdefault(measure, {})[str(method)] = values
    return found | _differences(faith)


def _differences(measures: dict[str, dict[str, FloatArray]]) -> Measures:
    """Every method over coefficients less every other method, sample by sample."""
    found: Measures = {}
    for measure, by_method in measures.items():
        for method, values in by_method.items():
            if method not in WAVELET_METHODS:
                continue
            for over, others in by_method.items():
                if over != method:
                    labels = {"measure": measure, "method": method, "over": over}
                    found[Variable.of(DIFFERENCE, **labels)] = values - others
    return found


def benchmark_sentences(metrics: Sequence[Metric]) -> list[str]:
    """Whether a method over coefficients beats every method over the input, and which."""
    winners = []
    for method in WAVELET_METHODS:
        over = [
            metric
            for metric in metrics
            if metric["name"] == DIFFERENCE
            and metric["labels"]["method"] == method
            and metric["labels"]["measure"] == "faith"
            and metric["labels"]["over"] not in (*WAVELET_METHODS, *MODEL_FREE)
        ]
        if over and all(metric["low"] is not None and metric["low"] > 0 for metric in over):
            closest = min(over, key=lambda metric: metric["estimate"])
            winners.append(f"{method} (by {with_interval(closest, 2)} at least)")
    if not any(metric["name"] == DIFFERENCE for metric in metrics):
        return []
    if not winners:
        return ["No method over coefficients has a higher Faith than every method over the input."]
    return [
        "Higher in Faith than every method over the input, each in its own domain: "
        f"{', '.join(winners)}."
    ]


def by_method(metrics: Sequence[Metric], name: str, **labels: str) -> dict[str, Metric]:
    """Metrics of one name by method, where the other labels are these."""
    found = {}
    for metric in metrics:
        own = dict(metric["labels"])
        method = own.pop("method", None)
        if metric["name"] == name and method is not None and own == labels:
            found[str(method)] = metric
    return found
