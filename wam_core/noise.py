"""Noise that depends on (seed, sample id, draw) and on nothing else.

A counter-based generator (Philox) is keyed by the seed and the sample's id and positioned by the
draw, so that a sample's noise is the same in any batch, shard, order, process and on any device.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor


def generator(seed: int, key: str, draw: int) -> np.random.Generator:
    """A generator for one draw of one key; streams of different draws never overlap."""
    digest = hashlib.blake2b(f"{seed}\0{key}".encode(), digest_size=16).digest()
    philox = np.random.Philox(
        key=int.from_bytes(digest, "little"),
        counter=np.array([0, 0, 0, draw], dtype=np.uint64),
    )
    return np.random.Generator(philox)


def standard_normal(shape: tuple[int, ...], *, seed: int, sample_id: str, draw: int) -> Tensor:
    """Standard normal noise in float32, on the CPU."""
    values = generator(seed, sample_id, draw).standard_normal(shape, dtype=np.float32)
    return torch.from_numpy(values)
