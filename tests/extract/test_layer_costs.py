"""`backbones`: names that are searched for, and what each layer gives and costs."""

import json
import re

import pytest

from extract import layer_costs
from extract.backbones import BackboneSpec
from extract.errors import BackboneError
from tests.extract.keras_models import saved, small_model
from tests.extract.test_frozen_graphs import onnx_model


def in_this_process(monkeypatch, capsys):
    """Do a child's work here: the tests have Keras imported already."""

    def run(words, message):
        layer_costs._built(message())
        return capsys.readouterr().out

    monkeypatch.setattr(layer_costs, "in_child", run)


def test_layers_have_shape_size_and_share(cli, monkeypatch, capsys):
    in_this_process(monkeypatch, capsys)
    status, out, _ = cli("backbones", "digits", "--layers", "--json")
    rows = json.loads(out.splitlines()[-1])["layers"]
    by_name = {row["name"]: row for row in rows}

    assert status == 0
    assert by_name["relu4"]["shape"] == [4, 4, 64]
    assert by_name["relu4"]["kib"] == 4.0
    shares = [row["share"] for row in rows]
    assert shares == sorted(shares)
    assert 0 < shares[0] <= shares[-1] <= 1


def test_the_next_command_runs_what_was_listed(cli, monkeypatch):
    cost = layer_costs.LayerCost(
        name="relu", class_name="ReLU", shape=(7, 7, 8), kib=1.5, share=0.5
    )
    monkeypatch.setattr(layer_costs, "layer_costs", lambda spec, size: [cost])
    words = ["mobilenet_v2", "--layers", "--backbone-arg", "alpha=0.35", "--image-size", "96"]
    status, out, _ = cli("backbones", *words)

    assert status == 0
    assert out.splitlines()[-1].endswith(
        "--layer relu:avg --backbone-arg alpha=0.35 --image-size 96"
    )


def test_a_frozen_graph_lists_its_layers(tmp_path):
    path = onnx_model(tmp_path / "m.onnx")
    rows = layer_costs.layer_costs(BackboneSpec(name=str(path), preprocessing="none"), 16)

    assert [row.name for row in rows][-1] == "map"
    assert (rows[-1].shape, rows[-1].kib) == ((4, 14, 14), 4 * 4 * 14 * 14 / 1024)
    assert 0 < rows[-1].share <= 1


def test_a_layer_that_was_made_one_with_later_ones_is_there_when_they_are():
    shares = {"conv": None, "bn": 0.25, "relu": None, "pool": 0.75, "name": None}

    assert layer_costs._filled(shares) == {
        "conv": 0.25,
        "bn": 0.25,
        "relu": 0.75,
        "pool": 0.75,
        "name": 1.0,
    }


@pytest.mark.parametrize("word", ["net_v2", "NetV2", "net-v2"])
def test_a_word_is_looked_for_in_names(cli, word):
    _, out, _ = cli("backbones", "--search", word, "--json")

    names = {row["name"] for row in json.loads(out)["backbones"]}
    assert {"mobilenet_v2", "efficientnet_v2_b0", "inception_resnet_v2"} <= names
    assert not {"vgg16", "mobilenet"} & names


def test_a_file_is_described(cli, tmp_path):
    """By its kind, the images that it takes and its size; the next command is the run's."""
    graph = onnx_model(tmp_path / "m.onnx", external=True)
    keras_model = saved(small_model(size=16), tmp_path / "m.keras")
    any_size = saved(small_model(size=None), tmp_path / "any.keras")
    bytes_of = {path: path.stat().st_size for path in tmp_path.iterdir()}
    expected = {
        graph: (["m.onnx", "frozen graph", "16"], "--preprocessing MODE"),
        keras_model: (["m.keras", "Keras model", "16"], ""),
        any_size: (["any.keras", "Keras model", "any"], "--image-size 224"),
    }
    for path, (cells, options) in expected.items():
        status, out, _ = cli("backbones", path)
        assert status == 0
        assert re.split(" {2,}", out.splitlines()[1])[:3] == cells
        last = f"Next: python -m extract run photos --backbone {path} {options}"
        assert out.splitlines()[-1] == last.rstrip()

    _, out, _ = cli("backbones", graph, "--json")
    (facts,) = json.loads(out.splitlines()[-1])["backbones"]
    assert facts == {
        "name": str(graph),
        "kind": "graph",
        "image_size": 16,
        "bytes": sum(size for path, size in bytes_of.items() if "onnx" in path.name),
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--search", "mobilnet"], "No backbone has 'mobilnet' in its name: did you mean mobilen"),
        (["--layers"], "--layers is about one backbone: give its NAME"),
        (["nowhere.keras"], "There is no backbone nowhere.keras"),
        (["resnet5o"], "unknown backbone 'resnet5o': did you mean resnet50"),
        (["mobilenet", "--layers", "--backbone-arg", "beta=1"], "mobilenet takes alpha=1.0"),
    ],
)
def test_what_cannot_be_listed_is_one_line(cli, words, message):
    status, _, err = cli("backbones", *words)

    assert status == 1
    assert message in err
    assert err.count("\n") == 1


def test_a_backbone_that_cannot_be_built_says_why(monkeypatch, capsys):
    in_this_process(monkeypatch, capsys)
    with pytest.raises(BackboneError, match="digits takes --image-size 32"):
        layer_costs.layer_costs(BackboneSpec(name="digits"), 64)
