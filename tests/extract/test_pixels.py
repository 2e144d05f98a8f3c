import io
import re
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, features

from extract import image_limits, pillow_formats
from extract import pixels as module
from extract.errors import ImageError
from extract.image_limits import MAX_BYTES, MAX_PIXELS, MAX_SIDE
from extract.pixels import decode, decoder_signature, load
from extract.recipe import PixelPolicy
from extract.resize import resize

DEFAULT = PixelPolicy(image_size=32)
AS_STORED = PixelPolicy(image_size=32, exif_orientation=False)
TRUNCATED = "truncated: picture data ends early"
needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")


def encode(picture, form, **options):
    """Bytes of a Pillow image, or of an array."""
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def scene(height=30, width=40):
    """Smooth waves with noise on top: all parts of a codec have something to do, (h, w, 3)."""
    y, x = np.arange(height)[:, None, None], np.arange(width)[:, None]
    waves = 100 + 55 * np.sin(x / 5 + np.arange(3)) + 40 * np.cos(y / 7)
    return (waves + np.random.default_rng(0).integers(0, 40, waves.shape)).astype(np.uint8)


def exif(orientation, order="<", kind=3):
    """An EXIF block with nothing but an orientation; kind 3 is a short, 4 a long."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    value = struct.pack(order + ("H2x" if kind == 3 else "I"), orientation)
    entry = struct.pack(order + "HHI", 0x0112, kind, 1) + value
    return (
        b"Exif\0\0" + start + struct.pack(order + "IH", 8, 1) + entry + struct.pack(order + "I", 0)
    )


def png_chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_png_chunk(png, name, body):
    """Put a chunk right after IHDR."""
    return png[:33] + png_chunk(name, body) + png[33:]


def by_pillow(data):
    """What people get who write `ImageOps.exif_transpose(Image.open(...)).convert("RGB")`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def outcome(data):
    """What `decode` returns or raises."""
    try:
        return decode(data, DEFAULT)
    except ImageError as error:
        return error


# Real files that break readers


@dataclass(frozen=True)
class Bad:
    stage: str
    reason: str


WARNED = "warned"
SIXTEEN_BITS = "16 bits"
NOT_TURNED = "not turned"

