"""The ledger: one receipt per finished shard, written last.

A shard without a valid receipt does not exist. The receipt lists the shard's files with their
sizes and checksums, so that neither a killed writer nor a truncated file is taken for a result.
"""

from __future__ import annotations

import math

from pydantic import ValidationError

from tasks.config import Frozen
from tasks.errors import StoreError
from tasks.store.folder import AuditFolder, explain_write_errors


class Shard(Frozen):
    """A run of consecutive manifest rows: the unit of work, of storage and of recovery.

    Attributes:
        index: Position among the shards.
        start: First manifest row.
        stop: One past the last manifest row.
    """

    index: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Name of the shard in file names."""
        return f"{self.index:06d}"


class StoredFile(Frozen):
    """A file as it was when the receipt was written."""

    n_bytes: int
    sha256: str


class Receipt(Frozen):
    """Proof that a shard is finished.

    Attributes:
        config_digest: Digest of the audit's configuration.
        statuses: Number of samples per status; adds up to the shard's size.
        files: The shard's files by path below the audit folder.
        seconds: Wall time per stage, for people; not part of the result.
        n_forward: Rows passed forward through the model.
        n_backward: Rows passed backward.
        max_batch: Largest batch used; below the configured one after running out of memory.
        worker: Host and process that computed the shard.
    """

    shard: Shard
    config_digest: str
    statuses: dict[str, int]
    files: dict[str, StoredFile]
    seconds: dict[str, float]
    n_forward: int
    n_backward: int
    max_batch: int
    worker: str


def plan_shards(n_samples: int, shard_size: int) -> list[Shard]:
    """Cut a manifest into shards; the last one may be shorter.

    Example:
        >>> [(shard.start, shard.stop) for shard in plan_shards(5, 2)]
        [(0, 2), (2, 4), (4, 5)]
    """
    return [
        Shard(index=index, start=index * shard_size, stop=min((index + 1) * shard_size, n_samples))
        for index in range(math.ceil(n_samples / shard_size))
    ]


def receipt_name(shard: Shard) -> str:
    """Path of a shard's receipt below the audit folder."""
    return f"receipts/{shard.name}.json"


def stored_files(folder: AuditFolder, names: list[str]) -> dict[str, StoredFile]:
    """Size and checksum of files as they are now."""
    return {
        name: StoredFile(n_bytes=folder.size(name) or 0, sha256=folder.sha256(name))
        for name in names
    }


def write_receipt(folder: AuditFolder, receipt: Receipt) -> None:
    """Commit a shard."""
    folder.write_json(receipt_name(receipt.shard), receipt.model_dump(mode="json"))


def read_receipt(folder: AuditFolder, shard: Shard) -> Receipt | None:
    """A shard's receipt, or None if there is none that can be read."""
    name = receipt_name(shard)
    if not folder.exists(name):
        return None
    try:
        return Receipt.model_validate(folder.read_json(name))
    except (ValidationError, StoreError):
        return None


def completed_shards(
    folder: AuditFolder, shards: list[Shard], config_digest: str
) -> dict[int, Receipt]:
    """Receipts of the finished shards, by index.

    A receipt counts if it belongs to this configuration and cut, and every file it lists has the
    size it had. Content is checked by `damaged_files`.
    """
    present = set(folder.names("receipts", ".json"))
    completed: dict[int, Receipt] = {}
    for shard in shards:
        if f"{shard.name}.json" not in present:
            continue
        receipt = read_receipt(folder, shard)
        if receipt is None or receipt.shard != shard or receipt.config_digest != config_digest:
            continue
        if all(folder.size(name) == file.n_bytes for name, file in receipt.files.items()):
            completed[shard.index] = receipt
    return completed


def damaged_files(folder: AuditFolder, receipt: Receipt) -> list[str]:
    """Files of a shard whose content is not what the receipt says."""
    return [
        name
        for name, file in receipt.files.items()
        if folder.size(name) != file.n_bytes or folder.sha256(name) != file.sha256
    ]


def drop_receipt(folder: AuditFolder, shard: Shard) -> None:
    """Make a shard unfinished: the next run computes it anew."""
    with explain_write_errors(folder.uri(receipt_name(shard))):
        folder.remove(receipt_name(shard))


def total_statuses(receipts: dict[int, Receipt]) -> dict[str, int]:
    """Number of samples per status over shards."""
    totals: dict[str, int] = {}
    for receipt in receipts.values():
        for status, count in receipt.statuses.items():
            totals[status] = totals.get(status, 0) + count
    return totals
