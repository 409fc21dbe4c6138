"""Compute one shard: from manifest rows to stored numbers and a receipt.

A shard's numbers depend on its samples, the model, the configuration and the seed. Batches are cut
inside a shard, so a resumed audit repeats exactly what an uninterrupted one does.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tasks.analyses import Batch
from tasks.cancellation import StopCheck, stop_requested
from tasks.datasets import LoadedSample
from tasks.errors import IncompleteAuditError, ModelError
from tasks.explain import Explanation, Prediction, explain, halve_on_out_of_memory, predict
from tasks.rows import ShardRows
from tasks.session import AuditSession
from tasks.store import Receipt, Shard
from tasks.store.coefficients import round_mantissa
from tasks.store.receipts import stored_files, write_receipt
from tasks.store.tables import write_part
from wam_core.padding import support_of

_READ_THREADS = 4


class _Stopwatch:
    """Wall time per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - begin
            self.seconds[stage] = self.seconds.get(stage, 0.0) + elapsed


def compute_shard(
    session: AuditSession, shard: Shard, should_stop: StopCheck = stop_requested
) -> Receipt:
    """Explain every sample of a shard, store it whole, and write its receipt last.

    Args:
        should_stop: Asked between batches.

    Raises:
        IncompleteAuditError: If asked to stop, or the store cannot be written.
        ModelError: If the model fails on a batch; names the samples.
    """
    return _ShardComputation(session, shard, should_stop).run()