# What becomes of every file: (h, w) and how its pixels relate to `by_pillow`, or stage and reason.
AWKWARD = {
    "16bit.cropped.tif": ((64, 64), SIXTEEN_BITS),
    "1_trns.png": ((64, 64), "as Pillow"),
    "Thumbs.db": Bad("header", "not an image: the first bytes are d0cf11e0"),
    "broken_data_stream.png": Bad("decode", "broken PNG: unrecognized data stream contents"),
    "chi.gif": ((240, 320), "as Pillow"),
    "compression.tif": ((10, 10), "as Pillow"),
    "exif_Landscape_1.jpg": ((1200, 1800), "as Pillow"),
    "exif_Portrait_3.jpg": ((1800, 1200), "as Pillow"),
    "exif_typeerror.jpg": ((531, 800), "as Pillow"),
    "flower.jpg": ((360, 480), "as Pillow"),
    "flower2.webp": ((225, 300), "as Pillow"),
    "hopper.gif": ((128, 128), "as Pillow"),
    "hopper_bad_exif.jpg": ((500, 500), WARNED),  # 1214 extraneous bytes before a restart
    "hopper_bw_500.png": ((500, 500), "as Pillow"),
    "hopper_idat_after_image_end.png": ((128, 128), "as Pillow"),
    "hopper_orientation_3.jpg": ((128, 128), "as Pillow"),
    "hopper_orientation_8.jpg": ((128, 128), "as Pillow"),
    "icc_profile_big.jpg": ((250, 425), "as Pillow"),
    "iss634.webp": ((245, 245), "as Pillow"),
    "junk_jpeg_header.jpg": ((768, 1024), WARNED),  # 5 extraneous bytes before a table
    "l_trns.png": ((64, 64), "as Pillow"),
    "made_1px.jpg": ((1, 1), "as Pillow"),
    "made_gray16.png": ((160, 160), SIXTEEN_BITS),
    "made_png_named.jpg": ((374, 500), "as Pillow"),
    "made_truncated_half.jpg": Bad("decode", TRUNCATED),
    "made_webp_named.jpg": ((374, 500), "as Pillow"),
    "multiple_exif.jpg": ((1, 1), "as Pillow"),
    "n9151jpg": ((409, 580), "as Pillow"),
    "orientation_rectangle.jpg": ((2, 1), "as Pillow"),
    "p_trns_single.png": ((64, 64), "as Pillow"),
    "pil123p.png": ((150, 162), "as Pillow"),
    "pil_sample_cmyk.jpg": ((100, 100), "as Pillow"),
    "progressive_photo.jpg": ((236, 343), "as Pillow"),
    "tRNS_null_1x1.png": ((1, 1), "as Pillow"),
    "truncated_app14.jpg": ((100, 100), WARNED),  # one extraneous byte before a table
    "truncated_end_chunk.png": Bad("decode", TRUNCATED),
    # All ten scans are there; the second byte of the end marker is not. Pillow refuses it.
    "truncated_jpeg.jpg": ((100, 100), WARNED),
    "ultrahdr.jpg": Bad("decode", TRUNCATED),
    "xmp_tags_orientation.png": ((268, 326), NOT_TURNED),
    "zero_width.gif": Bad("header", "broken GIF"),
}


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_files_become_what_the_table_says(shared, name):
    data = (shared / "data" / "awkward" / name).read_bytes()
    expected = AWKWARD[name]
    if isinstance(expected, Bad):
        with pytest.raises(ImageError) as caught:
            decode(data, DEFAULT)
        assert caught.value.stage == expected.stage
        assert caught.value.reason.startswith(expected.reason)
        return
    size, how = expected

    decoded = decode(data, DEFAULT)

    assert decoded.pixels.shape == (*size, 3)
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.flags.c_contiguous
    assert (decoded.warning is not None) == (how == WARNED)
    if how == SIXTEEN_BITS:
        values = np.asarray(Image.open(io.BytesIO(data))).astype(np.float64)
        reference = np.rint(values / 257)[..., None].repeat(3, axis=2)
    elif how == NOT_TURNED:  # Pillow follows the XMP packet, we do not
        reference = by_pillow(data)[::-1, ::-1]
    else:
        reference = by_pillow(data + b"\xd9" if name == "truncated_jpeg.jpg" else data)
    np.testing.assert_array_equal(decoded.pixels, reference)


def test_the_table_covers_the_folder(shared):
    assert set(AWKWARD) == {path.name for path in (shared / "data" / "awkward").iterdir()}


# JPEG


@pytest.mark.parametrize("folder", ["beans_256px", "cats_dogs_200px", "hymenoptera"])
def test_real_photos_decode_to_the_bits_of_pillow(shared, folder):
    paths = [p for p in sorted((shared / "data" / folder).rglob("*")) if p.is_file()]
    for path in paths[:: len(paths) // 12]:
        data = path.read_bytes()

        np.testing.assert_array_equal(decode(data, DEFAULT).pixels, by_pillow(data), str(path))


@pytest.mark.parametrize("sampling", ["411", "420", "422", "440", "444"])
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (16, 16), (33, 50)])
def test_every_chroma_sampling_decodes_to_the_bits_of_pillow(sampling, size):
    flag = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{sampling}")
    _, coded = cv2.imencode(".jpg", scene(*size), [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, flag])

    decoded = decode(coded.tobytes(), DEFAULT)

    assert decoded.warning is None
    np.testing.assert_array_equal(decoded.pixels, by_pillow(coded.tobytes()))


def test_a_sampling_without_a_name_is_decoded_too():
    """TurboJPEG refuses 3 x 1; libjpeg, and so Pillow, decodes it."""
    data = bytearray(encode(scene(8, 8), "JPEG", subsampling=0))
    data[data.index(b"\xff\xc0") + 11] = 0x31

    decoded = decode(bytes(data), DEFAULT)

    assert decoded.warning is None
    np.testing.assert_array_equal(decoded.pixels, by_pillow(bytes(data)))


