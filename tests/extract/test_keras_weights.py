import io
import shutil
import socket

import h5py
import keras
import numpy as np
import pytest

from extract import digits, keras_weights
from extract.backbones import BackboneSpec
from extract.errors import BackboneError
from extract.identity import graph_digest, weights_digest
from extract.keras_graph import build

V2 = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_{}_no_top.h5"
V1 = "mobilenet_2_5_224_tf{}.h5"


def small(weights, name="mobilenet", alpha=0.25):
    return BackboneSpec(name=name, arguments={"alpha": alpha}, weights=str(weights))


@pytest.fixture
def empty_home(tmp_path, monkeypatch):
    """A Keras home without any weights."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras"


@pytest.fixture
def local_source(monkeypatch):
    """Make Keras download MobileNet's weights from a folder; tests have no network."""

    def use(folder):
        module = "keras.src.applications.mobilenet.BASE_WEIGHT_PATH"
        monkeypatch.setattr(module, f"file://{folder}/")

    return use


@pytest.mark.parametrize(
    ("size", "file"),
    [(128, V2.format(128)), (224, V2.format(224)), (75, V2.format(224))],
    ids=["128", "224", "a size without weights of its own"],
)
def test_imagenets_weights_are_found_in_kerass_home(shared, monkeypatch, size, file):
    monkeypatch.setenv("KERAS_HOME", str(shared / "keras_home"))
    built = build(small("imagenet", "mobilenet_v2", 0.35), size)
    assert built.weights_path == shared / "keras_home" / "models" / file
    given = build(small(built.weights_path, "mobilenet_v2", 0.35), size)
    assert weights_digest(built.model) == weights_digest(given.model)


def test_a_classifier_in_the_file_is_left_out(shared):
    models = shared / "keras_home" / "models"
    whole, bare = (build(small(models / V1.format(top)), 64) for top in ("", "_no_top"))
    assert graph_digest(whole.model) == graph_digest(bare.model)
    assert weights_digest(whole.model) == weights_digest(bare.model)


@pytest.mark.parametrize("include_top", [True, False], ids=["with top", "without"])
@pytest.mark.parametrize("kind", ["weights.h5", "h5", "keras"])
def test_weights_that_keras_saved_are_loaded(tmp_path, include_top, kind):
    """A classifier of four classes, as somebody may have trained it."""
    model = keras.applications.MobileNet(
        alpha=0.25,
        weights=None,
        input_shape=(64, 64, 3),
        **({"include_top": True, "classes": 4} if include_top else {"include_top": False}),
    )
    path = tmp_path / f"mine.{kind}"
    if kind == "weights.h5":
        model.save_weights(path)
    elif kind == "keras":
        model.save(path)
    else:
        save_legacy(model, path)
    built = build(small(path), 64)
    assert built.weights_path == path
    expected = model.get_weights()[: len(built.model.get_weights())]
    for found, saved in zip(built.model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(found, saved)


def save_legacy(model, path):
    """Write a whole model as Keras 2 did; Keras 3 warns, and does it."""
    import warnings

    with warnings.catch_warnings(action="ignore"):
        model.save(path)


def test_weights_of_nested_models_are_loaded(tmp_path):
    """ConvNeXt holds four sequential models; files know it so."""
    model = keras.applications.ConvNeXtTiny(
        weights=None, include_top=False, input_shape=(32, 32, 3)
    )
    model.save_weights(tmp_path / "mine.weights.h5")
    spec = BackboneSpec(name="convnext_tiny", weights=str(tmp_path / "mine.weights.h5"))
    assert weights_digest(build(spec, 32).model) == weights_digest(model)


def test_efficientnet_keeps_imagenets_graph_with_imagenets_weights(tmp_path):
    """Keras builds another graph for weights="imagenet" than for the path of the very same file.

    Here the file is made up, with the one thing in it that tells the official ones.
    """
    shape = (32, 32, 3)
    model = keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=shape)
    path = tmp_path / "mine.weights.h5"
    spec = BackboneSpec(name="efficientnet_b0", weights=str(path))
    model.save_weights(path)
    plain = build(spec, 32)
    assert graph_digest(plain.model) == graph_digest(model)

    normalization = model.get_layer(index=2)
    statistics = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 0]
    normalization.set_weights([np.array(values) for values in statistics])
    model.save_weights(path)
    official = build(spec, 32)
    kinds = [type(operation).__name__ for operation in official.model.operations[:4]]
    assert kinds == ["InputLayer", "Rescaling", "Normalization", "Rescaling"]
    assert weights_digest(official.model) == weights_digest(model)


