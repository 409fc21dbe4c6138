"""Damage whose footprint is known, before models whose level is known."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import optimize, stats

from tasks.analyses import corruption_choice
from tasks.analyses.corruption_sentences import link_verdict
from tasks.errors import ConfigError
from tasks.planning import plan_audit
from tasks.publish import write_results
from tasks.session import AuditSession
from tasks.store import AuditFolder
from wam_core.basis import CoefficientLayout, WaveletBasis
from wam_core.corruption_error import ALEXNET
from wam_core.corruptions import Corruption
from wam_core.transform import WaveletCoefficients, reconstruct

SIZE, LEVELS = 16, 3
STRENGTHS = (0.02, 0.05, 0.1, 0.2, 0.4)


def noise_in(level, name, family="noise", **attributes):
    """Noise in one level alone, of a root mean square that is the strength."""

    def operator(signal, parameters, generators, surroundings):
        layout = CoefficientLayout(tuple(signal.shape[2:]), WaveletBasis("haar", LEVELS))
        flat = torch.zeros(len(signal), signal.shape[1], layout.size)
        for row, generator in enumerate(generators):
            for band in layout.bands_of(level):
                size = flat[row, :, layout.slices[band]].shape
                draws = generator.standard_normal(tuple(size), dtype=np.float32)
                flat[row, :, layout.slices[band]] = torch.from_numpy(draws)
        delta = reconstruct(WaveletCoefficients(flat, layout))
        delta /= delta.flatten(1).square().mean(1).sqrt().reshape(-1, *[1] * (signal.ndim - 1))
        return signal + parameters["strength"] * delta

    severities = tuple({"strength": strength} for strength in STRENGTHS)
    return Corruption(name, family, severities, operator, **attributes)


FINE = noise_in("1", "fine_noise")
MID = noise_in("2", "mid_noise", "haze")
COARSE = noise_in("approximation", "coarse_noise", "haze")
EXTRA = noise_in("1", "extra_noise", extra=True)
KNOWN = {each.name: each for each in (FINE, MID, COARSE, EXTRA)}

GRADIENT_ONLY = {"gradient": {"enabled": True}} | {
    method: {"enabled": False} for method in ("smoothgrad", "integrated_gradients")
}


@pytest.fixture(autouse=True)
def known_corruptions(monkeypatch):
    monkeypatch.setattr(corruption_choice, "corruptions_for", lambda ndim, n_channels: KNOWN)


def loud_and_quiet(n_samples, level="1", mixed=False, seed=3):
    """Class 1: noise in one level; class 0: none. Or all of random loudness, whatever the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n_samples) % 2
    loudness = rng.uniform(0.02, 0.11, n_samples) if mixed else 0.12 * labels
    pictures = np.full((n_samples, SIZE, SIZE), 0.5)
    layout = CoefficientLayout((SIZE, SIZE), WaveletBasis("haar", LEVELS))
    for row in range(n_samples):
        flat = torch.zeros(layout.size)
        for band in layout.bands_of(level):
            part = flat[layout.slices[band]]
            flat[layout.slices[band]] = torch.tensor(rng.choice([-1.0, 1.0], len(part))).float()
        delta = reconstruct(WaveletCoefficients(flat[None], layout))[0].numpy()
        pictures[row] += loudness[row] * delta / np.sqrt((delta**2).mean())
    pictures += rng.normal(0, 0.003, pictures.shape)
    return pictures, labels


@pytest.fixture
def planted(planted_config):
    """An audit of a model that looks at one level alone."""

    def config(level=1, n_samples=16, settings=None, mixed=False, **sections):
        pictures, labels = loud_and_quiet(n_samples, str(level), mixed)
        analyses = {
            "corruptions": {"enabled": True, "samples": None} | (settings or {}),
            "intervals": {"n_resamples": 60},
            "reliance": {"fine_levels": 1},
        } | sections.pop("analyses", {})
        at_once = {"store": {"shard_size": 8}, "execution": {"max_batch": 8}}
        values = {"attribution": GRADIENT_ONLY} | at_once | sections
        model = {"level": level, "levels": LEVELS, "threshold": 0.005, "steepness": 600}
        return planted_config(
            pictures, labels, model=model, basis={"levels": LEVELS}, analyses=analyses, **values
        )

    return config


