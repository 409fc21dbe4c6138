"""Datasets appear whole in the layout that the configurations read, or not at all."""

import hashlib
import io
import json
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tasks.config import DatasetConfig
from tasks.datasets import build_manifest
from tasks.downloads import DATASETS, GROUPS, DownloadError, place_datasets
from tasks.downloads.layouts import ESC10_CLASSES, IMAGENETTE_CLASSES
from tasks.downloads.registry import Content
from tasks.errors import EXIT_INCOMPLETE, ConfigError

CONFIGS = Path(__file__).parents[3] / "configs"


def clip(seed, n_samples=2205):
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(44100)
        values = np.random.default_rng(seed).integers(-9999, 9999, n_samples)
        sound.writeframes(values.astype("<i2").tobytes())
    return buffer.getvalue()


def esc_files():
    """Like the archive of ESC-50, with a clip per fold of twelve classes."""
    top, lines = "ESC-50-33c8", ["filename,fold,target,category,esc10,src_file,take"]
    files = {f"{top}/LICENSE": "terms", f"{top}/README.md": "about", f"{top}/esc50.gif": "picture"}
    classes = [*ESC10_CLASSES, ("pig", 2), ("siren", 42)]
    for fold in range(1, 6):
        for name, target in classes:
            file = f"{fold}-{1000 + fold}-A-{target}.wav"
            files[f"{top}/audio/{file}"] = clip(100 * fold + target)
            ten = target not in (2, 42)
            lines.append(f"{file},{fold},{target},{name},{ten},{1000 + fold},A")
    files[f"{top}/meta/esc50.csv"] = "\n".join(lines) + "\n"
    return files


@pytest.fixture
def esc(offer, zip_of):
    """ESC-10 and ESC-50 as the registry has them, with a small archive on the test's server."""

    def esc(files=None, **fields):
        files = files or esc_files()
        sums = "".join(
            f"{hashlib.md5(content).hexdigest()}  {name.split('/', 1)[1]}\n"
            for name, content in sorted(files.items())
            if name.endswith(".wav")
        )
        content = Content("audio/*.wav", hashlib.sha256(sums.encode()).hexdigest(), "the test")
        known = {"name": "esc.zip", "checksum": "sha256:" + "0" * 64, "reproducible": False}
        file = offer(zip_of(files), **(known | fields))
        return {
            name: replace(DATASETS[name], file=file, content=content) for name in ("esc10", "esc50")
        }

    return esc


@pytest.fixture
def adrenal(offer):
    """AdrenalMNIST3D as the registry has it, with a small file on the test's server."""
    buffer = io.BytesIO()
    labels = np.array([[0], [1]], np.uint8)
    np.savez(buffer, val_images=np.zeros((2, 4, 4, 4), np.uint8), val_labels=labels)
    file = offer(buffer.getvalue(), name="adrenalmnist3d_64.npz", size=None)
    return {"adrenalmnist3d": replace(DATASETS["adrenalmnist3d"], file=file)}


@pytest.fixture
def shipped(monkeypatch):
    """The dataset section of a shipped configuration, with the data folder as `WAM_DATA_ROOT`."""

    def shipped(name, root):
        monkeypatch.setenv("WAM_DATA_ROOT", str(root))
        return DatasetConfig(**yaml.safe_load((CONFIGS / name).read_text())["dataset"])

    return shipped


class TestLayout:
    def test_esc10_is_what_the_shipped_configuration_reads(self, esc, shipped, tmp_path):
        (placed,) = place_datasets(["esc10"], tmp_path, registry=esc())
        assert placed.path == tmp_path / "esc10"
        manifest = build_manifest(shipped("esc10_resnet.yaml", tmp_path))
        assert manifest.class_names[4] == "clock tick"
        assert len(manifest.table) == 10
        assert set(manifest.table["fold"]) == {"4"}
        assert not manifest.table["fingerprint"].isin(["missing", "unreadable"]).any()
        by_label = manifest.table.set_index("label")["source"]
        assert by_label[4] == "audio/4-1004-A-38.wav"
        assert sorted(by_label.index) == list(range(10))

    def test_esc10_has_the_columns_and_labels_of_its_own_repository(self, esc, tmp_path):
        place_datasets(["esc10"], tmp_path, registry=esc())
        table = pd.read_csv(tmp_path / "esc10/manifest.csv")
        assert list(table) == ["path", "fold", "label", "name", "esc50_label", "source"]
        assert len(table) == 50
        chainsaw = table[table["path"] == "audio/2-1002-A-41.wav"].iloc[0]
        assert list(chainsaw[1:]) == [2, 7, "chainsaw", 41, 1002]
        assert {path.name for path in (tmp_path / "esc10").iterdir()} == {
            "LICENSE",
            "README.md",
            "audio",
            "download.json",
            "manifest.csv",
        }

    def test_esc50_keeps_every_class(self, esc, tmp_path):
        place_datasets(["esc50"], tmp_path, registry=esc())
        table = pd.read_csv(tmp_path / "esc50/manifest.csv")
        assert list(table) == ["path", "fold", "label", "name", "source"]
        assert len(table) == 60
        assert (tmp_path / "esc50/meta/esc50.csv").exists()
        assert all((tmp_path / "esc50" / path).exists() for path in table["path"])

    def test_a_medmnist_file_is_what_the_shipped_configuration_reads(
        self, adrenal, shipped, tmp_path
    ):
        place_datasets(["adrenalmnist3d"], tmp_path, registry=adrenal)
        manifest = build_manifest(shipped("adrenal_resnet3d.yaml", tmp_path))
        assert list(manifest.table["label"]) == [0, 1]

    def test_imagenette_has_imagenet_labels(self, offer, tar_of, tmp_path):
        files = {
            f"imagenette2-320/{split}/{wnid}/{wnid}_{number}.JPEG": b"jpeg"
            for split in ("train", "val")
            for wnid in IMAGENETTE_CLASSES
            for number in (1, 2)
        }
        known = DATASETS["imagenette"]
        registry = {"imagenette": replace(known, file=offer(tar_of(files), name="n.tgz"))}
        (placed,) = place_datasets(["imagenette"], tmp_path, registry=registry)
        assert placed.path == tmp_path / "imagenette2-320"
        table = pd.read_csv(placed.path / "manifest.csv")
        assert len(table) == 40
        classes = pd.read_csv(CONFIGS / "imagenet_classes.csv").set_index("label")
        for row in table.itertuples():
            assert classes.loc[row.label, "wnid"] == row.wnid
            assert classes.loc[row.label, "name"] == row.name
        config = DatasetConfig(
            kind="table",
            root=str(placed.path),
            manifest="manifest.csv",
            split_column="split",
            where={"split": ["val"]},
        )
        assert len(build_manifest(config).table) == 20


