"""In-distribution replacements for removed features: what other samples have in their place.

A zero in the place of a strong coefficient is itself a change that no photograph or sound has, and
it removes energy. A replacement of the usual strength removes what the sample says there and little
else (Hooker et al. 2019 and Kim et al. 2020 on removal by another value than zero).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from wam_core.basis import WaveletBasis
from wam_core.noise import generator
from wam_core.transform import decompose, reconstruct


def resampled_within_bands(
    signal: Float[Tensor, "batch channel *space"],
    basis: WaveletBasis,
    sample_ids: Sequence[str],
    seed: int,
    *,
    details_only: bool = False,
    draw: int = 0,
) -> Float[Tensor, "batch channel *space"]:
    """The signal with the coefficients of every band in a random order, the same in all channels.

    Every band keeps its energy and its values; where they were is lost.

    Args:
        details_only: The approximation stays in order.
        draw: Which of a sample's orders.
    """
    coefficients = decompose(signal, basis)
    layout = coefficients.layout
    orders = []
    for name in sample_ids:
        source = generator(seed, f"{name}\0faithfulness\0resample", draw)
        order = torch.arange(layout.size)
        for band in layout.bands:
            if not (details_only and band.is_approximation):
                place = layout.slices[band]
                order[place] = order[place][
                    torch.from_numpy(source.permutation(place.stop - place.start))
                ]
        orders.append(order)
    index = torch.stack(orders).to(signal.device)[:, None].expand_as(coefficients.flat)
    shuffled = coefficients.replace(coefficients.flat.gather(2, index))
    return reconstruct(shuffled).to(signal.dtype)
