"""One batch through everything: failures come before the first shard, with what to do."""

import numpy as np
import pytest

from tasks.errors import ConfigError, DatasetError, ModelError
from tasks.preflight import preflight
from tasks.session import AuditSession, audit_url, choose_device


def check(config):
    return preflight(AuditSession(config))


def test_it_says_what_the_model_and_the_basis_do(toy_config):
    found = check(toy_config())
    assert found.output_shape == (11, 3)
    assert (found.n_classes, found.n_tried) == (3, 11)
    assert found.chance == pytest.approx(1 / 3)
    assert 0 <= found.accuracy <= 1
    assert found.reconstruction_error < 1e-5
    assert found.seconds_per_sample > 0
    assert found.estimated_seconds == pytest.approx(11 * found.seconds_per_sample)


def test_accuracy_near_chance_is_a_warning(toy_config):
    found = check(toy_config())
    assert any("near chance" in warning for warning in found.warnings)


def test_labels_beyond_the_models_classes_are_refused(toy_config, save_toys, pictures):
    save_toys(pictures(5), label=np.array([0, 1, 7, 1, 0]))
    with pytest.raises(ModelError, match=r"labels go up to 7, .*3 classes, 0 to 2.*class_map"):
        check(toy_config())


def test_a_class_the_model_has_not_is_refused(toy_config):
    attribution = {"target": "class", "target_class": 3}
    with pytest.raises(ModelError, match="target_class is 3, but the model has 3 classes"):
        check(toy_config(attribution=attribution))


def test_missing_labels_are_refused_unless_the_prediction_is_explained(
    toy_config, save_toys, pictures
):
    save_toys(pictures(4), label=np.array([0.0, np.nan, 1.0, np.nan]))
    with pytest.raises(DatasetError, match=r"2 of 4 samples have no label.*predicted"):
        check(toy_config())
    assert check(toy_config(attribution={"target": "predicted"})).accuracy is not None


def test_a_dataset_nobody_can_read_is_refused(toy_config, save_toys):
    save_toys(np.full((4, 16, 16, 3), np.nan, dtype=np.float32))
    with pytest.raises(DatasetError, match="none of 4 samples tried can be read; the first says"):
        check(toy_config())


def test_outputs_that_are_not_finite_are_a_warning(toy_config, save_toys, pictures):
    dark = pictures(5)
    dark[1] //= 16
    save_toys(dark)
    found = check(toy_config(model={"name": "wam_audit_toy_models:nan_when_dark"}))
    assert any("not finite" in warning for warning in found.warnings)


@pytest.mark.parametrize("model", ["mixes_samples", "functional_normalisation"])
def test_gradients_that_depend_on_the_batch_are_a_warning(toy_config, model):
    found = check(toy_config(model={"name": f"wam_audit_toy_models:{model}"}))
    assert any("alone and in a batch of two differ" in warning for warning in found.warnings)
    assert not any("alone and in a batch" in warning for warning in check(toy_config()).warnings)


def test_a_model_that_fails_on_real_samples_is_refused(toy_config, save_toys, pictures):
    dark = pictures(5)
    dark[1] //= 16
    save_toys(dark)
    config = toy_config(model={"name": "wam_audit_toy_models:fails_when_dark"})
    with pytest.raises(ModelError, match="too dark to see"):
        check(config)


@pytest.mark.parametrize(
    ("basis", "message"),
    [
        ({"levels": 9}, "basis: .*4"),
        ({"wavelet": "harr"}, "basis: .*harr"),
    ],
)
def test_a_basis_that_does_not_fit_is_refused_before_the_model_is_loaded(
    toy_config, basis, message
):
    session = AuditSession(toy_config(basis=basis))
    with pytest.raises(ConfigError, match=message):
        _ = session.layout
    assert "model" not in vars(session)


def test_a_device_of_another_machine_is_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"execution\.device is cuda:3.*use auto or cpu"):
        choose_device("cuda:3")
    assert choose_device("auto").type == "cpu"


@pytest.mark.parametrize("url", ["gopher://host/x", "nonsense://x"])
def test_a_store_of_an_unknown_kind_is_refused(toy_config, url):
    with pytest.raises(ConfigError, match=r"store\.url .*cannot be opened.*wam-audit\[s3\]"):
        audit_url(toy_config(store={"url": url}))


def test_a_wavelet_with_truncated_filters_is_named_and_passes(toy_config, save_toys, pictures):
    """PyWavelets' dmey is the one wavelet that does not reconstruct exactly."""
    save_toys(pictures(3, size=128))
    sections = {
        "model": {"preprocessing": {"crop": 128}},
        "basis": {"wavelet": "dmey", "levels": 1},
    }
    found = check(toy_config(**sections))
    assert 1e-3 < found.reconstruction_error < 1e-2
    assert any("transform and inverse lose" in warning for warning in found.warnings)
    exact = check(toy_config(**(sections | {"basis": {"wavelet": "sym8", "levels": 1}})))
    assert exact.reconstruction_error < 1e-5
    assert not any("transform and inverse lose" in warning for warning in exact.warnings)


def test_a_transform_that_loses_the_signal_is_refused(toy_config, monkeypatch):
    monkeypatch.setattr("tasks.preflight.reconstruct", lambda coefficients: 0)
    with pytest.raises(ModelError, match=r"basis: .*lose .* of the range .*Choose another wavelet"):
        check(toy_config())


def test_levels_that_lie_on_the_border_are_a_warning(toy_config):
    basis = {"wavelet": "db2", "levels": 2}
    assert not any("border" in warning for warning in check(toy_config(basis=basis)).warnings)
    analyses = {"reliance": {"border": "exclude"}}
    warnings = check(toy_config(basis=basis, analyses=analyses)).warnings
    # 16 samples: of 9 coefficients along an axis 7 are whole at level 1, of 6 at level 2 only 2.
    expected = "few coefficients: 12 of 108 in level 2, 4 of 36 in approximation"
    assert any(expected in warning for warning in warnings)
    assert not any("border" in warning for warning in check(toy_config(analyses=analyses)).warnings)
