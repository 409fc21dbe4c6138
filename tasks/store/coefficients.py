"""Coefficient maps in Zarr: one array per method, one chunk per sample, one shard per task.

Values are float32 whose mantissa is rounded to `mantissa_bits`: the dynamic range of the maps
(fine coefficients are orders of magnitude below coarse ones) survives, and zeroed bits compress.
The measurements behind this choice are in docs/storage.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from tasks.errors import StoreError
from tasks.store.folder import AuditFolder, explain_write_errors
from tasks.store.receipts import Shard
from wam_core.basis import CoefficientLayout

GROUP = "coefficients.zarr"


@dataclass(frozen=True)
class CoefficientStore:
    """The arrays of one audit, each of shape (sample, channel, coefficient)."""

    folder: AuditFolder

    def create(
        self,
        methods: list[str],
        n_samples: int,
        channels: int,
        layout: CoefficientLayout,
        shard_size: int,
    ) -> None:
        """Lay the arrays out before any work starts; those that exist are left alone."""
        with explain_write_errors(self.folder.uri(GROUP)):
            group = zarr.open_group(self._url(), mode="a", zarr_format=3)
            for method in methods:
                if method not in group:
                    _create_array(group, method, n_samples, channels, layout, shard_size)

    def write(self, method: str, shard: Shard, values: NDArray[np.float32]) -> str:
        """Write one whole shard; returns the path of its file below the audit folder.

        Raises:
            StoreError: If the shard is not one of the array's: two tasks would write one file.
        """
        array = self._array(method)
        shard_size = array.shards[0]
        stop = min(shard.start + shard_size, array.shape[0])
        if shard.start != shard.index * shard_size or shard.stop != stop:
            raise StoreError(
                f"shard {shard.index} covers samples {shard.start} to {shard.stop}, but the array "
                f"'{method}' has shards of {shard_size}: two tasks would write one file. Use the "
                "shard size the audit was created with."
            )
        name = f"{GROUP}/{method}/c/{shard.index}/0/0"
        with explain_write_errors(self.folder.uri(name)):
            # A torn file from a killed run must not be read back, so it goes before the write.
            self.folder.remove(name)
            array[shard.start : shard.stop] = values
        return name

    def read(self, method: str, rows: slice | int) -> NDArray[np.float32]:
        """Maps of some samples; NaN where a sample has none.

        Raises:
            StoreError: If the method has no array, or its bytes fail their checksum.
        """
        array = self._array(method)
        try:
            return np.asarray(array[rows])
        except (ValueError, RuntimeError) as error:
            raise StoreError(
                f"{self.folder.uri(GROUP)}/{method} is damaged at samples {rows}: {error}. "
                "`wam-audit verify AUDIT --repair` drops the receipts of damaged shards; running "
                "the audit again computes them anew."
            ) from error

    def methods(self) -> list[str]:
        """Names of the arrays."""
        if not self.folder.exists(GROUP):
            return []
        group = zarr.open_group(self._url(), mode="r")
        return sorted(name for name, _ in group.arrays())

    def _array(self, method: str) -> Any:
        try:
            array = zarr.open_array(f"{self._url()}/{method}", mode="r+")
        except (FileNotFoundError, KeyError) as error:
            raise StoreError(
                f"{self.folder.uri(GROUP)} has no array '{method}'; it has "
                f"{', '.join(self.methods()) or 'none'}"
            ) from error
        # A shard whose samples are all bad must still be a file its receipt can name.
        return array.with_config({"write_empty_chunks": True})

    def _url(self) -> str:
        return self.folder.uri(GROUP)


def round_mantissa(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Round float32 values to a shorter mantissa, to nearest, ties to even.

    The relative error is at most 2^-(bits + 1); infinities and NaN stay what they are, and numbers
    that would be rounded up to infinity are rounded down.

    Args:
        values: Any shape.
        bits: Mantissa bits kept, 1 to 23 (23 changes nothing).

    Raises:
        ValueError: If `bits` is out of range.

    Example:
        >>> round_mantissa(np.float32([1.0, 1.0001]), bits=8)
        array([1., 1.], dtype=float32)
    """
    if not 1 <= bits <= 23:
        raise ValueError(f"a float32 mantissa has 1 to 23 bits to keep, got {bits}")
    dropped = 23 - bits
    if dropped == 0:
        return values
    raw = np.ascontiguousarray(values).view(np.uint32)
    half = np.uint32((1 << (dropped - 1)) - 1)
    odd = (raw >> np.uint32(dropped)) & np.uint32(1)
    kept = ~np.uint32((1 << dropped) - 1)
    rounded = ((raw + half + odd) & kept).view(np.float32)
    rounded = np.where(np.isfinite(rounded), rounded, (raw & kept).view(np.float32))
    return np.where(np.isfinite(values), rounded, values)


def _create_array(
    group: zarr.Group,
    method: str,
    n_samples: int,
    channels: int,
    layout: CoefficientLayout,
    shard_size: int,
) -> None:
    basis = layout.basis
    group.create_array(
        method,
        shape=(n_samples, channels, layout.size),
        chunks=(1, channels, layout.size),
        shards=(shard_size, channels, layout.size),
        dtype="float32",
        fill_value=float("nan"),
        compressors=[BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"), Crc32cCodec()],
        dimension_names=("sample", "channel", "coefficient"),
        attributes={
            "layout": layout.record(),
            "space": list(layout.space),
            "wavelet": basis.wavelet,
            "levels": basis.levels,
            "mode": basis.mode,
        },
    )
