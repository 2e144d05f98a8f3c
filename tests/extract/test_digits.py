"""The demo's pictures and backbone: true to their source, stable, and worth something."""

import hashlib
import io
import subprocess
import sys
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from extract import digits
from extract.errors import InputError
from scripts import train_digits_backbone as training

ROOT = Path(__file__).parents[2]
SOURCE = load_digits()
GREY = np.rint(SOURCE.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "digits"
    digits.write_pngs(folder)
    return folder


@pytest.fixture(scope="module")
def backbone():
    model = digits.build()
    model.load_weights(digits.WEIGHTS)
    return model


def decode_with_pillow(path):
    with Image.open(path) as image:
        assert image.mode == "L"
        return np.asarray(image)


def decode_with_opencv(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("decode", [decode_with_pillow, decode_with_opencv])
def test_every_picture_is_its_row_of_load_digits(pictures, decode):
    """Two decoders, because the PNG files are written by hand."""
    paths = list(pictures.rglob("*.png"))

    for path in paths:
        row = int(path.stem)
        assert path.parent.name == str(SOURCE.target[row])
        np.testing.assert_array_equal(
            decode(path), np.kron(GREY[row], np.ones((4, 4), np.uint8)), strict=True
        )
    rows = sorted(int(path.stem) for path in paths)
    assert rows == np.flatnonzero(SOURCE.target >= 5).tolist()


def test_the_classes_are_5_to_9_and_nothing_else_is_written(pictures):
    assert sorted(path.name for path in pictures.iterdir()) == ["5", "6", "7", "8", "9"]
    files = [path for path in pictures.rglob("*") if path.is_file()]
    assert len(files) == 896
    assert {path.suffix for path in files} == {".png"}


def test_the_bytes_stay_the_same(pictures):
    """A folder, and a store made of it, must be known again by a later release."""
    digest = hashlib.sha256()
    for path in sorted(pictures.rglob("*.png")):
        digest.update(path.relative_to(pictures).as_posix().encode() + path.read_bytes())

    assert digest.hexdigest() == "61592aa3f7f92947836720630c6b49f7ca526b850005e79e58cf030eddc6654e"


def test_writing_twice_leaves_the_first_files_alone(tmp_path):
    first = digits.write_pngs(tmp_path)
    before = {path: path.stat() for path in tmp_path.rglob("*.png")}
    second = digits.write_pngs(tmp_path)

    assert first == second == len(before) == 896
    for path, stat in before.items():
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns)


def test_a_crash_halfway_is_made_good(tmp_path):
    digits.write_pngs(tmp_path)
    whole = (tmp_path / "5/0005.png").read_bytes()
    (tmp_path / "5/0005.png").unlink()
    (tmp_path / "5/0005.png.partial").write_bytes(whole[:100])
    digits.write_pngs(tmp_path)

    assert (tmp_path / "5/0005.png").read_bytes() == whole
    assert not list(tmp_path.rglob("*.partial"))


def test_another_file_is_neither_overwritten_nor_joined(tmp_path):
    mine = tmp_path / "9" / "0009.png"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")

    with pytest.raises(InputError, match=r"0009\.png is another file\. Give a folder"):
        digits.write_pngs(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]
    assert mine.read_bytes() == b"mine"


def occupy_a_class(folder):
    (folder / "5").write_text("a file, not a folder")


def occupy_a_picture(folder):
    (folder / "5" / "0005.png").mkdir(parents=True)


def link_to_nowhere(folder):
    (folder / "5").mkdir()
    (folder / "5" / "0005.png").symlink_to(folder / "nowhere")


@pytest.mark.parametrize("occupy", [occupy_a_class, occupy_a_picture, link_to_nowhere])
def test_a_folder_that_cannot_be_filled_is_one_line(tmp_path, occupy):
    occupy(tmp_path)

    with pytest.raises(InputError, match="cannot be put into") as caught:
        digits.write_pngs(tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.partial"))


def test_without_scikit_learn_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(InputError, match="pip install scikit-learn"):
        digits.write_pngs(tmp_path)


def test_writing_pictures_imports_no_framework(tmp_path):
    """Importing scikit-learn alone takes longer than writing all pictures."""
    code = (
        "import sys, pathlib; from extract import digits; "
        "digits.write_pngs(pathlib.Path(sys.argv[1])); print(*sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    loaded = subprocess.check_output(command, text=True, cwd=ROOT).split()

    assert not {"keras", "sklearn", "scipy", "tensorflow"} & set(loaded)


def test_a_png_may_have_any_shape():
    pixels = np.arange(300 * 500, dtype=np.uint32).reshape(300, 500).astype(np.uint8)

    with Image.open(io.BytesIO(digits.encode_png(pixels))) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_the_backbone_takes_pixels_and_gives_a_map():
    model = digits.build()

    assert model.input_shape == (None, 32, 32, 3)
    assert model.output_shape == (None, 4, 4, 64)
    assert [layer.name for layer in model.layers][-3:] == ["conv4", "norm4", "relu4"]


def test_the_weights_are_small_and_the_ones_that_are_named():
    content = digits.WEIGHTS.read_bytes()

    assert len(content) < 300_000
    assert hashlib.sha256(content).hexdigest() == digits.WEIGHTS_SHA256


def test_the_weights_fill_every_layer(backbone):
    keras.utils.set_random_seed(0)
    untrained = digits.build()

    for trained, initial in zip(backbone.weights, untrained.weights, strict=True):
        assert np.abs(trained.numpy() - initial.numpy()).max() > 0, trained.path


def test_features_carry_over_from_0_to_4_to_5_to_9(backbone):
    """The demo shows transfer: its features beat random ones, on digits never seen."""
    keras.utils.set_random_seed(0)
    trained = training.transfer_accuracy(backbone)
    random = training.transfer_accuracy(digits.build())

    assert trained.min() >= 0.97
    assert trained.mean() >= random.mean() + 0.02


def test_training_sees_no_picture_of_5_to_9():
    """No two pictures of load_digits are equal, so that bytes name a picture."""
    images, held_out, labels, held_out_labels = training.training_data()
    seen = {image.tobytes() for image in (*images, *held_out)}
    low, high = (
        {image.astype(np.uint8).tobytes() for image in SOURCE.images[chosen]}
        for chosen in (SOURCE.target < 5, SOURCE.target >= 5)
    )

    assert seen == low
    assert not seen & high
    assert set(labels) == set(held_out_labels) == {0, 1, 2, 3, 4}
    assert not {image.tobytes() for image in images} & {image.tobytes() for image in held_out}


def test_a_patchwork_is_labelled_quarter_by_quarter():
    labels = np.arange(5)
    images = np.broadcast_to(labels[:, None, None], (5, 8, 8)).astype(np.uint8)
    mixed, quarters = training.patchworks(images, labels, 50, np.random.default_rng(0))

    corners = mixed[:, [0, 0, 7, 7], [0, 7, 0, 7]]  # (50, 4)
    np.testing.assert_array_equal(corners, quarters)
    assert set(quarters.ravel()) == {0, 1, 2, 3, 4}


def test_what_is_redrawn_is_the_picture_in_small():
    images = SOURCE.images[:20]
    target = training.redrawn(digits.render(images.astype(np.uint8)))

    np.testing.assert_allclose(target, images.reshape(20, 64) / 16, atol=0.5 / 255 + 1e-6)


def test_jitter_moves_pictures_a_little_and_not_their_type():
    pictures = digits.render(SOURCE.images[:8].astype(np.uint8))
    moved = training.jitter(pictures, np.random.default_rng(0))

    assert (moved.shape, moved.dtype) == (pictures.shape, np.uint8)
    for before, after in zip(pictures, moved, strict=True):
        assert 0.5 < np.corrcoef(before.ravel(), after.ravel())[0, 1] < 1


def test_a_short_training_run_saves_what_build_loads(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "PATCHWORKS", 128)
    backbone, accuracy = training.train()
    paths = [tmp_path / "a.weights.h5", tmp_path / "b.weights.h5"]
    for path in paths:
        backbone.save_weights(path)
    loaded = digits.build()
    loaded.load_weights(paths[0])

    assert 0 <= accuracy <= 1
    assert paths[0].read_bytes() == paths[1].read_bytes()
    for ours, theirs in zip(backbone.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
