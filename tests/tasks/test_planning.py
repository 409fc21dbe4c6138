"""A plan says what a run will do and store; the run does just that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.planning import group_shards, plan_audit, shards_in_ranges, to_ranges
from tasks.session import AuditSession
from tasks.store import plan_shards


class TestGroups:
    @given(st.integers(0, 500), st.integers(1, 60))
    def test_every_shard_is_in_one_group_and_groups_are_few(self, n_shards, max_tasks):
        shards = plan_shards(n_shards, 1)
        groups = group_shards(shards, max_tasks)
        assert [shard for group in groups for shard in group] == shards
        assert len(groups) <= max_tasks
        assert all(groups)

    @given(st.sets(st.integers(0, 80)))
    def test_ranges_describe_any_set_of_shards(self, indices):
        ordered = sorted(indices)
        ranges = to_ranges(ordered)
        found = shards_in_ranges(ranges, n_samples=242, shard_size=3)
        assert [shard.index for shard in found] == ordered
        assert found == [plan_shards(242, 3)[index] for index in ordered]

    def test_what_crosses_the_api_stays_small_for_a_million_samples(self):
        n_shards = 1_000_000 // 32
        assert len(str(to_ranges(list(range(n_shards))))) < 100
        # Every second shard missing is the worst case; Prefect's limit is about 500 kB.
        assert len(str(to_ranges(list(range(0, n_shards, 2))))) < 400_000


class TestPlan:
    def test_it_counts_what_a_run_does(self, toy_config, compute_all):
        config = toy_config()
        before = plan_audit(AuditSession(config))
        assert (before.n_samples, before.n_shards, before.n_done, before.n_tasks) == (11, 3, 0, 3)
        assert (before.n_forward, before.n_backward) == (11 * 3, 11 * 6)
        folder = compute_all(config)
        session = AuditSession(config)
        receipts = session.completed().values()
        assert before.n_forward == sum(receipt.n_forward for receipt in receipts)
        assert before.n_backward == sum(receipt.n_backward for receipt in receipts)
        assert before.n_files == sum(path.is_file() for path in folder.rglob("*"))
        after = plan_audit(session)
        assert (after.n_done, after.n_tasks, after.n_backward) == (3, 0, 0)
        assert "model" not in vars(session)

    @pytest.mark.parametrize("coefficients", [True, False])
    def test_sizes_are_of_the_right_order(self, toy_config, compute_all, coefficients):
        config = toy_config(store={"coefficients": coefficients})
        plan = plan_audit(AuditSession(config))
        assert (plan.n_bytes > 0) == coefficients
        folder = compute_all(config)
        arrays = folder / "coefficients.zarr"
        stored = sum(path.stat().st_size for path in arrays.rglob("c/*/*/*"))
        assert plan.n_bytes == pytest.approx(stored, rel=0.5)
        assert plan.memory_bytes == (4 * 2 * 4 * 3 * 256 if coefficients else 0)

    def test_a_plan_writes_nothing(self, toy_config, tmp_path):
        plan_audit(AuditSession(toy_config()))
        assert not (tmp_path / "audits").exists()
