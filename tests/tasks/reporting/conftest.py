import numpy as np
import pandas as pd
import pytest
import skimage.data
from PIL import Image

from tasks.config import AuditConfig
from tasks.reporting import SampleExplanation

LEVELS = ("1", "2", "3", "4", "5", "approximation")
BANDS = {
    "1": "0.25–0.5 cycles/pixel (1–2 px)",
    "2": "0.125–0.25 cycles/pixel (2–4 px)",
    "3": "0.0625–0.125 cycles/pixel (4–8 px)",
    "4": "0.0312–0.0625 cycles/pixel (8–16 px)",
    "5": "0.0156–0.0312 cycles/pixel (16–32 px)",
    "approximation": "0–0.0156 cycles/pixel (32 px and larger)",
}
PROFILES = {
    "smoothgrad_absolute": (0.41, 0.27, 0.16, 0.09, 0.05, 0.02),
    "smoothgrad_signed": (0.36, 0.28, 0.18, 0.1, 0.06, 0.02),
    "integrated_gradients": (0.06, 0.1, 0.14, 0.2, 0.22, 0.28),
}
COUNTS = (0.75, 0.1875, 0.0469, 0.0117, 0.0029, 0.001)
ENERGY = (0.004, 0.008, 0.014, 0.025, 0.05, 0.899)
CLASSES = (
    "Egyptian cat",
    "espresso",
    "motor scooter",
    "analog clock",
    "space shuttle",
    "coffee mug",
    "tabby",
    "lynx",
)


def metric(name, estimate, spread, unit, n=499, **labels):
    labels = {key.rstrip("_"): value for key, value in labels.items()}
    return {
        "name": name,
        "labels": labels,
        "estimate": estimate,
        "low": estimate - spread,
        "high": estimate + spread,
        "n": n,
        "unit": unit,
        "direction": "none",
    }


def level_label(level):
    return int(level) if level.isdigit() else level


def profile_metrics(method, shares, n=499, **labels):
    mean = np.array(shares) / np.array(COUNTS)
    mean = mean / mean.sum()
    for index, level in enumerate(LEVELS):
        key = {"method": method, "level": level_label(level), **labels}
        yield metric("reliance/share", shares[index], 0.015, "fraction", n, **key)
        if not labels:
            yield metric("reliance/mean_share", mean[index], 0.03 * mean[index], "fraction", **key)
            ratio = shares[index] / ENERGY[index]
            yield metric("reliance/relative_share", ratio, 0.1 * ratio, "ratio", **key)
            yield metric("attribution/share_standard_error", 0.0021, 0.0004, "fraction", **key)


def method_metrics(method):
    shares = np.array(PROFILES[method])
    yield from profile_metrics(method, shares)
    for correct, shift in (("yes", 0.0), ("no", 0.05)):
        moved = shares + shift * np.array([1, 0.4, 0, -0.4, -0.6, -0.4])
        n = 445 if correct == "yes" else 54
        yield from profile_metrics(method, np.clip(moved, 0, 1), correct=correct, n=n)
        key = {"method": method, "correct": correct, "n": n}
        yield metric("reliance/scale_centroid", 2.2 - shift, 0.06, "octaves", **key)
        yield metric("reliance/fine_share", moved[:2].sum(), 0.02, "fraction", **key)
    yield metric("reliance/fine_share", shares[:2].sum(), 0.012, "fraction", method=method)
    yield metric("reliance/scale_centroid", 2.21, 0.05, "octaves", method=method)
    yield metric("reliance/entropy", 0.81, 0.01, "fraction", method=method)


def class_metrics(generator):
    for index, _ in enumerate(CLASSES):
        accuracy = float(generator.uniform(0.5, 1))
        yield metric("accuracy/top1", accuracy, 0.1, "fraction", n=40, class_=index)
        shares = np.array(PROFILES["smoothgrad_absolute"]) * generator.uniform(0.6, 1.4, 6)
        yield from profile_metrics("smoothgrad_absolute", shares / shares.sum(), class_=index)


@pytest.fixture
def summary():
    generator = np.random.default_rng(0)
    metrics = [metric("accuracy/top1", 0.892, 0.027, "fraction")]
    for method in PROFILES:
        metrics += method_metrics(method)
    metrics += class_metrics(generator)
    for quantile, value in (("median", 0.012), ("p95", 0.071)):
        key = {"method": "integrated_gradients", "quantile": quantile}
        metrics.append(metric("attribution/completeness_gap", value, 0.003, "ratio", **key))
    return {
        "schema_version": 1,
        "name": "imagenet-sample",
        "digest": "ab12" * 16,
        "complete": True,
        "counts": {"samples": 500, "ok": 499, "decode_error": 1, "shape_error": 0,
                   "nonfinite": 0, "degenerate": 0, "quarantined": 0},
        "headline": [
            "The model gets 89.2 % of 499 samples right (95 % interval 86.5 to 91.9 %).",
            "Structures of 1 to 4 pixels carry 68.0 % of the importance (smoothed gradient).",
        ],
        "metrics": metrics,
    }  # fmt: skip


