import pytest

from tasks.config import ModelConfig
from tasks.errors import ModelError
from tasks.models import resolve_preprocessing


def rules(source="factory", name="package:function", arguments=None, **preprocessing):
    config = ModelConfig(
        source=source, name=name, arguments=arguments or {}, preprocessing=preprocessing
    )
    return resolve_preprocessing(config)


def test_timm_states_its_own_rules():
    found = rules("timm", "mobilenetv2_100")
    assert (found.resize, found.crop, found.interpolation) == (256, (224, 224), "bicubic")
    assert found.input_shape == (3, 224, 224)
    assert found.mean == (0.485, 0.456, 0.406)
    assert found.std == (0.229, 0.224, 0.225)
    assert (found.scale, found.channel_order) == (1.0, "rgb")


def test_torchvision_states_the_rules_of_its_weights():
    newest = rules("torchvision", "resnet50")
    first = rules("torchvision", "resnet50", {"weights": "IMAGENET1K_V1"})
    assert (newest.resize, newest.crop, newest.interpolation) == (232, (224, 224), "bilinear")
    assert (first.resize, first.crop) == (256, (224, 224))
    assert newest.mean == (0.485, 0.456, 0.406)


def test_every_given_field_replaces_the_library_s():
    found = rules(
        "torchvision", "squeezenet1_0",
        resize=300, crop=227, interpolation="bicubic", channel_order="bgr", scale=255,
        mean=(104, 117, 123), std=(1,),
    )  # fmt: skip
    assert (found.resize, found.crop, found.interpolation) == (300, (227, 227), "bicubic")
    assert found.input_shape == (3, 227, 227)
    assert (found.channel_order, found.scale) == ("bgr", 255)
    assert found.mean == (104, 117, 123)
    assert found.data_mean() == pytest.approx((123 / 255, 117 / 255, 104 / 255))


def test_one_given_field_leaves_the_others():
    found = rules("timm", "mobilenetv2_100", interpolation="bilinear")
    assert found.interpolation == "bilinear"
    assert (found.resize, found.mean) == (256, (0.485, 0.456, 0.406))


def test_timm_s_squashed_input_is_resized_on_both_sides():
    found = rules("timm", "coat_lite_medium_384.in1k")
    assert (found.resize, found.crop) == ((384, 384), (384, 384))


def test_a_way_to_crop_that_has_no_like_here_is_asked_for():
    name = "deepseek_vit_412m.deepseek_v4_1_flash"
    with pytest.raises(ModelError, match=r"preprocessing.resize is needed: .*crop_mode: border"):
        rules("timm", name)
    assert rules("timm", name, resize=800, crop=800).input_shape == (3, 800, 800)


def test_img_size_and_in_chans_reach_the_rules():
    found = rules("timm", "vit_tiny_patch16_224", {"img_size": 96, "in_chans": 1})
    assert found.input_shape == (1, 96, 96)
    assert found.mean == (0.5,)


def test_statistics_for_three_channels_are_not_used_for_one():
    with pytest.raises(ModelError, match=r"preprocessing.mean is needed: .* 1 channels"):
        rules("timm", "mobilenetv2_100", {"in_chans": 1})
    found = rules("timm", "mobilenetv2_100", {"in_chans": 1}, mean=(0.4,), std=(0.2,))
    assert found.input_shape == (1, 224, 224)


def test_a_scale_does_not_meet_the_library_s_statistics():
    with pytest.raises(ModelError, match=r"scale is 255.0, but mean and std would come from"):
        rules("timm", "mobilenetv2_100", scale=255)


@pytest.mark.parametrize("source", ["factory", "torchscript", "export"])
def test_without_a_library_size_and_channels_are_asked_for(source):
    with pytest.raises(ModelError, match=r"model.preprocessing.crop is needed"):
        rules(source, channels=3)
    with pytest.raises(ModelError, match=r"model.preprocessing.crop is needed"):
        rules(source, channels=3, resize=256)
    with pytest.raises(ModelError, match=r"model.preprocessing.channels is needed"):
        rules(source, crop=8)


@pytest.mark.parametrize(
    ("preprocessing", "space"),
    [
        ({"crop": 8}, (8, 8)),
        ({"resize": 10, "crop": (8, 6)}, (8, 6)),
        ({"resize": (10, 12)}, (10, 12)),
        ({"size": (220_500,)}, (220_500,)),
        ({"size": (64, 64, 64)}, (64, 64, 64)),
    ],
)
def test_each_way_to_say_the_size_of_the_input(preprocessing, space):
    found = rules(channels=1, **preprocessing)
    assert found.input_shape == (1, *space)
    assert (found.mean, found.std) == ((), ())


def test_a_size_means_that_nothing_is_resized():
    found = rules("timm", "mobilenetv2_100", size=(96, 96))
    assert (found.resize, found.crop, found.input_shape) == (None, None, (3, 96, 96))


@pytest.mark.parametrize(
    ("preprocessing", "message"),
    [
        ({"crop": 8, "size": (9, 9)}, r"size is \(9, 9\), but resize and crop give \(8, 8\)"),
        ({"crop": 300, "resize": 256}, "a crop of 300 x 300 does not fit"),
        ({"crop": (8, 20), "resize": (10, 10)}, "a crop of 8 x 20 does not fit"),
        ({"crop": 8, "mean": (0.1, 0.2)}, "mean has 2 values but the input has 3 channels"),
        ({"crop": 8, "std": (0.0,)}, "std must be above 0"),
    ],
)
def test_rules_that_contradict_are_refused(preprocessing, message):
    with pytest.raises(ModelError, match=message):
        rules(channels=3, **preprocessing)


def test_a_crop_above_the_library_s_resize_is_refused():
    with pytest.raises(ModelError, match="does not fit images resized to 256"):
        rules("timm", "mobilenetv2_100", crop=288)


@pytest.mark.parametrize(
    ("source", "name", "arguments", "message"),
    [
        ("timm", "resnet5O", {}, r"timm has no model 'resnet5O'; did you mean .*resnet50"),
        ("timm", "resnet50.absent_tag", {}, "absent_tag"),
        ("torchvision", "resnet5O", {}, r"torchvision has no model .* did you mean .*resnet50"),
        ("torchvision", "resnet50", {"weights": "V9"}, "known are IMAGENET1K_V1, IMAGENET1K_V2"),
        ("timm", "vit_tiny_patch16_224", {"img_size": [96, 64]}, "not square"),
    ],
)
def test_unknown_names_get_a_suggestion(source, name, arguments, message):
    with pytest.raises(ModelError, match=message):
        rules(source, name, arguments)


def test_models_without_a_crop_need_one():
    with pytest.raises(ModelError, match=r"model.preprocessing.crop is needed: torchvision"):
        rules("torchvision", "fcn_resnet50")
