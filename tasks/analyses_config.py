"""What is computed beside and from the attributions."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from tasks.schema import Fraction, Frozen

AttributionMethod = Literal["gradient", "smoothgrad", "integrated_gradients", "coalition_gradients"]


class RelianceConfig(Frozen):
    """Statistics of importance over bands."""

    fine_levels: PositiveInt = Field(2, description="Levels counted as fine scale.")
    border: Literal["include", "exclude"] = Field(
        "include",
        description="exclude: statistics leave out coefficients whose filters reach over the "
        "border of the signal; maps keep them.",
    )


class IntervalConfig(Frozen):
    """How uncertainty is computed."""

    confidence: float = Field(0.95, gt=0.5, lt=1)
    n_resamples: PositiveInt = Field(2000, description="Bootstrap resamples.")
    seed: NonNegativeInt = 0


class SeparationConfig(Frozen):
    """Sounds only: what the model hears when something else sounds too."""

    enabled: bool = Field(False, description="Mix every clip, explain and rebuild the mixtures.")
    noise_snr_db: tuple[float, ...] = Field(
        (0.0,), description="Signal-to-noise ratios of the mixtures with white noise, in dB."
    )
    overlap_levels: tuple[PositiveFloat, ...] = Field(
        (0.2, 1.0), description="Peak of the mixed-in clip of another class over the clip's own."
    )
    fractions: tuple[Fraction, ...] = Field(
        (0.05, 0.2), description="Parts of the coefficients that mixtures are rebuilt from."
    )
    n_passes: PositiveInt = Field(6, description="Draws and steps that explain one mixture.")
    examples: NonNegativeInt = Field(
        2, description="Samples of each mixture whose sounds are kept and put into the report."
    )


class BandRemovalConfig(Frozen):
    """What the model does without a level, with it alone, and with every combination of levels."""

    enabled: bool = Field(False, description="Remove levels from the input and predict again.")
    samples: PositiveInt | None = Field(
        100, description="Samples taken, the same share of every class; null: all."
    )
    ablation: bool = Field(True, description="Each level removed, and each kept alone.")
    orientations: bool = Field(True, description="The same of each orientation of each level.")
    pass_curves: bool = Field(True, description="Finest levels removed, and kept alone.")
    shapley: bool = Field(
        True, description="All coalitions of levels: exact Shapley values and interactions."
    )
    baseline: Literal["sample_mean", "zero"] = Field(
        "sample_mean",
        description="What a removed level is replaced by: that of the mean of every channel of the "
        "sample, or of zero.",
    )
    harmful_below: float = Field(
        -0.01,
        le=0,
        description="A level whose Shapley value (change of the class's probability) is below this "
        "is harmful to a sample.",
    )

    @model_validator(mode="after")
    def _does_something(self) -> BandRemovalConfig:
        if self.enabled and not (
            self.ablation or self.orientations or self.pass_curves or self.shapley
        ):
            raise ValueError(
                "band_removal is enabled, but each of ablation, orientations, pass_curves and "
                "shapley is off; switch one on"
            )
        return self


class SuppressionConfig(Frozen):
    """Which cues the model needs: one is suppressed at a time, and the others are kept."""

    enabled: bool = Field(False, description="Pass samples again with one cue suppressed.")
    samples: PositiveInt | None = Field(
        200, description="Samples taken, the same share of every class; null: all."
    )
    suppressions: dict[str, tuple[float, ...]] = Field(
        default_factory=dict,
        description="Strengths by suppression, such as patch_shuffle: [4, 8]; an empty list stands "
        "for all of its strengths. Without any, the usual ones for the model's input.",
    )


class CorruptionsConfig(Frozen):
    """How the model stands damage, and whether its reliance explains where it breaks."""

    enabled: bool = Field(False, description="Damage samples and classify them again.")
    samples: PositiveInt | None = Field(
        100, description="Samples taken, the same share of every class; null: all."
    )
    corruptions: tuple[str, ...] = Field(
        (),
        description="Kinds of damage, such as gaussian_noise; without any, all that exist for the "
        "model's input.",
    )
    severities: tuple[Annotated[int, Field(ge=1, le=5)], ...] = Field(
        (1, 2, 3, 4, 5), min_length=1, description="Of each kind of damage, 1 (weakest) to 5."
    )
    reference: Literal["auto", "alexnet", "none"] = Field(
        "auto",
        description="What errors are divided by in the mean corruption error: those of AlexNet, "
        "for images of the ImageNet classes; auto: where the classes are those; none: nothing.",
    )

    @model_validator(mode="after")
    def _increasing(self) -> CorruptionsConfig:
        if any(second <= first for first, second in pairwise(self.severities)):
            raise ValueError(f"severities must increase; got {list(self.severities)}")
        if len(set(self.corruptions)) < len(self.corruptions):
            raise ValueError(f"corruptions names one twice: {', '.join(self.corruptions)}")
        return self


class CriticalBandsConfig(Frozen):
    """How much noise in each level the model stands."""

    enabled: bool = Field(
        False, description="Put noise into one level at a time and classify again."
    )
    samples: PositiveInt | None = Field(
        200, description="Samples taken, the same share of every class; null: all."
    )
    noise_levels: tuple[PositiveFloat, ...] = Field(
        (0.01, 0.03, 0.1, 0.3, 1.0),
        min_length=2,
        description="Root mean square of the noise over each sample's range, increasing; "
        "thresholds are interpolated in its logarithm.",
    )

    @model_validator(mode="after")
    def _increasing(self) -> CriticalBandsConfig:
        if any(second <= first for first, second in pairwise(self.noise_levels)):
            raise ValueError(f"noise_levels must increase; got {list(self.noise_levels)}")
        return self


class FourierSensitivityConfig(Frozen):
    """At which frequencies the model errs."""

    enabled: bool = Field(
        False, description="Add waves of one frequency, and noise of one octave, and classify."
    )
    samples: PositiveInt | None = Field(
        50, description="Samples taken, the same share of every class; null: all."
    )
    frequencies_per_axis: PositiveInt | None = Field(
        None,
        ge=3,
        description="Of the lattice; null: 32 in one dimension, 15 in two, 5 in three. Half of the "
        "lattice is passed: opposite frequencies are the same wave.",
    )
    noise: PositiveFloat = Field(
        0.04,
        description="Root mean square of a wave over the sample's range; 0.04 is the published "
        "norm of 15.7 for 224 x 224 pixels in three channels.",
    )
    ring_noises: tuple[PositiveFloat, ...] = Field(
        (0.03, 0.1, 0.3), description="The same of noise in one octave of frequencies."
    )


class ShortcutsConfig(Frozen):
    """Classes that few levels alone decide; read from the coalitions of band_removal."""

    enabled: bool = Field(
        False, description="Needs band_removal with shapley, and attribution.target: label."
    )
    dominant_share: Fraction = Field(
        0.25,
        description="A level dominates a class if the class's loss rises without it by this part "
        "of what it rises without the most important one, or more.",
    )
    most_levels: PositiveInt = Field(2, description="Most levels that dominate a class.")
    true_positive_rate: Fraction = Field(
        0.6, description="Least share of the class still recognised by its dominant levels alone."
    )
    false_positive_rate: Fraction = Field(
        0.3,
        description="Least share of the other classes taken for it by the same levels; at least "
        "one over the number of classes.",
    )
    minimum_n: PositiveInt = Field(20, description="Samples of a class below which none is judged.")


class MinimalConfig(Frozen):
    """How few of a sample's coefficients keep the class that is explained."""

    enabled: bool = Field(False, description="Search minimal signals.")
    samples: PositiveInt | None = Field(
        100, description="Samples taken, the same share of every class; null: all."
    )
    methods: tuple[AttributionMethod, ...] | None = Field(
        None,
        description="Attributions that rank the coefficients, beside magnitude and chance; null: "
        "every one that is switched on.",
    )
    spacing: Literal["log", "linear"] = Field(
        "log", description="Numbers of coefficients that are tried: by a factor or a step apart."
    )
    resolution: float = Field(
        0.05,
        gt=0,
        le=1,
        description="How far apart: each number is this part larger than the one before (log), or "
        "this part of all coefficients (linear).",
    )
    restricted: bool = Field(
        True, description="Search the fine levels alone, and all others alone, too."
    )
    fine_levels: PositiveInt | None = Field(
        None, description="Levels that count as fine; null: those of analyses.reliance."
    )
    fractions: tuple[Fraction, ...] = Field(
        (0.01, 0.05, 0.2),
        description="Parts of the coefficients for which the report says how many samples need no "
        "more.",
    )
    baseline: Literal["sample_mean", "zero"] = Field(
        "sample_mean",
        description="What absent coefficients are replaced by: those of the mean of every channel "
        "of the sample, or zero.",
    )
    examples: NonNegativeInt = Field(3, description="Samples whose minimal signals are shown.")


