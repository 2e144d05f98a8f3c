"""Buckets keep the contract of files, also where their answers are lost on the way."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

import extract.bucket
from extract.api import extract_features
from extract.backbones import BackboneSpec
from extract.bucket import open_bucket
from extract.errors import BucketError, InputError
from extract.plan import Settings
from extract.progress import Silent
from extract.store.file_shards import FileShards
from extract.store.files import publish
from extract.store.hdf5_shards import HDF5Format
from extract.store.object_files import ObjectFiles
from extract.store.opening import Store
from extract.store.zarr_shards import ZarrFormat
from tests.extract.store.files_contract import NAME, FilesContract
from tests.extract.store.shards_contract import GRID, ROWS, ShardsContract
from tests.s3_server import IMPATIENT

obstore = pytest.importorskip("obstore", reason='obstore is absent: pip install "headstart[s3]"')


class TestMemory(FilesContract):
    @pytest.fixture
    def files(self):
        return ObjectFiles(obstore.store.MemoryStore(), "s3://memory")


class TestDiskThroughObstore(FilesContract):
    """obstore's own disk keeps no metadata; no answer of it is lost."""

    @pytest.fixture
    def files(self, tmp_path):
        return ObjectFiles(obstore.store.LocalStore(tmp_path), "s3://disk", marks=False)


class TestS3(FilesContract):
    @pytest.fixture
    def files(self, bucket):
        return ObjectFiles.at(f"{bucket}/deep/photos.features")


@pytest.mark.parametrize("form", [ZarrFormat, HDF5Format], ids=["zarr", "hdf5"])
class TestShardsInABucket(ShardsContract):
    @pytest.fixture
    def shards(self, form):
        return FileShards(ObjectFiles(obstore.store.MemoryStore(), "s3://memory"), [form()])


def test_a_torn_shard_in_a_bucket_is_neither_trusted_nor_touched():
    bucket = obstore.store.MemoryStore()
    files = ObjectFiles(bucket, "s3://memory")
    ref = FileShards(files, [ZarrFormat()]).write("a" * 64, ROWS, GRID)
    bucket.put(ref.file, b"torn")
    shards = FileShards(files, [ZarrFormat()])

    found = shards.write("a" * 64, ROWS, GRID)
    assert replace(found, file=ref.file) == ref
    assert (shards.read(found, 0, 6) == ROWS).all()
    assert files.read(ref.file) == b"torn"


# Answers that do not come ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lost", "late", "cut", "refused", "500", "503"])
@pytest.mark.parametrize("was_there", [False, True], ids=["free", "taken"])
def test_a_put_whose_answer_is_lost_is_met_by_reading_back(
    faulty_bucket, monkeypatch, kind, was_there
):
    """Who created a file hears that it did, and who did not hears that, whatever gets lost."""
    url, proxy = faulty_bucket()
    if was_there:
        publish(ObjectFiles.at(url), NAME, b"of another")
    if kind == "late":
        monkeypatch.setattr("extract.bucket.CLIENT", IMPATIENT)
    files = ObjectFiles.at(url)
    proxy.only = ("PUT", "commits/", kind)

    assert publish(files, NAME, b"ours") is not was_there
    assert proxy.counts[kind] == 1
    assert files.read(NAME) == (b"of another" if was_there else b"ours")


def test_the_same_bytes_of_another_are_not_ours(bucket):
    """Two runs may write the same items: only one of them may take the number."""
    files = ObjectFiles.at(bucket)

    assert publish(files, NAME, b"same") is True
    assert publish(ObjectFiles.at(bucket), NAME, b"same") is False


