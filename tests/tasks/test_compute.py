"""A sample's numbers depend on the sample alone, and every shard is stored exactly once."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from tasks import compute
from tasks.compute import compute_shard
from tasks.errors import IdentityError, IncompleteAuditError, ModelError, StoreError
from tasks.publish import write_results
from tasks.session import AuditSession
from tasks.store import AuditFolder, CoefficientStore
from tasks.store.receipts import read_receipt

TABLES = ("samples", "attributions", "levels", "bands")
METHODS = ("smoothgrad", "integrated_gradients")
# The bound of the design: rounding differs with the batch, relative to a sample's largest value.
TOLERANCE = 1e-4


def by_id(table):
    keys = [key for key in ("sample_id", "method", "level", "filters") if key in table]
    return table.drop(columns=["sample_index", "source"], errors="ignore").sort_values(
        keys, ignore_index=True
    )


def assert_same_numbers(actual, expected, ids=None):
    """Tables agree row by row, and maps relative to each sample's largest coefficient."""
    for name in TABLES:
        left, right = by_id(actual.table(name)), by_id(expected.table(name))
        if ids is not None:
            left, right = (
                frame[frame["sample_id"].isin(ids)].reset_index(drop=True)
                for frame in (left, right)
            )
        pd.testing.assert_frame_equal(left, right, rtol=TOLERANCE, atol=1e-6, check_dtype=False)
    for method in METHODS:
        left, right = maps_by_id(actual, method), maps_by_id(expected, method)
        for sample_id in left.keys() if ids is None else ids:
            largest = np.abs(right[sample_id]).max()
            error = np.abs(left[sample_id] - right[sample_id]).max()
            assert error <= TOLERANCE * largest, (method, sample_id)


def maps_by_id(stored_audit, method):
    ids = stored_audit.table("samples")["sample_id"]
    return dict(zip(ids, stored_audit.maps(method), strict=True))


class TestInvariants:
    @pytest.fixture
    def reference(self, toy_config, compute_all, stored):
        return stored(compute_all(toy_config(name="reference")))

    @pytest.mark.parametrize(("shard_size", "max_batch"), [(1, 1), (5, 3), (11, 16), (100, 4)])
    def test_cuts_change_nothing(
        self, reference, toy_config, compute_all, stored, shard_size, max_batch
    ):
        config = toy_config(store={"shard_size": shard_size}, execution={"max_batch": max_batch})
        assert_same_numbers(stored(compute_all(config)), reference)

    def test_the_order_of_samples_changes_nothing(
        self, reference, toy_config, compute_all, stored, save_toys, pictures
    ):
        order = np.random.default_rng(1).permutation(11)
        toys = save_toys(
            pictures(11)[order],
            "shuffled.npz",
            label=order % 3,
            id=np.array([f"toy-{index:03d}" for index in order]),
        )
        shuffled = stored(compute_all(toy_config(dataset={"root": str(toys)})))
        assert shuffled.table("samples")["sample_id"].tolist() != sorted(
            shuffled.table("samples")["sample_id"]
        )
        assert_same_numbers(shuffled, reference)

    def test_a_sample_alone_is_the_sample_in_any_batch(
        self, reference, toy_config, compute_all, stored, save_toys, pictures
    ):
        toys = save_toys(
            pictures(11)[6:7], "alone.npz", label=np.array([0]), id=np.array(["toy-006"])
        )
        alone = stored(compute_all(toy_config(dataset={"root": str(toys)})))
        assert_same_numbers(alone, reference, ids=["toy-006"])

    def test_bad_samples_in_between_change_nothing(
        self, reference, toy_config, compute_all, stored, save_toys, pictures
    ):
        good = pictures(11).astype(np.float32) / 255
        bad = np.stack([np.full_like(good[0], np.nan), np.full_like(good[0], 0.3)])
        mixed = np.concatenate([bad[:1], good[:5], bad[1:], good[5:]])
        labels = np.concatenate([[0], np.arange(5) % 3, [1], np.arange(5, 11) % 3])
        ids = ["nan", *(f"toy-{i:03d}" for i in range(5)), "grey"]
        ids += [f"toy-{i:03d}" for i in range(5, 11)]
        toys = save_toys(mixed, "mixed.npz", label=labels, id=np.array(ids))
        audit = stored(compute_all(toy_config(dataset={"root": str(toys)})))
        statuses = audit.table("samples").set_index("sample_id")["status"]
        assert statuses[["nan", "grey"]].tolist() == ["nonfinite", "degenerate"]
        assert_same_numbers(audit, reference, ids=[f"toy-{i:03d}" for i in range(11)])

    def test_the_number_of_workers_changes_no_byte(self, reference, toy_config, stored):
        session = AuditSession(toy_config(name="parallel"))
        session.prepare_folder()
        _ = session.model, session.reader
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda shard: compute_shard(session, shard), session.shards[::-1]))
        assert stored(Path(session.folder.path())).checksums() == reference.checksums()

    def test_equal_pictures_in_one_batch_get_equal_predictions(
        self, toy_config, compute_all, stored, save_toys, pictures
    ):
        toys = save_toys(np.repeat(pictures(1), 4, axis=0), label=np.zeros(4, dtype=int))
        table = stored(compute_all(toy_config(dataset={"root": str(toys)}))).table("samples")
        assert table["logit_target"].nunique() == 1