class TestCompleteness:
    def test_what_is_there_is_not_asked_for_again(self, esc, adrenal, site, tmp_path):
        registry = esc() | adrenal
        first = place_datasets(list(registry), tmp_path, registry=registry)
        assert [one.downloaded for one in first] == [True, True, True]
        # One archive for both; nothing is left of the way.
        assert [path for path, _ in site.requests] == ["/esc.zip", "/adrenalmnist3d_64.npz"]
        assert not (tmp_path / ".downloads").exists()
        site.requests.clear()
        again = place_datasets(list(registry), tmp_path, registry=registry)
        assert [one.downloaded for one in again] == [False, False, False]
        assert site.requests == []

    def test_terms_stay_with_the_data(self, esc, tmp_path):
        place_datasets(["esc50"], tmp_path, registry=esc())
        record = json.loads((tmp_path / "esc50/download.json").read_text())
        assert record["licence"].startswith("CC BY-NC 3.0")
        assert "Piczak" in record["citation"]
        assert record["files"]["LICENSE"] == len("terms")

    @pytest.mark.parametrize("harm", ["foreign", "missing", "shortened", "file"])
    def test_something_else_is_never_overwritten(self, esc, site, tmp_path, harm):
        registry, folder = esc(), tmp_path / "esc10"
        if harm == "foreign":
            folder.mkdir()
            (folder / "manifest.csv").write_text("mine")
        elif harm == "file":
            folder.write_text("mine")
        else:
            place_datasets(["esc10"], tmp_path, registry=registry)
            victim = folder / "audio/1-1001-A-0.wav"
            victim.unlink() if harm == "missing" else victim.write_bytes(b"short")
        site.requests.clear()
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(ConfigError, match="Move it away, or choose another folder"):
            place_datasets(["esc10"], tmp_path, registry=registry)
        assert sorted(tmp_path.rglob("*")) == before
        assert site.requests == []

    def test_another_file_under_the_name_is_never_overwritten(self, adrenal, site, tmp_path):
        (tmp_path / "adrenalmnist3d_64.npz").write_bytes(b"half of it")
        with pytest.raises(ConfigError, match="its md5 is"):
            place_datasets(["adrenalmnist3d"], tmp_path, registry=adrenal)
        assert (tmp_path / "adrenalmnist3d_64.npz").read_bytes() == b"half of it"
        assert site.requests == []

    def test_an_archive_brought_by_hand_needs_no_network(self, esc, site, tmp_path):
        registry = esc()
        (tmp_path / ".downloads").mkdir()
        (tmp_path / ".downloads/esc.zip").write_bytes(site.files["/esc.zip"])
        place_datasets(["esc10"], tmp_path, registry=registry)
        assert site.requests == []

    def test_remains_of_a_killed_command_are_cleared(self, esc, site, tmp_path):
        registry = esc()
        stale = tmp_path / ".downloads/esc10/unpacked/other"
        stale.mkdir(parents=True)
        (tmp_path / ".downloads/tmp0yhtlpbr").touch()
        place_datasets(["esc10"], tmp_path, registry=registry)
        assert not (tmp_path / ".downloads").exists()
        # Killed between the last rename and the removal of the archive.
        (tmp_path / ".downloads").mkdir()
        (tmp_path / ".downloads/esc.zip").write_bytes(site.files["/esc.zip"])
        place_datasets(["esc10"], tmp_path, registry=registry)
        assert not (tmp_path / ".downloads").exists()


