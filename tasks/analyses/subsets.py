"""Which samples an expensive analysis takes: a stated, seeded, stratified choice.

Samples are ordered by label and, within a label, by a hash of (seed, sample id); of this order
every (N / n)-th is taken. Each class then has its share of the choice to within one sample, the
choice does not depend on the order of the manifest, and nothing about the samples' results enters.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from heapq import nsmallest

import numpy as np

from tasks.datasets import Manifest


def chosen_rows(manifest: Manifest, n_samples: int | None, seed: int) -> frozenset[int] | None:
    """Manifest rows of the choice; None where it is all of them."""
    size = len(manifest.table)
    if n_samples is None or n_samples >= size:
        return None
    labels = manifest.table["label"].fillna(-1).to_numpy(dtype=np.int64)
    ids = manifest.table["sample_id"].astype(str)
    hashes = np.array([_hash(seed, sample_id) for sample_id in ids], dtype=np.uint64)
    order = np.lexsort((hashes, labels))
    places = np.floor((np.arange(n_samples) + 0.5) * size / n_samples).astype(int)
    return frozenset(int(row) for row in order[places])


def example_rows(
    manifest: Manifest, n_samples: int, seed: int, purpose: str, among: Iterable[int] | None = None
) -> set[int]:
    """Manifest rows of samples that stand for the others, chosen before anything is known.

    Args:
        purpose: Keys the choice beside seed and sample id.
        among: Rows to choose from; None for all.
    """
    ids = manifest.table["sample_id"].astype(str).tolist()

    def order(row: int) -> bytes:
        return blake2b(f"{seed}\0{purpose}\0{ids[row]}".encode(), digest_size=8).digest()

    return set(nsmallest(n_samples, range(len(ids)) if among is None else among, key=order))


def _hash(seed: int, sample_id: str) -> int:
    digest = blake2b(f"{seed}\0subset\0{sample_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
