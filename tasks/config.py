"""What an audit computes, as typed, validated data.

The configuration is one JSON-able object: the Prefect parameter, the MLflow artifact and the
audit's identity are all made from it. What was computed stands here; nothing is read from the
environment except through the placeholders that `tasks.config_files` expands.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from tasks.analyses_config import AnalysesConfig
from tasks.audio_config import AudioConfig
from tasks.schema import Fraction, Frozen
from tasks.volume_config import VolumeConfig


class DecodingConfig(Frozen):
    """How image files become arrays of values in [0, 1]."""

    exif_orientation: bool = Field(True, description="Turn the image as its EXIF tag says.")
    alpha: Literal["white", "black", "drop"] = Field(
        "white", description="What transparent pixels are laid on; drop ignores transparency."
    )
    max_pixels: PositiveInt = Field(
        178_956_970, description="Larger images are decode errors (decompression bombs)."
    )


class DatasetConfig(Frozen):
    """Which samples are audited, and with which labels."""

    kind: Literal["folder", "table", "arrays", "huggingface", "webdataset"] = Field(
        "folder", description="How the samples are stored."
    )
    root: str = Field("", description="Folder, file or URL; ${WAM_DATA_ROOT} may stand in it.")
    manifest: str | None = Field(
        None, description="Table of samples (CSV or Parquet); relative to root unless absolute."
    )
    path_column: str = Field("path", description="Column with each sample's path below root.")
    label_column: str | None = Field(
        "label", description="Column or key with the class index or name; null: no labels."
    )
    target_column: str | None = Field(
        None, description="Column with the class to explain, for attribution.target: column."
    )
    id_column: str | None = Field(None, description="Column with unique ids; default: the path.")
    group_column: str | None = Field(
        None, description="Column naming the source (patient, recording): resampled as a whole."
    )
    fold_column: str | None = Field(None, description="Column with the cross-validation fold.")
    split_column: str | None = Field(None, description="Column with train, val or test.")
    extra_columns: tuple[str, ...] = Field(
        (), description="Further columns that analyses read, as text; part of the data's identity."
    )
    class_map: dict[str, NonNegativeInt] | None = Field(
        None, description="Class name (or folder name) to the model's class index."
    )
    class_order: Literal["alphabetical", "numeric"] = Field(
        "alphabetical",
        description="How folder names become indices without a class_map; numeric: 10 after 9.",
    )
    class_names: str | tuple[str, ...] | None = Field(
        None, description="Names by class index: a list, or a CSV file with label and name."
    )
    signal_key: str = Field("image", description="Array, column or file suffix with the signal.")
    split: str | None = Field(
        None,
        description="Split of a Hugging Face dataset, or of an NPZ file as MedMNIST names arrays: "
        "val reads val_images and val_labels.",
    )
    where: dict[str, str | int | float | bool | tuple[str | int | float | bool, ...]] = Field(
        default_factory=dict, description="Keep rows whose column has this value, or one of these."
    )
    half: Literal["selection", "report"] | None = Field(
        None,
        description="Keep one of two halves of every class, split by sample_seed: what is chosen "
        "on one is reported on the other.",
    )
    sample: PositiveInt | None = Field(
        None, description="Keep this many samples, chosen by seed whatever their order."
    )
    sample_seed: NonNegativeInt = Field(
        0, description="Seed of the choices made by half and sample."
    )
    limit: PositiveInt | None = Field(None, description="Keep only the first samples.")
    preprocessed: bool = Field(
        False, description="Samples already have the model's input size: nothing is resized."
    )
    decoding: DecodingConfig = Field(DecodingConfig(), description="Rules for image files.")
    volume: VolumeConfig | None = Field(None, description="Rules for volumes.")
    audio: AudioConfig | None = Field(None, description="Rules for sound; states the sample rate.")
    fingerprint: Literal["content", "size"] = Field(
        "content", description="What of each file enters the dataset digest."
    )
    max_bad_fraction: Fraction = Field(
        0.05, description="The audit fails when a larger share of samples is not ok."
    )


class PreprocessingConfig(Frozen):
    """From a decoded sample to the model's input; unset fields come from the model's own config."""

    resize: PositiveInt | tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="Length of the shorter side, or (height, width)."
    )
    crop: PositiveInt | tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="Centre crop: side, or (height, width)."
    )
    size: tuple[PositiveInt, ...] | None = Field(
        None,
        description="Size of the input where samples have it already: nothing is resized or "
        "cropped. (samples), (height, width) or (depth, height, width).",
    )
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None
    geometry: Literal["torchvision", "rounded"] | None = Field(
        None,
        description="Size of the longer side and place of the crop: torchvision (default) "
        "truncates the side and rounds the offset; rounded rounds the side and floors the offset.",
    )
    channels: PositiveInt | None = Field(
        None, description="Channels of the input; grey images are repeated, colour averaged for 1."
    )
    channel_order: Literal["rgb", "bgr"] | None = None
    scale: float | None = Field(None, description="Values in [0, 1] are multiplied by this first.")
    mean: tuple[float, ...] | None = Field(None, description="Subtracted after scaling.")
    std: tuple[float, ...] | None = Field(None, description="Divided by after the mean.")


class ModelConfig(Frozen):
    """Which model is audited and how its output is read."""

    source: Literal["timm", "torchvision", "factory", "torchscript", "export"] = Field(
        "timm", description="Where the model comes from."
    )
    name: str = Field(description="Model name, package.module:function, or path of a model file.")
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="Keyword arguments for the constructor."
    )
    pretrained: bool = Field(False, description="Download the library's own weights.")
    checkpoint: str | None = Field(
        None,
        description="State dict: .safetensors, .pt or .pth; ${WAM_MODEL_ROOT} may stand in it.",
    )
    checkpoint_mapping: Literal["names", "order"] = Field(
        "names", description="order: entries are matched by position after comparing all shapes."
    )
    trust_pickle: bool = Field(
        False, description="Allow a checkpoint that runs code when it is opened."
    )
    state_overrides: dict[str, Any] = Field(
        default_factory=dict,
        description="Attributes of submodules set after construction, such as features.0.padding.",
    )
    output: int | str | None = Field(
        None, description="Index or key of the class scores when the model returns several things."
    )
    head: Literal["multiclass", "binary", "multilabel"] = Field(
        "multiclass", description="Softmax over classes, one sigmoid logit, or a sigmoid per class."
    )
    preprocessing: PreprocessingConfig = PreprocessingConfig()

    @model_validator(mode="after")
    def _one_source_of_weights(self) -> ModelConfig:
        if self.pretrained and self.checkpoint:
            raise ValueError(
                "pretrained: true and a checkpoint exclude each other; keep the one that is meant"
            )
        return self


class BasisConfig(Frozen):
    """The wavelet basis in which the input is explained."""

    wavelet: str = Field("haar", description="Orthogonal or biorthogonal wavelet of PyWavelets.")
    levels: PositiveInt = Field(5, description="Number of octaves; level 1 is the finest.")
    mode: Literal["zero", "reflect", "symmetric", "periodic", "constant"] = Field(
        "zero", description="Boundary rule of the analysis; only zero keeps energies exact."
    )


class SmoothGradConfig(Frozen):
    """WAM_SG: coefficient gradients averaged over noisy copies of the input (equation 6)."""

    enabled: bool = True
    n_samples: PositiveInt = Field(
        25, description="Noisy copies per sample; with a tolerance, the most of one sample."
    )
    tolerance: PositiveFloat | None = Field(
        None,
        description="Draw until the standard error of every level's share (absolute aggregate) is "
        "at most this; None: n_samples for every sample.",
    )
    min_samples: PositiveInt = Field(
        10, description="Draws before a tolerance is first asked; later after every five more."
    )
    noise_fraction: Fraction = Field(
        0.25, description="Noise standard deviation over the sample's own range (max - min)."
    )
    antithetic: bool = Field(False, description="Draw noise in pairs of opposite sign.")
    first_draw_clean: bool = Field(False, description="The first draw has no noise.")
    aggregate: Literal["signed", "absolute", "squared"] = Field(
        "signed", description="Which aggregate is stored as a coefficient map."
    )

    @model_validator(mode="after")
    def _ordered(self) -> SmoothGradConfig:
        if self.tolerance is not None and self.min_samples > self.n_samples:
            raise ValueError(
                f"with a tolerance, n_samples is the most draws of one sample: {self.n_samples} is "
                f"below min_samples, {self.min_samples}; raise n_samples or lower min_samples"
            )
        return self


class IntegratedGradientsConfig(Frozen):
    """WAM_IG: coefficients times path-averaged gradients (equation 7)."""

    enabled: bool = True
    n_steps: PositiveInt = Field(25, description="Points on the path.")
    rule: Literal["midpoint", "gauss_legendre"] = Field("midpoint", description="Quadrature.")
    baseline: Literal["zero", "mean", "blur"] = Field(
        "mean",
        description="Start of the path, before normalisation: zero (black, silence), the mean the "
        "model subtracts, or a blurred copy of the input.",
    )


class CoalitionGradientsConfig(Frozen):
    """WAM_CG: coefficients times gradients averaged over random coalitions of coefficients."""

    enabled: bool = False
    n_samples: PositiveInt = Field(24, multiple_of=2, description="Coalitions, in pairs.")
    lowest_presence: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="A coefficient is present with probabilities from this to 1; 0 estimates "
        "Shapley values.",
    )
    baseline: Literal["zero", "mean", "blur"] = Field(
        "zero", description="What absent coefficients are those of; as in integrated_gradients."
    )
    benefit_of_doubt: float = Field(
        0.5,
        ge=0,
        description="How far a coefficient with gradients of both signs is ranked above one that "
        "speaks against the class; 0 ranks by the signed attribution.",
    )
    keep_approximation: bool = Field(
        True, description="The approximation belongs to every coalition."
    )
    approximation_first: bool = Field(
        False, description="Rank the approximation above all details."
    )


class GradientConfig(Frozen):
    """The plain coefficient gradient at the input (equation 5)."""

    enabled: bool = False


class AttributionConfig(Frozen):
    """What is explained, and by which methods."""

    target: Literal["label", "predicted", "column", "class"] = Field(
        "label",
        description="Class whose score is explained: the label, the predicted one, the one in "
        "dataset.target_column, or target_class for every sample.",
    )
    target_class: NonNegativeInt | None = Field(None, description="Class index for target: class.")
    score: Literal["logit", "log_probability", "margin"] = Field(
        "logit", description="Function of the output whose gradient is taken."
    )
    seed: NonNegativeInt = Field(42, description="Noise is keyed by (seed, sample id, draw).")
    gradient: GradientConfig = GradientConfig()
    smoothgrad: SmoothGradConfig = SmoothGradConfig()
    integrated_gradients: IntegratedGradientsConfig = IntegratedGradientsConfig()
    coalition_gradients: CoalitionGradientsConfig = CoalitionGradientsConfig()

    @model_validator(mode="after")
    def _complete(self) -> AttributionConfig:
        if (self.target == "class") != (self.target_class is not None):
            raise ValueError("target: class and target_class belong together; give both or none")
        if not self.methods:
            raise ValueError("every attribution method is switched off; enable at least one")
        return self

    @property
    def methods(self) -> list[str]:
        """Enabled methods, as arrays name them."""
        enabled = {
            "gradient": self.gradient.enabled,
            "smoothgrad": self.smoothgrad.enabled,
            "integrated_gradients": self.integrated_gradients.enabled,
            "coalition_gradients": self.coalition_gradients.enabled,
        }
        return [method for method, is_enabled in enabled.items() if is_enabled]

    @property
    def n_forward(self) -> int:
        """Passes without a gradient that explain one sample: the two ends of the path."""
        return 2 * self.integrated_gradients.enabled

    @property
    def n_backward(self) -> int:
        """Passes forward and backward that explain one sample, at most."""
        return sum(self.passes_of(method) for method in self.methods)

    def passes_of(self, method: str) -> int:
        """Passes forward and backward of one method, as arrays name it, at most."""
        passes = {
            "gradient": 1,
            "smoothgrad": self.smoothgrad.n_samples,
            "integrated_gradients": self.integrated_gradients.n_steps,
            "coalition_gradients": self.coalition_gradients.n_samples,
        }
        return passes[method]

    @property
    def stops_early(self) -> bool:
        """Whether samples may take fewer passes than `n_backward`."""
        return self.smoothgrad.enabled and self.smoothgrad.tolerance is not None

    def profile_of_map(self, method: str) -> str:
        """Name in the tables of the method whose map is stored under `method`."""
        return f"smoothgrad_{self.smoothgrad.aggregate}" if method == "smoothgrad" else method


class StoreConfig(Frozen):
    """Where the audit folder stands and how it is laid out."""

    url: str = Field("audits", description="Folder (any fsspec URL) under which audits stand.")
    shard_size: PositiveInt = Field(32, description="Samples per shard: the unit of work.")
    coefficients: bool = Field(True, description="Keep the coefficient maps of every sample.")
    mantissa_bits: int = Field(
        15, ge=7, le=23, description="float32 mantissa bits kept in stored coefficients."
    )


class ExecutionConfig(Frozen):
    """Where and how fast it runs; changes no stored number beyond rounding."""

    runner: Literal["threads", "processes", "dask"] = "threads"
    workers: PositiveInt = Field(1, description="Threads, processes (one per GPU) or Dask workers.")
    dask_address: str | None = Field(None, description="Scheduler address for runner: dask.")
    device: str = Field(
        "auto", description="auto, cpu, cuda or cuda:1.", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$"
    )
    max_batch: PositiveInt = Field(8, description="Most rows in one pass through the model.")
    torch_threads: PositiveInt | None = Field(None, description="CPU threads of one worker.")
    channels_last: bool = Field(True, description="Memory format of 2D models.")
    max_tasks: PositiveInt = Field(200, description="Most Prefect tasks in one run.")
    preflight: bool = Field(True, description="One batch through everything before the work.")


class TrackingConfig(Frozen):
    """Where results are published."""

    enabled: bool = True
    uri: str | None = Field(
        None, description="MLflow tracking URI; default: sqlite database beside the audits."
    )
    experiment: str = "wam-audit"


class GateConfig(Frozen):
    """A bound on one metric, judged from its interval: pass, fail or inconclusive."""

    metric: str = Field(description="Name as in summary.json, such as accuracy/top1.")
    labels: dict[str, str | int] = Field(default_factory=dict)
    at_least: float | None = None
    at_most: float | None = None
    minimum_n: NonNegativeInt = Field(0, description="Inconclusive below this many samples.")

    @model_validator(mode="after")
    def _bounded(self) -> GateConfig:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"gate on {self.metric}: give exactly one of at_least and at_most")
        return self


class AuditConfig(Frozen):
    """One audit: a dataset, a model, and what is computed from them."""

    name: str = Field(
        description="Short name; audit folders and runs carry it.",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
    )
    dataset: DatasetConfig
    model: ModelConfig
    basis: BasisConfig = BasisConfig()
    attribution: AttributionConfig = AttributionConfig()
    analyses: AnalysesConfig = AnalysesConfig()
    store: StoreConfig = StoreConfig()
    execution: ExecutionConfig = ExecutionConfig()
    tracking: TrackingConfig = TrackingConfig()
    gates: tuple[GateConfig, ...] = ()

    @model_validator(mode="after")
    def _has_targets(self) -> AuditConfig:
        if self.attribution.target == "column" and self.dataset.target_column is None:
            raise ValueError(
                "attribution.target is column, so dataset.target_column must name the column with "
                "each sample's class to explain"
            )
        return self

    @model_validator(mode="after")
    def _mixes_sounds(self) -> AuditConfig:
        if self.analyses.separation.enabled and self.dataset.audio is None:
            raise ValueError(
                "analyses.separation mixes sounds, so dataset.audio must say how they are read"
            )
        return self

    @model_validator(mode="after")
    def _has_coalitions(self) -> AuditConfig:
        analyses = self.analyses
        if not analyses.shortcuts.enabled:
            return self
        removal = analyses.band_removal
        if not (removal.enabled and removal.shapley):
            raise ValueError(
                "analyses.shortcuts reads what the model does with every coalition of levels; set "
                "analyses.band_removal.enabled and analyses.band_removal.shapley to true, or "
                "switch analyses.shortcuts off"
            )
        if self.attribution.target != "label":
            raise ValueError(
                "analyses.shortcuts needs the probability of each sample's labelled class, but "
                f"attribution.target is {self.attribution.target}; set it to label"
            )
        return self

    @model_validator(mode="after")
    def _knows_categories(self) -> AuditConfig:
        settings = self.analyses.cue_conflict
        if not settings.enabled:
            return self
        if self.model.head != "multiclass":
            raise ValueError(
                "analyses.cue_conflict adds probabilities of classes that exclude each other, so "
                f"it needs model.head: multiclass; the head is {self.model.head}"
            )
        columns = (settings.shape_column, settings.texture_column)
        unread = [name for name in columns if name not in self.dataset.extra_columns]
        if unread:
            raise ValueError(
                f"analyses.cue_conflict reads the columns {' and '.join(columns)}, so "
                f"dataset.extra_columns must name them; it lacks {' and '.join(unread)}"
            )
        return self

    @model_validator(mode="after")
    def _checks_what_is_explained(self) -> AuditConfig:
        settings = self.analyses.sanity
        off = sorted(set(settings.methods or ()) - set(self.attribution.methods))
        if settings.enabled and off:
            raise ValueError(
                f"analyses.sanity.methods names {', '.join(off)}, which attribution leaves out; "
                f"switch it on, or choose from {', '.join(self.attribution.methods)}"
            )
        in_its_file = self.model.source in ("torchscript", "export")
        if settings.enabled and settings.random_label_checkpoint is not None and in_its_file:
            raise ValueError(
                "analyses.sanity.random_label_checkpoint replaces the weights of the model, which "
                f"stand in the file of source: {self.model.source}; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _cuts_within_the_basis(self) -> AuditConfig:
        settings = self.analyses.hybrid
        if settings.enabled and max(self.hybrid_cuts) > self.basis.levels:
            raise ValueError(
                f"analyses.hybrid takes levels 1 to {max(self.hybrid_cuts)} from another sample, "
                f"but basis.levels is {self.basis.levels}; set analyses.hybrid.cuts to smaller ones"
            )
        return self

    @property
    def hybrid_cuts(self) -> tuple[int, ...]:
        """Coarsest of the levels that hybrids take from another sample, ascending."""
        return tuple(sorted(set(self.analyses.hybrid.cuts))) or (
            self.analyses.reliance.fine_levels,
        )

    def with_passes(self, n_passes: int) -> AuditConfig:
        """The same audit with exactly this number of draws and steps; coalitions come in pairs."""
        attribution = self.attribution
        draws = {"n_samples": n_passes, "tolerance": None}
        smoothgrad = attribution.smoothgrad.model_copy(update=draws)
        path = attribution.integrated_gradients.model_copy(update={"n_steps": n_passes})
        pairs = {"n_samples": n_passes + n_passes % 2}
        changed = {
            "smoothgrad": smoothgrad,
            "integrated_gradients": path,
            "coalition_gradients": attribution.coalition_gradients.model_copy(update=pairs),
        }
        return self.model_copy(update={"attribution": attribution.model_copy(update=changed)})

    def identity(self) -> dict[str, Any]:
        """The part that decides what is stored: not where it runs, nor where it is published."""
        identity = self.model_dump(mode="json", exclude={"execution", "tracking", "gates"})
        del identity["store"]["url"]
        # The manifest's place may differ between machines; its rows are in the dataset digest, and
        # class names are for people.
        for key in ("manifest", "class_names", "max_bad_fraction"):
            del identity["dataset"][key]
        for key in ("extra_columns", "half"):
            if not identity["dataset"][key]:
                del identity["dataset"][key]
        # An analysis that is off changes nothing, nor does one that a later version brings.
        analyses = identity["analyses"]
        for section in [name for name, keys in analyses.items() if _is_off(keys)]:
            del analyses[section]
        if "sanity" in analyses:
            del analyses["sanity"]["limits"]  # like gates, they judge what is stored
        if "benchmark" in analyses and analyses["benchmark"]["gradcam_layer"] is None:
            # Null was once the convolution defined last: folders of then are of other numbers.
            analyses["benchmark"]["gradcam_layer"] = "the last feature map"
        if "benchmark" in analyses and self.analyses.faithfulness.budget is not None:
            # It did not cap methods over the input before.
            analyses["benchmark"]["budget"] = self.analyses.faithfulness.budget
        if not self.attribution.coalition_gradients.enabled:
            del identity["attribution"]["coalition_gradients"]
        return identity

    def digest(self) -> str:
        """SHA-256 of `identity`; the first eight digits end the audit folder's name."""
        text = json.dumps(self.identity(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def folder_name(self) -> str:
        """Name of the audit folder below `store.url`."""
        return f"{self.name}-{self.digest()[:8]}"


def _is_off(section: Any) -> bool:
    return isinstance(section, dict) and section.get("enabled") is False