class TestTrouble:
    def test_a_cut_download_is_continued_by_the_same_command(self, esc, site, tmp_path):
        registry = esc()
        site.cuts = [65_536, 0]
        with pytest.raises(DownloadError):
            place_datasets(["esc10"], tmp_path, registry=registry)
        assert not (tmp_path / "esc10").exists()
        assert (tmp_path / ".downloads/esc.zip.part").stat().st_size == 65_536
        place_datasets(["esc10"], tmp_path, registry=registry)
        assert site.requests[-1] == ("/esc.zip", "bytes=65536-")
        assert (tmp_path / "esc10/manifest.csv").exists()

    def test_another_clip_is_refused_and_the_archive_removed(self, esc, site, zip_of, tmp_path):
        registry, files = esc(), esc_files()
        files["ESC-50-33c8/audio/1-1001-A-0.wav"] = clip(12345)
        site.files["/esc.zip"] = zip_of(files)
        with pytest.raises(DownloadError, match="not as published by the test") as refused:
            place_datasets(["esc10"], tmp_path, registry=registry)
        assert refused.value.exit_code == EXIT_INCOMPLETE
        assert list(tmp_path.iterdir()) == []  # not even the workshop

    def test_known_bytes_of_the_archive_are_enough(self, esc, site, tmp_path):
        registry = esc()
        digest = hashlib.sha256(site.files["/esc.zip"]).hexdigest()
        file = replace(registry["esc10"].file, checksum=f"sha256:{digest}")
        odd = Content("audio/*.wav", "0" * 64, "nobody")
        registry = {"esc10": replace(registry["esc10"], file=file, content=odd)}
        (placed,) = place_datasets(["esc10"], tmp_path, registry=registry)
        assert placed.downloaded

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                lambda table: table.replace("1-1001-A-0.wav,1,0", "1-1001-A-0.wav,2,0"),
                "says fold 2",
            ),
            (lambda table: table.replace("1-1001-A-0.wav,1,0", "1-1001-A-0.wav,1,9"), "class 9"),
            (lambda table: table[: table.rindex("5-1005")], "lists 59 clips, the archive holds 60"),
            (lambda table: table.replace("src_file", "source"), "lacks the columns src_file"),
            (lambda table: table.splitlines()[0], "is empty"),
        ],
    )
    def test_a_table_that_disagrees_with_the_clips(self, esc, tmp_path, change, message):
        files = esc_files()
        table = "ESC-50-33c8/meta/esc50.csv"
        files[table] = change(files[table])
        with pytest.raises(DownloadError, match=message):
            place_datasets(["esc10"], tmp_path, registry=esc(files))
        assert not (tmp_path / "esc10").exists()

    def test_a_hostile_archive_leaves_nothing(self, esc, tmp_path):
        root = tmp_path / "root"
        with pytest.raises(DownloadError, match="may leave the folder"):
            place_datasets(["esc10"], root, registry=esc(esc_files() | {"../../evil": b"x"}))
        assert not list(tmp_path.rglob("evil"))
        assert not (root / ".downloads/esc10").exists()

    def test_unknown_names_are_found_before_any_download(self, adrenal, site, tmp_path):
        with pytest.raises(ConfigError, match=r"no dataset 'adrenalmnist'.*did you mean adrenalm"):
            place_datasets(["adrenalmnist3d", "adrenalmnist"], tmp_path, registry=adrenal)
        assert site.requests == []
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_cannot_be_made(self, adrenal, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(DownloadError, match=r"cannot write .*file.*--to"):
            place_datasets(["adrenalmnist3d"], tmp_path / "file/data", registry=adrenal)

    def test_ctrl_c_is_no_traceback(self, adrenal, tmp_path):
        def interrupt(advance):
            raise KeyboardInterrupt

        with pytest.raises(DownloadError, match="interrupted; what has come is kept"):
            place_datasets(["adrenalmnist3d"], tmp_path, registry=adrenal, report=interrupt)
        assert list((tmp_path / ".downloads").glob("*.part"))


class TestRegistry:
    @pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
    def test_every_entry_is_official_checked_and_has_terms(self, dataset):
        algorithm, digest = dataset.file.checksum.split(":")
        assert len(digest) == {"md5": 32, "sha256": 64}[algorithm]
        assert int(digest, 16)
        assert dataset.file.url.startswith("https://")
        assert dataset.homepage.startswith("https://")
        assert dataset.licence
        assert dataset.citation
        assert dataset.file.reproducible or dataset.content

    def test_a_group_is_its_members_once(self, tmp_path):
        assert len(GROUPS["medmnist3d"]) == 6
        assert set(GROUPS["medmnist3d"]) < set(DATASETS)

    def test_a_group_is_downloaded_whole(self, adrenal, tmp_path):
        groups = {"volumes": ("adrenalmnist3d",)}
        names = ["volumes", "adrenalmnist3d"]
        placed = place_datasets(names, tmp_path, registry=adrenal, groups=groups)
        assert [one.dataset.name for one in placed] == ["adrenalmnist3d"]
