"""What is computed beside and from the attributions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from tasks.robustness_config import (
    CorruptionsConfig,
    CriticalBandsConfig,
    FourierSensitivityConfig,
    SuppressionConfig,
)
from tasks.schema import AttributionMethod, Fraction, Frozen
from tasks.trust_config import BenchmarkConfig, FaithfulnessConfig, SanityConfig


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
