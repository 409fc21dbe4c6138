"""The ledger counts what is whole; tables keep their types and have no NaN."""

import math

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import StoreError
from tasks.store import AuditFolder, Receipt, Shard, completed_shards, plan_shards
from tasks.store.receipts import (
    damaged_files,
    drop_receipt,
    read_receipt,
    stored_files,
    total_statuses,
    write_receipt,
)
from tasks.store.tables import SCHEMAS, read_part, read_table, write_part

DIGEST = "d" * 64


@pytest.fixture
def folder(tmp_path):
    return AuditFolder(str(tmp_path))


def finish(folder, shard, recorded=None, **changes):
    """Write one file of a shard and the receipt for it."""
    name = f"tables/samples/part-{shard.name}.parquet"
    folder.write_bytes(name, b"content")
    receipt = Receipt(
        shard=recorded or shard,
        config_digest=DIGEST,
        statuses={"ok": shard.stop - shard.start},
        files=stored_files(folder, [name]),
        seconds={"attribute": 1.0},
        n_forward=1,
        n_backward=2,
        max_batch=3,
        worker="host:1",
    ).model_copy(update=changes)
    write_receipt(folder, receipt)
    return receipt


class TestLedger:
    @given(st.integers(0, 200), st.integers(1, 50))
    def test_shards_cover_every_row_once(self, n_samples, shard_size):
        shards = plan_shards(n_samples, shard_size)
        rows = [row for shard in shards for row in range(shard.start, shard.stop)]
        assert rows == list(range(n_samples))
        assert [shard.index for shard in shards] == list(range(len(shards)))

    def test_only_whole_shards_of_this_audit_count(self, folder, tmp_path):
        shards = plan_shards(10, 2)
        receipts = [finish(folder, shard) for shard in shards[:4]]
        (tmp_path / "tables/samples/part-000001.parquet").write_bytes(b"cont")
        finish(folder, shards[2], config_digest="0" * 64)
        finish(folder, shards[3], recorded=Shard(index=3, start=3, stop=4))
        assert completed_shards(folder, shards, DIGEST) == {0: receipts[0]}

    def test_a_changed_byte_is_found_by_its_checksum(self, folder, tmp_path):
        shards = plan_shards(4, 2)
        for shard in shards:
            finish(folder, shard)
        name = "tables/samples/part-000001.parquet"
        (tmp_path / name).write_bytes(b"Content")
        found = [damaged_files(folder, read_receipt(folder, shard)) for shard in shards]
        assert found == [[], [name]]
        drop_receipt(folder, shards[1])
        assert sorted(completed_shards(folder, shards, DIGEST)) == [0]

    def test_counts_add_up_over_shards(self, folder):
        shards = plan_shards(5, 2)
        receipts = {shard.index: finish(folder, shard) for shard in shards}
        receipts[0] = receipts[0].model_copy(update={"statuses": {"ok": 1, "nonfinite": 1}})
        assert total_statuses(receipts) == {"ok": 4, "nonfinite": 1}


class TestTables:
    SHARD = Shard(index=2, start=4, stop=6)
    ROWS = (
        {"sample_index": 4, "sample_id": "a", "method": "gradient", "entropy": 0.5, "n_passes": 1},
        {"sample_index": 5, "sample_id": "b", "method": "gradient", "entropy": math.nan},
    )

    def test_types_stay_and_what_does_not_exist_is_null(self, folder, tmp_path):
        name = write_part(folder, "attributions", self.SHARD, list(self.ROWS))
        stored = pq.read_table(tmp_path / name)
        assert stored.schema.equals(SCHEMAS["attributions"])
        assert stored["entropy"].to_pylist() == [0.5, None]
        table = read_part(folder, "attributions", self.SHARD)
        assert table["n_passes"].tolist() == [1, pd.NA]
        assert table["n_passes"].dtype == "Int64"

    def test_a_table_without_rows_has_its_columns(self, folder):
        write_part(folder, "levels", self.SHARD, [])
        assert list(read_part(folder, "levels", self.SHARD)) == SCHEMAS["levels"].names
        assert list(read_table(folder, "bands", [])) == SCHEMAS["bands"].names

    def test_equal_rows_give_equal_bytes(self, folder):
        name = write_part(folder, "attributions", self.SHARD, list(self.ROWS))
        before = folder.sha256(name)
        write_part(folder, "attributions", self.SHARD, list(self.ROWS))
        assert folder.sha256(name) == before

    @pytest.mark.parametrize("keep", [0, 100])
    def test_a_damaged_part_is_named(self, folder, tmp_path, keep):
        name = write_part(folder, "attributions", self.SHARD, list(self.ROWS))
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(StoreError, match=r"part-000002\.parquet is damaged.*--repair"):
            read_part(folder, "attributions", self.SHARD)
