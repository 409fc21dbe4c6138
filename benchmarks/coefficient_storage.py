"""How coefficient maps should be stored: size, speed and error of the candidates.

Run: python benchmarks/coefficient_storage.py [CONFIG] [--images 32]

The maps are real: WAM_SG and WAM_IG of the configuration's model and data. Errors are relative to
each sample's largest value (what the invariance tests bound) and to each value itself (what a
band's small coefficients care about). Written to a local disk as one Zarr shard, best of three.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from tasks.config_files import load_config
from tasks.explain import explain
from tasks.session import AuditSession
from tasks.store.coefficients import round_mantissa

Encoding = Callable[[np.ndarray], tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]]


def scaled_float16(maps: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    scale = np.abs(maps).max(axis=(1, 2), keepdims=True)
    return (maps / scale).astype(np.float16), lambda stored: stored.astype(np.float32) * scale


def rounded(bits: int) -> Encoding:
    return lambda maps: (round_mantissa(maps, bits), lambda stored: stored)


ENCODINGS: dict[str, Encoding] = {
    "float32": rounded(23),
    "float32, 15 bits": rounded(15),
    "float32, 13 bits": rounded(13),
    "float32, 10 bits": rounded(10),
    "float16 x scale": scaled_float16,
}
CODECS = {
    "zstd 3": lambda: ZstdCodec(level=3),
    "blosc zstd 3, shuffle": lambda: BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),
    "blosc zstd 3, bitshuffle": lambda: BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", nargs="?", type=Path, default=Path("configs/demo.yaml"))
    parser.add_argument("--images", type=int, default=32)
    options = parser.parse_args()
    maps = _real_maps(AuditSession(load_config(options.config)), options.images)
    print(
        "| map | encoding | codec (+ crc32c) | size | write MB/s | read MB/s | error / max | "
        "median relative error | underflow |"
    )
    print("|-|-|-|-|-|-|-|-|-|")
    for method, values in maps.items():
        for name, encode in ENCODINGS.items():
            encoded, decode = encode(values)
            error = np.abs(decode(encoded) - values)
            largest = np.abs(values).max(axis=(1, 2), keepdims=True)
            nonzero = values != 0
            relative = np.median(error[nonzero] / np.abs(values[nonzero]))
            lost = np.mean((decode(encoded) == 0) & nonzero)
            for codec, make in CODECS.items():
                size, write, read = _measure(encoded, make)
                print(
                    f"| {method} | {name} | {codec} | {size / values.nbytes:.2f} | "
                    f"{values.nbytes / write / 1e6:.0f} | {values.nbytes / read / 1e6:.0f} | "
                    f"{(error / largest).max():.1e} | {relative:.1e} | {lost:.1e} |"
                )


def _real_maps(session: AuditSession, n_images: int) -> dict[str, np.ndarray]:
    rows = range(min(n_images, len(session.manifest.table)))
    labels = session.manifest.table["label"].astype("int64")
    parts: dict[str, list[np.ndarray]] = {}
    for row in rows:
        signal = torch.from_numpy(session.reader.read(row).signal)[None]
        explained = explain(
            session.config, session.model, session.layout, signal,
            torch.tensor([labels[row]]), [str(row)], 1,
        )  # fmt: skip
        for method, values in explained.maps.items():
            parts.setdefault(method, []).append(values.flat.numpy())
    return {method: np.concatenate(arrays) for method, arrays in parts.items()}


def _measure(encoded: np.ndarray, codec: Callable[[], object]) -> tuple[int, float, float]:
    writes, reads = [], []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            array = zarr.create_array(
                folder,
                shape=encoded.shape,
                chunks=(1, *encoded.shape[1:]),
                shards=encoded.shape,
                dtype=encoded.dtype,
                compressors=[codec(), Crc32cCodec()],
            )
            begin = time.perf_counter()
            array[:] = encoded
            writes.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            _ = array[:]
            reads.append(time.perf_counter() - begin)
            size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    return size, min(writes), min(reads)


if __name__ == "__main__":
    main()