@pytest.fixture(params=["baseline", "progressive", "restarts", "grey", "cmyk"])
def jpeg(request):
    options = {"progressive": {"progressive": True}, "restarts": {"restart_marker_blocks": 2}}
    modes = {"grey": "L", "cmyk": "CMYK"}
    picture = Image.fromarray(scene()).convert(modes.get(request.param, "RGB"))
    return encode(picture, "JPEG", **options.get(request.param, {}))


def test_a_jpeg_cut_anywhere_is_bad_unless_only_its_end_marker_is_missing(jpeg):
    """To the last byte: a byte less of picture data is noticed, whatever the kind of JPEG."""
    whole = decode(jpeg, DEFAULT)
    ends = [len(jpeg) - missing for missing in range(1, 9)]
    for end in [*ends, *range(3, len(jpeg), 17)]:
        if end >= len(jpeg) - 2:
            decoded = decode(jpeg[:end], DEFAULT)
            assert decoded.warning == "the end marker is missing"
            np.testing.assert_array_equal(decoded.pixels, whole.pixels)
        else:
            with pytest.raises(ImageError):
                decode(jpeg[:end], DEFAULT)


def test_a_progressive_jpeg_cut_between_scans_is_bad():
    """libjpeg decodes it without a word: the picture is all there, only blurred."""
    data = encode(scene(), "JPEG", progressive=True)
    scans = [match.start() for match in re.finditer(b"\xff\xda", data)]
    assert len(scans) > 5
    # A table may precede the next scan; where none does, the cut is clean at the scan itself.
    tables = [match.start() for match in re.finditer(b"\xff\xc4", data) if match.start() > scans[0]]
    for cut in scans[1:] + tables:
        with pytest.raises(ImageError) as caught:
            decode(data[:cut], DEFAULT)
        assert str(caught.value) == f"decode: {TRUNCATED}"


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_an_end_marker_that_comes_too_early_hides_nothing(jpeg, kept):
    start = jpeg.index(b"\xff\xda")
    cut = start + int((len(jpeg) - start) * kept)

    with pytest.raises(ImageError):
        decode(jpeg[:cut].rstrip(b"\xff") + b"\xff\xd9" + b"more" * 10, DEFAULT)


@pytest.mark.parametrize(
    ("place", "warning"),
    [
        ("before a table", r"Corrupt JPEG data: 40 extraneous bytes before marker 0xdb"),
        ("before the end", r"Corrupt JPEG data: \d+ extraneous bytes before marker 0xd9"),
        ("after the end", "None"),
        ("instead of the end", "the end marker is missing"),
    ],
)
def test_junk_in_a_jpeg_is_at_most_a_warning(place, warning):
    data = encode(scene(), "JPEG")
    body, end = data[:-2], data[-2:]
    at = data.index(b"\xff\xdb")
    junk = b"junk" * 10  # a few bytes before the end go unseen into the decoder's bit buffer
    odd = {
        "before a table": data[:at] + junk + data[at:],
        "before the end": body + junk + end,
        "after the end": data + junk,
        "instead of the end": body + junk,
    }[place]

    decoded = decode(odd, DEFAULT)

    assert re.fullmatch(warning, str(decoded.warning))
    np.testing.assert_array_equal(decoded.pixels, decode(data, DEFAULT).pixels)


def test_junk_does_not_hide_that_data_is_missing():
    """The junk is all that libjpeg reports then; Pillow has the last word."""
    data = encode(scene(), "JPEG")
    at = data.index(b"\xff\xdb")

    with pytest.raises(ImageError, match=TRUNCATED):
        decode(data[:at] + b"junk" + data[at:-200], DEFAULT)


# All other formats

OTHERS = {
    "png": ("PNG", {}),
    "gif": ("GIF", {}),
    "animated gif": ("GIF", {"save_all": True, "append_images": [Image.new("RGB", (40, 30))]}),
    "bmp": ("BMP", {}),
    "lossy webp": ("WEBP", {}),
    "lossless webp": ("WEBP", {"lossless": True}),
    "animated webp": ("WEBP", {"save_all": True, "append_images": [Image.new("RGB", (40, 30))]}),
    "tiff": ("TIFF", {}),
    "lzw tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "jpeg tiff": ("TIFF", {"compression": "jpeg"}),
    "big tiff": ("TIFF", {"big_tiff": True}),
}