class MinimalMasksConfig(Frozen):
    """Masks over the coefficients, optimised to keep or to destroy the class."""

    enabled: bool = Field(False, description="Optimise masks; hundreds of passes per sample.")
    samples: PositiveInt | None = Field(
        20, description="Samples taken, the same share of every class; null: all."
    )
    alphas: tuple[PositiveFloat, ...] = Field(
        (1.0, 10.0, 100.0),
        min_length=1,
        description="Prices of a full mask, in units of the score: each is optimised for.",
    )
    objective: Literal["preserve", "destroy"] = Field(
        "preserve",
        description="preserve: -score + alpha mean(mask). destroy: score + alpha mean(1 - mask).",
    )
    score: Literal["log_probability", "logit", "margin"] = "log_probability"
    parametrisation: Literal["clamp", "sigmoid"] = Field(
        "clamp", description="Mask values are clamped to [0, 1], or sigmoids that start at 0.993."
    )
    optimiser: Literal["nadam", "adam"] = "nadam"
    n_steps: PositiveInt = Field(500, description="Most steps.")
    learning_rate: PositiveFloat | None = Field(
        None, description="Step in mask values or logits; null: 0.05 (clamp), 0.2 (sigmoid)."
    )
    patience: PositiveInt | None = Field(
        50, description="Steps without a lower objective that end a sample's search; null: never."
    )
    baseline: Literal["sample_mean", "zero"] = Field(
        "sample_mean", description="What absent coefficients are replaced by; see minimal."
    )
    examples: NonNegativeInt = Field(2, description="Samples whose masked signals are shown.")


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


