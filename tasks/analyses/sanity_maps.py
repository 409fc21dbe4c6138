"""The explanations that sanity checks compare: of one batch, by one model, with few passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.analyses.contract import Batch, Passes
from tasks.config import AttributionConfig, AuditConfig
from tasks.explain import coalitions_of, target_score
from tasks.models import LoadedModel
from wam_core import attribution
from wam_core.baselines import baseline
from wam_core.basis import CoefficientLayout
from wam_core.scores import ScoreFn
from wam_core.transform import WaveletCoefficients

GRADIENT = "gradient"
SIGNED = "smoothgrad_signed"
ABSOLUTE = "smoothgrad_absolute"
INTEGRATED = "integrated_gradients"
PATH = "path_gradient"
"""The gradient part of WAM_IG, without the factor of the coefficients."""

COALITIONS = "coalition_gradients"
COALITION_PART = "coalition_mean_gradient"
"""The gradient part of WAM_CG."""

MAPS = (GRADIENT, ABSOLUTE, SIGNED, INTEGRATED, PATH, COALITIONS, COALITION_PART)

GRADIENT_PARTS = {INTEGRATED: PATH, COALITIONS: COALITION_PART}
"""Maps that multiply a gradient by the coefficients, and the gradient alone."""

Maps = dict[str, WaveletCoefficients]


@dataclass(frozen=True)
class Explainer:
    """Explains batches by the methods that are checked.

    Attributes:
        config: With the numbers of draws and steps of one explanation.
        methods: As `AttributionConfig.methods` names them.
    """

    config: AuditConfig
    layout: CoefficientLayout
    methods: tuple[str, ...]

    @classmethod
    def of(cls, config: AuditConfig, layout: CoefficientLayout) -> Explainer:
        """As the section `analyses.sanity` asks for it."""
        settings = config.analyses.sanity
        methods = tuple(settings.methods or config.attribution.methods)
        return cls(config.with_passes(settings.n_passes), layout, methods)

    @property
    def passes(self) -> Passes:
        """Of one explanation of one sample."""
        each = {
            "gradient": 1,
            "smoothgrad": self._settings.smoothgrad.n_samples,
            "integrated_gradients": self._settings.integrated_gradients.n_steps,
            "coalition_gradients": self._settings.coalition_gradients.n_samples,
        }
        return Passes(
            forward=2 * ("integrated_gradients" in self.methods),
            backward=sum(each[method] for method in self.methods),
        )

    @property
    def redrawn_passes(self) -> int:
        """Backward passes of explaining one sample again by methods that draw."""
        each = {
            "smoothgrad": self._settings.smoothgrad.n_samples,
            "coalition_gradients": self._settings.coalition_gradients.n_samples,
        }
        return sum(passes for method, passes in each.items() if method in self.methods)

    def maps(self, model: LoadedModel, batch: Batch, max_batch: int) -> Maps:
        """Every map of every sample, on the model's device.

        Noise is keyed as in the audit: all models see the same noisy copies.
        """
        found: Maps = {}
        score = self._score(model, batch)
        if "gradient" in self.methods:
            found[GRADIENT] = attribution.gradient(
                score, batch.signal, self.layout.basis, max_batch=max_batch
            )
        found |= self._drawn(model, batch, batch.sample_ids, max_batch)
        if "integrated_gradients" in self.methods:
            path = self._settings.integrated_gradients
            integrated = attribution.integrated_gradients(
                score,
                batch.signal,
                self.layout.basis,
                baseline=baseline(path.baseline, batch.signal, model.preprocessing.data_mean()),
                n_steps=path.n_steps,
                rule=path.rule,
                max_batch=max_batch,
            )
            found |= {INTEGRATED: integrated.attribution, PATH: integrated.path_gradient}
        return found

    def with_other_draws(self, model: LoadedModel, batch: Batch, max_batch: int) -> Maps:
        """The maps of methods that draw, from draws that have nothing in common with the first."""
        ids = [f"{name}\0second seed" for name in batch.sample_ids]
        return self._drawn(model, batch, ids, max_batch)

    def _drawn(
        self, model: LoadedModel, batch: Batch, sample_ids: Sequence[str], max_batch: int
    ) -> Maps:
        found: Maps = {}
        score = self._score(model, batch)
        if "smoothgrad" in self.methods:
            found |= self._smoothed(score, batch, sample_ids, max_batch)
        if "coalition_gradients" in self.methods:
            coalitions = coalitions_of(
                self.config,
                score,
                batch.signal,
                self.layout,
                sample_ids,
                model.preprocessing.data_mean(),
                max_batch,
            )
            found |= {COALITIONS: coalitions.attribution, COALITION_PART: coalitions.mean_gradient}
        return found

    def _smoothed(
        self, score: ScoreFn, batch: Batch, sample_ids: Sequence[str], max_batch: int
    ) -> Maps:
        smoothing = self._settings.smoothgrad
        smoothed = attribution.smoothgrad(
            score,
            batch.signal,
            self.layout.basis,
            sample_ids=sample_ids,
            seed=self._settings.seed,
            n_samples=smoothing.n_samples,
            noise_fraction=smoothing.noise_fraction,
            antithetic=smoothing.antithetic,
            first_draw_clean=smoothing.first_draw_clean,
            max_batch=max_batch,
        )
        return {ABSOLUTE: smoothed.absolute, SIGNED: smoothed.signed}

    def _score(self, model: LoadedModel, batch: Batch) -> ScoreFn:
        return target_score(self.config, model, batch.signal, batch.targets, batch.n_valid)

    @property
    def _settings(self) -> AttributionConfig:
        return self.config.attribution
