"""A preview shows the pixels that a run would see, and says what it shows."""

import cv2
import numpy as np
import pytest

from extract import pixels
from extract.augment import Augmentation
from extract.errors import InputError, StoreWriteError
from extract.preview import ACROSS, preview
from extract.reading import image_key
from extract.recipe import PixelPolicy
from extract.views import make_view

AUGMENT = "flip,rotation=0.1"


@pytest.fixture
def drawn(monkeypatch):
    """Pictures and titles, as they are drawn."""
    seen = []

    def note(cell, one):
        seen.append(one)
        real(cell, one)

    real = preview.__globals__["_draw_picture"]
    monkeypatch.setattr("extract.preview._draw_picture", note)
    return seen


def test_nine_images_of_every_class_and_nine_views_of_the_first(photos, drawn, tmp_path):
    found = preview(photos, tmp_path / "p.png", augment=AUGMENT)
    picture = cv2.imread(str(tmp_path / "p.png"))

    assert (found.items, len(found.shown), found.bad, found.views) == (13, 9, 0, 9)
    assert found.augment == "flip=horizontal,rotation=0.1"
    assert [one.title for one in drawn[:9]] == ["cats"] * 5 + ["dogs"] * 4
    assert [one.title for one in drawn[9:11]] == ["view 0, plain", "view 1"]
    assert picture.shape[1] > 2 * ACROSS * 150


def test_the_pixels_are_those_that_a_run_sees(photos, drawn, tmp_path):
    policy = PixelPolicy(image_size=40, crop_to_aspect_ratio=True)
    preview(photos, tmp_path / "p.png", augment=AUGMENT, policy=policy)
    data = (photos / "cats" / "0.png").read_bytes()
    plain, _ = pixels.load(data, policy)

    np.testing.assert_array_equal(drawn[0].pixels, plain)
    for view, one in enumerate(drawn[9:]):
        expected = make_view(plain, Augmentation.parse(AUGMENT), image_key(data), view)
        np.testing.assert_array_equal(one.pixels, expected)


def test_a_bad_image_is_shown_as_bad_and_has_no_views(photos, drawn, tmp_path):
    (photos / "cats" / "$0.jpg").write_bytes(b"no picture")
    found = preview(photos, tmp_path / "p.png", augment=AUGMENT)

    assert (found.bad, drawn[0].pixels) == (1, None)
    assert drawn[9].pixels is drawn[1].pixels


def test_few_images_flat_folders_and_arrays_do(photos, drawn, tmp_path):
    flat = preview(photos / "cats", tmp_path / "flat.png")
    arrays = np.zeros((2, 20, 30, 3), np.uint8)
    pairs = preview([(x, "$unknown_{") for x in arrays], tmp_path / "arrays.png")

    assert (flat.items, len(flat.shown), flat.views) == (6, 6, 0)
    assert [one.title for one in drawn] == [*flat.shown, "$unknown_{", "$unknown_{"]
    assert pairs.shown == ["00000000", "00000001"]


def test_a_picture_is_replaced_and_nothing_else_is(photos):
    out = photos.with_name("photos.preview.png")
    assert preview(photos).out == str(out)
    assert preview(photos).out == str(out)
    out.write_bytes(b"a letter")

    with pytest.raises(InputError, match="is something else than a picture. Give another --out"):
        preview(photos)
    assert out.read_bytes() == b"a letter"
    assert not list(photos.parent.glob(".*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out": "p.jpg"}, "p.jpg does not end with .png"),
        ({"out": "nowhere/p.png"}, "There is no folder"),
        ({"augment": "spin"}, "Unknown augmentation 'spin'"),
    ],
)
def test_what_cannot_be_is_one_line(photos, tmp_path, options, message):
    options = {key: tmp_path / v if key == "out" else v for key, v in options.items()}
    with pytest.raises(InputError, match=message):
        preview(photos, **options)


def test_a_name_that_the_disk_refuses_is_one_line(photos, tmp_path):
    """The disk refuses to remove what it refused to write; as one that is read-only does."""
    with pytest.raises(StoreWriteError, match=r"Cannot write .*pp.png: File name too long"):
        preview(photos, tmp_path / f"{'p' * 250}.png")


def test_no_readable_image_is_one_line(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"no picture")

    with pytest.raises(InputError, match=r"None of 1 images of .* can be read: a.jpg: "):
        preview(tmp_path / "photos")
    with pytest.raises(InputError, match="Arrays have no name to call a picture after"):
        preview(np.zeros((1, 9, 9, 3), np.uint8))


def test_the_command_leads_on_to_the_same_run(cli, photos, tmp_path):
    out = tmp_path / "p.png"
    words = ["preview", photos, "--augment", AUGMENT, "--out", out, "--image-size", 64]
    status, printed, _ = cli(*words)

    assert status == 0
    assert f"{out}: 9 of 13 images, and 9 views of the first: flip=horizontal," in printed
    assert printed.splitlines()[-1] == (
        f"Next: python -m extract run {photos} --augment {AUGMENT} --image-size 64 --views 8"
    )


def test_a_variant_that_is_looked_at_is_the_one_that_runs(cli, photos, tmp_path):
    words = ["--backbone", "mobilenet_v2", "--backbone-arg", "alpha=0.35", "--image-size", 96]
    status, printed, _ = cli("preview", photos, *words, "--out", tmp_path / "p.png")

    assert status == 0
    assert printed.splitlines()[-1].endswith("--backbone-arg alpha=0.35 --image-size 96")


def test_a_frozen_graph_needs_no_preprocessing_to_be_looked_at_with(cli, photos, tmp_path):
    """What it expects of pixels decides nothing that is drawn; the run is what must be told."""
    graph, out = tmp_path / "m.onnx", tmp_path / "p.png"
    graph.write_bytes(b"a graph, which nobody opens where the size is given")
    words = [photos, "--backbone", graph, "--image-size", "64"]
    _, printed, _ = cli("preview", *words, "--out", out)
    _, told, _ = cli("preview", *words, "--out", out, "--preprocessing", "tf")

    run = f"Next: python -m extract run {photos} --backbone {graph} --image-size 64"
    assert printed.splitlines()[-1] == f"{run} --preprocessing MODE"
    assert told.splitlines()[-1] == f"{run} --preprocessing tf"