@pytest.fixture
def audit():
    config = AuditConfig.model_validate(
        {
            "name": "imagenet-sample",
            "dataset": {"root": "${WAM_DATA_ROOT}/imagenet-sample", "manifest": "samples.csv"},
            "model": {"name": "tf_efficientnet_lite0", "checkpoint": "lite0.safetensors"},
        }
    )
    return {
        "name": "imagenet-sample",
        "digest": "ab12" * 16,
        "config": config.model_dump(mode="json"),
        "dataset": {
            "digest": "cd34" * 16,
            "n_samples": 500,
            "description": "500 photographs of 500 ImageNet classes",
        },
        "model": {
            "weights_digest": "ef56" * 16,
            "description": "EfficientNet-Lite0 (timm)",
            "n_parameters": 4652008,
        },
        "preprocessing": {"resize": 256, "crop": [224, 224], "mean": [0.485, 0.456, 0.406]},
        "basis": {"wavelet": "haar", "levels": 5, "mode": "zero"},
        "frequency_labels": BANDS,
        "versions": {"wam-audit": "0.1.0", "torch": "2.14.1"},
        "device": "cpu",
        "dtype": "float32",
        "created_at": "2025-11-25T04:00:00Z",
    }


def band_map(picture, level, generator):
    """Absolute local contrast at one block size: looks like a Haar map."""
    grey = picture.mean(axis=0)
    side = grey.shape[0] // 2 ** int(level) if level.isdigit() else grey.shape[0] // 32
    small = np.asarray(Image.fromarray(grey).resize((side, side), Image.Resampling.BOX))
    contrast = np.hypot(*np.gradient(small)) * generator.uniform(0.3, 1.0, small.shape)
    if level == "approximation":
        contrast = small
    return np.asarray(
        Image.fromarray(contrast.astype(np.float32)).resize(grey.shape[::-1], Image.NEAREST)
    )


def explain(name, photograph, label, predicted, seed):
    generator = np.random.default_rng(seed)
    side = min(photograph.shape[:2])
    square = Image.fromarray(photograph[:side, :side]).resize((224, 224), Image.Resampling.BICUBIC)
    picture = np.moveaxis(np.asarray(square, dtype=np.float32) / 255, -1, 0)
    blurred = np.moveaxis(
        np.asarray(square.resize((56, 56)).resize((224, 224)), dtype=np.float32) / 255, -1, 0
    )
    methods = ("smoothgrad_signed", "integrated_gradients")
    return SampleExplanation(
        sample_id=name,
        source=f"photographs/{name}",
        status="ok",
        detail="",
        signal=picture,
        label=label,
        label_name=CLASSES[label],
        predicted=predicted,
        predicted_name=CLASSES[predicted],
        probability_label=0.87 if label == predicted else 0.11,
        probability_predicted=0.87,
        maps={m: {x: band_map(picture, x, generator) for x in LEVELS} for m in methods},
        shares={m: dict(zip(LEVELS, PROFILES[m], strict=True)) for m in methods},
        reconstructions={"1 % of coefficients": blurred, "10 % of coefficients": picture},
        frequency_labels=BANDS,
    )


@pytest.fixture(scope="session")
def gallery():
    broken = SampleExplanation(
        sample_id="broken.jpg",
        source="photographs/broken.jpg",
        status="decode_error",
        detail="cannot identify image file",
        signal=None,
        label=3,
        label_name="analog clock",
        predicted=None,
        predicted_name="",
        probability_label=None,
        probability_predicted=None,
        maps={},
        shares={},
        reconstructions={},
        frequency_labels=BANDS,
    )
    return [
        explain("chelsea.png", skimage.data.chelsea(), 0, 0, 1),
        explain("coffee.png", skimage.data.coffee(), 1, 5, 2),
        broken,
    ]


@pytest.fixture
def per_class():
    generator = np.random.default_rng(3)
    accuracy = generator.uniform(0.5, 1, len(CLASSES))
    return pd.DataFrame(
        {
            "class_index": range(len(CLASSES)),
            "class_name": CLASSES,
            "n": [60, 55, 12, 40, 80, 33, 5, 100],
            "accuracy": accuracy,
            "accuracy_low": accuracy - 0.08,
            "accuracy_high": np.minimum(accuracy + 0.06, 1),
            "scale_centroid_octaves": generator.uniform(1.8, 2.6, len(CLASSES)),
            "fine_share": generator.uniform(0.5, 0.8, len(CLASSES)),
        }
    )


@pytest.fixture
def failures():
    return pd.DataFrame(
        [["broken.jpg", "photographs/broken.jpg", "decode_error", "cannot identify image file"]],
        columns=["sample_id", "source", "status", "detail"],
    )