def metric(metrics, name, **labels):
    return metrics[name, tuple(sorted(labels.items()))]


def test_a_model_breaks_under_noise_in_its_own_level_and_its_profile_says_so(planted, summary_of):
    _, metrics = summary_of(planted(level=2, settings={"corruptions": list(KNOWN)[:3]}))
    assert metric(metrics, "robustness/accuracy", corruption="clean")["estimate"] == 1.0
    drops = [
        1 - metric(metrics, "robustness/accuracy", corruption="mid_noise", severity=s)["estimate"]
        for s in range(1, 6)
    ]
    assert drops[0] == 0
    assert drops[4] == 0.5  # all quiet samples become loud ones
    assert drops == sorted(drops)
    for other in ("fine_noise", "coarse_noise"):
        kept = metric(metrics, "robustness/accuracy", corruption=other, severity=5)
        assert (kept["estimate"], kept["n"]) == (1.0, 16)
        assert metric(metrics, "robustness/retention", corruption=other)["estimate"] == 1.0
    link = metric(metrics, "link/spearman", method="gradient")
    assert link["estimate"] > 0.6
    for control in ("damage_size", "coefficients_alike"):
        other = metric(metrics, "link/spearman", method=control)
        gain = metric(metrics, "link/spearman_over", method="gradient", over=control)
        assert gain["estimate"] == pytest.approx(link["estimate"] - other["estimate"])
        assert gain["low"] > 0
        partial = metric(metrics, "link/partial_spearman", method="gradient", given=control)
        assert partial["low"] > 0.3


def test_a_model_of_coarse_levels_stands_fine_noise(planted, summary_of):
    _, metrics = summary_of(planted(level=3, settings={"corruptions": ["fine_noise"]}))
    for severity in range(1, 6):
        labels = {"corruption": "fine_noise", "severity": severity}
        assert metric(metrics, "robustness/accuracy", **labels)["estimate"] == 1.0
        assert metric(metrics, "robustness/flip_rate", **labels)["estimate"] == 0.0


def test_footprints_are_those_that_were_planted(planted, summary_of):
    _, metrics = summary_of(planted())
    where = {"fine_noise": 1, "mid_noise": 2, "coarse_noise": "approximation"}
    centroid = {"fine_noise": 1, "mid_noise": 2, "coarse_noise": 4}
    for name, level in where.items():
        for severity, strength in enumerate(STRENGTHS, start=1):
            labels = {"corruption": name, "severity": severity}
            share = metric(metrics, "robustness/footprint", level=level, **labels)
            assert share["estimate"] == pytest.approx(1, abs=1e-5)
            place = metric(metrics, "robustness/footprint_centroid", **labels)
            assert place["estimate"] == pytest.approx(centroid[name], abs=1e-4)
            size = metric(metrics, "robustness/damage", **labels)
            assert size["estimate"] == pytest.approx(strength, rel=1e-5)
    classes = {"fine_noise": "high", "mid_noise": "mid", "coarse_noise": "low"}
    for name, kind in classes.items():
        own = metric(metrics, "robustness/accuracy", corruption=name)
        assert metric(metrics, "robustness/accuracy", frequency=kind)["estimate"] == own["estimate"]


