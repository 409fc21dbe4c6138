"""Suppressions by name: which cue each takes away, how strongly, and from which signals.

The protocol and its constants for images are those of Burgert et al. ("ImageNet-trained CNNs are
not biased towards texture", 2025). A cue matters to a model as far as its accuracy falls once the
cue is suppressed; see `tasks.suppression`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from wam_core.noise import generator
from wam_core.suppression.blocks import shuffle_blocks, turn_blocks
from wam_core.suppression.colour import mix_with_grey, shuffle_channels
from wam_core.suppression.smoothing import (
    bilateral_filter,
    gaussian_blur,
    median_filter,
    non_local_means,
)
from wam_core.suppression.spectrum import equalise_power, scramble_phase
from wam_core.suppression.vocoding import level_envelopes, vocode_with_noise

Strength = int | float

Operator = Callable[[Tensor, Strength, Sequence[np.random.Generator]], Tensor]
"""From signals (batch, channel, *space), a strength and one generator per sample."""

SIGMA_COLOUR = {4: 50, 6: 80, 8: 110, 10: 140, 12: 170, 14: 200}
"""Of the bilateral filter, by diameter; sigma_space is 75."""

SIGMA_BLUR = {3: 0.33, 5: 0.66, 7: 1.0, 9: 1.33, 11: 1.66, 13: 2.0, 15: 2.33}
"""Of the Gaussian blur, by size of the kernel."""

_VOLUME = 3
"""Spatial dimensions of a volume."""

GRIDS = (2, 4, 6, 8, 10, 12, 14, 16)


@dataclass(frozen=True)
class Suppression:
    """An operator that takes one cue away.

    Attributes:
        name: As tables and configurations have it.
        cues: What is taken away, by number of spatial dimensions; it exists for no others.
        measure: What a strength counts.
        strengths: Every strength, weakest first.
        usual: Those that an audit takes where it does not say.
        usual_for_volumes: The same for volumes, whose windows hold so many points that fewer can
            be afforded; None where nothing else holds for them.
        operator: What does it; its results stay in the range of the data.
        points_per_strength: Least points along every axis, over the strength.
        n_channels: Least number of channels.
    """

    name: str
    cues: Mapping[int, str]
    measure: str
    strengths: tuple[Strength, ...]
    usual: tuple[Strength, ...]
    operator: Operator
    points_per_strength: int = 0
    n_channels: int = 1
    usual_for_volumes: tuple[Strength, ...] | None = None

    def exists_for(self, ndim: int, n_channels: int) -> bool:
        """Whether signals of so many spatial dimensions and channels have the cue."""
        return ndim in self.cues and n_channels >= self.n_channels

    def usual_for(self, ndim: int) -> tuple[Strength, ...]:
        """Strengths that an audit of signals of so many dimensions takes where it does not say."""
        volumes = self.usual_for_volumes
        return self.usual if ndim < _VOLUME or volumes is None else volumes

    def fits(self, space: Sequence[int], strength: Strength) -> bool:
        """Whether a signal has enough points for a strength."""
        return min(space) >= max(1, self.points_per_strength * strength)

    def apply(
        self,
        signal: Float[Tensor, "batch channel *space"],
        strength: Strength,
        *,
        sample_ids: Sequence[str],
        seed: int,
        draw: int = 0,
        n_valid: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch channel *space"]:
        """Suppress the cue in every sample.

        What is random depends on (seed, sample id, name, draw) alone, whatever the batch and the
        strength.

        Args:
            strength: One of `strengths`.
            sample_ids: One per sample.
            n_valid: Length of each series before its padding, which stays as it is; None where
                nothing is padded.

        Raises:
            ValueError: If the cue does not exist for such signals, the strength is not known, or
                a signal is too small for it.
        """
        self._check(signal, strength)
        generators = [
            generator(seed, f"{sample_id}\0{self.name}", draw) for sample_id in sample_ids
        ]
        if n_valid is None:
            return self.operator(signal, strength, generators)
        result = signal.clone()
        for row, length in enumerate(n_valid.tolist()):
            heard = signal[row : row + 1, :, :length]
            result[row, :, :length] = self.operator(heard, strength, generators[row : row + 1])[0]
        return result

    def _check(self, signal: Tensor, strength: Strength) -> None:
        ndim, n_channels = signal.ndim - 2, signal.shape[1]
        if not self.exists_for(ndim, n_channels):
            raise ValueError(
                f"{self.name} exists for signals of {' or '.join(map(str, self.cues))} dimensions "
                f"and at least {self.n_channels} channels, got {ndim} and {n_channels}"
            )
        if strength not in self.strengths:
            known = ", ".join(f"{known:g}" for known in self.strengths)
            raise ValueError(f"{self.name} has the strengths {known}, got {strength:g}")


def suppressions_for(ndim: int, n_channels: int) -> dict[str, Suppression]:
    """Those that exist for signals of so many spatial dimensions and channels, by name."""
    return {
        name: suppression
        for name, suppression in SUPPRESSIONS.items()
        if suppression.exists_for(ndim, n_channels)
    }


_ALL = (
    Suppression(
        "patch_shuffle",
        {2: "global shape", 3: "global shape"},
        "patches along each axis",
        strengths=GRIDS,
        usual=(4, 8),
        operator=lambda signal, grid, draws: shuffle_blocks(signal, int(grid), draws),
        points_per_strength=1,
    ),
    Suppression(
        "patch_rotation",
        {2: "local and global shape", 3: "local and global shape"},
        "patches along the shortest axis",
        strengths=GRIDS,
        usual=(4, 8),
        operator=lambda signal, grid, draws: turn_blocks(signal, int(grid), draws),
        points_per_strength=2,
    ),
    Suppression(
        "segment_shuffle",
        {1: "temporal order"},
        "segments",
        strengths=GRIDS,
        usual=(4, 16),
        operator=lambda signal, grid, draws: shuffle_blocks(signal, int(grid), draws),
        points_per_strength=1,
    ),
    Suppression(
        "segment_reversal",
        {1: "local temporal order"},
        "segments",
        strengths=GRIDS,
        usual=(4, 16),
        operator=lambda signal, grid, draws: turn_blocks(signal, int(grid), draws),
        points_per_strength=2,
    ),
    Suppression(
        "bilateral_filter",
        {2: "texture", 3: "texture"},
        "diameter in points",
        strengths=tuple(SIGMA_COLOUR),
        usual=(6, 12),
        operator=lambda signal, d, _: bilateral_filter(signal, int(d), SIGMA_COLOUR[int(d)]),
        usual_for_volumes=(6,),
    ),
    Suppression(
        "gaussian_blur",
        {1: "high frequencies", 2: "texture", 3: "texture"},
        "kernel in points",
        strengths=tuple(SIGMA_BLUR),
        usual=(7, 15),
        operator=lambda signal, kernel, _: gaussian_blur(
            signal, int(kernel), SIGMA_BLUR[int(kernel)]
        ),
    ),
    Suppression(
        "non_local_means",
        {2: "texture"},
        "h on a scale of 0 to 255",
        strengths=(5, 10, 15, 20, 25),
        usual=(),  # four hundred windows a point
        operator=lambda signal, h, _: non_local_means(signal, h),
    ),
    Suppression(
        "median_filter",
        {3: "texture"},
        "window in points",
        strengths=(3, 5, 7),
        usual=(3,),
        operator=lambda signal, width, _: median_filter(signal, int(width)),
    ),
    Suppression(
        "greyscale",
        {2: "colour", 3: "colour"},
        "part of grey",
        strengths=(0.2, 0.4, 0.6, 0.8, 1.0),
        usual=(1.0,),
        operator=lambda signal, alpha, _: mix_with_grey(signal, alpha),
        n_channels=2,
    ),
    Suppression(
        "channel_shuffle",
        {2: "colour", 3: "colour"},
        "always 1",
        strengths=(1.0,),
        usual=(1.0,),
        operator=lambda signal, _, draws: shuffle_channels(signal, draws),
        n_channels=2,
    ),
    Suppression(
        "noise_vocoder",
        {1: "fine structure"},
        "bands in ten octaves",
        strengths=(40, 20, 10, 5, 2, 1),
        usual=(10, 2),
        operator=lambda signal, n_bands, draws: vocode_with_noise(signal, int(n_bands), draws),
    ),
    Suppression(
        "envelope_levelling",
        {1: "envelope"},
        "bands in ten octaves",
        strengths=(40, 20, 10, 5, 2, 1),
        usual=(10, 2),
        operator=lambda signal, n_bands, _: level_envelopes(signal, int(n_bands)),
    ),
    Suppression(
        "phase_scrambling",
        {1: "temporal structure", 2: "all shape", 3: "all shape"},
        "largest angle in degrees",
        strengths=(30, 60, 90, 120, 150, 180),
        usual=(90, 180),
        operator=lambda signal, width, draws: scramble_phase(signal, width, draws),
    ),
    Suppression(
        "power_equalisation",
        {1: "spectrum", 2: "spectrum", 3: "spectrum"},
        "exponent of the common spectrum",
        strengths=(0.5, 1.0),
        usual=(1.0,),
        operator=lambda signal, mixing, _: equalise_power(signal, mixing),
    ),
)

SUPPRESSIONS: Mapping[str, Suppression] = {each.name: each for each in _ALL}
