"""Volumes in pictures: planes, projections, sheets of slices, surfaces, the card of the report."""

import dataclasses
import io
import re

import numpy as np
import pandas as pd
import pytest

from tasks.reporting import SampleExplanation, sample_figure, write_report
from tasks.reporting.gallery import sample_cards
from tasks.reporting.surfaces import surface_picture
from tasks.reporting.volume_cards import volume_card
from tasks.reporting.volume_views import MOST_SLICES, look_at

LEVELS = ("1", "2", "approximation")


def blob(shape, centre, radius=3):
    grid = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    distance = sum((axis - place) ** 2 for axis, place in zip(grid, centre, strict=True))
    return (distance <= radius**2).astype(np.float32)


def explanation(shape=(12, 20, 16), centre=(4, 13, 9), **changes):
    volume = blob(shape, centre)
    rng = np.random.default_rng(0)
    base = SampleExplanation(
        sample_id="val_images:07",
        source="val_images:07",
        status="ok",
        detail="",
        signal=volume[None],
        label=1,
        label_name="mass",
        predicted=0,
        predicted_name="normal",
        probability_label=0.3,
        probability_predicted=0.7,
        maps={"smoothgrad_signed": {level: rng.random(shape) * volume for level in LEVELS}},
        shares={"smoothgrad_signed": dict(zip(LEVELS, (0.5, 0.3, 0.2), strict=True))},
        reconstructions={"2 % of coefficients": volume[None]},
        frequency_labels=dict.fromkeys(LEVELS, "z 0.1–0.2, yx 0.3–0.6 cycles/mm (1–2 mm)"),
    )
    return dataclasses.replace(base, **changes)


def test_planes_pass_through_the_centre_of_mass_and_stand_upright():
    volume = blob((12, 20, 16), (4, 13, 9))
    view = look_at(volume[None])
    assert view.centre == (4, 13, 9)
    picture = view.importance(volume)
    # axial (20 x 16), coronal (12 x 16), sagittal (12 x 20), a line of one pixel between planes.
    assert picture.shape == (2 * (20 + 1), 16 + 16 + 20 + 2)
    axial = picture[:20, :16]
    np.testing.assert_array_equal(axial, volume[4][::-1])
    np.testing.assert_array_equal(picture[8:20, 17:33], volume[:, 13][::-1])
    np.testing.assert_array_equal(picture[8:20, 34:54], volume[:, :, 9][::-1])
    np.testing.assert_array_equal(picture[21:41, :16], volume.max(0)[::-1])


def test_long_voxels_are_drawn_long_and_axes_are_brought_into_order():
    volume = blob((12, 20, 16), (4, 13, 9))
    straight = look_at(volume[None], (2.0, 1.0, 1.0))
    picture = straight.importance(volume)
    assert picture.shape == (2 * (24 + 1), 16 + 16 + 20 + 2)
    turned = look_at(volume.transpose(2, 1, 0)[None], (1.0, 1.0, 2.0), "xyz")
    np.testing.assert_array_equal(turned.importance(volume.transpose(2, 1, 0)), picture)


def test_an_empty_volume_is_seen_through_its_middle():
    view = look_at(np.zeros((1, 5, 6, 7), np.float32))
    assert view.centre == (2, 3, 3)
    assert surface_picture(np.zeros((1, 5, 6, 7)), np.zeros((5, 6, 7)), view, "inferno") is None


@pytest.mark.parametrize("depth", [1, 12, 37, 100])
def test_a_sheet_holds_at_most_so_many_slices_in_order(depth):
    volume = np.broadcast_to(np.arange(depth, dtype=float)[:, None, None], (depth, 4, 6))
    view = look_at(np.ones((1, depth, 4, 6)))
    columns, rows = view.sheet_size(volume)
    shown = view.shown(volume)
    assert len(shown) <= MOST_SLICES
    sheet = view.sheet(volume)
    assert sheet.shape == (rows * 4, columns * 6)
    tiles = sheet.reshape(rows, 4, columns, 6)[:, 0, :, 0].ravel()
    np.testing.assert_array_equal(tiles[: len(shown)], list(shown))


def test_a_surface_shows_where_importance_lies():
    pytest.importorskip("skimage")
    volume = blob((24, 24, 24), (12, 12, 12), 8)
    importance = np.zeros((24, 24, 24))
    importance[:, :, 12:] = 1
    picture = surface_picture(volume[None], importance, look_at(volume[None]), "inferno")
    assert picture.shape == (240, 240, 3)
    drawn = picture.min(-1) < 0.99
    left, right = picture[:, :120][drawn[:, :120]], picture[:, 120:][drawn[:, 120:]]
    assert right.mean() > left.mean() + 0.1


def test_the_card_and_the_page_have_one_slider_for_all_sheets():
    card = volume_card(explanation(spacing=(2.5, 0.8, 0.8)))
    assert (card.columns, card.rows) == (4, 3)
    assert card.names[card.first] == "z 5 of 12, 11.25 mm from the lowest"
    assert card.place == (0.0, 50.0)
    assert card.ratio == 16 / 20
    assert len(card.groups[0].maps) == 3
    page = write_report({}, {}, [explanation()], pd.DataFrame(), pd.DataFrame())
    assert page.count('type="range"') == 1
    assert page.count('class="slice"') == 3
    assert 'aria-valuetext="z 5 of 12"' in page
    assert not re.search(r"(src|href)=\"https?:", page)
    assert sample_cards([explanation()])[0].size > card.size


def test_the_picture_of_a_sample_has_planes_and_a_surface():
    figure = sample_figure(explanation())
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    words = "\n".join(text.get_text() for text in figure.texts)
    assert "axial, coronal, sagittal" in words
    assert "Surface" in words
    assert "Level 1: 50.0" in words
