"""A digest of a model's weights: the same on every device and after every reload."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def weights_digest(state: Mapping[str, object]) -> str:
    """SHA-256 over name, type, shape and bytes of every tensor, in the order of the names.

    One tensor at a time is brought to the CPU. Entries that are no tensors are left out.

    Example:
        >>> import torch
        >>> weights_digest({"bias": torch.zeros(2)})[:12]
        '50630bc26e69'
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name]
        if not isinstance(tensor, Tensor):
            continue
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(_raw_bytes(tensor))
    return digest.hexdigest()


def _raw_bytes(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    # NumPy knows neither bfloat16 nor float8; their bytes it does know.
    return flat.view(torch.uint8).numpy().data