@pytest.fixture(params=OTHERS)
def other(request):
    form, options = OTHERS[request.param]
    return encode(scene(), form, **options)


def test_other_formats_are_what_pillow_makes_of_them(other):
    """The first frame where there are several."""
    decoded = decode(other, DEFAULT)

    assert decoded.warning is None
    assert decoded.pixels.shape == (30, 40, 3)
    np.testing.assert_array_equal(decoded.pixels, by_pillow(other))


def test_a_cut_file_is_bad_or_the_same_picture(other):
    """A file may end in what is no picture data: a trailer, or further frames."""
    whole = decode(other, DEFAULT).pixels
    for end in range(1, len(other), max(len(other) // 60, 1)):
        cut = outcome(other[:end])

        if isinstance(cut, ImageError):
            assert cut.stage in ("header", "decode")
        else:
            np.testing.assert_array_equal(cut.pixels, whole)


@needs_avif
def test_avif_needs_no_extra_where_pillow_has_it():
    data = encode(scene(), "AVIF")

    np.testing.assert_array_equal(decode(data, DEFAULT).pixels, by_pillow(data))


def box(brand, *others):
    """The first box of a HEIC or AVIF file."""
    body = b"ftyp" + brand + bytes(4) + b"".join(others)
    return struct.pack(">I", len(body) + 4) + body + bytes(64)


@pytest.mark.parametrize("brands", [(b"heic",), (b"mif1", b"heic"), (b"msf1", b"hevc")])
def test_heic_without_its_extra_says_what_to_install(monkeypatch, brands):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # the import fails

    with pytest.raises(ImageError) as caught:
        decode(box(*brands), DEFAULT)

    assert caught.value.stage == "header"
    assert caught.value.reason == 'HEIC needs an extra: pip install "headstart[heic]"'


def test_avif_without_any_reader_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setitem(sys.modules, "PIL.AvifImagePlugin", None)
    monkeypatch.delattr("PIL.AvifImagePlugin", raising=False)

    with pytest.raises(ImageError, match=r"AVIF needs an extra: pip install \"headstart\[heic\]\""):
        decode(box(b"mif1", b"avif"), DEFAULT)


def test_heic_decodes_with_its_extra():
    """Turned by the container itself, so the EXIF block does not turn it again."""
    heif = pytest.importorskip("pillow_heif", reason='needs pip install "headstart[heic]"')
    stream = io.BytesIO()
    picture = heif.from_pillow(Image.fromarray(scene()))
    picture.info["exif"] = exif(6)
    picture.save(stream, quality=95)

    decoded = decode(stream.getvalue(), DEFAULT)

    assert decoded.pixels.shape in {(30, 40, 3), (40, 30, 3)}
    turned = scene() if decoded.pixels.shape[0] == 30 else np.rot90(scene(), -1)
    assert np.abs(decoded.pixels.astype(int) - turned).mean() < 12  # HEVC is lossy on noise


# Kinds of picture

GREY = scene()[..., 0]
ALPHA = scene()[..., 1]
COLOR = scene()
WIDE = np.random.default_rng(1).integers(0, 2**16, (30, 40, 4), dtype=np.uint16)
WIDE[0, :4, :3] = np.array([0, 128, 129, 65535], np.uint16)[:, None]  # ends, and around a half


def grey(levels):
    return np.repeat(levels[..., None], 3, axis=2)


def to_8_bits(values):
    return np.rint(values / 257)


def by_opencv(suffix, array):
    """OpenCV writes 16-bit color, which Pillow cannot; it takes BGR."""
    ordered = array if array.ndim == 2 else array[..., [2, 1, 0, 3][: array.shape[2]]]
    return cv2.imencode(suffix, ordered)[1].tobytes()


def palette_png(**options):
    return encode(Image.fromarray(COLOR).quantize(16, dither=0), "PNG", **options)


def palette_colors():
    return np.asarray(Image.fromarray(COLOR).quantize(16, dither=0).convert("RGB"))


def tiff_of(bits, body, *, sample_format=1, order="<", orientation=None):
    """An uncompressed grey TIFF of 4 x 2 pixels, in number types that Pillow does not write.

    Sample format 1 is unsigned, 2 signed, 3 floating point.
    """
    tags = {256: 4, 257: 2, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: 2, 279: len(body)}
    tags[339] = sample_format
    if orientation:
        tags[274] = orientation
    entries = [struct.pack(order + "HHIHxx", tag, 3, 1, tags[tag]) for tag in sorted(tags)]
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(body))
    return start + body + struct.pack(order + "H", len(tags)) + b"".join(entries) + bytes(4)


TWELVE_BITS = b"".join(
    struct.pack(">I", (a << 12 | b) << 8)[:3] for a, b in [(0, 4095), (2048, 1024)] * 2
)

KINDS = {
    "grey": lambda: (encode(GREY, "PNG"), grey(GREY)),
    "grey and alpha": lambda: (
        encode(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)]), "PNG"),
        grey(GREY),
    ),
    "one bit": lambda: (
        encode(Image.fromarray(GREY > 100), "PNG"),
        grey((GREY > 100) * np.uint8(255)),
    ),
    "palette": lambda: (palette_png(), palette_colors()),
    "palette, one color transparent": lambda: (palette_png(transparency=3), palette_colors()),
    "palette with alpha": lambda: (
        palette_png(transparency=bytes(range(0, 256, 16))),
        palette_colors(),
    ),
    "color and alpha": lambda: (encode(np.dstack([COLOR, ALPHA]), "PNG"), COLOR),
    "color, one transparent": lambda: (encode(COLOR, "PNG", transparency=(1, 2, 3)), COLOR),
    "webp with alpha": lambda: (
        encode(np.dstack([COLOR, ALPHA]), "WEBP", lossless=True, exact=True),
        COLOR,
    ),
    "gif, one color transparent": lambda: (
        encode(Image.fromarray(COLOR).quantize(16, dither=0), "GIF", transparency=3),
        palette_colors(),
    ),
    "cmyk tiff": lambda: (
        encode(Image.fromarray(COLOR).convert("CMYK"), "TIFF"),
        np.asarray(Image.fromarray(COLOR).convert("CMYK").convert("RGB")),
    ),
    "16-bit grey png": lambda: (by_opencv(".png", WIDE[..., 0]), grey(to_8_bits(WIDE[..., 0]))),
    "16-bit grey tiff": lambda: (by_opencv(".tif", WIDE[..., 0]), grey(to_8_bits(WIDE[..., 0]))),
    "16-bit grey tiff, big-endian": lambda: (
        tiff_of(16, np.arange(0, 65536, 9000).astype(">u2").tobytes(), order=">"),
        grey(to_8_bits(np.arange(0, 65536, 9000).reshape(2, 4))),
    ),
    "12-bit grey tiff": lambda: (
        tiff_of(12, TWELVE_BITS),
        grey(np.rint(np.array([[0, 4095, 2048, 1024]] * 2) * 255 / 4095)),
    ),
    "16-bit color png": lambda: (by_opencv(".png", WIDE[..., :3]), to_8_bits(WIDE[..., :3])),
    "16-bit color and alpha png": lambda: (by_opencv(".png", WIDE), to_8_bits(WIDE[..., :3])),
    "16-bit color tiff": lambda: (by_opencv(".tif", WIDE[..., :3]), to_8_bits(WIDE[..., :3])),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_picture_has_its_one_treatment(kind):
    data, expected = KINDS[kind]()

    decoded = decode(data, DEFAULT)

    assert decoded.warning is None
    assert decoded.pixels.flags.c_contiguous
    np.testing.assert_array_equal(decoded.pixels, expected)