def test_normalization_computes_with_what_a_file_with_a_classifier_holds(tmp_path):
    """`set_weights` alone leaves `Normalization` with the mean and variance it had before."""
    shape, pixels = (224, 224, 3), np.random.default_rng(0).uniform(0, 255, (1, 224, 224, 3))
    model = keras.applications.EfficientNetB0(weights=None, classes=4, input_shape=shape)
    model.get_layer(index=2).adapt(pixels / 255)
    path = tmp_path / "mine.h5"
    save_legacy(model, path)
    built = build(BackboneSpec(name="efficientnet_b0", weights=str(path)), 224)
    kept = keras.Model(model.input, model.get_layer("top_activation").output)
    np.testing.assert_array_equal(built.model(pixels), kept(pixels))


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(path, changes=()):
    """Write arrays, then change bytes of the first member's entry in the directory, and of it."""
    np.savez(path, **{"00000": np.zeros(400, np.float32)})
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\1\2")
    for offset, value in changes:
        data[entry + offset if offset > 8 else offset] = value
    path.write_bytes(data)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b"PK\3\4torn"),
        lambda path: path.write_bytes(npy(np.zeros(3))),
        lambda path: npz(path, [(8, 8), (10, 8)]),  # it says that it is deflated
        lambda path: npz(path, [(8, 14), (10, 14)]),  # packed by LZMA
        lambda path: npz(path, [(10, 99)]),
        lambda path: npz(path, [(9, 8), (46, 255)]),  # a name that is not the UTF-8 it says
    ],
)
def test_damaged_arrays_are_one_line(tmp_path, write):
    write(tmp_path / "mine.npz")
    with pytest.raises(BackboneError, match="mine.npz cannot be read: ") as caught:
        build(BackboneSpec(name="digits", weights=str(tmp_path / "mine.npz")), 32)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("last", ["group", "nothing"])
def test_a_legacy_file_that_names_no_arrays_is_one_line(tmp_path, last):
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file.attrs["layer_names"] = ["dense"]
        file.create_group("dense/group")
        file["dense"].attrs["weight_names"] = [last]
    with pytest.raises(BackboneError, match="does not hold weights of mobilenet") as caught:
        build(small(tmp_path / "mine.h5"), 32)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: path.write_bytes(b"not HDF5"), "does not hold weights of mobilenet with"),
        (lambda path: path.touch(), "does not hold weights of mobilenet with alpha=0.25"),
        (lambda path: save_other(path), "does not hold weights of mobilenet with alpha=0.25"),
        (lambda path: None, "There is no weights file .*mine.*Give --weights a file, imagenet or"),
    ],
    ids=["no HDF5", "empty", "of another backbone", "missing"],
)
@pytest.mark.parametrize("name", ["mine.h5", "mine.weights.h5"])
def test_a_file_without_the_right_weights_is_one_line(tmp_path, name, write, words):
    write(tmp_path / name)
    with pytest.raises(BackboneError, match=words) as caught:
        build(small(tmp_path / name), 64)
    assert "\n" not in str(caught.value)


def save_other(path):
    other = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 3)])
    if path.name.endswith(".weights.h5"):
        other.save_weights(path)
    else:
        save_legacy(other, path)


def test_the_weights_of_another_width_are_refused(shared):
    path = shared / "keras_home" / "models" / "mobilenet_5_0_224_tf_no_top.h5"
    with pytest.raises(BackboneError, match="does not hold weights of mobilenet with alpha=0.25"):
        build(small(path), 64)


