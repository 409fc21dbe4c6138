"""One row per method: the published columns, and those that energy alone cannot win."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tasks.analyses.benchmark_measures import COEFFICIENTS, DIFFERENCE, WAVELET_METHODS, by_method
from tasks.analyses.input_methods import CAPTUM
from tasks.analyses.mixtures import MODEL_FREE
from tasks.sentences import Metric

COLUMNS = (
    ("insertion", "Ins"),
    ("deletion", "Del"),
    ("faith", "Faith"),
    ("mu_fidelity", "mu-Fid"),
    ("spectra", "FF"),
    ("input_fidelity", "Fid-In"),
    ("energy_faith", "Faith (energy)"),
    ("replacement_faith", "Faith (others)"),
    ("class_contrast", "contrast"),
)
"""Measures and how the table heads them."""

TITLES = {
    **{name: method.title for name, method in CAPTUM.items()},
    "gradient": "WAM, gradient",
    "smoothgrad_signed": "WAM_SG (signed)",
    "smoothgrad_absolute": "WAM_SG",
    "smoothgrad_squared": "WAM_SG (squared)",
    "integrated_gradients": "WAM_IG",
    "integrated_gradients_positive": "WAM_IG (signed)",
    "coalition_gradients": "WAM_CG",
    "magnitude": "|z| (no model)",
    "random": "random",
}
"""What the table calls methods; functions of the user's keep their name."""


@dataclass(frozen=True)
class BenchmarkTable:
    """Every number of a benchmark.

    Attributes:
        rows: One per audit, method, domain and measure: `audit`, `method`, `domain`, `measure`,
            `estimate`, `low`, `high`, `n`; a difference also has `over`, and its measure is the one
            that differs.
    """

    name: str
    rows: pd.DataFrame

    def csv(self) -> str:
        """All rows."""
        text = io.StringIO()
        self.rows.to_csv(text, index=False)
        return text.getvalue()

    def audits(self) -> list[str]:
        """Titles of the audits, in order."""
        return list(dict.fromkeys(self.rows["audit"]))

    def methods(self, audit: str) -> list[str]:
        """Methods of an audit in the order of the published table, controls last."""
        found = set(self._own(audit)["method"])
        known = [*CAPTUM, *WAVELET_METHODS]
        others = sorted(found - set(known) - set(MODEL_FREE))
        return [name for name in (*known[: len(CAPTUM)], *others, *known[len(CAPTUM) :],
                                  *MODEL_FREE) if name in found]  # fmt: skip

    def cell(self, audit: str, method: str, measure: str) -> Mapping[str, Any] | None:
        """A number where a method speaks; None where it has none."""
        rows = self._own(audit)
        return _only(rows[(rows["method"] == method) & (rows["measure"] == measure)])

    def difference(
        self, audit: str, method: str, over: str, measure: str = "faith"
    ) -> Mapping[str, Any] | None:
        """A method's measure less another's, sample by sample."""
        rows = self.rows[(self.rows["audit"] == audit) & (self.rows["over"] == over)]
        return _only(rows[(rows["method"] == method) & (rows["measure"] == measure)])

    def _own(self, audit: str) -> pd.DataFrame:
        rows = self.rows
        return rows[(rows["audit"] == audit) & rows["own"] & (rows["over"] == "")]


def table_of(name: str, summaries: Mapping[str, Mapping[str, Any]]) -> BenchmarkTable:
    """The table of a benchmark.

    Args:
        summaries: Of the audits, by title.
    """
    rows: list[dict[str, Any]] = []
    for title, summary in summaries.items():
        rows += [{"audit": title} | row for row in _rows(summary["metrics"])]
    columns = [
        "audit", "method", "domain", "own", "over", "measure", "estimate", "low", "high", "n",
    ]  # fmt: skip
    return BenchmarkTable(name, pd.DataFrame(rows, columns=columns))


def _rows(metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    domains = list(
        dict.fromkeys(
            metric["labels"]["domain"] for metric in metrics if metric["name"] == "benchmark/faith"
        )
    )
    own_domain = "front_end" if "front_end" in domains else "points"
    rows = []
    for measure, _ in COLUMNS:
        for method, metric in by_method(metrics, f"faithfulness/{measure}").items():
            rows.append(_row(metric, method, COEFFICIENTS, True, measure))
        for domain in domains:
            for method, metric in by_method(metrics, f"benchmark/{measure}", domain=domain).items():
                own = domain == own_domain and method not in (*WAVELET_METHODS, *MODEL_FREE)
                rows.append(_row(metric, method, domain, own, measure))
    for metric in metrics:
        if metric["name"] == DIFFERENCE:
            labels = metric["labels"]
            rows.append(
                _row(metric, labels["method"], COEFFICIENTS, True, labels["measure"])
                | {"over": labels["over"]}
            )
    return rows


def _row(metric: Metric, method: str, domain: str, own: bool, measure: str) -> dict[str, Any]:
    return {
        "method": method,
        "domain": domain,
        "own": own,
        "over": "",
        "measure": measure,
        **{key: metric[key] for key in ("estimate", "low", "high", "n")},
    }


def _only(rows: pd.DataFrame) -> Mapping[str, Any] | None:
    return None if rows.empty else dict(rows.iloc[0])