def test_metrics_follow_from_the_tables(planted, summary_of, stored, compute_all):
    config = planted(n_samples=20, settings={"samples": 11})
    _, metrics = summary_of(config)
    tables = stored(compute_all(config))
    rows = tables.table("corruptions")
    assert rows["sample_id"].nunique() == 11
    damaged = rows[rows["severity"] > 0]
    clean = rows[rows["severity"] == 0]
    regular = damaged[damaged["corruption"] != "extra_noise"]
    for column, name in (("correct", "accuracy"), ("nll", "nll"), ("brier", "brier")):
        each = damaged.groupby(["corruption", "severity"])[column].mean()
        for (corruption, severity), value in each.items():
            labels = {"corruption": corruption, "severity": severity}
            found = metric(metrics, f"robustness/{name}", **labels)
            assert found["estimate"] == pytest.approx(value)
            assert found["n"] == 11
        whole = metric(metrics, f"robustness/{name}")
        assert whole["estimate"] == pytest.approx(regular[column].mean())
        assert whole["low"] <= whole["estimate"] <= whole["high"]
        same = metric(metrics, f"robustness/{name}", corruption="clean")
        assert same["estimate"] == pytest.approx(clean[column].mean())
    error = metric(metrics, "robustness/mean_corruption_error", reference="none")
    assert error["estimate"] == pytest.approx(1 - regular["correct"].mean())
    retained = metric(metrics, "robustness/retention")
    assert retained["estimate"] == pytest.approx(
        regular["correct"].mean() / clean["correct"].mean()
    )
    lost = metric(metrics, "robustness/relative_error", corruption="fine_noise")
    own = damaged[damaged["corruption"] == "fine_noise"]
    assert lost["estimate"] == pytest.approx(clean["correct"].mean() - own["correct"].mean())
    for severity, part in ((0, clean), *regular.groupby("severity")):
        places = np.ceil(part["confidence"] * 15).clip(1, 15)
        gap = (part["correct"].astype(float) - part["confidence"]).groupby(places).sum().abs()
        labels = {"severity": severity} if severity else {"corruption": "clean"}
        found = metric(metrics, "robustness/ece", **labels)
        assert found["estimate"] == pytest.approx(gap.sum() / len(part))
    levels = tables.table("corruption_levels")
    energy = levels.groupby(["corruption", "severity", "level"])[
        ["damage_power", "signal_power"]
    ].mean()
    gain = metric(metrics, "robustness/gain", corruption="mid_noise", severity=4, level=2)
    expected = energy.loc[("mid_noise", 4, "2")] / energy.loc[("clean", 0, "2")]
    assert gain["estimate"] == pytest.approx(expected["signal_power"])


def test_the_link_over_corruptions_follows_from_the_tables(
    planted, summary_of, stored, compute_all
):
    config = planted(n_samples=20)
    _, metrics = summary_of(config)
    tables = stored(compute_all(config))
    rows, levels = tables.table("corruptions"), tables.table("corruption_levels")
    share = tables.table("levels").groupby("level")["share"].mean()
    steps = rows[rows["severity"] > 0].groupby(["corruption", "severity"])
    lost = rows[rows["severity"] == 0]["correct"].mean() - steps["correct"].mean()
    size = np.sqrt(steps["damage_rms"].apply(lambda rms: (rms**2).mean()))
    power = levels[levels["severity"] > 0].pivot_table(
        index=["corruption", "severity"], columns="level", values="damage_power"
    )
    footprint = power.div(power.sum(axis=1), axis=0)
    predicted = (footprint * share).sum(axis=1) * size
    alike = {"1": 0.75, "2": 0.75 / 4, "3": 0.75 / 16, "approximation": 1 / 64}
    controls = {"damage_size": size, "coefficients_alike": (footprint * alike).sum(axis=1) * size}
    pairs = {"gradient": predicted} | controls
    for method, values in pairs.items():
        expected = stats.spearmanr(values.round(12), lost.loc[values.index]).statistic
        found = metric(metrics, "link/spearman", method=method)["estimate"]
        assert found == pytest.approx(expected, abs=0.03)  # ties part by rounding
    for (name, severity), value in predicted.items():
        labels = {"corruption": name, "severity": severity}
        point = metric(metrics, "link/predicted_sensitivity", method="gradient", **labels)
        assert point["estimate"] == pytest.approx(value, rel=1e-6)
        seen = metric(metrics, "link/observed_loss", **labels)
        assert seen["estimate"] == pytest.approx(lost[name, severity], abs=1e-9)


@pytest.fixture
def switched(planted_config):
    """Quiet pictures, light and dark: what would make them loud differs."""

    def config(n_samples=24, **settings):
        rng = np.random.default_rng(1)
        ground = np.where(np.arange(n_samples) % 2, 0.62, 0.38)
        pictures = ground[:, None, None] + rng.normal(0, 0.003, (n_samples, SIZE, SIZE))
        return planted_config(
            pictures,
            np.zeros(n_samples, dtype=int),
            factory="switched",
            basis={"levels": LEVELS},
            attribution=GRADIENT_ONLY,
            analyses={
                "corruptions": {"enabled": True, "samples": None} | settings,
                "intervals": {"n_resamples": 60},
                "reliance": {"fine_levels": 1},
            },
            store={"shard_size": 8},
        )

    return config


