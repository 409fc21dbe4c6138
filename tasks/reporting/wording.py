"""The words of the report: methods, normalisations and statuses in plain language."""

from __future__ import annotations

from dataclasses import dataclass

APPROXIMATION = "approximation"
FEW_SAMPLES = 20  # below this a class or subset is flagged


@dataclass(frozen=True)
class MethodWords:
    """How one attribution method is called and read.

    Attributes:
        family: Profiles are comparable within a family at most, never across families.
    """

    title: str
    family: str
    reading: str


@dataclass(frozen=True)
class NormalisationWords:
    """How one normalisation of importance is called and read."""

    key: str
    title: str
    axis: str
    meaning: str
    caution: str


# In the order of preference: the first one present is the report's main method.
METHODS: dict[str, MethodWords] = {
    "smoothgrad_absolute": MethodWords(
        "Smoothed gradient, mean of absolute values",
        "smoothgrad",
        "Sensitivity of the score to each coefficient, averaged over noisy copies of the input "
        "before signs can cancel.",
    ),
    "smoothgrad_signed": MethodWords(
        "Smoothed gradient, signed mean",
        "smoothgrad",
        "Sensitivity that keeps its sign over noisy copies of the input (equation 6 of WAM); "
        "inconsistent responses cancel.",
    ),
    "smoothgrad_energy": MethodWords(
        "Smoothed gradient, energy without noise",
        "smoothgrad",
        "Energy of the signed mean, from products of independent groups of draws: the noise of the "
        "draws, which is fine, is not counted, however few they are.",
    ),
    "smoothgrad_squared": MethodWords(
        "Smoothed gradient, mean of squares",
        "smoothgrad",
        "As the mean of absolute values, with strong responses weighted more.",
    ),
    "gradient": MethodWords(
        "Gradient at the input",
        "gradient",
        "Sensitivity of the score at the input itself, without smoothing (equation 5 of WAM).",
    ),
    "integrated_gradients": MethodWords(
        "Integrated gradients",
        "integrated_gradients",
        "How the score's change from the baseline to the input is shared among the coefficients "
        "(equation 7 of WAM).",
    ),
    "coalition_gradients": MethodWords(
        "Coalition gradients",
        "coalition_gradients",
        "What each coefficient adds to the score, averaged over random coalitions of the others "
        "(WAM_CG; to first order a semivalue).",
    ),
}

NOT_COMPARABLE = (
    "Do not compare the shape of one panel with another method's. Path integration multiplies "
    "the gradient by the coefficient itself, whose magnitude grows with scale, so its profile "
    "leans to coarse levels by construction. Smoothing leaves the coefficient out and compares "
    "places within one scale. Compare a panel with the same panel of another audit that used "
    "the same wavelet, levels and settings."
)

NORMALISATIONS: tuple[NormalisationWords, ...] = (
    NormalisationWords(
        "share",
        "Share of importance",
        "share of the total importance (%)",
        "Where does the sum of all importance go? The levels add up to 100 %.",
        "Fine levels hold many more coefficients than coarse ones, so they can collect a large "
        "share although each single coefficient matters little.",
    ),
    NormalisationWords(
        "mean_share",
        "Importance per coefficient",
        "share after dividing by the number of coefficients (%)",
        "How much does a typical coefficient of this level matter? The importance is divided by "
        "the number of coefficients, then rescaled so that the levels add up to 100 %.",
        "Coarse coefficients each cover a larger piece of the input, which favours coarse levels.",
    ),
    NormalisationWords(
        "relative_share",
        "Relative to content",
        "share of importance / share of energy (log scale)",
        "Is this level used more than its presence in the signal suggests? The share of importance "
        "is divided by the level's share of the signal's energy. 1: in proportion; 2: twice.",
        "Natural images hold most of their energy at coarse levels, so fine levels come out "
        "above 1 for almost any model. Read it against another model on the same data.",
    ),
)

STATUSES: dict[str, str] = {
    "ok": "explained and counted in every number of this report",
    "decode_error": "the file is missing or damaged, or was refused by the decoder",
    "shape_error": "decoded, but not of a shape the model takes",
    "nonfinite": "the model or its gradient gave an infinite or undefined value",
    "degenerate": "the attribution is zero everywhere, so it has no profile",
    "quarantined": "set aside after its shard failed repeatedly",
}

# Measured with octave-band noise in 2D: energy that lands in the band's own level.
OWN_LEVEL_ENERGY: dict[str, float] = {
    "haar": 0.50,
    "db1": 0.50,
    "db2": 0.63,
    "db4": 0.74,
    "bior4.4": 0.76,
    "sym8": 0.81,
}

DEFINITIONS: tuple[tuple[str, str], ...] = (
    (
        "Coefficient",
        "One number of the wavelet transform: how strongly one small wave of one size, "
        "orientation and place is present in the input.",
    ),
    (
        "Level",
        "All coefficients of one structure size. Level 1 is the finest; each further level is one "
        "octave coarser: structures twice as large, half the frequency. What the last level "
        "leaves over (layout, large areas, overall brightness) is the approximation.",
    ),
    (
        "Octave",
        "A factor of two in frequency or size. Level ℓ covers 2^-(ℓ+1) to 2^-ℓ cycles per "
        "sample (per pixel in images); the approximation of J levels covers 0 to 2^-(J+1).",
    ),
    (
        "Structure size",
        "Half a period of the frequency band: level 1 is 1 to 2 pixels wide, level 2 is 2 to 4 "
        "pixels. Diagonal detail in images reaches √2 times the stated frequency.",
    ),
    (
        "Importance",
        "Absolute value of a coefficient's attribution, summed over the coefficients, channels "
        "and orientations of a level, for each sample alone. Unit: that of the explained score.",
    ),
    (
        "Scale centroid",
        "Mean level weighted by share, in octaves: lower means finer structure. The approximation "
        "counts as the level after the last.",
    ),
    ("Fine share", "Sum of the shares of the levels counted as fine scale, in [0, 1]."),
    (
        "Entropy",
        "How evenly the importance is spread over the levels: 0 for a single level, 1 for all "
        "alike.",
    ),
    (
        "Completeness gap",
        "Integrated gradients only: |sum of attributions - (score at the input - score at the "
        "baseline)| / |score difference|. Small means the path was sampled finely enough.",
    ),
    (
        "Monte-Carlo error",
        "Standard error of a sample's share over the random noise draws: how much the number would "
        "move with another seed.",
    ),
)


def method_title(method: str) -> str:
    """Readable name of `method`; the name itself when it is not one of ours."""
    return METHODS[method].title if method in METHODS else method


def level_title(level: str) -> str:
    """Readable name of a level.

    Example:
        >>> level_title("1"), level_title("approximation")
        ('Level 1', 'Approximation')
    """
    return "Approximation" if level == APPROXIMATION else f"Level {level}"


def ordered_levels(levels: set[str]) -> tuple[str, ...]:
    """Fine to coarse, the approximation last.

    Example:
        >>> ordered_levels({"10", "approximation", "2"})
        ('2', '10', 'approximation')
    """
    return tuple(
        sorted(
            levels,
            key=lambda level: (not level.isdigit(), int(level) if level.isdigit() else 0, level),
        )
    )


def ordered_methods(methods: set[str]) -> tuple[str, ...]:
    """In the order of `METHODS`; unknown ones last, by name."""
    rank = {method: index for index, method in enumerate(METHODS)}
    return tuple(sorted(methods, key=lambda method: (rank.get(method, len(rank)), method)))
