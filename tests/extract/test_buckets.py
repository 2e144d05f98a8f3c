"""Stores in a bucket promise what those on a disk do: the same root, nothing lost or wrong."""

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import extract
from extract import cli
from extract.compacting import gc
from extract.errors import BucketError, InputError
from extract.exporting import export
from extract.merging import merge
from extract.repairing import repair
from extract.store.object_files import ObjectFiles
from extract.store.opening import Store, open_store
from extract.store.verify import verify
from tests.s3_server import IMPATIENT, assert_root_or_one_line

pytestmark = pytest.mark.usefixtures("fake_backbone")


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    """Four rows to a shard, so that twelve pictures make several."""
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)


@pytest.fixture
def call(monkeypatch, capsys):
    """A function that runs a command line and returns (status, stdout, stderr)."""

    def run_words(*words):
        monkeypatch.setattr("sys.argv", ["extract", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run_words


def run(photos, store, **options):
    return extract.run(photos, store, backbone="digits", **options)


def test_the_root_is_that_of_a_disk(photos, tmp_path, bucket):
    here = run(photos, tmp_path / "here.features")
    there = run(photos, f"{bucket}/photos.features")

    assert there.root_digest == here.root_digest
    assert there.store == f"{bucket}/photos.features"
    assert (there.items, there.rows, there.extracted) == (13, 12, 12)


@pytest.mark.parametrize("form", ["zarr", "hdf5"])
def test_features_that_come_back_are_those_that_went(photos, tmp_path, bucket, form):
    run(photos, tmp_path / "here.features", format=form)
    run(photos, f"{bucket}/photos.features", format=form)
    here, there = open_store(tmp_path / "here.features"), open_store(f"{bucket}/photos.features")
    rows = np.array([11, 0, 3, 3, 7, 8])

    np.testing.assert_array_equal(there.load(None).X, here.load(None).X, strict=True)
    for one, other in zip(
        there.batches(None, 5, seed=3), here.batches(None, 5, seed=3), strict=True
    ):
        np.testing.assert_array_equal(one.X, other.X, strict=True)
    np.testing.assert_array_equal(there.take(rows), here.take(rows), strict=True)


def test_a_second_run_reads_no_image_and_writes_nothing(photos, bucket, fake_backbone):
    url = f"{bucket}/photos.features"
    first, names = run(photos, url), sorted(ObjectFiles.at(url).everything())
    images = fake_backbone.images
    second = run(photos, url)

    assert (second.extracted, second.snapshot) == (0, first.snapshot)
    assert sorted(ObjectFiles.at(url).everything()) == names
    assert fake_backbone.images == images


def test_a_path_that_was_a_url_is_that_url(photos, bucket, tmp_path, monkeypatch):
    """`Path` folds the slashes of a URL; nothing may be written to a folder called "s3:"."""
    from pathlib import Path

    monkeypatch.chdir(tmp_path)
    summary = run(photos, Path(f"{bucket}/photos.features"))

    assert summary.store == f"{bucket}/photos.features"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("s3")]


def test_a_file_url_is_a_folder(photos, tmp_path):
    summary = run(photos, (tmp_path / "a b.features").as_uri())

    assert summary.store == str(tmp_path / "a b.features")
    assert open_store((tmp_path / "a b.features").as_uri()).root_digest == summary.root_digest


def test_every_command_takes_a_url(photos, bucket, call, tmp_path):
    url = f"{bucket}/photos.features"
    assert call("run", photos, "--store", url, "--backbone", "digits")[0] == 0
    for words in (
        ["info", url],
        ["verify", url, "--quick"],
        ["verify", f"{url}/"],
        ["repair", url],
        ["gc", url, "--older-than", "0", "--yes"],
        ["explain", url, "--backbone", "digits"],
        ["split", url, "--seed", "3"],
        ["diff", f"{url}@1", url],
        ["export", url, tmp_path / "out.npz"],
        ["forget", url, "cats/1.png"],
        ["verify", url],
    ):
        status, out, err = call(*words)

        assert (status, err) == (0, ""), words
        assert "s3:/bucket" not in out, words


def test_json_says_the_url(photos, bucket, call):
    url = f"{bucket}/photos.features"
    run(photos, url)

    assert json.loads(call("info", url, "--json")[1])["store"] == url


def test_a_plan_touches_nothing(photos, bucket, call):
    url = f"{bucket}/photos.features"
    status, out, _ = call("run", photos, "--store", url, "--backbone", "digits", "--plan")

    assert status == 0
    assert "free" not in out
    assert list(ObjectFiles.at(url).everything()) == []


@pytest.mark.parametrize("what", ["shards", "commits", "snapshots", "probes"])
def test_what_is_altered_in_a_bucket_is_found_and_made_anew(photos, bucket, what):
    url = f"{bucket}/photos.features"
    root, files = run(photos, url).root_digest, ObjectFiles.at(url)
    name = f"{what}/{files.list(what)[0]}"
    data = bytearray(files.read(name))
    data[len(data) // 2] ^= 1
    files._bucket.put(name, bytes(data))

    assert name in verify(url).problems
    done = repair(url, photos)

    assert done.problems == {}
    assert name in done.moved
    assert verify(url).is_sound
    assert open_store(url).root_digest == root
    assert len(files.list("damaged")) == len(done.moved)


def test_a_missing_and_a_foreign_object_are_named(photos, bucket):
    url = f"{bucket}/photos.features"
    run(photos, url)
    files = ObjectFiles.at(url)
    gone = f"shards/{files.list('shards')[0]}"
    files.remove(gone)
    files.write_new("holiday.txt", b"x")
    files.write_new("shards/deep/er.txt", b"x")

    assert {gone, "holiday.txt", "shards/deep/er.txt"} <= verify(url).problems.keys()
    assert verify(url, quick=True).problems.keys() == verify(url).problems.keys()


def test_something_else_than_a_store_is_left_alone(photos, bucket):
    ObjectFiles.at(f"{bucket}/mine").write_new("letters/a.txt", b"x")

    with pytest.raises(InputError, match=rf"{bucket}/mine is something else than a store"):
        run(photos, f"{bucket}/mine")


def test_gc_removes_what_nobody_needs_by_age(photos, picture, bucket):
    url = f"{bucket}/photos.features"
    run(photos, url)
    picture(photos / "dogs" / "new.png", seed=9)
    run(photos, url)

    assert gc(url, yes=True).files == []  # too young
    done = gc(url, older_than="0", yes=True)

    assert done.snapshots == [1]
    assert "snapshots/000001.json" in done.files
    assert verify(url).is_sound


def test_stores_of_disks_and_buckets_merge_to_the_root_of_one(photos, tmp_path, bucket):
    whole = run(photos, tmp_path / "whole.features")
    for label in ("cats", "dogs"):
        shutil.copytree(photos / label, tmp_path / f"only-{label}" / label)
    here, there = tmp_path / "cats.features", f"{bucket}/dogs.features"
    run(tmp_path / "only-cats", here)
    run(tmp_path / "only-dogs", there)
    one = merge([here, there], f"{bucket}/all.features")
    other = merge([there, here], tmp_path / "all.features")

    assert one.items == other.items == whole.items
    assert one.root_digest == other.root_digest == whole.root_digest
    assert verify(f"{bucket}/all.features").is_sound


def test_an_export_of_a_bucket_is_copied(photos, tmp_path, bucket):
    run(photos, f"{bucket}/photos.features")
    done = export(f"{bucket}/photos.features", tmp_path / "photos.zarr")

    assert (done.linked, done.copied) == (0, 3)


# Several at once, and answers that do not come ---------------------------------------------------


def test_two_runs_on_one_store_end_as_one_would(photos, tmp_path, bucket):
    url, gate = f"{bucket}/photos.features", threading.Barrier(2)
    alone = run(photos, tmp_path / "alone.features")

    def work(_):
        gate.wait()
        return run(photos, url)

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(work, range(2)))

    assert {summary.root_digest for summary in both} == {alone.root_digest}
    assert verify(url).is_sound
    assert len(ObjectFiles.at(url).list("commits")) == 3


@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize("seed", range(4))
def test_a_failing_bucket_never_makes_a_wrong_store(
    photos, tmp_path, faulty_bucket, monkeypatch, seed, share
):
    """500, 503, time-outs, lost and torn answers: finished with the root, or one line."""
    alone = run(photos, tmp_path / "alone.features")
    bucket, proxy = faulty_bucket(seed, share, late=0.7)
    url = f"{bucket}/photos.features"
    with monkeypatch.context() as patch:
        patch.setattr("extract.bucket.CLIENT", IMPATIENT)
        assert_root_or_one_line(proxy, lambda: run(photos, url), alone.root_digest)

    assert run(photos, url).root_digest == alone.root_digest
    assert verify(url).is_sound


def test_a_bucket_that_is_out_of_reach_damages_nothing(photos, faulty_bucket):
    """`repair` sets nothing aside because a network was down."""
    bucket, proxy = faulty_bucket(kinds=("503",))
    url = f"{bucket}/photos.features"
    run(photos, url)
    names = sorted(ObjectFiles.at(url).everything())
    proxy.share = 1.0
    for work in (verify, repair, open_store):
        with pytest.raises(BucketError):
            work(url)
    proxy.share = 0.0

    assert sorted(ObjectFiles.at(url).everything()) == names
    assert verify(url).is_sound


def test_errors_are_one_line_on_the_command_line(bucket, call, photos):
    for words in (
        ["info", "s3://no-such-bucket/photos.features"],
        ["run", photos, "--store", "s3://no-such-bucket/x", "--backbone", "digits"],
        ["run", "s3://no-such-bucket/photos", "--backbone", "digits"],
        ["info", f"{bucket}/nothing.features"],
        ["info", "s3://"],
        ["info", "ftp://host/photos.features"],
    ):
        status, _, err = call(*words)

        assert status in (1, 2), words
        assert err.startswith("Error: "), words
        assert err.count("\n") == 1, words


def test_a_run_resumes_in_a_bucket(photos, bucket, monkeypatch, fake_backbone):
    url, made = f"{bucket}/photos.features", []
    publish = ObjectFiles.write_new

    def stop_after_a_record(self, name, data):
        publish(self, name, data)
        if name.startswith("commits/"):
            made.append(name)
            raise BucketError("the network went away")

    with monkeypatch.context() as patch:
        patch.setattr(ObjectFiles, "write_new", stop_after_a_record)
        with pytest.raises(BucketError):
            run(photos, url)
    summary = run(photos, url)

    assert made
    assert summary.extracted == 12 - 4 * len(made)
    assert Store.at(url).snapshots.numbers() == [1]
