"""Arrays: named by their pixels, never decoded, resized as files are, never unpickled."""

import hashlib
import io
import zipfile

import cv2
import numpy as np
import pytest

import extract
from extract.errors import InputError
from extract.reading import array_key, read
from extract.sources import list_images
from tests.helpers import tree

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (5, 12, 9, 3), dtype=np.uint8)


def test_an_npz_has_images_and_labels(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, y=np.array([[3], [1], [3], [0], [10]]))
    listing = list_images(tmp_path / "d.npz")

    assert [(i.path, i.label) for i in listing.items] == [
        ("00000000", "3"),
        ("00000001", "1"),
        ("00000002", "3"),
        ("00000003", "0"),
        ("00000004", "10"),
    ]
    np.testing.assert_array_equal(read(listing, listing.items[2]).data, X[2])


def test_an_npy_has_images(tmp_path):
    np.save(tmp_path / "d.npy", X[..., :1])
    listing = list_images(tmp_path / "d.npy")

    assert [i.label for i in listing.items] == [None] * 5
    np.testing.assert_array_equal(read(listing, listing.items[4]).data, X[4, ..., :1])


def test_the_key_of_an_array_stays_the_same():
    """Stores keep keys for years: type and shape, a line feed, the bytes."""
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    text = b"uint8 (2, 2, 3)\n" + bytes(range(12))

    assert array_key(pixels) == hashlib.sha256(text).hexdigest()
    assert array_key(np.asfortranarray(pixels)) == array_key(pixels)
    assert array_key(pixels.reshape(4, 1, 3)) != array_key(pixels)


@pytest.mark.usefixtures("fake_backbone")
def test_arrays_and_files_of_the_same_pixels_have_the_same_features(tmp_path):
    (tmp_path / "photos").mkdir()
    for index, pixels in enumerate(X):
        cv2.imwrite(str(tmp_path / "photos" / f"{index}.png"), pixels[..., ::-1])
    files = extract.run(tmp_path / "photos", backbone="digits")
    arrays = extract.run(list(X), tmp_path / "arrays", backbone="digits")

    np.testing.assert_array_equal(
        extract.open_store(files.store).load(None).X, extract.open_store(arrays.store).load(None).X
    )


@pytest.mark.usefixtures("fake_backbone")
def test_grey_is_color_of_three_equal_channels(tmp_path):
    grey = extract.run(X[..., :1], tmp_path / "grey", backbone="digits")
    color = extract.run(np.repeat(X[..., :1], 3, axis=3), tmp_path / "color", backbone="digits")

    np.testing.assert_array_equal(
        extract.open_store(grey.store).load(None).X, extract.open_store(color.store).load(None).X
    )


@pytest.mark.usefixtures("fake_backbone")
@pytest.mark.parametrize(
    "images",
    [
        X,
        list(X),
        ((x, str(i % 2)) for i, x in enumerate(X)),
        list(zip(X, [0, 1, 0, 1, 0], strict=False)),
    ],
    ids=["array", "list", "generator of pairs", "list of pairs"],
)
def test_what_python_holds_is_extracted_once(tmp_path, images, fake_backbone):
    first = extract.run(images, tmp_path / "s", backbone="digits")
    again = extract.run(X, tmp_path / "s", backbone="digits")

    assert (first.items, first.extracted, again.extracted) == (5, 5, 0)
    assert first.root_digest == again.root_digest


@pytest.mark.usefixtures("fake_backbone")
def test_an_array_in_memory_is_never_taken_for_the_one_before(tmp_path):
    """Nothing but its bytes tells whether it changed."""
    extract.run(X, tmp_path / "s", backbone="digits")
    changed = X.copy()
    changed[3, 0, 0, 0] ^= 1

    assert extract.run(changed, tmp_path / "s", backbone="digits").extracted == 1


@pytest.mark.usefixtures("fake_backbone")
def test_a_file_of_arrays_is_recognized_by_size_and_time(tmp_path, monkeypatch):
    np.savez(tmp_path / "d.npz", x=X, y=np.arange(5))
    first = extract.run(tmp_path / "d.npz", backbone="digits")
    monkeypatch.setattr("extract.sources.arrays.Arrays.read", None)
    again = extract.run(tmp_path / "d.npz", backbone="digits")

    assert first.store == str(tmp_path / "d.features")
    assert (again.extracted, again.snapshot) == (0, first.snapshot)


