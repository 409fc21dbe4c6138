"""A class that fine structure alone decides, planted among classes that it does not."""

import numpy as np
import pytest

from tasks.aggregate import summarise
from tasks.analyses.shortcut_verdicts import ClassRates, judge_class
from tasks.analyses_config import ShortcutsConfig
from tasks.errors import ConfigError
from tasks.planning import plan_audit
from tasks.publish import write_results
from tasks.session import AuditSession
from tasks.store import AuditFolder

SIZE, PER_CLASS = 16, 20
GRADIENT_ONLY = {"gradient": {"enabled": True}} | {
    method: {"enabled": False} for method in ("smoothgrad", "integrated_gradients")
}


def grainy_and_tilted(per_class=PER_CLASS):
    """Class 0: strong grain; classes 1 and 2: weak grain, and light on the left or the right."""
    rng = np.random.default_rng(0)
    labels = np.arange(3 * per_class) % 3
    grain = rng.choice([-1.0, 1.0], (len(labels), SIZE, SIZE))
    strength = np.where(labels == 0, 0.2, 0.08)
    tilt = np.array([0.0, 0.15, -0.15])[labels]
    sides = np.where(np.arange(SIZE) < SIZE // 2, 1.0, -1.0)
    pictures = 0.5 + strength[:, None, None] * grain + tilt[:, None, None] * sides
    return pictures, labels


def searched(**settings):
    return {
        "shortcuts": {"enabled": True} | settings,
        "band_removal": {"enabled": True, "samples": None, "orientations": False},
        "intervals": {"n_resamples": 20},
    }


@pytest.fixture
def summary_of(planted_config, compute_all):
    """Summary of an audit of the eager model, and its metrics of shortcuts by name and labels."""

    def summary(pictures, labels, analyses, **sections):
        config = planted_config(
            pictures, labels, factory="eager", analyses=analyses, attribution=GRADIENT_ONLY,
            **({"execution": {"max_batch": 60}, "store": {"shard_size": 60}} | sections),
        )  # fmt: skip
        session = AuditSession(config)
        folder = AuditFolder(str(compute_all(config)))
        record = summarise(config, folder, session.shards, session.completed()).record
        return record, {
            (entry["name"].removeprefix("shortcut/"), tuple(sorted(entry["labels"].items()))): entry
            for entry in record["metrics"]
            if entry["name"].startswith("shortcut/")
        }

    return summary


def metric(metrics, name, class_, **labels):
    return metrics[name, tuple(sorted({"class": class_, **labels}.items()))]


def test_the_class_that_grain_decides_is_listed_and_no_other(summary_of):
    record, metrics = summary_of(*grainy_and_tilted(), searched())
    true = metric(metrics, "true_positive_rate", "0", levels="1")
    false = metric(metrics, "false_positive_rate", "0", levels="1")
    assert (true["estimate"], true["n"]) == (1.0, PER_CLASS)
    assert (false["estimate"], false["n"]) == (1.0, 2 * PER_CLASS)
    assert true["low"] < 1
    assert metric(metrics, "true_positive_rate", "0", levels="all")["estimate"] == 1.0
    assert metric(metrics, "false_positive_rate", "0", levels="all")["estimate"] == 0.0
    assert metric(metrics, "default_rate", "0")["estimate"] == 0.0
    # The tilt is coarse, and no grainy picture is taken for a tilted one.
    for class_ in ("1", "2"):
        (levels,) = {
            dict(labels)["levels"]
            for name, labels in metrics
            if name == "true_positive_rate" and dict(labels)["class"] == class_
        } - {"all"}
        assert "1" not in levels.split("+")
        assert metric(metrics, "true_positive_rate", class_, levels=levels)["estimate"] == 1.0
        assert metric(metrics, "false_positive_rate", class_, levels=levels)["estimate"] < 0.3
    decided = metrics["classes", ()]
    assert (decided["estimate"], decided["n"]) == (pytest.approx(1 / 3), 3)
    (line,) = [line for line in record["headline"] if "decided by few levels" in line]
    assert line.startswith("1 of 3 classes is decided by few levels alone")
    assert "0 by level 1 (1.00 [0.84, 1.00] of the class, n = 20; 1.00 [0.91, 1.00]" in line
    rises = {
        level: metric(metrics, "loss_increase", "0", level=level)
        for level in (1, 2, "approximation")
    }
    assert max(rises, key=lambda level: rises[level]["estimate"]) == 1
    assert rises[1]["low"] <= rises[1]["estimate"] <= rises[1]["high"]
    # Strong grain: more fine energy than in every other class.
    assert metric(metrics, "class_contrast", "0", level=1)["estimate"] == 1.0
    assert {metric(metrics, "class_contrast", name, level=1)["estimate"] for name in "12"} <= {
        -1.0, -0.5, 0.0,
    }  # fmt: skip


def test_the_report_lists_the_class_with_its_level(planted_config, compute_all):
    pictures, labels = grainy_and_tilted(per_class=8)
    config = planted_config(
        pictures, labels, factory="eager", analyses=searched(minimum_n=8),
        attribution=GRADIENT_ONLY, execution={"max_batch": 60}, store={"shard_size": 60},
    )  # fmt: skip
    folder = AuditFolder(str(compute_all(config)))
    write_results(folder)
    page = folder.read_bytes("report.html").decode()
    assert page.count('<a href="#shortcuts">') == 1
    section = page[page.index('<h2 id="shortcuts">') :]
    assert section.count("decided by these levels") == 1
    first = section[section.index("<tbody>") : section.index("</tr>", section.index("<tbody>"))]
    assert "<bdi>0</bdi>" in first
    assert "decided by these levels" in first
    assert "<td>1</td>" in first
    assert "+1.00" in section  # more fine energy than every other class


def test_numbers_do_not_depend_on_shards_and_cost_no_pass(summary_of, planted_config):
    pictures, labels = grainy_and_tilted(per_class=6)
    whole = summary_of(pictures, labels, searched(), store={"shard_size": 18})[1]
    parts = summary_of(pictures, labels, searched(), store={"shard_size": 7})[1]
    assert whole.keys() == parts.keys()
    for key, entry in whole.items():
        assert entry["estimate"] == pytest.approx(parts[key]["estimate"], abs=1e-5)
        assert entry["n"] == parts[key]["n"]
    config = planted_config(pictures, labels, factory="eager", analyses=searched())
    assert plan_audit(AuditSession(config)).parts["shortcuts"].n_forward == 0


def test_few_samples_say_nothing(summary_of):
    record, metrics = summary_of(*grainy_and_tilted(per_class=6), searched())
    assert ("classes", ()) not in metrics
    assert any(
        "3 of 3 classes have fewer than 20 samples among those taken: too few to say" in line
        for line in record["headline"]
    )
    record, metrics = summary_of(*grainy_and_tilted(per_class=6), searched(minimum_n=6))
    assert metrics["classes", ()]["n"] == 3


def test_shards_without_a_chosen_sample_add_nothing(summary_of):
    analyses = searched(minimum_n=2)
    analyses["band_removal"]["samples"] = 6
    _, metrics = summary_of(*grainy_and_tilted(per_class=6), analyses, store={"shard_size": 2})
    for class_ in "012":
        assert metric(metrics, "true_positive_rate", class_, levels="all")["n"] == 2
        assert metric(metrics, "class_contrast", class_, level=1)["n"] == 6
    assert metrics["classes", ()]["n"] == 3


@pytest.mark.parametrize(
    ("rates", "verdict"),
    [
        ((50, True, 0.9, 0.5, 0.0), "decided"),
        ((50, True, 0.9, 0.5, 0.6), "default"),
        ((50, True, 0.9, 0.2, 0.0), "not decided"),
        ((50, True, 0.5, 0.5, 0.0), "not decided"),
        ((50, False, 0.9, 0.5, 0.0), "not decided"),
        ((19, True, 0.9, 0.5, 0.0), "few"),
    ],
)
def test_verdicts(rates, verdict):
    assert judge_class(ClassRates(*rates), ShortcutsConfig(), n_classes=10) == verdict


def test_two_classes_need_more_false_positives_than_guessing_gives():
    rates = ClassRates(50, True, 0.9, 0.4, 0.0)
    assert judge_class(rates, ShortcutsConfig(), n_classes=2) == "not decided"


def test_shortcuts_without_coalitions_or_labels_are_refused(toy_config, planted_config):
    for removal in ({}, {"band_removal": {"enabled": True, "shapley": False}}):
        with pytest.raises(ConfigError, match=r"set analyses\.band_removal\.enabled"):
            toy_config(analyses={"shortcuts": {"enabled": True}} | removal)
    with pytest.raises(ConfigError, match=r"attribution\.target is predicted; set it to label"):
        toy_config(analyses=searched(), attribution={"target": "predicted"})
    pictures, labels = grainy_and_tilted()
    config = planted_config(pictures, np.zeros_like(labels), factory="eager", analyses=searched())
    with pytest.raises(ConfigError, match="compares classes, but the dataset has 1"):
        _ = AuditSession(config).manifest
