"""Curves over stages: where they stand, and what a hostile name becomes."""

import pytest

from tasks.reporting.analysis_sections import SectionContext, analysis_sections
from tasks.reporting.metric_table import MetricTable
from tasks.reporting.stage_chart import StageValue, stage_chart


def value(place, estimate, spread=0.1):
    return StageValue(place, estimate, estimate - spread, estimate + spread, f"{estimate}")


def test_values_stand_in_order_on_an_axis_that_ends_at_one():
    points = [StageValue(0, 1.0, None, None, ""), value(1, 0.5), value(2, -0.25)]
    chart = stage_chart("", ("", ""), ["none", "1", "all"], [("a", 0, points)], limit=0.2)
    (curve,) = chart.curves
    assert [tick.label for tick in chart.up] == [
        "-0.4", "-0.2", "0", "0.2", "0.4", "0.6", "0.8", "1",
    ]  # fmt: skip
    assert [marker.x for marker in curve.markers] == [tick.position for tick in chart.across]
    assert (curve.markers[0].x, curve.markers[-1].x) == (chart.left, chart.right)
    assert curve.markers[0].y == chart.up[-1].position
    assert chart.limit == chart.up[3].position
    middle = (chart.up[4].position + chart.up[5].position) / 2
    assert curve.markers[1].y == pytest.approx(middle, abs=0.1)


def entry(name, estimate, **labels):
    return {
        "name": name, "labels": labels, "estimate": estimate, "low": estimate - 0.01,
        "high": estimate + 0.01, "n": 9, "unit": "correlation", "direction": "lower",
    }  # fmt: skip


def test_the_section_says_what_failed_and_escapes_the_names_of_layers():
    metrics = [
        entry("sanity/randomisation_spearman", 0.6, method="path_gradient", stage=1),
        entry("sanity/randomisation_spearman", 0.3, method="path_gradient", stage=2),
        entry("sanity/energy_similarity", 0.4, method="integrated_gradients"),
        entry("sanity/randomised_share", 0.5, stage=1, layers="<script>"),
        entry("sanity/trustworthy", 0.0),
    ]
    check = {
        "check": "the similarity of its gradient part with every layer randomised",
        "estimate": 0.3, "low": 0.29, "high": 0.31, "limit": "at most 0.2", "verdict": "fail",
    }  # fmt: skip
    trust = [{"method": "integrated_gradients", "verdict": "fail", "checks": [check]}]
    settings = {"sanity": {"limits": {"similarity": 0.2}}}
    context = SectionContext(MetricTable(metrics), {}, "95 %", {}, settings, trust)
    (section,) = analysis_sections(context)
    page = str(section.content)
    assert "The explanations fail a sanity check." in page
    assert "0.300 [0.290, 0.310]" in page
    assert "<td>fails</td>" in page
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert 'class="limit"' in page