def test_samples_of_finer_reliance_flip_under_fine_noise(switched, summary_of):
    _, metrics = summary_of(switched(corruptions=["fine_noise", "coarse_noise"]))
    area = metric(metrics, "link/flip_auc", method="gradient", family="noise")
    assert (area["estimate"], area["n"]) == (1.0, 24)
    size = metric(metrics, "link/flip_auc", method="damage_size", family="noise")
    assert abs(size["estimate"] - 0.5) < 0.2
    gain = metric(
        metrics, "link/flip_auc_over", method="gradient", family="noise", over="damage_size"
    )
    assert gain["estimate"] == pytest.approx(1 - size["estimate"])
    assert gain["low"] > 0.2
    # Coarse noise is seen by none: it flips nothing, and there is no area.
    assert ("link/flip_auc", (("family", "haze"), ("method", "gradient"))) in metrics
    absent = metric(metrics, "link/flip_auc", method="gradient", family="haze")
    assert absent["estimate"] is None


def test_areas_and_slopes_are_those_of_the_tables(planted, summary_of, stored, compute_all):
    """The planted profile does not vary; doubt about the clean answer does."""
    config = planted(n_samples=24, mixed=True, settings={"corruptions": ["fine_noise"]})
    _, metrics = summary_of(config)
    rows = stored(compute_all(config)).table("corruptions")
    clean = rows[rows["severity"] == 0].set_index("sample_id")["confidence"]
    damaged = rows[rows["severity"] > 0]
    flips = 1 - damaged.pivot_table(index="severity", columns="sample_id", values="kept")
    odds = (np.log1p(-clean) - np.log(clean)).clip(-16, 16)
    place = np.floor(np.round(odds / 0.25, 9)).loc[flips.columns].to_numpy()
    higher = (place[:, None] > place) + 0.5 * (place[:, None] == place)
    outcomes = flips.to_numpy(dtype=float)
    weight = sum(np.outer(outcome, 1 - outcome) for outcome in outcomes)
    labels = {"method": "clean_doubt", "family": "noise"}
    found = metric(metrics, "link/flip_auc", **labels)
    assert found["estimate"] == pytest.approx((weight * higher).sum() / weight.sum())
    standard = (place - place.mean()) / place.std()
    mixed = outcomes[(outcomes.mean(1) > 0) & (outcomes.mean(1) < 1)]

    def loss(beta):
        score = beta[1:, None] + beta[0] * standard
        return float((np.logaddexp(0, score) - mixed * score).sum())

    best = optimize.minimize(loss, np.zeros(1 + len(mixed)))
    slope = metric(metrics, "link/flip_log_odds", **labels)
    assert slope["estimate"] == pytest.approx(best.x[0], abs=1e-3)


def test_headline_and_report_say_where_the_model_breaks_and_why(planted, compute_all):
    config = planted(level=2)
    folder = AuditFolder(str(compute_all(config)))
    summary = write_results(folder).summary
    lines = " ".join(summary["headline"])
    assert "Under 4 kinds of damage, accuracy 1.00 [0.81, 1.00] becomes" in lines
    assert "worst is mid noise (" in lines
    assert "Over 20 corruptions and severities, the sensitivity predicted from" in lines
    assert "the model breaks where it relies: reliance explains fragility beyond the size" in lines
    assert "expected calibration error" in lines
    page = folder.read_bytes("report.html").decode()
    section = page[
        page.index('<h2 id="damage">') : page.index("</section>", page.index('"damage"'))
    ]
    assert "reliance explains fragility beyond the size" in section
    # Cells of accuracy and of footprints, and one mark per corruption and severity.
    assert section.count('<rect class="cell series-1"') == 4 * 5
    assert section.count('<rect class="cell series-0"') == 4 * (LEVELS + 1)
    marks = section[section.index('aria-label="Accuracy lost over') :]
    assert marks[: marks.index("</svg>")].count('class="point') == 4 * 5
    assert "Control: size of the damage alone" in section
    assert section.index("Fine noise") < section.rindex("Coarse noise")


