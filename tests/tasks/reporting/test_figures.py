import dataclasses
import io

import matplotlib as mpl
import numpy as np
import pytest

from tasks.reporting import profile_figures, sample_figure
from tasks.reporting.pictures import (
    map_uri,
    overlay,
    picture_uri,
    renderer,
    scaled_importance,
)


def drawn(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    return buffer.getvalue()


def words(figure):
    texts = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        texts += [axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]
        texts += [label.get_text() for label in axes.get_yticklabels()]
    return "\n".join(texts)


def test_sample_figure_titles_every_level_with_band_and_share(gallery):
    figure = sample_figure(gallery[0])
    assert drawn(figure).startswith(b"\x89PNG")
    text = words(figure)
    assert "Level 1: 36.0\u00a0%" in text
    assert "0.25–0.5 cycles/pixel" in text
    assert "Integrated gradients" in text
    assert "99.5th percentile" in text


def test_sample_without_signal_says_why(gallery):
    figure = sample_figure(gallery[2])
    drawn(figure)
    assert "cannot identify image file" in words(figure)


def test_signal_without_renderer_says_so(gallery):
    film = dataclasses.replace(gallery[0], signal=np.zeros((1, 5, 6, 7, 8), np.float32))
    assert "(1, 5, 6, 7, 8)" in words(sample_figure(film))
    with pytest.raises(ValueError, match="spatial axes"):
        renderer(film)


def test_sample_figure_survives_mathematics_and_odd_characters(gallery):
    odd = "$\\frac{$ \x00 \udcff ${"
    hostile = dataclasses.replace(
        gallery[0],
        **dict.fromkeys(("sample_id", "source", "detail", "label_name", "predicted_name"), odd),
        reconstructions={odd: gallery[0].signal},
        frequency_labels={"1": odd},
    )
    drawn(sample_figure(hostile))


@pytest.mark.parametrize("shape", [(1, 32, 80), (4, 90, 20), (3, 8, 8)])
def test_any_image_shape_is_pictured(gallery, shape):
    maps = {"gradient": {"1": np.zeros(shape[1:]), "approximation": np.ones(shape[1:])}}
    one = dataclasses.replace(
        gallery[0], signal=np.full(shape, 0.5, np.float32), maps=maps, shares={}, reconstructions={}
    )
    drawn(sample_figure(one))


def test_sample_without_maps_is_pictured(gallery):
    drawn(sample_figure(dataclasses.replace(gallery[0], maps={}, reconstructions={})))


def test_figures_for_tracking_draw_and_leave_global_state_alone(summary):
    before = dict(mpl.rcParams)
    figures = profile_figures(summary)
    assert set(figures) == {"reliance_profile", "correct_incorrect", "per_class_accuracy"}
    assert all(drawn(figure) for figure in figures.values())
    assert dict(mpl.rcParams) == before


def test_methods_never_share_axes(summary):
    figure = profile_figures(summary)["reliance_profile"]
    assert len(figure.axes) == 9
    assert all(len(axes.get_shared_x_axes().get_siblings(axes)) == 1 for axes in figure.axes)


def test_figures_without_metrics_are_left_out(summary):
    assert profile_figures({"metrics": []}) == {}
    kept = [m for m in summary["metrics"] if m["name"] in ("reliance/share",) and "class" not in m["labels"]]  # fmt: skip  # noqa: E501
    figures = profile_figures({"metrics": kept})
    assert set(figures) == {"reliance_profile", "correct_incorrect"}
    assert all(drawn(figure) for figure in figures.values())


def test_worst_of_many_classes_are_shown():
    metrics = [
        {"name": "accuracy/top1", "labels": {"class": f"${{{i}"}, "estimate": i / 100, "n": 9}
        for i in range(100)
    ]
    figure = profile_figures({"metrics": metrics})["per_class_accuracy"]
    drawn(figure)
    assert "40 lowest of 100 classes" in words(figure)


def test_map_is_scaled_to_its_own_percentile_and_never_negative():
    importance = np.linspace(0, 7, 1000).reshape(20, 50)
    scaled = scaled_importance(importance)
    assert scaled.min() == 0
    assert scaled.max() == 1
    assert not scaled_importance(np.zeros((4, 4))).any()
    single = np.zeros((100, 100))
    single[3, 4] = 5.0
    assert scaled_importance(single)[3, 4] == 1


def test_overlay_of_no_importance_is_the_dimmed_input():
    picture = np.full((6, 6, 3), 0.8)
    assert np.allclose(overlay(picture, np.zeros((6, 6))), 0.4, atol=0.01)


def test_data_uris_are_small_and_of_the_stated_kind(gallery):
    picture = renderer(gallery[0]).signal(gallery[0].signal)
    assert picture_uri(picture, 224).startswith("data:image/jpeg;base64,")
    level = gallery[0].maps["smoothgrad_signed"]["1"]
    assert map_uri(level, 224).startswith("data:image/png;base64,")
    assert len(picture_uri(picture, 224)) < 30_000
    assert len(map_uri(level, 224)) < 30_000
