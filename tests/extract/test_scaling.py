"""A wrong scale of pixels is refused with the cure, and a right one is not."""

from pathlib import Path

import keras
import numpy as np
import pytest

import extract
from extract.errors import BackboneError, ScaleError
from extract.preprocessing import parse_preprocessing
from extract.scaling import FIRST_IMAGES, Brightness, check_scaling
from tests.extract.keras_models import as_tf, small_model

PATH = Path("mine.keras")


def probes(size=16):
    return np.random.default_rng(2).uniform(0, 255, (4, size, size, 3)).astype("float32")


def check(model, preprocessing="none"):
    check_scaling(PATH, model, parse_preprocessing(preprocessing), probes())


def rescaling(number=1):
    return keras.layers.Rescaling(1 / 127.5, -1, name=f"rescaling_{number}")


def half():
    return keras.layers.Rescaling(1 / 255, name="to_one")


def own_way(x):
    return keras.ops.divide(x, 255.0)


RIGHT = {
    "trained on -1..1, and told so": lambda: (small_model(trained_on=as_tf), "tf"),
    "trained on 0..255": lambda: (small_model(trained_on=lambda x: x), "none"),
    "trained on 0..1, and told so": lambda: (
        small_model(trained_on=lambda x: x / 255),
        "mean=0,std=1",
    ),
    "never trained": lambda: (small_model(), "none"),
    "scales itself": lambda: (small_model(rescaling(), trained_on=lambda x: x), "none"),
    "scales by an operation": lambda: (small_model(own_way, trained_on=lambda x: x), "none"),
    "augments before it scales": lambda: (
        small_model(keras.layers.RandomFlip(), rescaling(), trained_on=lambda x: x),
        "none",
    ),
}


@pytest.mark.parametrize("case", RIGHT)
def test_a_right_scale_passes(case):
    check(*RIGHT[case]())


@pytest.mark.parametrize(
    ("make", "preprocessing", "words"),
    [
        (
            lambda: small_model(trained_on=as_tf),
            "none",
            "times the variance that layer 'bn' .* Give --preprocessing tf or .*as it was trained",
        ),
        (
            lambda: small_model(trained_on=lambda x: x),
            "tf",
            "Leave --preprocessing out, or give --preprocessing caffe",
        ),
        (
            lambda: small_model(rescaling()),
            "tf",
            "scales pixels itself, in layer 'rescaling_1': .* Leave --preprocessing out",
        ),
        (
            lambda: small_model(own_way),
            "torch",
            "scales pixels itself, in layer '.*divide.*'.* Leave --preprocessing out",
        ),
        (
            lambda: small_model(half(), rescaling()),
            "none",
            "reach layer 'conv' .* between -1 and -0.9922: .* twice, in to_one, rescaling_1",
        ),
        (
            lambda: small_model(half(), trained_on=lambda x: 255 * x),
            "none",
            "expects other pixels than its layer 'to_one' gives",
        ),
    ],
    ids=[
        "divided nowhere",
        "divided, and should not be",
        "twice by --preprocessing",
        "twice by an operation",
        "twice in the graph",
        "another scale in the graph",
    ],
)
def test_a_wrong_scale_is_refused_with_the_cure(make, preprocessing, words):
    with pytest.raises(BackboneError, match=words) as caught:
        check(make(), preprocessing)
    assert "\n" not in str(caught.value)


def test_a_layer_of_another_graph_does_not_mislead():
    """Layers are shared between a model and its parts, and know the calls of both."""
    model = small_model(rescaling())
    keras.Model(model.input, model.get_layer("rescaling_1").output + 1)
    with pytest.raises(BackboneError, match="rescaling_1"):
        check(model, "tf")


def test_real_weights_know_their_scale(shared):
    """MobileNet's first statistics fit pixels in -1..1, and nothing near 0..255."""
    weights = shared / "keras_home" / "models" / "mobilenet_2_5_224_tf_no_top.h5"
    model = keras.applications.MobileNet(
        alpha=0.25, include_top=False, input_shape=(64, 64, 3), weights=None
    )
    model.load_weights(weights)
    check_scaling(PATH, model, parse_preprocessing("tf"), probes(64))
    with pytest.raises(BackboneError, match="'conv1_bn' .* Give --preprocessing tf"):
        check_scaling(PATH, model, parse_preprocessing("none"), probes(64))


@pytest.fixture
def dark(tmp_path, picture):
    """Pictures that were saved after a division by 255: every pixel of them is 0 or 1."""
    import cv2

    for seed in range(2 * FIRST_IMAGES):
        path = picture(tmp_path / "dark" / f"{seed}.png", seed)
        cv2.imwrite(str(path), cv2.imread(str(path)) // 200)
    return tmp_path / "dark"


@pytest.mark.usefixtures("fake_backbone")
@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_images_that_were_divided_before_are_refused_and_leave_nothing(dark, batch_size):
    words = "first 8 images have no pixel above 1: .*by 255 already"
    with pytest.raises(ScaleError, match=words):
        extract.run(dark, batch_size=batch_size)
    assert [path.name for path in dark.parent.iterdir()] == ["dark"]


@pytest.mark.usefixtures("fake_backbone")
def test_a_plan_says_so_too(dark, cli):
    status, _, err = cli("run", dark, "--backbone", "digits", "--plan")

    assert (status, err.count("\n")) == (1, 1)
    assert "by 255 already" in err


@pytest.mark.usefixtures("fake_backbone")
def test_few_dark_images_are_taken(dark):
    for seed in range(FIRST_IMAGES - 1, 2 * FIRST_IMAGES):
        (dark / f"{seed}.png").unlink()

    assert extract.run(dark, backbone="digits", batch_size=1).extracted == FIRST_IMAGES - 1


def test_dark_images_among_others_pass():
    brightness = Brightness()
    for level in (0, 1, 1, 1, 0, 1, 1, 2, 1):
        brightness.check(np.full((2, 2, 3), level, np.float32))
