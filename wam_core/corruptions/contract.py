"""What a corruption is: damage as a camera, a channel or a scanner does it, at five severities.

A corrupted sample depends on (seed, sample id, corruption, severity) and on nothing else: not on
the batch, nor on which other corruptions are made. What is random in it is the same at every
severity, so that severities differ in strength and not in luck.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from wam_core.noise import generator

Parameters = Mapping[str, float | int]
"""Of one severity, by name."""

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Surroundings:
    """What a corruption may need beside the samples.

    Attributes:
        sample_rate: Of sounds, in Hz.
        others: Other signals that are mixed in, one per sample and in the samples' shape.
    """

    sample_rate: float | None = None
    others: Tensor | None = None

    def of(self, row: int, length: int) -> Surroundings:
        """The surroundings of one series, up to a length."""
        if self.others is None:
            return self
        return Surroundings(self.sample_rate, self.others[row : row + 1, :, :length])


Operator = Callable[[Tensor, Parameters, Sequence[np.random.Generator], Surroundings], Tensor]
"""From signals (batch, channel, *space), parameters and one generator per sample; batched."""


@dataclass(frozen=True)
class Corruption:
    """Damage of one kind.

    Attributes:
        name: As tables and configurations have it, such as "gaussian_noise".
        family: Kind of damage, such as "noise", "blur", "weather", "digital".
        severities: Parameters at severity 1 to 5.
        operator: What does it; its results stay in the range of the data.
        monotone: Whether a higher severity is always more of the same damage.
        extra: Whether the benchmark that defines it keeps it out of its mean error.
        n_channels: Numbers of channels it exists for; empty for any.
        needs: What it needs of `Surroundings`.
    """

    name: str
    family: str
    severities: tuple[Parameters, ...]
    operator: Operator
    monotone: bool = True
    extra: bool = False
    n_channels: tuple[int, ...] = ()
    needs: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if len(self.severities) != len(SEVERITIES):
            raise ValueError(f"{self.name} must have {len(SEVERITIES)} severities")

    def apply(
        self,
        signal: Float[Tensor, "batch channel *space"],
        severity: int,
        *,
        sample_ids: Sequence[str],
        seed: int,
        surroundings: Surroundings = Surroundings(),
        n_valid: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch channel *space"]:
        """Damage every sample.

        Args:
            severity: 1 (weakest) to 5.
            sample_ids: One per sample.
            n_valid: Length of each series before its padding, which stays as it is; None where
                nothing is padded.

        Raises:
            ValueError: If the severity is not known, the corruption does not exist for so many
                channels, or something that it needs is missing.
        """
        self._check(signal, severity, surroundings)
        parameters = self.severities[severity - 1]
        generators = [generator(seed, f"{sample_id}\0{self.name}", 0) for sample_id in sample_ids]
        if n_valid is None:
            return self.operator(signal, parameters, generators, surroundings)
        result = signal.clone()
        for row, length in enumerate(n_valid.tolist()):
            heard, around = signal[row : row + 1, :, :length], surroundings.of(row, length)
            damaged = self.operator(heard, parameters, generators[row : row + 1], around)
            result[row, :, :length] = damaged[0]
        return result

    def exists_for(self, n_channels: int) -> bool:
        """Whether signals of so many channels can be damaged so."""
        return not self.n_channels or n_channels in self.n_channels

    def _check(self, signal: Tensor, severity: int, surroundings: Surroundings) -> None:
        if severity not in SEVERITIES:
            raise ValueError(f"{self.name} has the severities 1 to 5, got {severity}")
        if not self.exists_for(signal.shape[1]):
            raise ValueError(
                f"{self.name} exists for {' or '.join(map(str, self.n_channels))} channels, got "
                f"{signal.shape[1]}"
            )
        missing = [need for need in sorted(self.needs) if getattr(surroundings, need) is None]
        if missing:
            raise ValueError(f"{self.name} needs {', '.join(missing)}")
