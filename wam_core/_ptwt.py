"""The one place that knows ptwt's three result types.

Tensors arrive as `(row, *space)` and leave as `(row, coefficient)`; everything else in the core is
the same for one, two and three dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from ptwt.constants import WaveletDetailTuple2d
from ptwt.conv_transform import wavedec, waverec
from ptwt.conv_transform_2 import wavedec2, waverec2
from ptwt.conv_transform_3 import wavedec3, waverec3
from torch import Tensor

from wam_core.basis import Band, CoefficientLayout, detail_filters

_FORWARD: dict[int, Callable[..., Any]] = {1: wavedec, 2: wavedec2, 3: wavedec3}
_INVERSE: dict[int, Callable[..., Any]] = {1: waverec, 2: waverec2, 3: waverec3}

# ptwt names the 2D details by attribute; in filters per axis they are:
_ATTRIBUTES_2D = {"da": "horizontal", "ad": "vertical", "dd": "diagonal"}


def analyse(signal: Tensor, layout: CoefficientLayout, mode: str) -> Tensor:
    """Transform `(row, *space)` to flat coefficients `(row, coefficient)`."""
    basis = layout.basis
    approximation, *details = _FORWARD[layout.ndim](
        signal, basis.wavelet, mode=mode, level=basis.levels
    )
    parts = [approximation.flatten(1)]
    for detail in details:
        parts += [_detail(detail, filters).flatten(1) for filters in detail_filters(layout.ndim)]
    return torch.cat(parts, dim=1)


def synthesise(flat: Tensor, layout: CoefficientLayout) -> Tensor:
    """Transform flat coefficients `(row, coefficient)` back to `(row, *space)`."""
    basis, ndim = layout.basis, layout.ndim

    def band(level: int, filters: str) -> Tensor:
        key = Band(level, filters)
        return flat[:, layout.slices[key]].unflatten(1, layout.band_shape(key))

    details = [
        _as_ptwt({filters: band(level, filters) for filters in detail_filters(ndim)})
        for level in range(basis.levels, 0, -1)
    ]
    signal: Tensor = _INVERSE[ndim]([band(basis.levels, "a" * ndim), *details], basis.wavelet)
    return signal[(slice(None), *(slice(size) for size in layout.space))]


def _detail(detail: Any, filters: str) -> Tensor:
    match len(filters):
        case 1:
            return detail
        case 2:
            return getattr(detail, _ATTRIBUTES_2D[filters])
        case _:
            return detail[filters]


def _as_ptwt(details: dict[str, Tensor]) -> Any:
    match len(next(iter(details))):
        case 1:
            return details["d"]
        case 2:
            by_attribute = {_ATTRIBUTES_2D[name]: tensor for name, tensor in details.items()}
            return WaveletDetailTuple2d(**by_attribute)
        case _:
            return details