KILLER = """
import os, random, signal, sys, time
from pathlib import Path

import torch
torch.set_num_threads(1)
from tasks.compute import compute_shard
from tasks.config_files import load_config
from tasks.session import AuditSession

config = load_config(Path(sys.argv[1]))
seed, kills = int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)


def attempt():
    session = AuditSession(config)
    session.prepare_folder()
    done = session.completed()
    for shard in session.shards:
        if shard.index not in done:
            compute_shard(session, shard)


def start():
    child = os.fork()
    if child == 0:
        attempt()
        os._exit(0)
    return child


# The parent never touches the store: a forked child must not inherit its threads.
killed = 0
longest = 0.6
while True:
    child = start()
    if killed == kills:
        _, status = os.waitpid(child, 0)
        assert status == 0, status
        break
    time.sleep(rng.uniform(0.0, longest))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        killed += 1
    else:
        # It was done before the signal: begin anew, and strike earlier.
        import shutil
        shutil.rmtree(sys.argv[4])
        longest *= 0.7
print(killed)
"""


def test_runs_killed_at_random_moments_end_like_an_uninterrupted_one(
    toy_file, compute_all, stored, tmp_path
):
    from tasks.config_files import load_config

    path = toy_file(
        24,
        store={"shard_size": 2, "url": str(tmp_path / "killed")},
        attribution={"smoothgrad": {"n_samples": 12}},
    )
    whole = load_config(path, [f"store.url={tmp_path / 'whole'}"])
    expected = compute_all(whole)
    folder = tmp_path / "killed" / whole.folder_name()
    run = subprocess.run(
        [sys.executable, "-c", KILLER, str(path), "3", "12", str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) == 12
    assert stored(folder).checksums() == stored(expected).checksums()
    assert not [path for path in folder.rglob("*") if path.name.startswith(".tmp-")]
    summaries = [
        json.loads((Path(AuditFolder(str(place)).path()) / "summary.json").read_text())
        for place in (folder, expected)
        if write_results(AuditFolder(str(place)), whole)
    ]
    assert summaries[0] == summaries[1]


class TestTornFiles:
    @pytest.fixture
    def audit(self, toy_config, compute_all, stored):
        folder = compute_all(toy_config())
        return folder, stored(folder).checksums()

    @pytest.mark.parametrize(
        ("name", "tear"),
        [
            ("coefficients.zarr/smoothgrad/c/1/0/0", "truncate"),
            ("coefficients.zarr/smoothgrad/c/1/0/0", "delete"),
            ("tables/levels/part-000001.parquet", "truncate"),
            ("tables/samples/part-000001.parquet", "empty"),
            ("receipts/000001.json", "truncate"),
            ("receipts/000001.json", "delete"),
        ],
    )
    def test_what_is_torn_is_computed_anew(
        self, audit, toy_config, compute_all, stored, name, tear
    ):
        folder, checksums = audit
        path = folder / name
        if tear == "delete":
            path.unlink()
        else:
            os.truncate(path, 0 if tear == "empty" else path.stat().st_size // 2)
        others = [(folder / f"receipts/00000{index}.json").stat().st_mtime_ns for index in (0, 2)]
        session = AuditSession(toy_config())
        assert sorted(session.completed()) == [0, 2]
        compute_all(toy_config())
        assert stored(folder).checksums() == checksums
        assert others == [
            (folder / f"receipts/00000{index}.json").stat().st_mtime_ns for index in (0, 2)
        ]

    def test_a_receipt_that_is_not_a_receipt_does_not_count(self, audit, toy_config):
        folder, _ = audit
        (folder / "receipts/000000.json").write_text('{"shard": "no"}')
        (folder / "receipts/000001.json").write_bytes(b"\xff\xfe")
        other = json.loads((folder / "receipts/000002.json").read_text())
        other["config_digest"] = "0" * 64
        (folder / "receipts/000002.json").write_text(json.dumps(other))
        assert AuditSession(toy_config()).completed() == {}

    def test_leftovers_of_killed_writers_are_swept(self, audit, toy_config, compute_all, stored):
        folder, checksums = audit
        leftovers = [
            folder / "tables/samples/.tmp-abc",
            folder / "receipts/.tmp-def",
            folder / "coefficients.zarr/smoothgrad/c/0/0/0.0123.partial",
        ]
        for leftover in leftovers:
            leftover.write_bytes(b"half")
        compute_all(toy_config())
        assert not any(leftover.exists() for leftover in leftovers)
        assert stored(folder).checksums() == checksums


class TestStatuses:
    @pytest.fixture
    def damaged(self, tmp_path, pictures):
        """Good pictures, and one of each kind of bad one."""
        folder = tmp_path / "pictures"
        folder.mkdir()
        for index, picture in enumerate(pictures(6)):
            Image.fromarray(picture).save(folder / f"good-{index}.png")
        whole = (folder / "good-0.png").read_bytes()
        (folder / "torn.png").write_bytes(whole[: len(whole) // 2])
        Image.fromarray(pictures(1, 20)[0]).save(folder / "large.png")
        Image.new("RGB", (16, 16), (90, 90, 90)).save(folder / "constant.png")
        Image.fromarray(pictures(1)[0] // 16).save(folder / "dark.png")
        np.save(folder / "nan.npy", np.full((16, 16, 3), np.nan, dtype=np.float32))
        names = ["good-0.png", "torn.png", "good-1.png", "missing.png", "large.png", "nan.npy"]
        names += ["good-2.png", "constant.png", "dark.png", "good-3.png", "good-4.png"]
        rows = [f"{name},{index % 3}" for index, name in enumerate(names)]
        (folder / "manifest.csv").write_text("\n".join(["path,label", *rows]))
        dataset = {
            "kind": "table",
            "root": str(folder),
            "manifest": "manifest.csv",
            "preprocessed": True,
            "id_column": None,
        }
        return {"dataset": dataset, "model": {"name": "wam_audit_toy_models:nan_when_dark"}}

    EXPECTED: ClassVar = {
        "good-0.png": "ok",
        "torn.png": "decode_error",
        "good-1.png": "ok",
        "missing.png": "decode_error",
        "large.png": "shape_error",
        "nan.npy": "nonfinite",
        "good-2.png": "ok",
        "constant.png": "degenerate",
        "dark.png": "nonfinite",
        "good-3.png": "ok",
        "good-4.png": "ok",
    }

    def test_every_row_of_the_manifest_is_accounted_for(
        self, damaged, toy_config, compute_all, stored
    ):
        config = toy_config(**damaged)
        folder = compute_all(config)
        samples = stored(folder).table("samples").set_index("sample_id")
        assert samples["status"].to_dict() == self.EXPECTED
        details = samples["detail"]
        assert details["torn.png"].count("torn.png")
        assert details["missing.png"].count("missing.png")
        assert "16" in details["large.png"]
        assert details["dark.png"] == "the model's output is not finite"
        assert details["constant.png"] == "the signal is constant"
        assert (details[samples["status"] == "ok"] == "").all()
        counted = {"ok": 5, "decode_error": 2, "shape_error": 1, "nonfinite": 2, "degenerate": 1}
        session = AuditSession(config)
        totals = pd.DataFrame([r.statuses for r in session.completed().values()]).sum()
        assert totals.astype(int).to_dict() == counted
        summary = write_results(AuditFolder(str(folder)), config).summary
        assert summary["counts"] == {"samples": 11, "quarantined": 0, **counted}
        assert summary["headline"][0].startswith("5 of 11 samples are explained; left out")
        assert "2 decode error" in summary["headline"][0]

    def test_bad_samples_have_no_map_and_no_share(self, damaged, toy_config, compute_all, stored):
        audit = stored(compute_all(toy_config(**damaged)))
        ok = (audit.table("samples")["status"] == "ok").to_numpy()
        for method in METHODS:
            missing = np.isnan(audit.maps(method)).all(axis=(1, 2))
            assert (missing == ~ok).all()
        shares = audit.table("levels").dropna(subset=["share"])
        explained = set(audit.table("samples")["sample_id"][ok])
        assert set(shares["sample_id"]) == explained

    def test_without_any_good_sample_the_results_are_valid(
        self, damaged, toy_config, compute_all, stored
    ):
        damaged["dataset"]["where"] = {"path": ["torn.png", "missing.png", "nan.npy"]}
        config = toy_config(**damaged)
        folder = compute_all(config)
        outcome = write_results(AuditFolder(str(folder)), config)
        text = (folder / "summary.json").read_text()
        assert "NaN" not in text
        assert "Infinity" not in text
        assert outcome.summary["metrics"] == []
        assert outcome.summary["counts"]["ok"] == 0
        assert outcome.gates_failed
        assert (folder / "report.html").stat().st_size > 0

    def test_zero_maps_are_degenerate_and_not_nan(self, toy_config, compute_all, stored):
        config = toy_config(4, model={"name": "wam_audit_toy_models:blind"})
        folder = compute_all(config)
        audit = stored(folder)
        assert set(audit.table("samples")["status"]) == {"degenerate"}
        assert set(audit.table("attributions")["status"]) == {"degenerate"}
        assert audit.table("levels")["share"].isna().all()
        outcome = write_results(AuditFolder(str(folder)), config)
        assert outcome.summary["counts"]["degenerate"] == 4
        names = {metric["name"] for metric in outcome.summary["metrics"]}
        assert names == {"accuracy/top1"}


class TestFailures:
    def test_a_model_that_fails_names_shard_and_samples(self, toy_config, save_toys, pictures):
        dark = pictures(8)
        dark[5] //= 16
        toys = save_toys(dark)
        config = toy_config(
            dataset={"root": str(toys)}, model={"name": "wam_audit_toy_models:fails_when_dark"}
        )
        session = AuditSession(config)
        session.prepare_folder()
        compute_shard(session, session.shards[0])
        with pytest.raises(ModelError, match=r"shard 1 .*toy-004.*too dark to see"):
            compute_shard(session, session.shards[1])
        assert sorted(session.completed()) == [0]

    def test_a_request_to_stop_is_honoured_between_batches(self, toy_config):
        asked = []

        def should_stop():
            asked.append(1)
            return len(asked) > 2

        session = AuditSession(toy_config(store={"shard_size": 11}, execution={"max_batch": 2}))
        session.prepare_folder()
        with pytest.raises(IncompleteAuditError, match="same command again"):
            compute_shard(session, session.shards[0], should_stop)
        assert len(asked) == 3
        assert session.completed() == {}
        assert not session.folder.names("tables/samples", ".parquet")

    def test_memory_that_runs_out_halves_the_batch_and_changes_nothing(
        self, toy_config, compute_all, stored
    ):
        whole = stored(compute_all(toy_config(name="whole")))
        config = toy_config(name="little", model={"name": "wam_audit_toy_models:little_memory"})
        folder = compute_all(config)
        receipts = AuditSession(config).completed().values()
        assert {receipt.max_batch for receipt in receipts} == {2}
        assert_same_numbers(stored(folder), whole)

    def test_a_sample_too_large_for_memory_says_what_to_do(self, toy_config, monkeypatch):
        def no_room(*arguments):
            raise torch.OutOfMemoryError("no room")

        monkeypatch.setattr(compute, "explain", no_room)
        session = AuditSession(toy_config())
        session.prepare_folder()
        with pytest.raises(ModelError, match=r"one sample at a time .* smaller input"):
            compute_shard(session, session.shards[0])


class TestReceipts:
    def test_a_receipt_is_small_and_complete(self, toy_config, compute_all):
        folder = compute_all(toy_config())
        for path in (folder / "receipts").glob("*.json"):
            assert path.stat().st_size < 4096
        session = AuditSession(toy_config())
        receipt = read_receipt(session.folder, session.shards[2])
        assert receipt.statuses == {"ok": 3}
        assert sorted(receipt.files) == [
            "coefficients.zarr/integrated_gradients/c/2/0/0",
            "coefficients.zarr/smoothgrad/c/2/0/0",
            *(f"tables/{name}/part-000002.parquet" for name in sorted(TABLES)),
        ]
        # Three draws and three steps; one clean pass and both ends of the path.
        assert (receipt.n_backward, receipt.n_forward) == (3 * 6, 3 * 3)

    def test_maps_may_be_left_out(self, toy_config, compute_all, stored):
        folder = compute_all(toy_config(store={"coefficients": False}))
        assert not (folder / "coefficients.zarr").exists()
        assert len(stored(folder).table("samples")) == 11


class TestIdentity:
    @pytest.fixture
    def audit(self, toy_config, compute_all):
        return compute_all(toy_config())

    def test_changed_data_are_refused(self, audit, toy_config, save_toys, pictures):
        changed = pictures(11)
        changed[3, 0, 0, 0] += 1
        save_toys(changed)
        with pytest.raises(IdentityError, match=r"(?s)dataset .*file contents.*--fresh"):
            AuditSession(toy_config()).prepare_folder()

    def test_changed_order_is_refused(self, audit, toy_config, save_toys, pictures):
        ids = np.array([f"toy-{10 - index:03d}" for index in range(11)])
        save_toys(pictures(11), id=ids)
        with pytest.raises(IdentityError, match="sample ids and their order"):
            AuditSession(toy_config()).prepare_folder()

    def test_changed_weights_are_refused(self, audit, toy_config, monkeypatch):
        session = AuditSession(toy_config())
        with torch.no_grad():
            session.model.module.model.head.bias.add_(1)
        from tasks.models.digest import weights_digest

        changed = weights_digest(session.model.module.model.state_dict())
        model = session.model.__class__(**{**vars(session.model), "weights_digest": changed})
        monkeypatch.setitem(session.__dict__, "model", model)
        with pytest.raises(IdentityError, match="model weights"):
            session.prepare_folder()

    @pytest.mark.parametrize(
        ("path", "value", "meaning"),
        [
            (("digest",), "0" * 64, "configuration"),
            (("versions", "wam-audit"), "0.0.1", "version of wam-audit: the folder has '0.0.1'"),
            (("device",), "cuda", "device type: the folder has 'cuda', this run has 'cpu'"),
            (("preprocessing_digest",), "0", "preprocessing"),
        ],
    )
    def test_another_record_is_refused_and_named(self, audit, toy_config, path, value, meaning):
        record = json.loads((audit / "audit.json").read_text())
        place = record
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        (audit / "audit.json").write_text(json.dumps(record))
        with pytest.raises(IdentityError, match=meaning):
            AuditSession(toy_config()).prepare_folder()

    def test_results_without_a_record_are_refused(self, audit, toy_config):
        (audit / "audit.json").unlink()
        with pytest.raises(StoreError, match=r"no audit\.json"):
            AuditSession(toy_config()).prepare_folder()

    def test_discarded_results_leave_nothing(self, audit, toy_config, compute_all, stored):
        before = stored(audit).checksums()
        session = AuditSession(toy_config())
        session.discard_results()
        assert not audit.exists()
        assert stored(compute_all(toy_config())).checksums() == before

    def test_a_worker_with_other_data_is_refused(self, audit, toy_config, save_toys, pictures):
        from tasks.session import joined_session

        config = toy_config()
        assert joined_session(config).manifest.digest
        save_toys(pictures(11) // 2)
        # The cached session still holds the audit's data; a new worker reads what is there now.
        assert joined_session(config).manifest.digest
        record = json.loads((audit / "audit.json").read_text())
        record["dataset"]["digest"] = "0" * 64
        (audit / "audit.json").write_text(json.dumps(record))
        with pytest.raises(IdentityError, match="dataset"):
            joined_session(config)


def test_stored_maps_open_with_xarray(toy_config, compute_all):
    import xarray

    folder = compute_all(toy_config())
    data = xarray.open_zarr(folder / "coefficients.zarr", consolidated=False)
    assert set(data.data_vars) == set(METHODS)
    assert data["smoothgrad"].dims == ("sample", "channel", "coefficient")
    assert data["smoothgrad"].shape == (11, 3, 256)
    layout = data["smoothgrad"].attrs["layout"]
    assert CoefficientStore(AuditFolder(str(folder))).methods() == sorted(METHODS)
    assert json.dumps(layout)
