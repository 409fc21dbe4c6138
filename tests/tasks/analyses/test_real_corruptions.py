"""Every corruption there is, in whole audits of toy signals: rows, footprints, and the report."""

import numpy as np
import pandas as pd
import pytest

from tasks.publish import write_results
from tasks.store import AuditFolder
from wam_core.corruptions import corruptions_for

MODELS = "wam_audit_planted_models"


def settings(**corruptions):
    return {
        "corruptions": {"enabled": True, "samples": None} | corruptions,
        "reliance": {"fine_levels": 1},
        "intervals": {"n_resamples": 50},
    }


def preprocessing(*size):
    return {"size": list(size), "crop": None, "channels": 1, "mean": [0.0], "std": [1.0]}


def labels_of(rows):
    return {tuple(sorted(entry["labels"].items())): entry for entry in rows}


def smooth_pictures(n_samples, size):
    """Broad waves with a little grain, in colour."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size
    pictures = []
    for _ in range(n_samples):
        waves = [np.sin(2 * np.pi * (rng.uniform(0.5, 2) * x + rng.uniform(0.5, 2) * y))
                 for _ in range(3)]  # fmt: skip
        pictures.append(128 + 60 * np.stack(waves, -1) + rng.normal(0, 4, (size, size, 3)))
    return np.clip(pictures, 0, 255).astype(np.uint8)


def test_images_take_all_nineteen_and_footprints_make_sense(
    toy_config, compute_all, stored, save_toys
):
    save_toys(smooth_pictures(4, 64))
    config = toy_config(
        model={"preprocessing": {"crop": 64}}, basis={"levels": 4}, analyses=settings()
    )
    folder = compute_all(config)
    rows = stored(folder).table("corruptions")
    existing = corruptions_for(2, 3)
    assert len(existing) == 19
    assert len(rows) == 4 * (1 + 19 * 5)
    assert set(rows["corruption"]) == {*existing, "clean"}
    assert np.isfinite(rows[["nll", "brier", "confidence", "damage_rms"]]).all(axis=None)
    summary = write_results(AuditFolder(str(folder)), config).summary
    entries = [entry for entry in summary["metrics"] if entry["name"] == "robustness/footprint"]
    shares = labels_of(entries)

    def at(name, level):
        key = (("corruption", name), ("level", level), ("severity", 3))
        return shares[key]["estimate"]

    # White noise lies where the coefficients are; fog and brightness where hardly any are.
    assert at("gaussian_noise", 1) == pytest.approx(0.75, abs=0.06)
    assert at("gaussian_noise", 2) == pytest.approx(0.19, abs=0.05)
    assert at("fog", "approximation") > 0.5
    assert at("brightness", "approximation") > 0.8
    assert at("jpeg_compression", 1) > at("jpeg_compression", "approximation")
    page = (folder / "report.html").read_text()
    assert "JPEG compression" in page
    assert page.count('<rect class="cell series-1"') == 19 * 5


def test_recordings_take_all_fifteen(tmp_path, toy_config, compute_all, stored):
    soundfile = pytest.importorskip("soundfile")
    rng = np.random.default_rng(0)
    rows = []
    for index in range(4):
        tone = np.sin(np.arange(4096 - 512 * index) * 0.05 * (index + 1))
        clip = 0.3 * tone + 0.02 * rng.normal(size=len(tone))
        soundfile.write(tmp_path / f"{index}.wav", clip, 16000, subtype="FLOAT")
        rows.append({"path": f"{index}.wav", "label": index % 2})
    pd.DataFrame(rows).to_csv(tmp_path / "manifest.csv", index=False)
    source = {"kind": "table", "root": str(tmp_path), "manifest": "manifest.csv"}
    config = toy_config(
        dataset=source | {"id_column": None, "audio": {"sample_rate": 16000}},
        model={"name": f"{MODELS}:banded", "preprocessing": preprocessing(4096)},
        analyses=settings(),
    )
    folder = compute_all(config)
    table = stored(folder).table("corruptions")
    assert len(table) == 4 * (1 + 5 * len(corruptions_for(1, 1)))
    assert np.isfinite(table["damage_rms"]).all()
    levels = stored(folder).table("corruption_levels")
    gain = levels[levels["corruption"] == "gain"].groupby("severity")["signal_power"].sum()
    clean = levels[levels["corruption"] == "clean"]["signal_power"].sum()
    decibels = 10 * np.log10(gain / clean)
    np.testing.assert_allclose(decibels, [-6, -12, -18, -24, -30], atol=0.01)
    write_results(AuditFolder(str(folder)), config)


def test_volumes_take_all_twelve(tmp_path, toy_config, compute_all, stored):
    rng = np.random.default_rng(0)
    volumes = np.kron(rng.uniform(0.2, 0.8, (2, 1, 4, 4, 4)), np.ones((1, 1, 4, 4, 4)))
    np.savez(tmp_path / "volumes.npz", image=volumes.astype(np.float32), label=[0, 1])
    config = toy_config(
        dataset={"root": str(tmp_path / "volumes.npz"), "id_column": None},
        model={"name": f"{MODELS}:banded", "preprocessing": preprocessing(16, 16, 16)},
        analyses=settings(),
    )
    folder = compute_all(config)
    table = stored(folder).table("corruptions")
    assert len(table) == 2 * (1 + 5 * 12)
    assert np.isfinite(table["damage_rms"]).all()
    write_results(AuditFolder(str(folder)), config)
