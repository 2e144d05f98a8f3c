"""Names of places: a URL stays one, whoever made a path of it, and a wrong one is one line."""

from pathlib import Path

import pytest

from extract.errors import InputError
from extract.places import beside, bucket_url, join, local_path, place, resolved
from extract.plan import default_store


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
@pytest.mark.parametrize("make", [str, Path, lambda text: f"{text}/"], ids=["text", "path", "/"])
def test_a_url_is_known_however_it_comes(scheme, make):
    url = f"{scheme}://bucket/a b/photos.features"

    assert bucket_url(make(url)) == place(str(make(url))) == resolved(make(url)) == url


@pytest.mark.parametrize("text", ["photos", "/data/photos", "C:/photos", "tfds:mnist", "s3/photos"])
def test_other_names_are_no_urls(text):
    assert bucket_url(text) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("s3://", "names no bucket"),
        ("s3://b//x", "has a part that is empty"),
        ("gs://b/../x", "has a part that is empty"),
        ("https://host/photos", "of no known kind. Give a path, or s3://"),
    ],
)
def test_a_wrong_url_is_refused(text, words):
    with pytest.raises(InputError, match=words):
        bucket_url(text)


def test_file_urls_are_paths():
    assert local_path("file:///data/a%20b") == local_path("file://localhost/data/a%20b")
    assert place("file:///data/a%20b") == str(Path("/data/a b"))
    with pytest.raises(InputError, match="no path of this machine"):
        local_path("file://elsewhere/data")


def test_what_is_made_from_a_bucket_lies_here():
    assert beside("s3://bucket/deep/photos.features") == Path("photos.features")
    assert beside("deep/photos.features") == Path("deep/photos.features")
    assert join("s3://bucket/x", "bad_images.csv") == "s3://bucket/x/bad_images.csv"


@pytest.mark.parametrize(
    ("images", "store"),
    [
        ("s3://bucket/photos", "s3://bucket/photos.features"),
        ("gs://bucket/deep/photos/", "gs://bucket/deep/photos.features"),
        ("s3://bucket/photos.csv", "s3://bucket/photos.features"),
        ("s3://bucket/v1.2", "s3://bucket/v1.2.features"),
    ],
)
def test_a_store_lies_beside_its_images(images, store):
    assert default_store(images) == store


def test_a_whole_bucket_has_no_place_beside_it():
    with pytest.raises(InputError, match="Give --store"):
        default_store("s3://bucket")


@pytest.mark.parametrize(
    ("url", "typed"),
    [
        ("s3://b/in/photos.zip", "run 'photos.zip' --store 's3://b/in/photos.features'"),
        ("gs://b/x.npz", "run 'x.npz' --store 'gs://b/x.features'"),
        ("az://b/shards-{0..3}.tar", "run 'shards-{0..3}.tar' --store"),
    ],
)
def test_an_archive_in_a_bucket_is_one_line_that_says_what_to_type(url, typed):
    from extract.sources.buckets import list_bucket

    with pytest.raises(InputError, match="from a disk only.*cp`|from a disk only.*copy`") as told:
        list_bucket(url)
    assert typed in str(told.value)
