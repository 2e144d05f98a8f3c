"""Bytes that TensorFlow decodes are decoded as everywhere else, or refused."""

import io
import struct
from itertools import product

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from extract import pixels, probes
from extract.recipe import PixelPolicy
from heads.saved_model import decode

POLICY = PixelPolicy()
REFUSED = ("cmyk.jpg", "turned.jpg")


def picture():
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return coarse.resize((61, 45), Image.Resampling.BICUBIC)


def encoded(image, format, **options):
    sink = io.BytesIO()
    image.save(sink, format, **options)
    return sink.getvalue()


def exif(orientation, order, kind):
    """Return an EXIF block of one entry; kind 1 is a byte, 3 a short, 4 a long."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    value = struct.pack(order + {1: "Bxxx", 3: "Hxx", 4: "I"}[kind], orientation)
    entry = struct.pack(order + "HHI", 0x0112, kind, 1) + value
    return b"Exif\0\0" + start + struct.pack(order + "IH", 8, 1) + entry + bytes(4)


GOOD = {
    "sharp jpeg": lambda: encoded(picture(), "JPEG", quality=95, subsampling=0),
    "jpeg 4:2:2": lambda: encoded(picture(), "JPEG", quality=75, subsampling=1),
    "jpeg 4:2:0": lambda: encoded(picture(), "JPEG", quality=30, subsampling=2),
    "progressive jpeg": lambda: encoded(picture(), "JPEG", progressive=True),
    "grey jpeg": lambda: encoded(picture().convert("L"), "JPEG"),
    "jpeg of RGB": lambda: encoded(picture(), "JPEG", keep_rgb=True),
    "png": lambda: encoded(picture(), "PNG"),
    "png of 1 bit": lambda: encoded(picture().convert("1"), "PNG"),
    "grey png": lambda: encoded(picture().convert("L"), "PNG"),
    "grey png with alpha": lambda: encoded(picture().convert("LA"), "PNG"),
    "png with palette": lambda: encoded(picture().convert("P"), "PNG"),
    "png with a transparent color": lambda: encoded(picture().convert("P"), "PNG", transparency=5),
    "png with alpha": lambda: encoded(picture().convert("RGBA"), "PNG"),
}
BAD = {
    "gif": (lambda: encoded(picture(), "GIF"), "neither JPEG nor PNG"),
    "webp": (lambda: encoded(picture(), "WEBP"), "neither JPEG nor PNG"),
    "nothing": (lambda: b"", "neither JPEG nor PNG"),
    "cmyk": (lambda: encoded(picture().convert("CMYK"), "JPEG"), "CMYK"),
    "turned": (
        lambda: encoded(picture(), "JPEG", exif=exif(6, ">", 3)),
        "EXIF orientation is not 1",
    ),
    "16 bits": (lambda: encoded(picture().convert("I;16"), "PNG"), "16 bits a channel"),
    "a jpeg that ends early": (lambda: encoded(picture(), "JPEG")[:-300], "Invalid JPEG"),
    "a png that ends early": (lambda: encoded(picture(), "PNG")[:-300], "Invalid PNG"),
}


def run(data, turn=True):
    return decode(tf.constant(data), turn).numpy()


@pytest.mark.parametrize("name", GOOD)
def test_what_is_decoded_is_decoded_as_extraction_does_to_the_bit(name):
    data = GOOD[name]()
    np.testing.assert_array_equal(run(data), pixels.decode(data, POLICY).pixels, strict=True)


@pytest.mark.parametrize("name", BAD)
def test_what_would_come_out_otherwise_is_refused_with_the_reason(name):
    make, reason = BAD[name]
    with pytest.raises(tf.errors.InvalidArgumentError, match=reason):
        run(make())


@pytest.mark.parametrize(("order", "kind", "format"), [*product("<>", (1, 3, 4), ("JPEG", "PNG"))])
def test_pictures_are_refused_exactly_where_exif_turns_them(order, kind, format):
    """Both byte orders, every integer type; 0 and 9 are no orientations, and 1 turns nothing."""
    refused = []
    for orientation in range(10):
        data = encoded(picture(), format, exif=exif(orientation, order, kind))
        try:
            found = run(data)
        except tf.errors.InvalidArgumentError:
            refused.append(orientation)
        else:
            np.testing.assert_array_equal(found, pixels.decode(data, POLICY).pixels)

    assert refused == list(range(2, 9))


def test_a_recipe_that_leaves_pictures_as_they_are_stored_takes_turned_ones():
    data = encoded(picture(), "JPEG", exif=exif(6, "<", 3))
    expected = pixels.decode(data, PixelPolicy(exif_orientation=False)).pixels

    np.testing.assert_array_equal(run(data, turn=False), expected, strict=True)


def test_real_awkward_files_are_equal_or_refused(shared):
    """Of forty: never other pixels, never pixels where extraction finds the picture bad."""
    files = [p for p in sorted((shared / "data" / "awkward").rglob("*")) if p.is_file()]
    taken = 0
    for path in files:
        try:
            found = run(path.read_bytes())
        except tf.errors.InvalidArgumentError:
            continue
        taken += 1
        expected = pixels.decode(path.read_bytes(), POLICY).pixels
        np.testing.assert_array_equal(found, expected, strict=True, err_msg=path.name)
    assert taken >= 10


@pytest.mark.parametrize("name", probes.NAMES)
def test_synthetic_probes_are_taken_but_for_two(name):
    data = probes.synthetic()[name]
    if name in REFUSED:
        with pytest.raises(tf.errors.InvalidArgumentError, match="refused"):
            run(data)
    else:
        np.testing.assert_array_equal(run(data), pixels.decode(data, POLICY).pixels, strict=True)
