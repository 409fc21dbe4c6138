"""What is computed beside and from the attributions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from tasks.schema import Fraction, Frozen


class RelianceConfig(Frozen):
    """Statistics of importance over bands."""

    fine_levels: PositiveInt = Field(2, description="Levels counted as fine scale.")


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
    cue_conflict: CueConflictConfig = CueConflictConfig()
    hybrid: HybridConfig = HybridConfig()
    gallery_size: NonNegativeInt = Field(12, description="Samples pictured in the report.")
