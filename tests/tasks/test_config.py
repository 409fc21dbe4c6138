"""Configuration files: what they extend, what overrides them, and messages that name the key."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tasks.config import AuditConfig
from tasks.config_files import load_config, merge, parse_override, validate_config
from tasks.errors import EXIT_WRONG_USAGE, ConfigError
from tasks.locations import expand

MINIMAL = {"name": "cats", "dataset": {"root": "pictures"}, "model": {"name": "resnet18"}}


@pytest.fixture
def write(tmp_path):
    """Writes plain data as a YAML file below a fresh folder."""

    def write(name, values):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
        return path

    return write


class TestExtends:
    def test_a_file_lays_its_sections_over_those_it_extends(self, write):
        write("base.yaml", MINIMAL | {"basis": {"wavelet": "db2", "levels": 3}})
        write("middle.yaml", {"extends": "base.yaml", "basis": {"levels": 2}})
        path = write("sub/top.yaml", {"extends": "../middle.yaml", "name": "top"})
        config = load_config(path, ["basis.mode=periodic", "dataset.limit=7"])
        assert config.name == "top"
        assert config.basis.model_dump() == {"wavelet": "db2", "levels": 2, "mode": "periodic"}
        assert (config.dataset.root, config.dataset.limit) == ("pictures", 7)

    def test_lists_are_replaced_whole(self, write):
        gate = {"metric": "accuracy/top1", "at_least": 0.5}
        write("base.yaml", MINIMAL | {"gates": [gate, gate]})
        path = write("top.yaml", {"extends": "base.yaml", "gates": [gate | {"at_least": 0.7}]})
        assert [gate.at_least for gate in load_config(path).gates] == [0.7]

    @pytest.mark.parametrize("names", [["a"], ["a", "b"], ["a", "b", "c"]])
    def test_a_circle_is_shown(self, write, names):
        for name, following in zip(names, [*names[1:], names[0]], strict=True):
            write(f"{name}.yaml", {"extends": f"{following}.yaml"})
        with pytest.raises(ConfigError, match=r"in a circle: .*a\.yaml -> .*a\.yaml") as caught:
            load_config(write("a.yaml", {"extends": f"{[*names, names[0]][1]}.yaml"}))
        assert caught.value.exit_code == EXIT_WRONG_USAGE

    def test_the_missing_parent_is_named(self, write):
        with pytest.raises(ConfigError, match=r"no configuration file .*nowhere\.yaml"):
            load_config(write("a.yaml", {"extends": "nowhere.yaml"}))

    def test_only_one_file_can_be_extended(self, write):
        with pytest.raises(ConfigError, match="extends must be one file name"):
            load_config(write("a.yaml", {"extends": ["b.yaml", "c.yaml"]}))

    def test_manifest_and_names_are_found_beside_the_file_that_names_them(self, write, tmp_path):
        dataset = {"kind": "table", "manifest": "rows.csv", "class_names": "names.csv"}
        write("shared/base.yaml", merge(MINIMAL, {"dataset": dataset}))
        write("shared/rows.csv", "path,label\n")
        path = write("mine/top.yaml", {"extends": "../shared/base.yaml"})
        config = load_config(path)
        assert config.dataset.manifest == str(tmp_path / "shared/rows.csv")
        # Not beside the file: it is looked for below the dataset's root.
        assert config.dataset.class_names == "names.csv"


class TestOverrides:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("dataset.limit=8", {"dataset": {"limit": 8}}),
            ("dataset.where={split: val}", {"dataset": {"where": {"split": "val"}}}),
            ("tracking.uri=http://host:5000/?a=b", {"tracking": {"uri": "http://host:5000/?a=b"}}),
            ("dataset.limit=", {"dataset": {"limit": None}}),
            (" name = cats", {"name": "cats"}),
        ],
    )
    def test_values_are_yaml(self, text, expected):
        assert parse_override(text) == expected

    @pytest.mark.parametrize("text", ["dataset.limit", "=3", " =3"])
    def test_what_is_no_assignment_is_refused(self, text):
        with pytest.raises(ConfigError, match=r"section\.key=value"):
            parse_override(text)

    def test_what_is_no_yaml_is_refused(self):
        with pytest.raises(ConfigError, match=r"--set gates: .* is not a YAML value"):
            parse_override("gates=[1,")

    def test_a_dotted_path_through_a_value_replaces_it(self, write):
        path = write("a.yaml", MINIMAL)
        with pytest.raises(ConfigError, match=r"name: .*valid string; got a section with first"):
            load_config(path, ["name.first=x"])


class TestMessages:
    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("attribution.smoothgrad.n_sample=3", r"n_sample: .*did you mean n_samples\?"),
            ("dataste.root=x", r"dataste: .*did you mean dataset\?"),
            ("basis.zzz=1", r"basis\.zzz: there is no such key; known keys are wavelet, levels"),
            ("basis.levels=many", r"basis\.levels: .*valid integer.*got 'many'"),
            ("basis.levels=0", r"basis\.levels: .*greater than 0.*got 0"),
            ("attribution.score=logits", r"attribution\.score: .*'logit'.*got 'logits'"),
            ("execution.device=gpu", r"execution\.device: .*got 'gpu'"),
            ("name=a/b", r"name: .*got 'a/b'"),
            ("dataset.max_bad_fraction=5", r"max_bad_fraction: .*less than or equal to 1"),
            ("attribution.smoothgrad.tolerance=0", r"tolerance: .*greater than 0.*got 0"),
            (
                "attribution.smoothgrad={n_samples: 8, tolerance: 0.01}",
                "8 is below min_samples, 10; raise n_samples or lower min_samples",
            ),
            ("analyses.reliance.border=omit", r"border: .*'include' or 'exclude'.*got 'omit'"),
            ("gates=[{metric: a}]", r"gate on a: give exactly one of at_least and at_most"),
            (
                "attribution={smoothgrad: {enabled: false}, "
                "integrated_gradients: {enabled: false}}",
                r"every attribution method is switched off",
            ),
        ],
    )
    def test_the_key_and_the_value_are_named(self, write, override, message):
        path = write("a.yaml", MINIMAL)
        with pytest.raises(ConfigError, match=message) as caught:
            load_config(path, [override])
        assert str(path) in str(caught.value)
        assert "pydantic" not in str(caught.value)

    def test_every_wrong_key_gets_a_line(self, write):
        path = write("a.yaml", {"name": "a", "model": {"nam": "x"}})
        with pytest.raises(ConfigError) as caught:
            load_config(path)
        lines = str(caught.value).splitlines()[1:]
        assert [line.split(":")[0].strip() for line in lines] == [
            "dataset",
            "model.name",
            "model.nam",
        ]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("a: [", "is not valid YAML"),
            ("- a\n- b\n", "must hold sections .*got list"),
            ("", "must hold sections .*got NoneType"),
        ],
    )
    def test_a_file_that_is_no_configuration_is_named(self, write, content, message):
        with pytest.raises(ConfigError, match=message):
            load_config(write("a.yaml", content))

    def test_a_file_that_is_not_text_is_named(self, tmp_path):
        (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ConfigError, match=r"cannot read the configuration .*a\.yaml"):
            load_config(tmp_path / "a.yaml")

    def test_a_folder_is_no_configuration(self, tmp_path):
        with pytest.raises(ConfigError, match="cannot read the configuration"):
            load_config(tmp_path)


class TestDigest:
    def digest(self, **sections):
        return validate_config(merge(MINIMAL, sections), where="the test").digest()

    @pytest.mark.parametrize(
        "sections",
        [
            {"execution": {"device": "cpu", "workers": 9, "max_batch": 1, "runner": "processes"}},
            {"tracking": {"uri": "http://elsewhere:5000", "enabled": False}},
            {"store": {"url": "s3://bucket/audits"}},
            {"gates": [{"metric": "accuracy/top1", "at_least": 0.5}]},
            {"dataset": {"manifest": "/here/rows.csv", "class_names": "/there/names.csv"}},
            {"dataset": {"max_bad_fraction": 0.5}},
        ],
    )
    def test_where_it_runs_and_who_judges_change_nothing(self, sections):
        assert self.digest(**sections) == self.digest()

    @pytest.mark.parametrize(
        "sections",
        [
            {"name": "dogs"},
            {"dataset": {"limit": 10}},
            {"model": {"name": "resnet34"}},
            {"basis": {"levels": 3}},
            {"attribution": {"seed": 1}},
            {"attribution": {"smoothgrad": {"n_samples": 26}}},
            {"store": {"shard_size": 33}},
            {"store": {"mantissa_bits": 16}},
        ],
    )
    def test_what_decides_numbers_changes_it(self, sections):
        assert self.digest(**sections) != self.digest()

    def test_a_benchmark_is_not_what_it_was_with_another_layer_and_no_cap(self):
        """It was the convolution defined last; folders of then are not continued."""
        settings = {"enabled": True}
        benchmark = {"analyses": {"benchmark": settings}}
        layer = {"gradcam_layer": "model.conv"}
        named = {"analyses": {"benchmark": settings | layer}}
        identity = validate_config(merge(MINIMAL, benchmark), where="x").identity()
        assert identity["analyses"]["benchmark"]["gradcam_layer"] == "the last feature map"
        assert self.digest(**named) != self.digest(**benchmark)
        capped = {"faithfulness": {"enabled": True, "budget": 500}, "benchmark": settings}
        identity = validate_config(merge(MINIMAL, {"analyses": capped}), where="x").identity()
        assert identity["analyses"]["benchmark"]["budget"] == 500

    def test_the_machine_does_not_enter_it(self, write, monkeypatch):
        path = write("a.yaml", MINIMAL | {"dataset": {"root": "${WAM_DATA_ROOT}/cats"}})
        digests = set()
        for root in ("/data", "/mnt/elsewhere"):
            monkeypatch.setenv("WAM_DATA_ROOT", root)
            config = load_config(path)
            assert expand(config.dataset.root) == f"{root}/cats"
            digests.add(config.digest())
        assert len(digests) == 1

    def test_a_written_configuration_has_the_same_digest(self):
        config = validate_config(
            MINIMAL | {"dataset": {"where": {"split": ["a", "b"]}, "class_map": {"cat": 3}}},
            where="the test",
        )
        again = AuditConfig.model_validate(json.loads(json.dumps(config.model_dump(mode="json"))))
        assert again.digest() == config.digest()
        assert again == config

    @given(st.permutations(list(MINIMAL)))
    def test_the_order_of_keys_does_not_enter_it(self, order):
        assert validate_config({key: MINIMAL[key] for key in order}, "x").digest() == self.digest()

    def test_the_folder_is_named_after_it(self):
        config = validate_config(MINIMAL, where="the test")
        assert config.folder_name() == f"cats-{config.digest()[:8]}"


class TestPlaces:
    def test_a_missing_variable_says_what_it_is_and_how_to_set_it(self, monkeypatch):
        monkeypatch.delenv("WAM_DATA_ROOT", raising=False)
        with pytest.raises(ConfigError, match=r"needs WAM_DATA_ROOT .*export WAM_DATA_ROOT="):
            expand("${WAM_DATA_ROOT}/x")

    def test_an_unknown_placeholder_names_the_known_ones(self):
        with pytest.raises(ConfigError, match=r"unknown placeholder \$\{HOME\}.*WAM_MODEL_ROOT"):
            expand("${HOME}/x")

    def test_a_missing_package_says_how_to_install_it(self):
        with pytest.raises(ConfigError, match="'no_such_package_here', which is not installed"):
            expand("${package:no_such_package_here}/x")