class _ShardComputation:
    def __init__(self, session: AuditSession, shard: Shard, should_stop: StopCheck) -> None:
        self.session, self.shard, self.should_stop = session, shard, should_stop
        self.rows = ShardRows(session.config, session.manifest, session.layout, shard)
        self.watch = _Stopwatch()
        self.max_batch = session.config.execution.max_batch
        self.n_forward = self.n_backward = 0
        self.files: dict[str, bytes] = {}
        self.maps = {
            method: self._empty_maps()
            for method in session.config.attribution.methods
            if session.config.store.coefficients
        }

    def run(self) -> Receipt:
        with ThreadPoolExecutor(_READ_THREADS) as pool:
            batches = self._batches()
            pending = self._submit(pool, batches[0])
            for position, batch in enumerate(batches):
                self._check_stop()
                with self.watch.time("read_wait"):
                    loaded = [future.result() for future in pending]
                if position + 1 < len(batches):
                    pending = self._submit(pool, batches[position + 1])
                self._compute_batch(batch, loaded)
        return self._store()

    def _batches(self) -> list[range]:
        size = self.session.config.execution.max_batch
        start, stop = self.shard.start, self.shard.stop
        return [range(first, min(first + size, stop)) for first in range(start, stop, size)]

    def _submit(self, pool: ThreadPoolExecutor, batch: range) -> list[Any]:
        return [pool.submit(self.session.reader.read, row) for row in batch]

    def _check_stop(self) -> None:
        if self.should_stop():
            raise IncompleteAuditError(
                f"stopped on request before shard {self.shard.index} was finished; every shard "
                "with a receipt is safe. Run the same command again to continue."
            )

    def _compute_batch(self, batch: range, loaded: list[LoadedSample]) -> None:
        for row, sample in zip(batch, loaded, strict=True):
            self.rows.add_sample(row, sample)
        readable = [
            row for row, sample in zip(batch, loaded, strict=True) if sample.signal is not None
        ]
        if not readable:
            return
        signal = self._to_device([sample.signal for sample in loaded if sample.signal is not None])
        try:
            with self.watch.time("predict"):
                prediction, self.max_batch = halve_on_out_of_memory(
                    lambda size: predict(self.session.model, signal, size), self.max_batch
                )
            self.n_forward += len(readable)
            self.rows.add_predictions(readable, prediction)
            self._explain(readable, signal, prediction, _valid_lengths(loaded, signal))
        except (ValueError, RuntimeError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise self._out_of_memory(error) from error
            ids = ", ".join(self.rows.sample_id(row) for row in readable[:3])
            raise ModelError(
                f"the model failed in shard {self.shard.index} on the batch that begins with "
                f"{ids}: {error}"
            ) from error

    def _explain(
        self,
        readable: list[int],
        signal: Tensor,
        prediction: Prediction,
        n_valid: Tensor | None,
    ) -> None:
        self.rows.mark_constant(readable, _is_constant(signal, n_valid).cpu())
        chosen = [index for index, row in enumerate(readable) if self.rows.status(row) == "ok"]
        if not chosen:
            return
        selected = [readable[index] for index in chosen]
        targets = self.rows.targets(selected)
        ids = [self.rows.sample_id(row) for row in selected]
        batch = signal[chosen]
        lengths = None if n_valid is None else n_valid[chosen]
        with self.watch.time("attribute"):
            explanation, self.max_batch = halve_on_out_of_memory(
                lambda size: explain(
                    self.session.config,
                    self.session.model,
                    self.session.layout,
                    batch,
                    targets,
                    ids,
                    size,
                    lengths,
                ),
                self.max_batch,
            )
        self.n_forward += explanation.n_forward
        self.n_backward += explanation.n_backward
        self._keep(selected, explanation)
        self._analyse(
            Batch(
                rows=selected,
                sample_ids=ids,
                signal=batch,
                targets=targets.to(batch.device),
                labels=[self.rows.label(row) for row in selected],
                n_valid=lengths,
                prediction=Prediction(prediction.logits[chosen], prediction.probabilities[chosen]),
                explanation=explanation,
            )
        )

    def _analyse(self, batch: Batch) -> None:
        for section, analysis in self.session.analyses.items():
            wanted = self.session.chosen[section]
            places = [
                place for place, row in enumerate(batch.rows) if wanted is None or row in wanted
            ]
            if not places:
                continue
            part = batch if len(places) == len(batch) else batch.take(places)
            with self.watch.time(section):
                findings, self.max_batch = halve_on_out_of_memory(
                    partial(analysis.run, part), self.max_batch
                )
            self.n_forward += findings.n_forward
            self.n_backward += findings.n_backward
            self.rows.add_findings(part.rows, findings)
            self.files |= findings.files

    def _keep(self, selected: list[int], explanation: Explanation) -> None:
        self.rows.add_explanation(selected, explanation)
        bits = self.session.config.store.mantissa_bits
        usable = [index for index, row in enumerate(selected) if self.rows.status(row) == "ok"]
        places = [selected[index] - self.shard.start for index in usable]
        for method, stored in self.maps.items():
            values = explanation.maps[method].flat[usable].numpy()
            stored[places] = round_mantissa(values, bits)

    def _store(self) -> Receipt:
        session, shard = self.session, self.shard
        with self.watch.time("store"):
            names = [
                session.store.write(method, shard, values) for method, values in self.maps.items()
            ]
            names += [
                write_part(session.folder, table, shard, rows)
                for table, rows in self.rows.tables().items()
            ]
            for name, content in self.files.items():
                session.folder.write_bytes(name, content)
            names += self.files
            files = stored_files(session.folder, names)
        receipt = Receipt(
            shard=shard,
            config_digest=session.config.digest(),
            statuses=self.rows.status_counts(),
            files=files,
            seconds=self.watch.seconds,
            n_forward=self.n_forward,
            n_backward=self.n_backward,
            max_batch=self.max_batch,
            worker=f"{platform.node()}:{os.getpid()}",
        )
        write_receipt(session.folder, receipt)
        return receipt

    def _empty_maps(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        channels = self.session.preprocessing.input_shape[0]
        shape = (self.shard.stop - self.shard.start, channels, self.session.layout.size)
        return np.full(shape, np.nan, dtype=np.float32)

    def _to_device(self, signals: list[np.ndarray[Any, np.dtype[np.float32]]]) -> Tensor:
        batch = torch.from_numpy(np.stack(signals))
        return batch.to(self.session.device, non_blocking=True)

    def _out_of_memory(self, error: BaseException) -> ModelError:
        return ModelError(
            f"one sample at a time does not fit the memory of {self.session.device}: {error}. Use "
            "a smaller input, another device, or execution.device: cpu."
        )


def _valid_lengths(loaded: list[LoadedSample], signal: Tensor) -> Tensor | None:
    """Length of each readable series before its padding; None where no sample is padded."""
    lengths = [sample.n_valid for sample in loaded if sample.signal is not None]
    full = signal.shape[-1]
    if all(length in (None, full) for length in lengths):
        return None
    return torch.tensor([full if length is None else length for length in lengths])


def _is_constant(signal: Tensor, n_valid: Tensor | None) -> Tensor:
    """Whether a signal has one value throughout; what pads it does not count."""
    if n_valid is not None:
        padding = support_of(n_valid.to(signal.device), signal.shape[-1]) == 0
        signal = torch.where(padding, signal[..., :1], signal)
    flat = signal.flatten(1)
    return flat.amax(1) == flat.amin(1)