class CueConflictConfig(Frozen):
    """Images whose shape and texture tell of different categories (Geirhos et al. 2019)."""

    enabled: bool = Field(False, description="Count which of the two cues the answers follow.")
    categories: str = Field(
        "categories16.json",
        description="JSON file with the model's class indices of every category; relative to "
        "dataset.root unless absolute.",
    )
    shape_column: str = Field("shape", description="Column with the category of the shape.")
    texture_column: str = Field("texture", description="Column with the category of the texture.")


class HybridConfig(Frozen):
    """Coarse levels of one sample with the fine levels of another of a different class."""

    enabled: bool = Field(False, description="Ask which of the two parents a hybrid is taken for.")
    samples: PositiveInt | None = Field(None, description="How many samples; all by default.")
    cuts: tuple[PositiveInt, ...] = Field(
        (),
        description="Coarsest of the levels taken from the other sample, one hybrid each; "
        "analyses.reliance.fine_levels by default.",
    )
    only_correct: bool = Field(
        True, description="Count hybrids only where both parents are predicted correctly."
    )
    examples: NonNegativeInt = Field(
        3, description="Samples whose hybrids are kept as pictures and put into the report."
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


class AnalysesConfig(Frozen):
    """What is computed beside and from the attributions."""

    reliance: RelianceConfig = RelianceConfig()
    intervals: IntervalConfig = IntervalConfig()
    separation: SeparationConfig = SeparationConfig()
    band_removal: BandRemovalConfig = BandRemovalConfig()
    suppression: SuppressionConfig = SuppressionConfig()
    critical_bands: CriticalBandsConfig = CriticalBandsConfig()
    fourier_sensitivity: FourierSensitivityConfig = FourierSensitivityConfig()
    corruptions: CorruptionsConfig = CorruptionsConfig()
    shortcuts: ShortcutsConfig = ShortcutsConfig()
    minimal: MinimalConfig = MinimalConfig()
    minimal_masks: MinimalMasksConfig = MinimalMasksConfig()
    faithfulness: FaithfulnessConfig = FaithfulnessConfig()
    benchmark: BenchmarkConfig = BenchmarkConfig()
    cue_conflict: CueConflictConfig = CueConflictConfig()
    hybrid: HybridConfig = HybridConfig()
    sanity: SanityConfig = SanityConfig()
    gallery_size: NonNegativeInt = Field(12, description="Samples pictured in the report.")
