"""Decompose signals into wavelet coefficients, reconstruct them, and transform gradients.

Coefficients of a batch are one flat axis with a layout: `flat[..., layout.slices[band]]`. Every
algorithm on that axis is the same for one, two and three dimensions.

The transform runs in float32 (float64 for float64 input), never under autocast: half precision
loses the small coefficients that the audit is about.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from wam_core import _ptwt
from wam_core.basis import Band, CoefficientLayout, WaveletBasis


@dataclass(frozen=True)
class WaveletCoefficients:
    """All coefficients of a batch; leading axes are batch axes.

    Attributes:
        flat: Shape (*batch, coefficient).
        layout: Names the bands on the last axis.

    Raises:
        ValueError: If the last axis does not have the layout's size.
    """

    flat: Float[Tensor, "*batch coefficient"]
    layout: CoefficientLayout

    def __post_init__(self) -> None:
        if self.flat.shape[-1] != self.layout.size:
            raise ValueError(
                f"the layout of a {self.layout.space} signal has {self.layout.size} coefficients, "
                f"but the tensor's last axis has {self.flat.shape[-1]}"
            )

    def __getitem__(self, band: Band) -> Float[Tensor, "*batch_and_space"]:
        """A view of one band, shape (*batch, *space)."""
        return self.flat[..., self.layout.slices[band]].unflatten(-1, self.layout.band_shape(band))

    def replace(self, flat: Tensor) -> WaveletCoefficients:
        """The same layout over other numbers."""
        return WaveletCoefficients(flat, self.layout)


def decompose(
    signal: Float[Tensor, "batch channel *space"], basis: WaveletBasis
) -> WaveletCoefficients:
    """Wavelet coefficients of every channel.

    Raises:
        ValueError: If the levels do not fit the signal; names the largest that does.

    Example:
        >>> coefficients = decompose(torch.ones(1, 3, 8, 8), WaveletBasis("haar", levels=2))
        >>> coefficients[Band(level=2, filters="aa")].shape
        torch.Size([1, 3, 2, 2])
    """
    layout = CoefficientLayout(tuple(signal.shape[2:]), basis)
    return WaveletCoefficients(_analyse(signal, layout, basis.mode), layout)


def reconstruct(coefficients: WaveletCoefficients) -> Float[Tensor, "*batch_and_space"]:
    """The signal with these coefficients, cropped to the size it had; shape (*batch, *space)."""
    flat, layout = coefficients.flat, coefficients.layout
    with _full_precision(flat):
        signal = _ptwt.synthesise(_at_least_float32(flat).flatten(0, -2), layout)
    return signal.unflatten(0, flat.shape[:-1])


def coefficient_gradient(
    input_gradient: Float[Tensor, "*batch_and_space"], layout: CoefficientLayout
) -> WaveletCoefficients:
    """Gradient with respect to the coefficients, from the gradient with respect to the signal.

    The last axes of `input_gradient` are those of the layout; all before them are batch axes.

    The signal is a linear function of its coefficients, so the chain rule multiplies by the
    transpose of the synthesis. For an orthogonal wavelet that is the zero-padded analysis, whatever
    boundary mode analysed the signal; otherwise automatic differentiation applies the transpose.
    Both are exact, and linear: a mean of gradients is transformed once.
    """
    if layout.basis.is_orthogonal:
        return WaveletCoefficients(_analyse(input_gradient, layout, "zero"), layout)
    batch = input_gradient.shape[: input_gradient.ndim - layout.ndim]
    cotangent = _at_least_float32(input_gradient.detach())
    with torch.enable_grad():
        flat = cotangent.new_zeros((*batch, layout.size)).requires_grad_()
        signal = reconstruct(WaveletCoefficients(flat, layout))
        (gradient,) = torch.autograd.grad(signal, flat, cotangent)
    return WaveletCoefficients(gradient, layout)


def _analyse(signal: Tensor, layout: CoefficientLayout, mode: str) -> Tensor:
    batch = signal.shape[: signal.ndim - layout.ndim]
    with _full_precision(signal):
        flat = _ptwt.analyse(_at_least_float32(signal).reshape(-1, *layout.space), layout, mode)
    return flat.unflatten(0, batch)


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


@contextmanager
def _full_precision(tensor: Tensor) -> Iterator[None]:
    with torch.autocast(device_type=tensor.device.type, enabled=False):
        yield