@pytest.mark.parametrize("kind", ["cut", "500", "503", "refused", "late"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_reading_is_tried_again(faulty_bucket, monkeypatch, kind, method):
    url, proxy = faulty_bucket()
    publish(ObjectFiles.at(url), NAME, bytes(range(256)) * 100)
    if kind == "late":
        monkeypatch.setattr("extract.bucket.CLIENT", IMPATIENT)
    files = ObjectFiles.at(url)
    proxy.only = (method, "commits/", kind)

    if method == "GET":
        assert files.read(NAME) == bytes(range(256)) * 100
    assert files.stamp(NAME).size == 25600


@pytest.mark.parametrize("kind", ["500", "503", "refused", "lost", "late"])
def test_a_bucket_that_never_answers_is_one_line(faulty_bucket, monkeypatch, kind):
    """It is no missing and no damaged file: nothing may be set aside because of it."""
    url, _ = faulty_bucket(share=1.0, kinds=(kind,))
    if kind == "late":
        monkeypatch.setattr("extract.bucket.CLIENT", {"timeout": "50ms"})
    files = ObjectFiles.at(url)
    for ask in (
        lambda: files.read(NAME),
        lambda: files.stamp(NAME),
        lambda: files.list("commits"),
        lambda: publish(files, NAME, b"x"),
    ):
        with pytest.raises(BucketError, match="S3 did not do what was asked of s3://") as told:
            ask()
        assert "\n" not in str(told.value)
        assert not isinstance(told.value, OSError)


def test_a_bucket_that_asks_to_slow_down_is_waited_for(s3_server, bucket, monkeypatch):
    """With the patience that is shipped: 503 SlowDown, four times on end, ends nothing."""
    from tests.s3_server import Proxy, point_at

    proxy = Proxy(s3_server.port, share=1.0, kinds=("503",))
    proxy.ends_after = 4
    point_at(monkeypatch, proxy.port)

    assert publish(ObjectFiles.at(f"{bucket}/slow"), NAME, b"ours") is True
    proxy.stop()
    assert proxy.counts["503"] == 4


def test_no_count_of_tries_ends_the_two_minutes(s3_server, bucket, monkeypatch):
    """As many as fit into them, each hundred times as soon."""
    from tests.s3_server import Proxy, point_at

    soon = {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=50)}
    backoff = {**extract.bucket.RETRY["backoff"], **soon}
    monkeypatch.setattr("extract.bucket.RETRY", {**extract.bucket.RETRY, "backoff": backoff})
    proxy = Proxy(s3_server.port, share=1.0, kinds=("refused",))
    proxy.ends_after = 60
    point_at(monkeypatch, proxy.port)

    assert publish(ObjectFiles.at(f"{bucket}/slow"), NAME, b"ours") is True
    proxy.stop()
    assert proxy.counts["refused"] == 60


class _Bucket:
    """A bucket in memory with something of its own."""

    def __init__(self):
        self.inner = obstore.store.MemoryStore()

    def __getattr__(self, name):
        return getattr(self.inner, name)


def test_a_name_that_nobody_has_is_not_taken():
    """Puts that meet one another may all be refused: that is no answer, and not "taken"."""

    class Meeting(_Bucket):
        def put(self, *words, **options):
            raise obstore.exceptions.AlreadyExistsError("a conflicting operation is in progress")

    with pytest.raises(BucketError, match="same command"):
        publish(ObjectFiles(Meeting(), "s3://memory"), NAME, b"ours")


def test_a_seal_whose_answer_was_lost_is_ours_without_marks(photos, fake_backbone):
    """Where a provider keeps no metadata, the bytes say whose put it was."""

    class Forgetful(_Bucket):
        def put(self, name, data, *, attributes=None, **options):
            self.inner.put(name, data, **options)
            if re.fullmatch(r"snapshots/\d+\.json", name):
                raise obstore.exceptions.GenericError("the answer was lost")

    store = Store(ObjectFiles(Forgetful(), "s3://memory"), "s3://memory")
    settings = Settings(spec=BackboneSpec(name="digits"), workers=1)

    assert extract_features(photos, store, settings, Silent()).snapshot == 1
    assert store.open().number == 1


# What people got wrong ----------------------------------------------------------------------------


def test_a_bucket_that_does_not_exist_is_named(bucket):
    files = ObjectFiles.at("s3://no-such-bucket/photos.features")
    for ask in (
        lambda: files.read("store.json"),
        lambda: files.list("commits"),
        lambda: publish(files, NAME, b"x"),
    ):
        with pytest.raises(BucketError, match=r"no bucket s3://no-such-bucket.*Make it"):
            ask()


def test_who_is_refused_hears_what_to_set(monkeypatch, bucket):
    from tests.s3_server import Refusing, point_at

    server = Refusing(0)
    point_at(monkeypatch, server.port)
    with pytest.raises(BucketError, match=r"refused.*AWS_ACCESS_KEY_ID"):
        ObjectFiles.at("s3://private/photos.features").read("store.json")
    server.stop()


def test_without_credentials_it_says_what_to_set(faulty_bucket, monkeypatch):
    """The last place that is asked is the machine's own, which is a closed port here."""
    url, _ = faulty_bucket()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")

    with pytest.raises(BucketError, match=r"no credentials for s3://.*AWS_SECRET_ACCESS_KEY"):
        ObjectFiles.at(url).read("store.json")


def test_without_credentials_nobody_waits_for_two_minutes(bucket, monkeypatch):
    """The patience that is shipped is for a bucket, not for a machine that has no credentials."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setitem(extract.bucket.RETRY, "retry_timeout", timedelta(hours=9))

    with pytest.raises(BucketError, match=r"no credentials for s3://"):
        ObjectFiles.at(bucket).read("store.json")


def test_azure_wants_the_name_of_its_account(monkeypatch):
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(BucketError, match=r"az://photos.*AZURE_STORAGE_ACCOUNT_NAME"):
        open_bucket("az://photos/x.features")


def test_without_obstore_it_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "obstore.store", None)
    monkeypatch.setitem(sys.modules, "obstore", None)

    with pytest.raises(InputError, match=r"pip install 'headstart\[s3\]'"):
        open_bucket("s3://bucket/photos.features")