BAD = {
    "no x": ({"z": X}, "no array 'x'. Arrays found: z"),
    "float": ({"x": X / 255}, "(5, 12, 9, 3) float64. Expected (n, height, width, 3 or 1) uint8"),
    "channels": ({"x": X[..., :2]}, "(5, 12, 9, 2) uint8. Expected"),
    "grey without channel": ({"x": X[..., 0]}, "(5, 12, 9) uint8. Expected"),
    "empty": ({"x": X[:0]}, "(0, 12, 9, 3) uint8. Expected"),
    "short y": ({"x": X, "y": np.arange(4)}, "y in"),
    "float y": ({"x": X, "y": np.arange(5.0)}, "(5,) float64. Expected (5,) whole numbers"),
    "objects": ({"x": np.array([X, None], object)}, "holds Python objects"),
    "objects in y": ({"x": X, "y": np.array([None] * 5, object)}, "holds Python objects"),
}


@pytest.mark.parametrize(("arrays", "message"), BAD.values(), ids=BAD)
def test_a_bad_file_is_one_line(tmp_path, arrays, message):
    np.savez(tmp_path / "d.npz", **arrays)
    before = tree(tmp_path)

    with pytest.raises(InputError) as caught:
        extract.run(tmp_path / "d.npz", backbone="digits")
    assert message in str(caught.value)
    assert str(caught.value).count(str(tmp_path / "d.npz")) == 1
    assert "\n" not in str(caught.value)
    assert tree(tmp_path) == before


def test_an_npy_of_objects_is_one_line(tmp_path):
    np.save(tmp_path / "d.npy", np.array([X, None], object))

    with pytest.raises(InputError, match="holds Python objects"):
        list_images(tmp_path / "d.npy")


@pytest.mark.parametrize("name", ["d.npz", "d.npy"])
@pytest.mark.parametrize("data", [b"", b"no arrays", b"PK\x03\x04torn"])
def test_a_torn_file_is_one_line(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)

    with pytest.raises(InputError, match=r"d\.np"):
        list_images(tmp_path / name)
    with pytest.raises(InputError, match="There is no file"):
        list_images(tmp_path / f"nowhere-{name}")


@pytest.mark.parametrize("packing", [8, 12, 14, 99, 1])
def test_an_npz_with_damaged_members_is_one_line(tmp_path, packing):
    """As deflated, bzip2, LZMA, or nothing known; 1 stands for one that is encrypted."""
    np.savez(tmp_path / "d.npz", x=X)
    data = bytearray((tmp_path / "d.npz").read_bytes())
    entry = data.index(b"PK\1\2")
    for place in (8, entry + 10) if packing > 1 else ():
        data[place] = packing
    data[entry + 8] |= packing == 1
    (tmp_path / "d.npz").write_bytes(data)

    with pytest.raises(InputError, match="d.npz cannot be read: ") as caught:
        list_images(tmp_path / "d.npz")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([X[0], X[0] / 255], r"Element 1 is \(12, 9, 3\) float64. Expected"),
        ([X[0], (X[0], 1)], "Some elements are"),
        ([(X[0], 1.5)], "A label is text or a whole number. Received: 1.5"),
        ([], "no arrays"),
        (["photos/1.jpg"], "Element 0 is"),
    ],
)
def test_bad_arrays_are_one_line(tmp_path, images, message):
    with pytest.raises(InputError, match=message):
        extract.run(images, tmp_path / "s", backbone="digits")
    assert not (tmp_path / "s").exists()


def test_arrays_need_a_store():
    with pytest.raises(InputError, match="Give store="):
        extract.run(X, backbone="digits")


def test_an_npz_that_claims_more_than_any_memory_holds_is_one_line(tmp_path):
    header = io.BytesIO()
    facts = {"descr": "|u1", "fortran_order": False, "shape": (10**6, 4000, 4000, 3)}
    np.lib.format.write_array_header_1_0(header, facts)
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue() + b"abc")

    with pytest.raises(InputError, match="d.npz cannot be read: Unable to allocate") as caught:
        list_images(tmp_path / "d.npz")
    assert "\n" not in str(caught.value)


def test_a_compressed_npz_with_a_flipped_bit_is_one_line(tmp_path):
    np.savez_compressed(tmp_path / "d.npz", x=np.zeros((5, 40, 40, 3), np.uint8))
    data = bytearray((tmp_path / "d.npz").read_bytes())
    for position in range(60, 64):
        data[position] ^= 0xFF
    (tmp_path / "d.npz").write_bytes(data)

    with pytest.raises(InputError, match="d.npz cannot be read") as caught:
        list_images(tmp_path / "d.npz")
    assert "\n" not in str(caught.value)
