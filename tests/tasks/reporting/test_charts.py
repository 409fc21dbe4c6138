import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.reporting.charts import (
    WIDTH,
    ClassPoint,
    Threshold,
    Value,
    fraction_axis,
    octave_chart,
    ratio_axis,
    row_chart,
    scatter_chart,
)


@given(st.lists(st.floats(0, 1), max_size=9))
def test_fraction_axis_starts_at_zero_and_holds_every_value(values):
    axis = fraction_axis("share", values)
    assert axis.low == 0
    assert axis.high >= max([*values, 0]) - 1e-9
    assert 2 <= len(axis.ticks) <= 7


@given(st.lists(st.floats(1e-6, 1e6), max_size=9))
def test_ratio_axis_holds_one_and_every_value(values):
    axis = ratio_axis("ratio", values)
    assert axis.low <= min([*values, 1]) * (1 + 1e-6)
    assert axis.high >= max([*values, 1]) * (1 - 1e-6)
    assert 1 in axis.values
    assert len(axis.ticks) <= 8


def test_bars_begin_at_the_origin():
    axis = ratio_axis("ratio", [0.5, 4.0])
    chart = row_chart(
        "ratios",
        axis,
        [
            ("Level 1", "", [Value(4.0, 3, 5, "4×", "")]),
            ("Level 2", "", [Value(0.5, None, None, "", "")]),
        ],
    )
    above, below = (row.bars[0] for row in chart.rows)
    assert above.x == pytest.approx(chart.origin)
    assert below.x + below.width == pytest.approx(chart.origin)
    assert below.low is None


def test_values_beyond_the_axis_stay_inside_the_chart():
    axis = fraction_axis("share", [0.1])
    assert axis.position(5.0) == axis.position(axis.high) < WIDTH
    assert axis.position(-1.0) == axis.position(0.0)
    assert ratio_axis("ratio", [2.0]).position(0.0) == ratio_axis("ratio", [2.0]).position(0.5)


def test_rows_do_not_overlap():
    values = [Value(0.1, 0.05, 0.2, "", ""), Value(0.2, 0.1, 0.3, "", "", 1)]
    chart = row_chart("two series", fraction_axis("share", [0.3]), [("a", "", values)] * 4)
    edges = [(row.y, row.y + row.height) for row in chart.rows]
    assert all(a[1] < b[0] for a, b in itertools.pairwise(edges))
    assert edges[-1][1] < chart.height


def test_area_of_a_class_grows_with_its_samples():
    points = [ClassPoint(0.5, 0.9, n, "", few=n < 20) for n in (10, 1000)]
    small, large = scatter_chart("classes", ("x", "y"), points).points
    assert small.radius < large.radius
    assert small.few
    assert not large.few


def test_octaves_run_from_low_to_high_frequencies_and_curves_end_at_the_axis():
    levels = [
        Threshold(f"Level {level}", value, None, None, value == 1.0, "")
        for level, value in ((1, 0.1), (2, 0.03), (3, 1.0))
    ]
    curve = [(0.5, 5.0), (1.0, 0.1), (2.0, 0.03), (3.0, 0.4), (3.5, 40.0)]
    chart = octave_chart(
        "noise", ("frequency", "noise"), [0.01, 0.1, 1.0], levels, ("0.5", "0.25", "0.1"), curve
    )
    across = [column.x for column in chart.columns]
    assert across == sorted(across, reverse=True)
    assert chart.columns[1].y > chart.columns[0].y > chart.columns[2].y  # upwards is smaller y
    assert [column.is_open for column in chart.columns] == [False, False, True]
    assert len(chart.curve) == 3
    assert chart.curve[1] == (chart.columns[1].x, chart.columns[1].y)
    assert chart.edges[0].position == chart.right
    assert chart.columns[0].x < chart.edges[0].position
    assert chart.columns[1].x < chart.edges[1].position < chart.columns[0].x
