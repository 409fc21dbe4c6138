"""Critical-band masking: how much noise in one octave a model stands, and the channel it sees by.

Noise of one strength is put into the coefficients of one level at a time; the weakest noise that
costs a model half of its accuracy says how much it depends on that octave. A Gaussian over octaves,
fitted to the sensitivities (one over these thresholds), has the centre and the width of the channel
through which the model sees: Subramanian, Sizikova, Majaj and Pelli, "Spatial-frequency channels,
shape bias, and adversarial robustness", NeurIPS 2023, after Solomon and Pelli (1994). Theirs are
the octaves of a pyramid of grey images of low contrast, and sensitivity counted in steps of noise;
here they are the levels of the audit's wavelet transform of the signal as it is, and the threshold
itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from wam_core.basis import CoefficientLayout
from wam_core.transform import WaveletCoefficients, reconstruct

FloatArray = NDArray[np.float64]

FEWEST_LEVELS = 4
"""A Gaussian has three parameters: fewer levels of detail would fit any channel."""

NARROWEST = 0.3
"""Least standard deviation in octaves; levels an octave apart cannot tell narrower ones apart."""

WIDTH_PER_DEVIATION = 2 * math.sqrt(math.log(4))
"""Full width at half maximum of a Gaussian over its standard deviation."""

_CENTRE_STEP = 0.1
_DEVIATION_STEPS = 32
_ZOOMS = 3
_ZOOM = 9
_ROWS_AT_ONCE = 256
_EDGE = 1e-3


def level_noise(
    draws: Float[Tensor, "batch coefficient"],
    layout: CoefficientLayout,
    level_name: str,
    support: Float[Tensor, "batch 1 sample"] | None = None,
) -> Float[Tensor, "batch 1 *space"]:
    """Noise in the coefficients of one level alone, of root mean square 1 over each sample.

    In an orthogonal transform the noise of a signal has the energy of its coefficients but for what
    the borders lose; the rescaling gives every level, wavelet and size the same energy exactly.

    Args:
        draws: Standard normal, as many per sample as the level has coefficients.
        support: 1 before the padding and 0 in it; there is no noise in the padding.

    Raises:
        ValueError: If the number of draws is not the level's number of coefficients.
    """
    if draws.shape[1] != layout.level_size(level_name):
        raise ValueError(
            f"level {level_name} has {layout.level_size(level_name)} coefficients, but there are "
            f"{draws.shape[1]} draws per sample"
        )
    flat = draws.new_zeros(len(draws), 1, layout.size)
    start = 0
    for band in layout.bands_of(level_name):
        place = layout.slices[band]
        size = place.stop - place.start
        flat[:, 0, place] = draws[:, start : start + size]
        start += size
    noise = reconstruct(WaveletCoefficients(flat, layout))
    weight = torch.ones_like(noise) if support is None else support.to(noise)
    noise = noise * weight
    axes = tuple(range(1, noise.ndim))
    square = (noise**2).sum(axes, keepdim=True) / weight.sum(axes, keepdim=True)
    return noise / square.sqrt()


def value_range(
    signal: Float[Tensor, "batch channel *space"],
    support: Float[Tensor, "batch 1 sample"] | None = None,
) -> Float[Tensor, " batch"]:
    """Largest less smallest value of each sample, the padding left out."""
    if support is not None:
        signal = torch.where(support == 0, signal[..., :1], signal)
    flat = signal.flatten(1)
    return flat.amax(1) - flat.amin(1)


def threshold_noise(
    accuracy: Float[np.ndarray, "row level noise"],
    criterion: Float[np.ndarray, " row"],
    noises: Float[np.ndarray, " noise"],
) -> Float[np.ndarray, "row level"]:
    """The weakest noise at which accuracy is down to the criterion, interpolated in log noise.

    Where accuracy never gets there the threshold lies beyond the strongest noise and counts as it;
    where the weakest noise is enough, it counts as the weakest. NaN where an accuracy is.

    Args:
        noises: Positive and increasing.

    Raises:
        ValueError: If the noises are not.

    Example:
        >>> accuracy = np.array([[[0.9, 0.7, 0.3], [0.9, 0.9, 0.9]]])
        >>> threshold_noise(accuracy, np.array([0.5]), np.array([0.01, 0.1, 1.0])).round(3)
        array([[0.316, 1.   ]])
    """
    if len(noises) < 2 or noises[0] <= 0 or np.any(np.diff(noises) <= 0):
        raise ValueError(f"noises must be at least two, positive and increasing; got {noises}")
    logs = np.log(noises)
    down = accuracy <= criterion[:, None, None]
    first = np.where(down.any(-1), down.argmax(-1), len(noises) - 1)
    before = np.maximum(first - 1, 0)
    above = np.take_along_axis(accuracy, before[..., None], -1)[..., 0]
    below = np.take_along_axis(accuracy, first[..., None], -1)[..., 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.clip((above - criterion[:, None]) / (above - below), 0.0, 1.0)
    crossed = logs[before] + part * (logs[first] - logs[before])
    threshold = np.where(down.any(-1) & (first > 0), np.exp(crossed), noises[first])
    # Rounding of the logarithm must not carry a threshold past the ends.
    threshold = np.clip(threshold, noises[0], noises[-1])
    missing = np.isnan(accuracy).any(-1) | np.isnan(criterion)[:, None]
    return np.where(missing, np.nan, threshold)


@dataclass(frozen=True)
class ChannelFit:
    """Gaussian channels, one per row; see `fit_channel`.

    Attributes:
        amplitude: Sensitivity at the centre.
        centre: In octaves, on the scale of the levels: 1 is the middle of the finest octave.
        deviation: Standard deviation in octaves.
        n_levels: Levels of detail that were fitted.
    """

    amplitude: Float[np.ndarray, " row"]
    centre: Float[np.ndarray, " row"]
    deviation: Float[np.ndarray, " row"]
    n_levels: int

    @property
    def width(self) -> FloatArray:
        """Full width at half maximum in octaves: 2 sqrt(ln 4) standard deviations."""
        return WIDTH_PER_DEVIATION * self.deviation

    def sensitivity(self, level: FloatArray) -> FloatArray:
        """Of the first row's channel at places on the scale of the levels."""
        distance = (level - self.centre[0]) / self.deviation[0]
        return np.asarray(self.amplitude[0] * np.exp(-0.5 * distance**2))

    @property
    def is_flat(self) -> bool:
        """Whether the first row's channel is as wide as channels may be: no peak to speak of."""
        return bool(self.deviation[0] >= _widest(self.n_levels) * (1 - _EDGE))

    @property
    def is_narrowest(self) -> bool:
        """Whether the first row's channel is narrower than levels an octave apart can tell."""
        return bool(self.deviation[0] <= NARROWEST * (1 + _EDGE))

    @property
    def end(self) -> str:
        """`finest` or `coarsest` where the first row's peak has no level beyond it; else ""."""
        if self.centre[0] <= 1:
            return "finest"
        return "coarsest" if self.centre[0] >= self.n_levels else ""

    @property
    def has_flank(self) -> bool:
        """Whether the first row falls to half of its peak within the octaves of the levels."""
        nearest = max(self.centre[0] - 0.5, self.n_levels + 0.5 - self.centre[0])
        return bool(self.width[0] / 2 <= nearest)