def test_16_bit_grey_with_alpha_is_at_most_one_level_low():
    """Pillow gives its high bytes only: v // 256 and not v / 257."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in WIDE[..., :2])
    header = struct.pack(">IIBBBBB", 40, 30, 16, 4, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)

    np.testing.assert_array_equal(decode(data, DEFAULT).pixels, grey(WIDE[..., 0] // 256))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (tiff_of(32, np.ones(8, "<f4").tobytes(), sample_format=3), "floating point numbers"),
        (tiff_of(32, np.ones(8, "<u4").tobytes()), "32-bit or signed integers"),
        (tiff_of(16, np.ones(8, "<i2").tobytes(), sample_format=2), "32-bit or signed integers"),
    ],
    ids=["float", "32 bits", "signed"],
)
def test_numbers_without_a_known_white_are_refused(data, what):
    with pytest.raises(ImageError) as caught:
        decode(data, DEFAULT)

    assert str(caught.value) == f"header: pixels are {what}: convert the image to 8 or 16 bits"


def test_formats_that_are_not_ours_are_no_images():
    """Pillow reads these; but each reader more is one more way into the process."""
    for form in ("PPM", "TGA", "ICO", "PDF"):
        with pytest.raises(ImageError, match="header: not an image: the first bytes are"):
            decode(encode(COLOR, form), DEFAULT)


# Orientation

TURNS = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: np.rot90,
}
TURNABLE = {
    "jpeg": ("JPEG", {"quality": 95}),
    "cmyk jpeg": ("JPEG", {}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {"lossless": True}),
    "tiff": ("TIFF", {}),
    "lzw tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "avif": ("AVIF", {}),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("form", TURNABLE)
def test_pictures_are_turned_as_their_exif_says(form, orientation):
    name, options = TURNABLE[form]
    if name == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    picture = Image.fromarray(COLOR).convert("CMYK" if form == "cmyk jpeg" else "RGB")
    tags = Image.Exif()
    tags[0x0112] = orientation
    data = encode(picture, name, exif=tags, **options)

    stored = decode(data, AS_STORED).pixels
    shown = decode(data, DEFAULT).pixels

    np.testing.assert_array_equal(shown, TURNS[orientation](stored))
    np.testing.assert_array_equal(shown, by_pillow(data))
    assert stored.shape == (30, 40, 3)
    assert shown.flags.c_contiguous


def test_16_bit_tiffs_are_turned_too():
    body = np.arange(0, 65536, 9000).astype("<u2").tobytes()
    data = tiff_of(16, body, orientation=6)

    stored, shown = (decode(data, policy).pixels for policy in (AS_STORED, DEFAULT))

    np.testing.assert_array_equal(stored, decode(tiff_of(16, body), DEFAULT).pixels)
    np.testing.assert_array_equal(shown, np.rot90(stored, -1))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4], ids=["short", "long"])
def test_both_byte_orders_and_integer_types_are_read(order, kind):
    data = encode(COLOR, "JPEG", exif=exif(6, order, kind))

    np.testing.assert_array_equal(
        decode(data, DEFAULT).pixels, np.rot90(decode(data, AS_STORED).pixels, -1)
    )


def test_the_exif_block_is_found_behind_other_segments():
    """An XMP packet has the same marker; a thumbnail's end marker lies within a segment."""
    packet = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>\xff\xd9\xff\xda"
    data = encode(COLOR, "JPEG", exif=exif(6))
    segment = b"\xff\xe1" + struct.pack(">H", len(packet) + 2) + packet
    behind = data[:2] + segment + b"\xff" + data[2:]  # and a filling byte

    np.testing.assert_array_equal(decode(behind, DEFAULT).pixels, decode(data, DEFAULT).pixels)
    assert decode(behind, DEFAULT).pixels.shape == (40, 30, 3)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientations_that_do_not_exist_turn_nothing(orientation):
    data = encode(COLOR, "JPEG", exif=exif(orientation))

    assert decode(data, DEFAULT).pixels.shape == (30, 40, 3)


