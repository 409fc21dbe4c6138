"""Which corruptions an audit makes, which of them need what, and what errors are divided by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tasks.config import AuditConfig
from tasks.datasets import Manifest
from tasks.errors import ConfigError
from tasks.models import resolve_preprocessing
from tasks.robustness_config import CorruptionsConfig
from wam_core.basis import CoefficientLayout, WaveletBasis
from wam_core.corruptions import Corruption, corruptions_for

CLEAN = "clean"
"""What stands for a corruption where there is none; its severity is 0."""

_IMAGENET = {0: "tench", 1: "goldfish", 404: "airliner", 999: "toilet"}
"""A few of the thousand classes: how the beginnings of their names are known."""


@dataclass(frozen=True)
class Step:
    """One corruption at one severity: one pass of every sample."""

    corruption: Corruption
    severity: int

    @property
    def labels(self) -> dict[str, object]:
        """Labels of its metrics."""
        return {"corruption": self.corruption.name, "severity": self.severity}


@dataclass(frozen=True)
class CorruptionChoice:
    """The corruptions and severities of an audit, in the order in which they are made."""

    config: AuditConfig

    @property
    def settings(self) -> CorruptionsConfig:
        """The section of the configuration."""
        return self.config.analyses.corruptions

    @cached_property
    def existing(self) -> dict[str, Corruption]:
        """Those that exist for the model's input, by name."""
        n_channels, *space = self._input_shape
        return corruptions_for(len(space), n_channels)

    @cached_property
    def corruptions(self) -> tuple[Corruption, ...]:
        """Those that are made; without a rate, none that needs one."""
        asked = self.settings.corruptions
        return tuple(
            corruption
            for name, corruption in self.existing.items()
            if (name in asked if asked else not self._lacks_rate(corruption))
        )

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Every corruption at every severity, corruption by corruption."""
        return tuple(
            Step(corruption, severity)
            for corruption in self.corruptions
            for severity in self.settings.severities
        )

    @cached_property
    def averaged(self) -> tuple[Corruption, ...]:
        """Those that means over corruptions are of: extras stay out unless nothing else is made."""
        regular = tuple(corruption for corruption in self.corruptions if not corruption.extra)
        return regular or self.corruptions

    @property
    def families(self) -> dict[str, tuple[Corruption, ...]]:
        """Corruptions by family, in order."""
        families: dict[str, tuple[Corruption, ...]] = {}
        for corruption in self.corruptions:
            families[corruption.family] = (*families.get(corruption.family, ()), corruption)
        return families

    @property
    def level_names(self) -> tuple[str, ...]:
        """Finest first, the approximation last."""
        levels = range(1, self.config.basis.levels + 1)
        return (*(str(level) for level in levels), "approximation")

    @cached_property
    def coefficient_shares(self) -> tuple[float, ...]:
        """Part of all coefficients that each level has: the profile of a model without a scale."""
        basis = self.config.basis
        layout = CoefficientLayout(
            self._input_shape[1:], WaveletBasis(basis.wavelet, basis.levels, basis.mode)
        )
        return tuple(layout.level_size(name) / layout.size for name in self.level_names)

    def check(self, manifest: Manifest) -> None:
        """Refuse corruptions that cannot be made, and a reference that does not fit.

        Raises:
            ConfigError: If so; lists what can be.
        """
        n_channels, *space = self._input_shape
        where = f"inputs of {len(space)} dimension(s) and {n_channels} channel(s)"
        if not self.existing:
            raise ConfigError(f"analyses.corruptions: there is no corruption for {where}")
        for name in self.settings.corruptions:
            if name not in self.existing:
                raise ConfigError(
                    f"analyses.corruptions.corruptions has {name}, which does not exist for "
                    f"{where}; choose from {', '.join(self.existing)}"
                )
            if self._lacks_rate(self.existing[name]):
                raise ConfigError(
                    f"analyses.corruptions.corruptions has {name}, which needs the sample rate; "
                    "state dataset.audio.sample_rate"
                )
            if "others" in self.existing[name].needs and manifest.table["label"].nunique() < 2:
                raise ConfigError(
                    f"analyses.corruptions.corruptions has {name}, which mixes a sample of another "
                    "class in, but the dataset has fewer than two classes; leave it out"
                )
        if self.settings.reference == "alexnet" and not self.is_imagenet(manifest):
            raise ConfigError(
                "analyses.corruptions.reference is alexnet, whose errors are known for colour "
                "images of the thousand ImageNet classes, and dataset.class_names does not name "
                "those; set it to none, or give the class names"
            )

    def is_imagenet(self, manifest: Manifest) -> bool:
        """Whether the data are colour images whose classes are those of ImageNet, by name."""
        names, shape = manifest.class_names, self._input_shape
        if len(shape) != 3 or shape[0] != 3 or names is None or len(names) != 1000:
            return False
        return all(names[index].lower().startswith(name) for index, name in _IMAGENET.items())

    def _lacks_rate(self, corruption: Corruption) -> bool:
        return "sample_rate" in corruption.needs and self.config.dataset.audio is None

    @cached_property
    def _input_shape(self) -> tuple[int, ...]:
        return resolve_preprocessing(self.config.model).input_shape