def fit_channel(sensitivity: Float[np.ndarray, "row level"]) -> ChannelFit:
    """Least-squares fit of A exp(-(x - mu)^2 / (2 sigma^2)) over the levels 1, 2, ... of detail.

    For every mu and sigma the best A is known in closed form, so only these two are searched: on a
    grid, and around its best point three times more finely. The search is the same for every row
    and always ends, which replicates of a bootstrap need; mu lies within the octaves of the levels,
    sigma between `NARROWEST` and the number of levels. Both end within 0.01 octaves of the optimum,
    where the data have one.

    Args:
        sensitivity: Non-negative; rows with NaN have no fit.

    Example:
        >>> levels = np.arange(1, 7)
        >>> fit = fit_channel(5 * np.exp(-0.5 * ((levels - 2.7) / 0.8)[None] ** 2))
        >>> fit.centre.round(2), fit.deviation.round(2), fit.amplitude.round(2)
        (array([2.7]), array([0.8]), array([5.]))
    """
    parts = [
        _fit_rows(sensitivity[start : start + _ROWS_AT_ONCE])
        for start in range(0, len(sensitivity), _ROWS_AT_ONCE)
    ]
    amplitude, centre, deviation = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return ChannelFit(amplitude, centre, deviation, sensitivity.shape[1])


