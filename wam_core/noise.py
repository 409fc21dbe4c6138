"""Noise that depends on (seed, sample id, draw) and on nothing else.

A counter-based generator (Philox) is keyed by the seed and the sample's id and positioned by the
draw, so that a sample's noise is the same in any batch, shard, order, process and on any device.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
from torch import Tensor

_BITS = 2.0**-32


def generator(seed: int, key: str, draw: int) -> np.random.Generator:
    """A generator for one draw of one key; streams of different draws never overlap."""
    return np.random.Generator(_philox(seed, key, draw))


def standard_normal(shape: tuple[int, ...], *, seed: int, sample_id: str, draw: int) -> Tensor:
    """Standard normal noise in float32, on the CPU.

    Box and Muller's transform (1958) of pairs of 32-bit uniform numbers: half the time of NumPy's
    ziggurat, which branches at every number. The tails reach 6.7 standard deviations.
    """
    size = math.prod(shape)
    pairs = (size + 1) // 2
    bits = _philox(seed, sample_id, draw).random_raw(pairs).view(np.uint32)
    radius = bits[:pairs].astype(np.float32)
    radius += 0.5  # the logarithm of 0 is not a number
    radius *= _BITS
    np.log(radius, out=radius)
    radius *= -2.0
    # Numbers next to 2^32 round to a uniform number of 1, whose logarithm is a negative zero.
    np.sqrt(np.abs(radius, out=radius), out=radius)
    angle = bits[pairs:].astype(np.float32)
    angle *= 2.0 * math.pi * _BITS
    values = np.empty(2 * pairs, dtype=np.float32)
    np.cos(angle, out=values[:pairs])
    np.sin(angle, out=values[pairs:])
    values[:pairs] *= radius
    values[pairs:] *= radius
    return torch.from_numpy(values[:size].reshape(shape))


def _philox(seed: int, key: str, draw: int) -> np.random.Philox:
    digest = hashlib.blake2b(f"{seed}\0{key}".encode(), digest_size=16).digest()
    return np.random.Philox(
        key=int.from_bytes(digest, "little"),
        counter=np.array([0, 0, 0, draw], dtype=np.uint64),
    )
