import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wam_core.intervals import normal_interval
from wam_core.shortcuts import class_contrast, dominant_levels, loss


@given(
    st.integers(2, 7).flatmap(
        lambda n: st.lists(
            st.lists(st.integers(0, 4).map(float), min_size=3, max_size=3), min_size=n, max_size=n
        )
    )
)
def test_contrast_is_the_mean_sign_of_the_difference_to_every_other_class(rows):
    energy = np.array(rows)
    n = len(energy)
    signs = np.sign(energy[:, None] - energy[None])
    np.testing.assert_allclose(class_contrast(energy), signs.sum(1) / (n - 1))
    assert class_contrast(energy).sum() == pytest.approx(0)


def test_classes_without_energies_take_no_part():
    contrast = class_contrast(np.array([[3.0], [np.nan], [1.0]]))
    np.testing.assert_allclose(contrast, [[1.0], [np.nan], [-1.0]])
    with pytest.raises(ValueError, match="compared with each other, but there are 1"):
        class_contrast(np.array([[1.0], [np.nan]]))


def test_dominant_levels_are_few_important_and_may_be_none():
    rises = np.array([0.5, 2.0, 0.4, 1.9])
    assert dominant_levels(rises, share=0.25, most=4).tolist() == [1, 3, 0]
    assert dominant_levels(rises, share=0.25, most=1).tolist() == [1]
    assert dominant_levels(rises, share=1.0, most=4).tolist() == [1]
    assert dominant_levels(np.array([-0.1, 0.0]), share=0.25, most=2).tolist() == []


def test_losses_of_impossible_answers_are_bounded():
    np.testing.assert_allclose(loss(np.array([1.0, 0.5, 0.0])), [0, np.log(2), np.log(1e7)])


def test_the_interval_of_a_mean_is_students():
    from scipy import stats

    values = np.random.default_rng(0).normal(2, 3, 12)
    found = normal_interval(values.sum(), (values**2).sum(), 12, 0.9)
    expected = stats.t.interval(0.9, 11, loc=values.mean(), scale=stats.sem(values))
    np.testing.assert_allclose((found.low, found.high), expected)
    assert normal_interval(3.0, 9.0, 1).low is None
    assert normal_interval(0.0, 0.0, 0).estimate is None