def test_damage_that_changes_nothing_has_no_footprint_and_harms_no_correlation(
    planted, summary_of, monkeypatch
):
    idle = Corruption("idle", "noise", ({},) * 5, lambda signal, *_: signal.clone())
    known = KNOWN | {"idle": idle}
    _, metrics = summary_of(planted(level=2))
    monkeypatch.setattr(corruption_choice, "corruptions_for", lambda ndim, n_channels: known)
    _, with_idle = summary_of(planted(level=2, name="idle"))
    labels = {"corruption": "idle", "severity": 5}
    assert metric(with_idle, "robustness/footprint", level=1, **labels)["estimate"] is None
    assert metric(with_idle, "robustness/damage", **labels)["estimate"] == 0
    assert metric(with_idle, "link/predicted_sensitivity", method="gradient", **labels)[
        "estimate"
    ] == pytest.approx(0)
    link = metric(with_idle, "link/spearman", method="gradient")
    assert link["estimate"] > metric(metrics, "link/spearman", method="gradient")["estimate"] - 0.1
    high = metric(with_idle, "robustness/accuracy", frequency="high")
    assert high == metric(metrics, "robustness/accuracy", frequency="high")


def gain(low, high):
    return {"estimate": (low + high) / 2, "low": low, "high": high}


@pytest.mark.parametrize(
    ("link", "over_size", "over_alike", "verdict"),
    [
        ((0.5, 0.7), (0.1, 0.3), (0.06, 0.3), "the model breaks where it relies"),
        ((0.5, 0.7), (0.1, 0.3), (0.01, 0.04), "coefficients alike does as well, to within 0.05"),
        ((0.5, 0.7), (0.1, 0.3), (-0.1, 0.3), "more than a profile that takes all coefficients"),
        ((0.5, 0.7), (-0.3, -0.1), (0.1, 0.3), "the size of the damage alone does better"),
        ((-0.1, 0.7), (0.1, 0.3), (0.1, 0.3), "no relation between reliance and fragility"),
        ((-0.5, -0.1), (0.1, 0.3), (0.1, 0.3), "breaks least where it is said to rely most"),
    ],
)
def test_the_verdict_follows_the_intervals(link, over_size, over_alike, verdict):
    gains = {"damage_size": gain(*over_size), "coefficients_alike": gain(*over_alike)}
    assert verdict in link_verdict(gain(*link), gains)


def test_without_labels_flips_take_the_place_of_losses(planted, summary_of):
    config = planted(attribution=GRADIENT_ONLY | {"target": "predicted"})
    with np.load(config.dataset.root) as content:
        np.savez(config.dataset.root, **(dict(content) | {"label": np.full(16, np.nan)}))
    record, metrics = summary_of(config)
    assert not [name for name, _ in metrics if name in ("robustness/accuracy", "robustness/nll")]
    assert metric(metrics, "robustness/flip_rate", corruption="fine_noise", severity=5)[
        "estimate"
    ] == pytest.approx(0.5)
    assert metric(metrics, "link/spearman", method="gradient")["estimate"] > 0.6
    lost = metric(metrics, "link/observed_loss", corruption="fine_noise", severity=5)
    assert lost["estimate"] == pytest.approx(0.5)
    assert any("of the answers change; worst is" in line for line in record["headline"])


def test_errors_are_over_alexnets_where_the_classes_are_imagenets(planted, summary_of, monkeypatch):
    known = {name: noise_in("1", name) for name in ALEXNET.corrupted} | {"extra_noise": EXTRA}
    monkeypatch.setattr(corruption_choice, "corruptions_for", lambda ndim, n_channels: known)
    monkeypatch.setattr(corruption_choice.CorruptionChoice, "is_imagenet", lambda *_: True)
    _, metrics = summary_of(planted(n_samples=8))
    reference = ALEXNET.name
    clean = metric(metrics, "robustness/accuracy", corruption="clean")["estimate"]
    expected = []
    for name, error in ALEXNET.corrupted.items():
        own = 1 - metric(metrics, "robustness/accuracy", corruption=name)["estimate"]
        labels = {"corruption": name, "reference": reference}
        found = metric(metrics, "robustness/corruption_error", **labels)["estimate"]
        assert found == pytest.approx(own / error)
        relative = metric(metrics, "robustness/relative_corruption_error", **labels)["estimate"]
        assert relative == pytest.approx((own - 1 + clean) / (error - ALEXNET.clean))
        expected.append(found)
    mean = metric(metrics, "robustness/mean_corruption_error", reference=reference)
    assert mean["estimate"] == pytest.approx(np.mean(expected))
    assert mean["unit"] == "ratio"