def test_a_width_without_imagenet_weights_is_refused_in_keras_words():
    with pytest.raises(BackboneError, match=r"alpha=0\.3 cannot be built.*alpha can be one of"):
        build(small("imagenet", alpha=0.3), 224)


def test_weights_that_are_not_at_hand_are_downloaded_once(shared, empty_home, local_source, capsys):
    local_source(shared / "keras_home" / "models")
    built = build(small("imagenet"), 224)
    assert built.weights_path == empty_home / "models" / V1.format("_no_top")
    assert [path.name for path in empty_home.rglob("*.*")] == [V1.format("_no_top")]
    assert capsys.readouterr().out == ""  # stdout is for results
    local_source("/nowhere")
    assert build(small("imagenet"), 224).weights_path == built.weights_path


def test_without_a_network_the_message_says_what_to_put_where(empty_home, local_source):
    local_source("/nowhere")
    file = V1.format("_no_top")
    with pytest.raises(BackboneError) as caught:
        build(small("imagenet"), 224)
    message = str(caught.value)
    assert message.startswith(f"The weights {file} could not be downloaded (URL fetch failure")
    assert f"Download file:///nowhere/{file} to {empty_home / 'models' / file} yourself" in message
    assert list((empty_home / "models").iterdir()) == []


def test_a_network_that_stands_still_is_given_up(empty_home, monkeypatch):
    """A server that takes the connection and says nothing: Keras alone would wait for ever."""
    monkeypatch.setattr(keras_weights, "NETWORK_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        monkeypatch.setattr("keras.src.applications.mobilenet.BASE_WEIGHT_PATH", url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with pytest.raises(BackboneError, match=r"could not be downloaded .*timed out"):
            build(small("imagenet"), 224)
    assert socket.getdefaulttimeout() is None


def test_a_home_that_cannot_be_written_to_is_an_error(tmp_path, monkeypatch, local_source):
    """Keras alone would use /tmp/.keras without a word, and download again after a reboot."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))
    local_source("/nowhere")
    with pytest.raises(BackboneError, match="could not be downloaded .*Not a directory"):
        build(small("imagenet"), 224)


def test_a_damaged_file_in_kerass_home_is_named(shared, empty_home):
    """Keras writes downloads in place, and MobileNet's files have no digest to check."""
    models = empty_home / "models"
    models.mkdir(parents=True)
    source = shared / "keras_home" / "models" / V1.format("_no_top")
    (models / source.name).write_bytes(source.read_bytes()[:5000])
    with pytest.raises(BackboneError, match=f"{source.name} cannot be read: .*Delete it, and run"):
        build(small("imagenet"), 224)


def test_a_file_with_another_digest_than_kerass_is_refused(empty_home):
    models = empty_home / "models"
    models.mkdir(parents=True)
    name = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    (models / name).write_bytes(b"something else")
    with pytest.raises(BackboneError, match=f"^{models / name} is not the file that Keras asks"):
        build(BackboneSpec(name="vgg16"), 32)


def test_our_own_backbone_brings_its_weights():
    built = build(BackboneSpec(name="digits"), 32)
    assert built.weights_path == digits.WEIGHTS
    random = build(BackboneSpec(name="digits", weights="random"), 32)
    assert weights_digest(built.model) != weights_digest(random.model)


def test_keras_finds_its_own_files_again_afterwards(shared, tmp_path, monkeypatch):
    """`get_file` is replaced only while a backbone is built, and only in its thread."""
    monkeypatch.setenv("KERAS_HOME", str(shared / "keras_home"))
    build(small("imagenet"), 224)
    (tmp_path / "source").write_text("x")
    url = (tmp_path / "source").as_uri()
    from keras.src.utils import file_utils

    path = file_utils.get_file("copy", url, cache_dir=tmp_path, cache_subdir="")
    assert path == str(tmp_path / "copy")
    shutil.rmtree(tmp_path)
