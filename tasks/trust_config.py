"""Whether explanations can be trusted: faithfulness, methods side by side, sanity checks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from tasks.schema import AttributionMethod, Fraction, Frozen

FaithfulnessMeasure = Literal[
    "count", "energy", "replacement", "class_contrast", "random_weights", "mu_fidelity"
]


class FaithfulnessConfig(Frozen):
    """Whether maps rank what the model uses, held against orders that know no model."""

    enabled: bool = Field(
        False, description="Insert and delete coefficients; hundreds of passes per sample."
    )
    samples: PositiveInt | None = Field(
        40, description="Samples taken, the same share of every class; null: all."
    )
    methods: tuple[AttributionMethod, ...] | None = Field(
        None,
        description="Attributions that are judged, beside magnitude and chance; null: every one "
        "that is switched on.",
    )
    measures: tuple[FaithfulnessMeasure, ...] = Field(
        ("count", "energy", "replacement", "class_contrast", "random_weights", "mu_fidelity"),
        min_length=1,
        description="count: curves over the fraction of coefficients, removed ones from the "
        "baseline (as published). energy: over the fraction of energy. replacement: removed ones "
        "from other signals. class_contrast: the class's map against the runner-up's, by the "
        "same. random_weights: the map against that of a randomised network, by count. "
        "mu_fidelity: random subsets removed.",
    )
    n_steps: PositiveInt = Field(
        64, ge=2, multiple_of=2, description="Steps of every curve; even, so that there is a half."
    )
    n_subsets: PositiveInt = Field(128, ge=8, description="Random subsets of mu_fidelity.")
    baseline: Literal["zero", "sample_mean"] = Field(
        "zero",
        description="What removed coefficients are replaced by, and what energy is counted from: "
        "zero, as published, or the mean of every channel of the sample.",
    )
    approximation: Literal["kept", "ranked"] = Field(
        "kept",
        description="Of energy, replacement and class_contrast: whether the approximation is "
        "always present, or ranked and removed too.",
    )
    replacement: Literal["other_samples", "resampled"] = Field(
        "other_samples",
        description="Of the measure replacement: the coefficients of a sample of another class, or "
        "the sample's own in a random order within each band.",
    )
    budget: PositiveInt | None = Field(
        None,
        description="Most forward passes per sample, beside those that explain the runner-up: "
        "steps and subsets are cut alike for all methods and measures, and so are those of the "
        "benchmark's methods over the input; null: no cap.",
    )

    @model_validator(mode="after")
    def _has_curves(self) -> FaithfulnessConfig:
        if "class_contrast" in self.measures and "replacement" not in self.measures:
            raise ValueError(
                "the measure class_contrast compares curves of the measure replacement; add that "
                "to faithfulness.measures, or leave class_contrast out"
            )
        if "random_weights" in self.measures and "count" not in self.measures:
            raise ValueError(
                "the measure random_weights compares curves of the measure count; add that to "
                "faithfulness.measures, or leave random_weights out"
            )
        return self


class BenchmarkConfig(Frozen):
    """Methods over the input beside those over coefficients; reads what faithfulness finds."""

    enabled: bool = Field(
        False, description="Explain by every method and remove what it calls important."
    )
    samples: PositiveInt | None = Field(
        40, description="Samples taken, the same share of every class; those of faithfulness."
    )
    methods: tuple[str, ...] = Field(
        (
            "captum_integrated_gradients",
            "captum_smoothgrad",
            "captum_gradcam",
            "captum_saliency",
        ),
        description="Methods over the input by name; module:function for your own.",
    )
    n_steps: PositiveInt = Field(64, ge=2, multiple_of=2, description="Steps of every curve.")
    n_subsets: PositiveInt = Field(128, ge=8, description="Random subsets of mu-Fidelity.")
    common: bool = Field(
        True,
        description="Also rank coefficients by the methods over the input, and points by the "
        "methods over coefficients.",
    )
    front_end: str | None = Field(
        None,
        description="Name of the part of the model that makes a spectrogram: methods over the "
        "input then explain its cells, as published for sounds.",
    )
    gradcam_layer: str | None = Field(
        None, description="Layer of GradCAM; null: the one that puts out the last feature map."
    )
    noise_fraction: Fraction | None = Field(
        None,
        description="SmoothGrad's noise over each sample's range; null: as published, 0.25, and "
        "0.001 for sounds.",
    )


class SanityLimits(Frozen):
    """What explanations must keep to be trusted; they decide no stored number."""

    similarity: Fraction = Field(
        0.2,
        description="Largest rank correlation of magnitudes with every layer randomised: below it, "
        "less than a twentieth of the ranks' variance is shared.",
    )
    rise: Fraction = Field(
        0.1,
        description="Most that the similarity may rise again while more layers are randomised.",
    )
    energy_similarity: Fraction = Field(
        0.9,
        description="Largest rank correlation with the magnitudes of the coefficients: beyond it, "
        "four fifths of the ranks' variance are known without a model.",
    )
    random_label_similarity: Fraction = Field(
        0.5,
        description="Largest rank correlation with the network trained on permuted labels: beyond "
        "it, a quarter of the ranks' variance has nothing to do with what the labels say.",
    )
    seed_reliability: Fraction = Field(
        0.5,
        description="Least rank correlation of WAM_SG and WAM_CG with themselves from other draws: "
        "below it, most of a map is chance of its draws, which any randomisation changes.",
    )
    share_error: Fraction = Field(
        0.02,
        description="Largest Monte-Carlo error of a level's share of one sample, on average over "
        "samples: differences between levels are many times as large.",
    )
    faith_gain: float = Field(
        0.0,
        description="Least gain in Faith over an order by magnitude, over the fraction of energy, "
        "where analyses.faithfulness measures it: without a gain no model was needed.",
    )
    completeness_gap: Fraction = Field(
        0.1, description="Largest median completeness gap: a tenth of the score is unaccounted for."
    )


class SanityConfig(Frozen):
    """Do explanations show what the model learned? Randomise it and explain again."""

    enabled: bool = Field(
        False, description="Explain with randomised models; stages times n_passes per method."
    )
    samples: PositiveInt | None = Field(
        30, description="Samples taken, the same share of every class; null: all."
    )
    methods: tuple[AttributionMethod, ...] | None = Field(
        None, description="Attributions that are checked; null: every one that is switched on."
    )
    n_passes: PositiveInt = Field(10, description="Draws and steps of one explanation.")
    stages: int = Field(
        5,
        ge=2,
        description="Stages in which all layers are randomised from the top: the output layer "
        "alone, then equal parts of the others.",
    )
    networks: PositiveInt = Field(
        8,
        description="Randomised networks, of which every sample meets one, chosen by its id: an "
        "explanation may stay by chance under one of them.",
    )
    independent: bool = Field(True, description="Randomise each stage's layers alone, too.")
    random_label_checkpoint: str | None = Field(
        None,
        description="Weights of the same network trained on permuted labels (see permute_labels of "
        "training recipes), whose explanations are compared.",
    )
    limits: SanityLimits = SanityLimits()
