"""Pictured samples are chosen by a stated rule and rebuilt from the folder alone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.errors import ConfigError, IdentityError, IncompleteAuditError, StoreError
from tasks.gallery import StoredAudit, choose_gallery
from tasks.reporting import sample_figure
from tasks.store import AuditFolder


def samples(correct, labels=None, status=None):
    count = len(correct)
    return pd.DataFrame(
        {
            "sample_index": range(10, 10 + count),
            "sample_id": [f"s{index}" for index in range(count)],
            "label": pd.array(labels or [0] * count, dtype="Int64"),
            "correct": pd.array(correct, dtype="boolean"),
            "status": status or ["ok"] * count,
        }
    )


class TestChoice:
    def test_half_are_wrong_where_there_are_so_many(self):
        table = samples([False] * 20 + [True] * 80)
        chosen = choose_gallery(table, 12, seed=0)
        wrong = set(table["sample_index"][~table["correct"]])
        assert len(chosen) == 12
        assert len(wrong.intersection(chosen)) == 6

    @pytest.mark.parametrize("n_wrong", [0, 1, 40])
    def test_the_rest_fills_up(self, n_wrong):
        table = samples([False] * n_wrong + [True] * (40 - n_wrong))
        chosen = choose_gallery(table, 12, seed=0)
        assert len(chosen) == len(set(chosen)) == 12

    def test_classes_come_before_repetitions(self):
        labels = [0] * 30 + [1, 2, 3]
        chosen = choose_gallery(samples([True] * 33, labels), 4, seed=0)
        by_row = dict(zip(range(10, 43), labels, strict=True))
        assert {by_row[row] for row in chosen} == {0, 1, 2, 3}

    def test_the_choice_depends_on_seed_and_ids_only(self):
        table = samples([True, False] * 30)
        chosen = choose_gallery(table, 6, seed=1)
        shuffled = table.sample(frac=1, random_state=3)
        assert choose_gallery(shuffled, 6, seed=1) == chosen
        assert choose_gallery(table, 6, seed=2) != chosen

    def test_samples_that_are_not_ok_are_not_pictured(self):
        table = samples([True, None, False], status=["ok", "decode_error", "nonfinite"])
        assert choose_gallery(table, 12, seed=0) == [10]
        assert choose_gallery(table, 0, seed=0) == []
        assert choose_gallery(table[:0], 12, seed=0) == []


class TestStoredAudit:
    @pytest.fixture
    def folder(self, toy_config, compute_all):
        return AuditFolder(str(compute_all(toy_config())))

    def test_an_explanation_is_what_is_stored(self, folder):
        audit = StoredAudit.open(folder)
        explanation = audit.explanation(audit.row_of("toy-005"))
        assert (explanation.sample_id, explanation.status) == ("toy-005", "ok")
        assert set(explanation.maps) == {"smoothgrad_signed", "integrated_gradients"}
        for levels in explanation.maps.values():
            assert list(levels) == ["1", "2", "approximation"]
        for shares in explanation.shares.values():
            assert sum(shares.values()) == pytest.approx(1)
        assert len(explanation.reconstructions) == 2
        for picture in explanation.reconstructions.values():
            assert picture.shape == explanation.signal.shape == (3, 16, 16)
        sample_figure(explanation)

    def test_keeping_more_coefficients_comes_closer_to_the_picture(self, folder):
        explanation = StoredAudit.open(folder).explanation(3)
        errors = [
            np.abs(picture - explanation.signal).mean()
            for picture in explanation.reconstructions.values()
        ]
        assert errors[1] < errors[0]

    def test_a_sample_without_a_map_is_shown_with_its_status(
        self, toy_config, compute_all, save_toys, pictures
    ):
        toys = pictures(4)
        toys[1] = 80
        save_toys(toys)
        folder = AuditFolder(str(compute_all(toy_config())))
        explanation = StoredAudit.open(folder).explanation(1)
        assert explanation.status == "degenerate"
        assert explanation.maps == {}
        sample_figure(explanation)

    def test_without_stored_maps_a_sample_can_still_be_shown(self, toy_config, compute_all):
        config = toy_config(store={"coefficients": False})
        explanation = StoredAudit.open(AuditFolder(str(compute_all(config)))).explanation(0)
        assert explanation.maps == {}
        sample_figure(explanation)

    def test_an_unknown_sample_names_alike_ones(self, folder):
        with pytest.raises(ConfigError, match=r"no sample 'toy-01'; ids look like toy-010"):
            StoredAudit.open(folder).row_of("toy-01")

    def test_a_sample_of_an_unfinished_shard_is_not_there_yet(self, toy_config, compute_all):
        folder = AuditFolder(str(compute_all(toy_config(), shards=[0, 2])))
        audit = StoredAudit.open(folder)
        assert audit.explanation(0).status == "ok"
        with pytest.raises(IncompleteAuditError, match=r"shard 1, which is not finished"):
            audit.explanation(4)

    def test_a_damaged_map_is_named(self, folder):
        path = Path(folder.path("coefficients.zarr/integrated_gradients/c/0/0/0"))
        content = bytearray(path.read_bytes())
        content[200] ^= 1
        path.write_bytes(content)
        stored = StoredAudit.open(folder)
        with pytest.raises(StoreError, match="integrated_gradients is damaged"):
            _ = [stored.explanation(row) for row in range(4)]

    def test_other_data_are_not_pictured_as_the_audits(self, folder, save_toys, pictures):
        save_toys(pictures(11) // 2)
        with pytest.raises(IdentityError, match=r"is not the one that .* describes"):
            StoredAudit.open(folder)
