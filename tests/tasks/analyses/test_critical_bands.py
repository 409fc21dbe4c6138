"""Noise in single levels, before models whose level is known."""

import json

import numpy as np
import pandas as pd
import pytest

from tasks.analyses.masking import masking
from tasks.errors import ConfigError
from tasks.planning import plan_audit
from tasks.publish import write_results
from tasks.session import AuditSession
from tasks.store import AuditFolder

SIZE = 32
NOISES = np.geomspace(0.01, 1, 9).round(4).tolist()


def grey_and_loud(n_samples=24, size=SIZE):
    """Class 0: grey but for two pixels, which set its range; class 1: noise in every octave."""
    rng = np.random.default_rng(5)
    labels = np.arange(n_samples) % 2
    pictures = np.full((n_samples, size, size), 0.5)
    reach = rng.uniform(0.2, 0.5, n_samples)
    pictures[:, 5, 5], pictures[:, 20, 20] = 0.5 - reach, 0.5 + reach
    loud = labels == 1
    for side in (1, 2, 4, 8, 16):
        blocks = rng.choice([-0.25, 0.25], (loud.sum(), size // side, size // side))
        pictures[loud] += blocks.repeat(side, axis=1).repeat(side, axis=2)
    return pictures, labels


def masked(**settings):
    values = {"enabled": True, "noise_levels": NOISES} | settings
    return {"critical_bands": values, "intervals": {"n_resamples": 100}}


GRADIENT_ONLY = {"gradient": {"enabled": True}} | {
    method: {"enabled": False} for method in ("smoothgrad", "integrated_gradients")
}


@pytest.fixture
def planted(planted_config):
    """An audit of a planted model that spends its passes on noise in levels."""

    def config(**sections):
        pictures, labels = grey_and_loud()
        sections = {"pictures": pictures, "labels": labels} | sections
        at_once = {"store": {"shard_size": 24}, "execution": {"max_batch": 24}}
        return planted_config(**({"attribution": GRADIENT_ONLY} | at_once | sections))

    return config


def metric(metrics, name, **labels):
    return metrics[f"critical_band/{name}", tuple(sorted(labels.items()))]


def test_a_model_that_sees_one_octave_has_its_threshold_and_centre_there(planted, summary_of):
    pictures, labels = grey_and_loud()
    config = planted(
        model={"level": 3, "levels": 5, "threshold": 0.0025},
        basis={"levels": 5},
        analyses=masked(),
    )
    record, metrics = summary_of(config)
    clean = metric(metrics, "accuracy", noise="0")
    assert (clean["estimate"], clean["n"]) == (1.0, 24)
    # Half of the samples are of either class: half of 1 is chance, so the threshold is midway.
    assert metric(metrics, "criterion")["estimate"] == 0.75
    reach = np.sort(np.ptp(pictures[labels == 0], axis=(1, 2)))
    threshold = metric(metrics, "threshold", level=3)
    # Noise of energy 0.0025 is too much; half of the class is lost where it is for the median.
    assert threshold["estimate"] == pytest.approx(0.05 / np.median(reach), rel=0.15)
    assert threshold["low"] <= threshold["estimate"] <= threshold["high"]
    for level in (1, 2, 4, 5, "approximation"):
        other = metric(metrics, "threshold", level=level)
        assert (other["estimate"], other["low"], other["high"]) == (None, 1.0, None)
        assert other["n"] == 24
        assert metric(metrics, "accuracy", level=level, noise="1")["estimate"] == 1.0
    centre = metric(metrics, "centre")
    assert centre["estimate"] == pytest.approx(3, abs=0.05)
    assert centre["low"] <= centre["estimate"] <= centre["high"]
    frequency = metric(metrics, "centre_frequency")
    assert frequency["estimate"] == pytest.approx(2**-3.5, rel=0.05)
    assert metric(metrics, "width")["estimate"] is None
    lines = " ".join(record["headline"])
    assert "Noise in level 3 (structures of 4 to 8 pixels) disturbs the model most" in lines
    assert "brings accuracy down to 0.75, halfway to chance from 1.00 without noise" in lines
    assert "; in levels 1, 2, 4 and 5 and the approximation noise of 100 % does not" in lines
    assert "its width is not identified (narrower than levels an octave apart can tell)" in lines


@pytest.mark.parametrize(("centre", "deviation"), [(2.5, 1.0), (3.2, 0.7)])
def test_a_planted_channel_is_found_with_its_width(planted, summary_of, centre, deviation):
    config = planted(
        factory="channelled",
        model={"centre": centre, "deviation": deviation},
        basis={"levels": 5},
        analyses=masked(),
    )
    _, metrics = summary_of(config)
    found = metric(metrics, "centre")
    assert found["estimate"] == pytest.approx(centre, abs=0.15)
    assert found["low"] - 0.15 <= centre <= found["high"] + 0.15
    width = metric(metrics, "width")
    assert width["estimate"] == pytest.approx(2 * np.sqrt(np.log(4)) * deviation, rel=0.15)
    assert width["low"] <= width["estimate"] <= width["high"]


def curves(thresholds, noises=NOISES):
    """Accuracies that fall from 0.9 to 0.1 at each level's threshold, which may lie beyond."""
    logs = np.log(noises)
    return {
        (level, noise): 0.5 - 0.4 * np.tanh(np.log(noise / threshold) / 0.5)
        for level, threshold in thresholds.items()
        for noise in np.exp(logs)
    }


def by_level(*thresholds):
    names = (*map(str, range(1, len(thresholds))), "approximation")
    return dict(zip(names, thresholds, strict=True))


@pytest.mark.parametrize(
    ("thresholds", "reason"),
    [
        ((0.1, 0.05, 0.2, 0.3), "fitted to 4 levels of detail or more, and the basis has 3"),
        ((0.1, 0.1, 0.1, 0.1, 0.1, 3), "about equally sensitive to all levels of detail"),
        ((0.02, 0.04, 0.1, 0.3, 0.9, 3), "sensitivity rises up to the finest level"),
        ((0.9, 0.3, 0.1, 0.04, 0.02, 3), "sensitivity rises up to the coarsest level"),
        ((3, 3, 3, 3, 3, 0.1), "no level of detail is lost in the strongest noise"),
        ((0.1, 0.001, 0.1, 0.5, 3, 3), "level 2 is lost in the weakest noise already; add weaker"),
    ],
)
def test_a_channel_that_the_data_do_not_show_is_not_identified(thresholds, reason):
    found = masking(curves(by_level(*thresholds)), 0.5, len(thresholds) - 1)
    assert reason in found.no_centre
    assert found.no_width == found.no_centre


def test_a_width_that_the_levels_do_not_span_is_not_stated():
    found = masking(curves(by_level(0.118, 0.104, 0.1, 0.104, 0.118, 0.1)), 0.5, 5)
    assert found.no_centre == ""
    assert "does not fall to half of its peak within the levels of detail" in found.no_width


def test_thresholds_and_channel_follow_from_mean_accuracies():
    found = masking(curves(by_level(0.4, 0.1, 0.05, 0.11, 0.38, 0.02)), 0.5, 5)
    np.testing.assert_allclose(found.thresholds, [0.4, 0.1, 0.05, 0.11, 0.38, 0.02], rtol=0.2)
    assert found.no_centre == found.no_width == ""
    assert found.fit.centre[0] == pytest.approx(3, abs=0.1)
    assert 1.5 < found.fit.width[0] < 3


def test_the_report_draws_thresholds_and_channel(planted, compute_all):
    config = planted(
        factory="channelled", basis={"levels": 5}, analyses=masked(noise_levels=[0.03, 0.1, 0.3])
    )
    folder = AuditFolder(str(compute_all(config)))
    outcome = write_results(folder)
    page = folder.read_bytes("report.html").decode()
    section = page[page.index('<h2 id="noise">') : page.index("</section>", page.index('"noise"'))]
    assert 'class="fit"' in section
    assert section.count('<circle class="point') == 6
    assert "frequency (cycles/pixel)" in section
    for edge in ("0.5", "0.25", "0.125", "0.0625", "0.0312", "0.0156"):
        assert f">{edge}</text>" in section
    (threshold,) = [
        entry
        for entry in outcome.summary["metrics"]
        if entry["name"] == "critical_band/threshold" and entry["labels"] == {"level": 2}
    ]
    assert f"{100 * threshold['estimate']:.1f}" in section
    assert "above 30" in section  # the approximation is not seen at all


def test_what_it_costs_is_planned_and_a_sample_ignores_its_neighbours(planted, compute_all, stored):
    pictures, labels = grey_and_loud(6)
    tables = []
    for shard_size, max_batch in ((6, 8), (2, 1)):
        config = planted(
            pictures=pictures,
            labels=labels,
            analyses=masked(noise_levels=[0.05, 0.1], samples=4),
            store={"shard_size": shard_size},
            execution={"max_batch": max_batch},
        )
        planned = plan_audit(AuditSession(config))
        folder = compute_all(config)
        receipts = [json.loads(path.read_text()) for path in folder.glob("receipts/*.json")]
        assert sum(receipt["n_forward"] for receipt in receipts) == planned.n_forward
        assert planned.n_forward == 6 + 4 * 3 * 2
        table = stored(folder).table("critical_bands")
        assert len(table) == 4 * 3 * 2
        tables.append(table.sort_values(["sample_id", "level", "noise"], ignore_index=True))
    pd.testing.assert_frame_equal(*tables, rtol=1e-4, atol=1e-5)


def test_noise_in_levels_needs_labels_and_increasing_noises(toy_config):
    with pytest.raises(ConfigError, match="noise_levels must increase"):
        toy_config(analyses=masked(noise_levels=[0.1, 0.1]))