@settings(deadline=None, max_examples=60)
@given(block=st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: exif(6)[:16] + tail))
@example(block=exif(6)[:-12])
@example(block=b"Exif\0\0II*\0\xff\xff\xff\xff")
def test_a_malformed_exif_block_never_makes_a_picture_bad(block):
    plain = decode(encode(COLOR, "JPEG"), DEFAULT).pixels
    data = encode(COLOR, "JPEG", exif=block)
    png = with_png_chunk(encode(COLOR, "PNG"), b"eXIf", block.removeprefix(b"Exif\0\0"))

    np.testing.assert_array_equal(decode(data, AS_STORED).pixels, plain)
    assert decode(data, DEFAULT).warning is None
    assert decode(png, DEFAULT).pixels.size == COLOR.size


def test_an_xmp_packet_turns_nothing():
    """EXIF alone decides, in every format: Pillow would follow XMP, web browsers do not."""
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>'
    picture = Image.fromarray(COLOR)
    tiff = encode(picture, "TIFF", tiffinfo={700: packet})
    jpeg = encode(picture, "JPEG", xmp=packet)
    assert by_pillow(tiff).shape == by_pillow(jpeg).shape == (40, 30, 3)

    for data in (tiff, jpeg):
        assert decode(data, DEFAULT).pixels.shape == (30, 40, 3)


