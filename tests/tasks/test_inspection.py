"""What an audit folder says about itself: progress, sound bytes, one sample's picture."""

import json

import pytest

from tasks.errors import (
    EXIT_DAMAGED,
    EXIT_DONE,
    EXIT_INCOMPLETE,
    ConfigError,
    StoreError,
)
from tasks.inspection import (
    audit_status,
    describe_status,
    describe_verification,
    existing_folder,
    picture_sample,
    recorded_config,
    verify_files,
)
from tasks.publish import write_results
from tasks.store import AuditFolder

MAPS = "coefficients.zarr/smoothgrad/c/1/0/0"
PART = "tables/bands/part-000001.parquet"


def flip(path, place=0.5):
    """Change one bit; the size stays."""
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)


@pytest.fixture
def audit(toy_config, compute_all):
    return compute_all(toy_config())


class TestStatus:
    def test_a_complete_audit(self, audit, toy_config):
        folder = existing_folder(f"{audit}/")
        state = audit_status(folder)
        assert (state["n_done"], state["n_shards"], state["complete"]) == (3, 3, True)
        assert state["statuses"] == {"ok": 11}
        assert "complete, but not aggregated yet" in describe_status(state)
        write_results(folder, toy_config())
        assert describe_status(audit_status(folder)).endswith("\ncomplete")

    def test_an_unfinished_audit_names_what_is_missing(self, audit):
        (audit / "receipts/000001.json").unlink()
        state = audit_status(AuditFolder(str(audit)))
        assert state["missing_shards"] == [1]
        assert state["seconds_left"] == pytest.approx(state["seconds_per_shard"])
        text = describe_status(state)
        assert "2 of 3 shards done (11 samples; so far 7 ok)" in text
        assert "run the same command again" in text

    def test_an_audit_of_a_later_or_earlier_version_is_still_read(self, audit):
        # A version with one more setting computes another digest; the recorded one counts.
        record = json.loads((audit / "audit.json").read_text())
        record["config"]["basis"]["colour"] = "blue"
        (audit / "audit.json").write_text(json.dumps(record))
        assert audit_status(AuditFolder(str(audit)))["complete"]
        assert verify_files(AuditFolder(str(audit)))["exit_code"] == EXIT_DONE

    def test_what_is_no_audit_is_refused(self, tmp_path):
        with pytest.raises(ConfigError, match=r"not an audit folder: it has no audit\.json"):
            existing_folder(str(tmp_path))

    def test_a_damaged_record_is_named(self, audit):
        (audit / "audit.json").write_text("{")
        with pytest.raises(StoreError, match=r"audit\.json is damaged"):
            audit_status(AuditFolder(str(audit)))


class TestVerification:
    def test_sound_files(self, audit):
        found = verify_files(AuditFolder(str(audit)))
        assert (found["exit_code"], found["n_files"], found["damaged"]) == (EXIT_DONE, 18, [])
        assert describe_verification(found) == "18 files checked, 0 damaged"

    @pytest.mark.parametrize("name", [MAPS, PART])
    def test_a_flipped_bit_is_named_and_mended_by_the_next_run(
        self, audit, toy_config, compute_all, stored, name
    ):
        before = stored(audit).checksums()
        flip(audit / name)
        folder = AuditFolder(str(audit))
        found = verify_files(folder)
        assert found["exit_code"] == EXIT_DAMAGED
        assert found["damaged"] == [{"shard": 1, "file": name, "samples": [4, 8]}]
        text = describe_verification(found)
        assert f"damaged: {name} (shard 1, samples 4 to 7)" in text
        assert "--repair" in text
        # Nothing was changed by looking.
        assert audit_status(folder)["complete"]
        repaired = verify_files(folder, repair=True)
        assert (repaired["exit_code"], repaired["missing_shards"]) == (EXIT_INCOMPLETE, [1])
        assert "1 shards have no receipt; run again" in describe_verification(repaired)
        compute_all(toy_config())
        assert stored(audit).checksums() == before
        assert verify_files(folder)["exit_code"] == EXIT_DONE

    def test_missing_shards_are_incomplete_not_damaged(self, audit):
        (audit / "receipts/000002.json").unlink()
        found = verify_files(AuditFolder(str(audit)))
        assert (found["exit_code"], found["missing_shards"]) == (EXIT_INCOMPLETE, [2])

    def test_results_are_not_made_from_damaged_tables(self, audit, toy_config):
        (audit / "tables/levels/part-000001.parquet").write_bytes(
            b"x" * (audit / "tables/levels/part-000001.parquet").stat().st_size
        )
        with pytest.raises(StoreError, match=r"part-000001\.parquet is damaged.*--repair"):
            write_results(AuditFolder(str(audit)), toy_config())


class TestPicture:
    def test_a_png_is_written(self, audit, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (path,) = picture_sample(AuditFolder(str(audit)), "toy-003")
        assert path.name == "toy-003.png"
        assert path.read_bytes().startswith(b"\x89PNG")

    def test_a_place_that_cannot_be_written_is_named(self, audit, tmp_path):
        with pytest.raises(ConfigError, match=r"cannot write .*nowhere"):
            picture_sample(AuditFolder(str(audit)), "toy-003", tmp_path / "nowhere" / "a.png")


class TestRecordedConfig:
    def test_places_and_gates_may_be_set(self, audit, tmp_path):
        config = recorded_config(
            AuditFolder(str(audit)),
            [
                f"dataset.root={tmp_path / 'toys.npz'}",
                "tracking.experiment=other",
                "gates=[{metric: accuracy/top1, at_least: 0.1}]",
                "dataset.max_bad_fraction=0.5",
            ],
        )
        assert config.tracking.experiment == "other"
        assert len(config.gates) == 1

    def test_moved_data_keep_the_audits_results(self, audit, toy_config, tmp_path):
        folder = AuditFolder(str(audit))
        before = write_results(folder, toy_config()).summary
        (tmp_path / "toys.npz").rename(tmp_path / "moved.npz")
        moved = recorded_config(folder, [f"dataset.root={tmp_path / 'moved.npz'}"])
        assert write_results(folder, moved).summary == before

    @pytest.mark.parametrize("override", ["basis.levels=1", "analyses.intervals.seed=4"])
    def test_what_was_computed_may_not(self, audit, override):
        key = override.partition("=")[0]
        with pytest.raises(ConfigError, match=f"changes what was computed .{key}.*another audit"):
            recorded_config(AuditFolder(str(audit)), [override])
