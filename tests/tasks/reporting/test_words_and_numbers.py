import math

import pandas as pd
import pytest

from tasks.config import AuditConfig
from tasks.reporting.formatting import MISSING, finite, percent, quantity, shortened, significant
from tasks.reporting.metric_table import MetricTable
from tasks.reporting.settings import config_settings, leakage_note
from tasks.reporting.wording import METHODS, STATUSES, ordered_methods


@pytest.mark.parametrize("missing", [None, math.nan, math.inf, -math.inf, pd.NA, pd.NaT])
def test_undefined_numbers_are_dashes(missing):
    assert finite(missing) is None
    assert percent(missing) == significant(missing) == quantity(missing, "octaves") == MISSING


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-2.5, "-2.50"), (999.6, "1,000"), (12345.6, "12,346"), (5e-9, "5.00e-09")],
)
def test_significant_digits(value, text):
    assert significant(value) == text


def test_shortened_keeps_both_ends():
    text = shortened("a" * 50 + "/cat.png", 20)
    assert len(text) == 20
    assert text.startswith("aaa")
    assert text.endswith("/cat.png")


def entry(name, labels, estimate=0.5):
    return {"name": name, "labels": labels, "estimate": estimate, "n": 3, "unit": "fraction"}


def test_profile_is_found_by_its_other_labels_and_ordered_fine_to_coarse():
    table = MetricTable(
        entry("reliance/share", {"method": "gradient", "level": level, **labels})
        for level in ("approximation", 10, 2)
        for labels in ({}, {"class": 3})
    )
    assert list(table.profile("reliance/share", {"method": "gradient"})) == [
        "2",
        "10",
        "approximation",
    ]
    assert table.profile("reliance/share", {"method": "gradient", "class": "3"})
    assert table.profile("reliance/share", {"method": "other"}) == {}


def test_metric_without_estimate_counts_as_absent():
    table = MetricTable([entry("accuracy/top1", {}, None), entry("accuracy/top1", {"class": 1})])
    assert table.one("accuracy/top1") is None
    assert table.one("accuracy/top1", {"class": "1"}) is not None


def test_main_method_is_the_first_known_one():
    assert ordered_methods({"zeta", *METHODS})[0] == next(iter(METHODS))
    assert ordered_methods({"zeta", *METHODS})[-1] == "zeta"


def test_every_setting_of_the_schema_is_listed():
    config = AuditConfig.model_validate(
        {"name": "a", "dataset": {"class_map": {"cat": 1}}, "model": {"name": "m"}}
    )
    groups = config_settings(config.model_dump(mode="json"))
    names = {(group, line.name) for group, lines in groups.items() for line in lines}
    assert ("attribution", "integrated_gradients.n_steps") in names
    assert ("dataset", "decoding.max_pixels") in names
    values = {line.name: line.value for line in groups["dataset"]}
    assert values["class_map"] == "cat: 1"


def test_leakage_is_stated_for_measured_wavelets_only():
    assert "50\u00a0%" in leakage_note({"basis": {"wavelet": "haar"}})
    assert leakage_note({"basis": {"wavelet": "coif3"}}) == ""
    assert leakage_note({}) == ""


def test_every_status_of_the_tables_has_words():
    assert set(STATUSES) == {
        "ok", "decode_error", "shape_error", "nonfinite", "degenerate", "quarantined"
    }  # fmt: skip
