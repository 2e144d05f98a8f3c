import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import pytest

from extract import backbones
from extract.backbones import BackboneSpec, catalogue, entry, keras_home, parse_arguments
from extract.cli_backbones import looked_at
from extract.errors import BackboneError, InputError
from scripts import make_backbone_table

ROOT = Path(__file__).parents[2]


def test_every_application_is_in_the_catalogue():
    assert set(catalogue()) == {*make_backbone_table.applications(), "digits"}
    assert list(catalogue()) == sorted(catalogue())


@pytest.mark.parametrize(
    "name",
    ["densenet121", "digits", "efficientnet_b0", "mobilenet", "resnet50"],
)
def test_the_catalogue_is_what_the_script_writes(name):
    """Small ones only: all of them take minutes."""
    assert make_backbone_table.make_entry(name) == entry(name)


def test_a_name_is_a_class_in_snake_case():
    names = {item.class_name: name for name, item in catalogue().items() if name != "digits"}
    assert {class_name: make_backbone_table.snake_case(class_name) for class_name in names} == names
    assert all(hasattr(keras.applications, class_name) for class_name in names)


def test_the_catalogue_needs_no_framework():
    code = "import sys; from extract import backbones; backbones.catalogue(); print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).split()
    assert not {"keras", "tensorflow", "numpy"} & set(loaded)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("moblenet", "mobilenet, mobilenet_v2"),
        ("MobileNetV2", "mobilenet_v2"),
        ("resnet50v2", "resnet50_v2"),
        ("ResNet50V2", "resnet50_v2"),
        ("efficientnetv2-s", "efficientnet_v2_s"),
        ("NASNetMobile", "nasnet_mobile"),
        ("ConvNeXtXLarge", "convnext_xlarge"),
        ("vgg-16", "vgg16"),
    ],
)
def test_an_unknown_name_is_met_by_the_nearest_ones(name, near):
    with pytest.raises(BackboneError) as caught:
        entry(name)
    assert str(caught.value) == (
        f"unknown backbone {name!r}: did you mean {near}? `python -m extract backbones` lists all."
    )


@pytest.mark.parametrize("file", ["config.json", "saved_model.pb"])
def test_a_name_of_the_catalogue_is_that_whatever_lies_here(tmp_path, monkeypatch, file):
    """A folder of one's own results is often called after the backbone."""
    (tmp_path / "resnet50").mkdir()
    (tmp_path / "resnet50" / file).write_text("{}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    assert BackboneSpec(name="resnet50").kind == "catalogue"
    assert looked_at("resnet50").kind == "catalogue"
    assert looked_at("./resnet50").name.endswith(str(tmp_path / "resnet50"))


def test_a_name_like_no_other_is_met_by_the_list_alone():
    with pytest.raises(BackboneError, match=r"^unknown backbone 'cats'\. `python -m extract"):
        BackboneSpec(name="cats")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], {}),
        (["alpha=0.35"], {"alpha": 0.35}),
        (["depth-multiplier=1"], {"depth_multiplier": 1}),
        (["minimalistic=True", " alpha = 1e0 "], {"minimalistic": True, "alpha": 1.0}),
        (["minimalistic=false"], {"minimalistic": False}),
        (["mode=a=b"], {"mode": "a=b"}),
    ],
    ids=["none", "float", "int", "two", "false", "text"],
)
def test_arguments_are_read_as_numbers_switches_and_texts(texts, expected):
    arguments = parse_arguments(texts)
    assert arguments == expected
    assert [type(x) for x in arguments.values()] == [type(x) for x in expected.values()]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["alpha"], r"NAME=VALUE, such as alpha=0\.35\. Received: 'alpha'"),
        (["=1"], "Received: '=1'"),
        (["alpha="], "Received: 'alpha='"),
        (["two words=1"], "Received: 'two words=1'"),
        (["alpha=1", "alpha=2"], "alpha of the backbone is given twice. Received: 'alpha=2'"),
    ],
    ids=["no value", "no name", "empty value", "no identifier", "twice"],
)
def test_what_is_no_argument_is_refused(texts, words):
    with pytest.raises(InputError, match=words):
        parse_arguments(texts)


@pytest.mark.parametrize("name", backbones.REFUSED_ARGUMENTS)
def test_arguments_that_are_ours_are_refused_with_the_reason(name):
    reason = backbones.REFUSED_ARGUMENTS[name]
    with pytest.raises(BackboneError, match=f"{name} of vgg16 cannot be set: {reason}"):
        BackboneSpec(name="vgg16", arguments={name: True})


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("mobilenet_v2", {"alhpa": 0.5}, r"mobilenet_v2 takes alpha=1\.0\. Received: alhpa=0\.5"),
        ("vgg16", {"alpha": 0.5}, r"vgg16 takes no arguments\. Received: alpha=0\.5"),
        ("mobilenet_v2", {"alpha": "big"}, r"alpha of mobilenet_v2 is of type float.*'big'"),
        ("mobilenet_v3_small", {"minimalistic": 1}, r"of type bool, such as False\. Received: 1"),
        ("mobilenet", {"depth_multiplier": 1.5}, r"of type int, such as 1\. Received: 1\.5"),
    ],
    ids=["unknown", "takes none", "text for float", "int for bool", "float for int"],
)
def test_arguments_that_the_backbone_does_not_take_are_refused(name, arguments, words):
    with pytest.raises(BackboneError, match=words):
        BackboneSpec(name=name, arguments=arguments)


def test_only_arguments_that_differ_from_the_defaults_belong_into_a_recipe():
    spec = BackboneSpec(name="mobilenet", arguments={"alpha": 0.5, "depth_multiplier": 1})
    assert spec.changed_arguments == {"alpha": 0.5}


def test_a_whole_number_for_a_float_is_a_float():
    """MobileNetV3 names its weights file by str(alpha), and the recipe by JSON."""
    spec = BackboneSpec(name="mobilenet_v3_small", arguments={"alpha": 2})
    assert repr(spec.changed_arguments) == "{'alpha': 2.0}"


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("/data/keras", Path("/data/keras")),
        ("~/k", Path.home() / "k"),
        (None, Path.home() / ".keras"),
    ],
    ids=["set", "with ~", "unset"],
)
def test_keras_home_is_where_keras_looks(monkeypatch, variable, expected):
    if variable is None:
        monkeypatch.delenv("KERAS_HOME", raising=False)
    else:
        monkeypatch.setenv("KERAS_HOME", variable)
    assert keras_home() == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], "no"),
        (["mobilenet_2_5_224_tf_no_top.h5"], "variant"),
        (["mobilenet_1_0_224_tf_no_top.h5"], "yes"),
        (["mobilenet_1_0_224_tf.h5", "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"], "no"),
    ],
    ids=["nothing", "another width", "the default", "others"],
)
def test_weights_state_tells_which_files_are_at_hand(tmp_path, monkeypatch, files, expected):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    for name in files:
        (tmp_path / "models" / name).touch()
    assert backbones.weights_state(entry("mobilenet")) == expected


def test_embedded_weights_are_looked_for_in_the_package():
    item = entry("digits")
    assert backbones.weights_state(item) == "yes"
    assert backbones.weights_state(replace(item, weights_file="none.weights.h5")) == "no"


def test_real_weights_are_found_as_variants(shared, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(shared / "keras_home"))
    states = {name: backbones.weights_state(item) for name, item in catalogue().items()}
    states.pop("digits")
    found = {name: state for name, state in states.items() if state != "no"}
    assert found == {"mobilenet": "variant", "mobilenet_v2": "variant"}