# Limits


def announce(kind, width, height):
    """A small file whose header promises a large picture."""
    small = encode(scene(8, 8), kind, **({"lossless": True} if kind == "WEBP" else {}))
    data = bytearray(small)
    if kind == "PNG":
        header = struct.pack(">II", width, height) + small[24:29]
        return small[:8] + png_chunk(b"IHDR", header) + small[33:]
    if kind == "WEBP":  # an extended header with a canvas of its own
        canvas = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        body = b"WEBPVP8X" + struct.pack("<I", 10) + canvas + small[12:]
        return b"RIFF" + struct.pack("<I", len(body)) + body
    if kind == "TIFF":
        for tag, side in ((256, width), (257, height)):
            at = small.index(struct.pack("<HHI", tag, 4, 1))
            struct.pack_into("<I", data, at + 8, side)
        return bytes(data)
    at, form = {
        "JPEG": (small.find(b"\xff\xc0") + 5, ">HH"),
        "GIF": (6, "<HH"),
        "BMP": (18, "<ii"),
    }[kind]
    sides = (height, width) if kind == "JPEG" else (width, height)
    struct.pack_into(form, data, at, *sides)
    return bytes(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_too_many_pixels_are_refused_on_the_header(kind):
    with pytest.raises(ImageError) as caught:
        decode(announce(kind, 14_000, 13_000), DEFAULT)

    assert caught.value.stage == "header"
    assert caught.value.reason.startswith("too large: ")


def test_the_limit_itself_is_accepted_by_the_header_stage(monkeypatch):
    """And Pillow's own limit of the moment, which others may lower, is not asked."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    monkeypatch.setattr(image_limits, "MAX_PIXELS", COLOR.size // 3)
    decode(encode(COLOR, "PNG"), DEFAULT)
    monkeypatch.setattr(image_limits, "MAX_PIXELS", COLOR.size // 3 - 1)

    with pytest.raises(ImageError, match="too large: 40 x 30 pixels, the limit is 1199"):
        decode(encode(COLOR, "PNG"), DEFAULT)


def test_a_side_has_its_own_limit():
    strip = encode(Image.new("1", (MAX_SIDE + 1, 1)), "PNG")

    with pytest.raises(ImageError, match="too large: 65536 x 1 pixels, the limit is 65535 on a"):
        decode(strip, DEFAULT)


def test_too_many_bytes_are_refused_before_anything_else(monkeypatch):
    monkeypatch.setattr(image_limits, "MAX_BYTES", 100)

    with pytest.raises(ImageError, match="header: too large: 101 bytes, the limit is 100"):
        decode(bytes(101), DEFAULT)


def test_the_documentation_states_the_limits():
    text = (Path(module.__file__).parents[1] / "docs" / "pixels.md").read_text(encoding="utf-8")

    for limit in (MAX_BYTES, MAX_PIXELS, MAX_SIDE):
        assert f"{limit:,}" in text


# Bad bytes


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"a", "not an image: the first bytes are 61"),
        (b"<!DOCTYPE html>", "not an image: the first bytes are 3c21444f"),
        (b"RIFF\0\0\0\0WAVEfmt ", "not an image: the first bytes are 52494646"),
        (box(b"isom", b"mp42"), "not an image: the first bytes are 0000001"),
    ],
    ids=["empty", "one byte", "html", "wav", "mp4"],
)
def test_what_is_no_image_says_so_in_one_line(data, reason):
    with pytest.raises(ImageError) as caught:
        decode(data, DEFAULT)

    assert caught.value.stage == "header"
    assert caught.value.reason.startswith(reason)


SEEDS = [
    encode(scene(9, 12), form, **options)
    for form, options in [
        ("JPEG", {"exif": exif(6)}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
    ]
]
# TIFF is left out but for its start: libtiff prints what it finds on stderr, from C.
STARTS = [seed[:12] for seed in SEEDS] + [b"II*\0", b"MM\0*", b"\xff\xd8\xff", box(b"avif")]
bytes_of_no_file = st.builds(bytes.__add__, st.sampled_from([b"", *STARTS]), st.binary())


@st.composite
def mutated(draw):
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(data) - 1))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data[: draw(st.integers(1, len(data)))] if draw(st.booleans()) else data)


@settings(deadline=None, max_examples=1000)
@given(data=bytes_of_no_file | mutated())
def test_any_bytes_give_a_picture_or_an_image_error(data):
    """And the same one each time: the reason is kept in the store."""
    first, second = outcome(data), outcome(data)

    if isinstance(first, ImageError):
        assert first.stage in ("header", "decode")
        assert first.reason == " ".join(first.reason.split())
        assert 0 < len(first.reason) < 200
        assert not re.search("0x[0-9a-f]{8}|BytesIO|/site-packages/", first.reason)
        assert str(second) == str(first)
    else:
        assert first.pixels.shape == (*first.pixels.shape[:2], 3)
        assert first.pixels.dtype == np.uint8
        np.testing.assert_array_equal(second.pixels, first.pixels)


def odd_metadata():
    """Good pictures about whose metadata Pillow warns: two orientations, an animation of none."""
    tiff = tiff_of(8, bytes(range(8)), orientation=1)
    one, two = (struct.pack("<HHI", 274, 3, count) for count in (1, 2))
    apng = with_png_chunk(encode(COLOR, "PNG"), b"acTL", bytes(8))
    return {
        "tiff": (tiff.replace(one, two), grey(np.arange(8).reshape(2, 4))),
        "apng": (apng, COLOR),
    }


@pytest.mark.parametrize("form", ["tiff", "apng"])
def test_odd_metadata_is_no_warning_and_no_error(form, recwarn):
    """Even where warnings are errors, as in these tests."""
    data, expected = odd_metadata()[form]
    with pytest.warns(UserWarning, match="APNG|too many entries"):
        Image.open(io.BytesIO(data))
    for _ in range(2):  # also where the filter for errors comes after ours
        warnings.simplefilter("error")

        np.testing.assert_array_equal(decode(data, DEFAULT).pixels, expected)

    assert not recwarn.list


# Together


def test_threads_do_not_disturb_each_other():
    """Pictures, reasons and warnings are the same from eight threads at once as from one."""
    files = [encode(scene(60, 80), form) for form in ("JPEG", "PNG", "GIF", "WEBP", "TIFF")]
    files += [file[: len(file) // 2] for file in files]
    files += [files[0][:-2], *(data for data, _ in odd_metadata().values())]
    files *= 12

    def facts(data):
        decoded = outcome(data)
        if isinstance(decoded, ImageError):
            return str(decoded)
        return decoded.pixels.tobytes(), decoded.warning

    alone = [facts(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(facts, files))

    assert together == alone


def test_load_is_decode_and_resize():
    data = encode(COLOR, "JPEG")[:-2]
    policy = PixelPolicy(image_size=24, interpolation="bicubic", crop_to_aspect_ratio=True)

    pixels, warning = load(data, policy)

    assert warning == "the end marker is missing"
    np.testing.assert_array_equal(pixels, resize(decode(data, policy).pixels, policy), strict=True)


def test_the_signature_changes_where_a_bad_image_may_become_good(monkeypatch):
    """Bad images are tried again only then."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    seen = {decoder_signature()}
    for target, name, value in [
        (image_limits, "MAX_PIXELS", 7),
        (image_limits, "MAX_BYTES", 7),
        (image_limits, "MAX_SIDE", 7),
        (module, "DECODER_VERSION", 7),
        (module.PIL, "__version__", "99.0"),
        (module.simplejpeg, "__version__", "99.0"),
        (pillow_formats, "optional_reader", lambda kind: None),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(target, name, value)
            seen.add(decoder_signature())

    assert len(seen) == (8 if features.check("avif") else 7)
    assert "no HEIC" in decoder_signature()
    assert decoder_signature() in seen