def level_frequency(place: FloatArray | float) -> Any:
    """Frequency in cycles per sample at a place on the scale of the levels.

    Whole numbers are the middles of octaves: level l reaches from 2^-(l + 1) to 2^-l.

    Example:
        >>> level_frequency(1.5), level_frequency(0.5)
        (0.25, 0.5)
    """
    return 2.0 ** -(place + 0.5)


def _widest(n_levels: int) -> float:
    return float(n_levels)


def _fit_rows(sensitivity: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    n_levels = sensitivity.shape[1]
    known = np.asarray(np.isfinite(sensitivity).all(1))
    values = np.where(known[:, None], sensitivity, 0.0)
    lowest, highest = 0.5, n_levels + 0.5
    narrowest, widest = np.log(NARROWEST), np.log(_widest(n_levels))
    centres = np.linspace(lowest, highest, round((highest - lowest) / _CENTRE_STEP) + 1)
    deviations = np.linspace(narrowest, widest, _DEVIATION_STEPS)
    best = _best(values, *np.broadcast_arrays(centres[None, :, None], deviations[None, None]))
    steps = np.array([centres[1] - centres[0], deviations[1] - deviations[0]])
    offsets = np.linspace(-1, 1, _ZOOM)
    for _ in range(_ZOOMS):
        around = np.clip(best[0][:, None] + offsets * steps[0], lowest, highest)
        widths = np.clip(best[1][:, None] + offsets * steps[1], narrowest, widest)
        best = _best(values, *np.broadcast_arrays(around[:, :, None], widths[:, None, :]))
        steps = steps * 2 / (_ZOOM - 1)
    centre, deviation = best[0], np.exp(best[1])
    shape = _gaussian(n_levels, centre, best[1])
    amplitude = (values * shape).sum(-1) / (shape**2).sum(-1)
    return (
        np.where(known, amplitude, np.nan),
        np.where(known, centre, np.nan),
        np.where(known, deviation, np.nan),
    )


def _best(
    values: FloatArray, centre: FloatArray, log_deviation: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """The centre and log deviation of each row that leave least of its values unexplained.

    With the best amplitude, a shape g leaves |s|^2 - (s g)^2 / |g|^2.
    """
    shape = _gaussian(values.shape[1], centre, log_deviation)
    flat = shape.reshape(len(shape), -1, values.shape[1])
    norms = np.sqrt((flat**2).sum(-1))
    explained = (flat @ values[:, :, None])[..., 0] if len(flat) > 1 else values @ flat[0].T
    chosen = (explained / norms).argmax(1)[:, None]
    grids = (
        np.broadcast_to(grid.reshape(len(grid), -1), (len(values), norms.shape[1]))
        for grid in (centre, log_deviation)
    )
    centres, deviations = (np.take_along_axis(grid, chosen, 1)[:, 0] for grid in grids)
    return centres, deviations


def _gaussian(n_levels: int, centre: FloatArray, log_deviation: FloatArray) -> FloatArray:
    levels = np.arange(1, n_levels + 1)
    distance = (levels - centre[..., None]) / np.exp(log_deviation[..., None])
    return np.asarray(np.exp(-0.5 * distance**2))
