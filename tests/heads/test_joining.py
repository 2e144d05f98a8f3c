"""The joined model: plain Keras, raw images in, and the numbers of cached features."""

import json
import subprocess
import sys
import zipfile
from dataclasses import replace

import keras
import numpy as np
import pytest

from extract import pixels, prepare, probes
from extract.engines.engine import relative_distance
from extract.recipe import PixelPolicy
from heads.errors import HeadError, StaleModelError
from heads.joining import FEATURES, class_names, join
from heads.scoring import ACTIVATIONS, Neighbors, Prototype, softmax, unit
from tests.heads.digits_models import digits_model, digits_store
from tests.heads.test_graph_resize import POLICIES, words

SIZES = [(1, 1), (17, 300), (200, 150), (20, 25), (31, 33)]
CLASSES = ["a/b", 'say "x"', "größer als\n"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return digits_store(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def built():
    """Backbones by request."""
    return {}


@pytest.fixture(autouse=True)
def _quick(monkeypatch, built):
    """A backbone is built once per request, not once per test."""
    build = prepare.build

    def remember(request):
        if str(request) not in built:
            built[str(request)] = build(request)
        return built[str(request)]

    monkeypatch.setattr(prepare, "build", remember)


@pytest.fixture
def model(store):
    return digits_model(store)


def png(size, seed=0):
    """Return the bytes of a picture of noise."""
    import cv2

    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return cv2.imencode(".png", noise)[1].tobytes()


def decoded(data, model):
    return pixels.decode(data, model.recipe.pixels).pixels[None]


def features_of(joined, image):
    """Return what the head of a joined model sees."""
    row = keras.Model(joined.input, joined.get_layer(FEATURES).output)
    return np.asarray(row(image, training=False))


@pytest.mark.parametrize("facts", POLICIES, ids=words)
def test_features_inside_are_those_of_extraction_whatever_the_policy(model, facts):
    """Over five awkward sizes: 1e-4 relative is promised."""
    policy = PixelPolicy(image_size=32, **facts)
    model = replace(model, recipe=replace(model.recipe, pixels=policy))
    files = [png(size) for size in SIZES]

    joined = join(model)

    found = [features_of(joined, decoded(data, model)) for data in files]
    extracted = prepare.build(model.request())[2](
        np.stack([pixels.load(data, policy)[0] for data in files]), training=False
    )
    assert relative_distance(np.concatenate(found), extracted) < 1e-4


@pytest.mark.parametrize("widths", [(1,), (2,), (3,), (5, 3), (4, 4, 1)], ids=str)
def test_a_stack_of_affine_maps_gives_what_the_scorer_gives(store, widths):
    classes = tuple("abc"[: max(widths[-1], 2)])
    check_head(digits_model(store, widths=widths, activation="relu", classes=classes))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_that_of_the_scorer(store, activation):
    check_head(digits_model(store, widths=(8, 3), activation=activation))


def test_prototypes_give_what_the_scorer_gives(store, model):
    rng = np.random.default_rng(0)
    prototypes = unit(rng.normal(size=(3, model.width))).astype(np.float32)
    center = rng.normal(size=model.width).astype(np.float32)
    check_head(replace(model, scorer=Prototype(center, prototypes, 7.0)))


def check_head(model):
    """Compare probabilities and logits with the scorer on the very same features."""
    image = decoded(png((40, 50)), model)
    joined, logits = join(model), np.asarray(join(model, "logits")(image, training=False))

    features = features_of(joined, image)
    found = np.asarray(joined(image, training=False))
    np.testing.assert_allclose(found, model.predict_proba(features), rtol=0, atol=1e-6)
    np.testing.assert_allclose(logits, model.logits(features), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(softmax(logits, model.temperature), found, rtol=0, atol=1e-5)


def test_two_classes_are_one_logit_inside_and_two_columns_outside(store):
    joined = join(digits_model(store, widths=(1,), classes=("a", "b")))

    assert joined.get_layer("head_0").kernel.shape == (64, 1)
    assert joined.output_shape == (None, 2)


def test_columns_stand_in_the_order_of_the_model_and_maps_are_flat(store):
    names = ("relu4:none", "relu2:max", "relu4:avg")
    model = digits_model(store, names)
    data = png((40, 50))

    found = features_of(join(model), decoded(data, model))

    _, columns, backbone = prepare.build(model.request())
    outputs = backbone(pixels.load(data, model.recipe.pixels)[0][None], training=False)
    by_name = {c.name: np.asarray(x).reshape(1, -1) for c, x in zip(columns, outputs, strict=True)}
    expected = np.concatenate([by_name[name] for name in names], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_the_head_sees_a_column_that_was_cached_as_float16_rounded(store):
    """And the column beside it as it is."""
    model = digits_model(store, ("relu2:max", "relu4:avg"))
    width = model.row_shapes[0][0]
    halves = replace(model, columns=(replace(model.columns[0], dtype="float16"), model.columns[1]))
    image = decoded(probes.synthetic()["plain.png"], model)

    joined = join(halves, "logits")
    exact = features_of(joined, image)
    rounded = exact.copy()
    rounded[:, :width] = exact[:, :width].astype(np.float16)
    found = np.asarray(joined(image, training=False))

    np.testing.assert_allclose(found, model.logits(rounded), rtol=0, atol=1e-6)
    assert np.abs(found - model.logits(exact)).max() > 1e-5


def test_batches_of_any_size_go_through_predict(model):
    images = np.concatenate([decoded(png((40, 50), seed), model) for seed in range(3)])
    joined = join(model)

    together = joined.predict(images, verbose=0)

    alone = np.concatenate([joined.predict(image[None], verbose=0) for image in images])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("output", ["probabilities", "logits"])
def test_names_of_classes_are_kept_by_saving(model, output, tmp_path):
    joined = join(replace(model, classes=tuple(CLASSES)), output)

    joined.save(tmp_path / "joined.keras")
    loaded = keras.saving.load_model(tmp_path / "joined.keras", safe_mode=True)

    assert class_names(joined) == class_names(loaded) == CLASSES
    assert json.loads(loaded.operations[-1].name) == CLASSES


def test_it_loads_where_headstart_is_not_installed(model, tmp_path):
    joined = join(replace(model, recipe=replace(model.recipe, pixels=PADDED)))
    image = decoded(png((40, 50)), model)
    joined.save(tmp_path / "joined.keras")
    np.save(tmp_path / "image.npy", image)
    code = """
import json, sys
sys.modules["heads"] = sys.modules["extract"] = None
import keras, numpy as np
model = keras.saving.load_model("joined.keras", safe_mode=True)
scores = np.asarray(model(np.load("image.npy"), training=False)).tolist()
print(json.dumps([json.loads(model.operations[-1].name), scores]))
"""
    command = [sys.executable, "-c", code]
    printed = subprocess.check_output(command, cwd=tmp_path, text=True, stderr=subprocess.DEVNULL)

    names, scores = json.loads(printed.splitlines()[-1])
    assert names == list(model.classes)
    np.testing.assert_allclose(scores, joined(image, training=False), rtol=0, atol=1e-6)
    with zipfile.ZipFile(tmp_path / "joined.keras") as archive:
        assert b"heads." not in archive.read("config.json")


PADDED = PixelPolicy(image_size=32, interpolation="bicubic", pad_to_aspect_ratio=True)


def test_the_backbone_stays_frozen_and_the_head_does_not(model):
    joined = join(model)

    assert [v.path for v in joined.trainable_variables] == ["head_0/kernel", "head_0/bias"]


@pytest.mark.parametrize("name", ["graph_digest", "weights_digest", "preprocessing"])
def test_another_backbone_is_refused_by_the_field_that_differs(model, name):
    other = {"preprocessing": replace(model.recipe.preprocessing, flip=True)}.get(name, "0" * 64)
    stale = replace(model, recipe=replace(model.recipe, **{name: other}))

    with pytest.raises(StaleModelError, match=rf"has {name} .* Give --weights"):
        join(stale)


def test_weights_are_looked_for_where_one_says(model):
    with pytest.raises(StaleModelError, match="weights_digest"):
        join(model, weights="random")


def test_heads_that_cannot_become_layers_are_refused(model):
    rows = np.eye(model.width, dtype=np.float32)[:4]
    center = np.zeros(model.width, np.float32)
    knn = replace(model, scorer=Neighbors(rows, np.arange(4) % 3, center, 1, 3))

    with pytest.raises(HeadError, match=r"'neighbors'.*cannot become.*--estimator logistic"):
        join(knn)


def test_features_that_are_not_float32_are_refused(model):
    recipe = replace(model.recipe, precision="bfloat16", signature={"engine": "openvino"})

    with pytest.raises(HeadError, match="bfloat16 features.*--precision float32"):
        join(replace(model, recipe=recipe))


def test_an_unknown_output_is_refused(model):
    with pytest.raises(HeadError, match="one of probabilities, logits. Received: 'scores'"):
        join(model, "scores")


def test_a_model_without_names_of_classes_is_refused():
    inputs = keras.Input((2,))
    with pytest.raises(HeadError, match="bears no class names"):
        class_names(keras.Model(inputs, keras.layers.Dense(2)(inputs)))