@pytest.mark.parametrize(
    "settings", [{"severities": [1, 2, 3]}, {"reference": "none"}, {"corruptions": ["snow"]}]
)
def test_a_mean_error_over_a_reference_is_of_the_whole_benchmark(
    planted, summary_of, monkeypatch, settings
):
    known = {name: noise_in("1", name) for name in ALEXNET.corrupted}
    monkeypatch.setattr(corruption_choice, "corruptions_for", lambda ndim, n_channels: known)
    monkeypatch.setattr(corruption_choice.CorruptionChoice, "is_imagenet", lambda *_: True)
    _, metrics = summary_of(planted(n_samples=4, settings=settings))
    (labels,) = [labels for name, labels in metrics if name.endswith("mean_corruption_error")]
    assert labels == (("reference", "none"),)


def test_imagenet_is_known_by_its_classes(planted_config, monkeypatch):
    names = pd.read_csv("configs/imagenet_classes.csv")["name"].tolist()
    config = planted_config(np.zeros((2, 8, 8)), [0, 1])
    choice = corruption_choice.CorruptionChoice(config)
    monkeypatch.setattr(choice.__class__, "_input_shape", (3, 224, 224))
    assert choice.is_imagenet(SimpleNamespace(class_names=tuple(names)))
    for others in (tuple(names[::-1]), tuple(names[:10]), None):
        assert not choice.is_imagenet(SimpleNamespace(class_names=others))
    monkeypatch.setattr(choice.__class__, "_input_shape", (1, 224, 224))
    assert not choice.is_imagenet(SimpleNamespace(class_names=tuple(names)))


KEYS = ["sample_id", "corruption", "severity"]


def test_a_row_does_not_depend_on_what_else_is_asked_for(planted, compute_all, stored):
    def tables(**changes):
        found = stored(compute_all(planted(n_samples=6, **changes)))
        return [
            found.table(name).drop(columns="sample_index").set_index(keys)
            for name, keys in (("corruptions", KEYS), ("corruption_levels", [*KEYS, "level"]))
        ]

    whole = tables()
    others = [
        {"settings": {"corruptions": ["coarse_noise", "fine_noise"]}},
        {"settings": {"corruptions": ["mid_noise"], "severities": [2, 5]}},
        {"settings": {"samples": 3, "severities": [3]}},
        {"store": {"shard_size": 4}, "execution": {"max_batch": 2}},
    ]
    for changes in others:
        for part, every in zip(tables(**changes), whole, strict=True):
            assert len(part) < len(every) or "store" in changes
            # Batches of other sizes round otherwise, in the last bits.
            pd.testing.assert_frame_equal(part, every.loc[part.index], rtol=1e-5, atol=1e-7)


def test_what_it_costs_is_planned(planted, compute_all):
    config = planted(n_samples=10, settings={"samples": 4, "severities": [1, 4]})
    planned = plan_audit(AuditSession(config))
    folder = compute_all(config)
    receipts = [json.loads(path.read_text()) for path in folder.glob("receipts/*.json")]
    assert sum(receipt["n_forward"] for receipt in receipts) == planned.n_forward
    assert planned.parts["corruptions"].n_forward == 4 * len(KNOWN) * 2


def test_an_audit_that_was_killed_goes_on_to_the_same_bytes(planted, compute_all, stored, tmp_path):
    few = {"severities": [1, 5]}
    whole = planted(settings=few, store={"url": str(tmp_path / "whole")})
    whole = stored(compute_all(whole)).checksums()
    broken = planted(settings=few, store={"url": str(tmp_path / "broken")})
    compute_all(broken, shards=[1])
    assert stored(compute_all(broken)).checksums() == whole
    assert any("corruption_levels" in name for name in whole)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"corruptions": ["fog"]}, "has fog, which does not exist for .* choose from fine_noise,"),
        ({"reference": "alexnet"}, "is alexnet, whose errors are known for colour images"),
    ],
)
def test_what_cannot_be_made_is_refused_at_once(planted, settings, message):
    with pytest.raises(ConfigError, match=message):
        _ = AuditSession(planted(settings=settings)).manifest


@pytest.mark.parametrize("severities", [[2, 1], [0], [6], []])
def test_severities_are_one_to_five_in_order(planted, severities):
    with pytest.raises(ConfigError):
        planted(settings={"severities": severities})
