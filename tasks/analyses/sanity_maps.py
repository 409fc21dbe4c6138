"""The explanations that sanity checks compare: of one batch, by one model, with few passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.analyses.contract import Batch, Passes
from tasks.config import AttributionConfig, AuditConfig
from tasks.explain import target_score
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

MAPS = (GRADIENT, ABSOLUTE, SIGNED, INTEGRATED, PATH)

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
        }
        return Passes(
            forward=2 * ("integrated_gradients" in self.methods),
            backward=sum(each[method] for method in self.methods),
        )

    @property
    def smoothing_passes(self) -> int:
        """Backward passes of smoothing one sample again with other noise."""
        return self._settings.smoothgrad.n_samples if "smoothgrad" in self.methods else 0

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
        if "smoothgrad" in self.methods:
            found |= self._smoothed(score, batch, batch.sample_ids, max_batch)
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

    def with_other_noise(self, model: LoadedModel, batch: Batch, max_batch: int) -> Maps:
        """The smoothed maps again, from draws that have nothing in common with the first."""
        if "smoothgrad" not in self.methods:
            return {}
        ids = [f"{name}\0second seed" for name in batch.sample_ids]
        return self._smoothed(self._score(model, batch), batch, ids, max_batch)

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
