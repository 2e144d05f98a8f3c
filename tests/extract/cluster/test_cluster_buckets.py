"""--cluster ray with stores and images in a bucket: what one machine makes of the same pictures."""

import re
import shutil
from functools import partial

import pytest

from extract.bucket import open_bucket
from extract.cluster_worker import Worker
from extract.errors import BucketError, InputError
from tests.extract import cluster_workers
from tests.extract.clusters import WARNINGS, Nodes, alone, assert_is, run, workers
from tests.s3_server import assert_root_or_one_line, point_at

pytestmark = WARNINGS


@pytest.fixture(scope="module", autouse=True)
def _nodes(s3_server):
    """Two nodes that were started in an environment which leads to the bucket."""
    with pytest.MonkeyPatch.context() as patch:
        point_at(patch, s3_server.port)
        with Nodes(2):
            yield


@pytest.fixture
def objects(many):
    """Pictures that may lie in a bucket, where links lead nowhere."""
    (many / "ants" / "05x.png").unlink()
    return many


def put(folder, url):
    """Copy a folder into a bucket."""
    bucket = open_bucket(url)
    for path in folder.rglob("*"):
        if path.is_file():
            bucket.put(path.relative_to(folder).as_posix(), path.read_bytes())
    return url


def test_a_store_in_a_bucket(many, bucket):
    summary = run(many, store=f"{bucket}/many.features", cluster="ray")

    assert (summary.extracted, summary.undecodable, summary.unreadable) == (40, 1, 1)
    assert_is(summary.store, alone(many))
    assert run(many, store=summary.store).extracted == 0


def test_store_and_images_in_a_bucket(objects, bucket):
    expected = alone(objects)
    url = put(objects, f"{bucket}/photos")
    shutil.rmtree(objects)
    summary = run(url, cluster="ray")

    assert (summary.store, summary.extracted) == (f"{bucket}/photos.features", 40)
    assert_is(summary.store, expected)
    again = run(url, cluster="ray")
    assert (again.extracted, again.snapshot) == (0, 1)


def test_a_table_of_images_in_a_bucket(objects, bucket, tmp_path):
    rows = [f"{p.relative_to(objects).as_posix()},{p.parent.name}" for p in objects.rglob("*.png")]
    table = tmp_path / "some.csv"
    table.write_text("\n".join(["path,label", *rows, "ants/none.png,ants"]))
    url = put(objects, f"{bucket}/photos")
    here = run(table, root=objects, store=tmp_path / "here.features")
    there = run(table, root=url, store=tmp_path / "there.features", cluster="ray")

    assert (there.extracted, there.unreadable) == (40, 1)
    assert there.root_digest == here.root_digest


@pytest.mark.parametrize("seed", [0, 1])
def test_a_failing_bucket_never_makes_a_wrong_store(
    objects, faulty_bucket, monkeypatch, tmp_path, seed
):
    """500, 503, time-outs, lost and torn answers: finished with the root, or one line."""
    expected = alone(objects)
    bucket, proxy = faulty_bucket(seed, late=1.5)
    put(objects, f"{bucket}/photos")
    proxy.share = 0.06
    address = f"http://127.0.0.1:{proxy.port}"
    workers(monkeypatch, cluster_workers.Hasty, tmp_path, AWS_ENDPOINT_URL=address)
    with monkeypatch.context() as patch:
        patch.setattr("extract.bucket.CLIENT", {"timeout": "1s"})
        on_cluster = partial(run, f"{bucket}/photos", cluster="ray")
        assert_root_or_one_line(proxy, on_cluster, expected.root_digest)
    workers(monkeypatch, Worker, tmp_path, AWS_ENDPOINT_URL=address)

    assert_is(on_cluster().store, expected)


@pytest.mark.parametrize("what", ["images", "store"])
def test_a_node_without_credentials_is_named(objects, bucket, monkeypatch, tmp_path, what):
    workers(monkeypatch, cluster_workers.Stranger, tmp_path)
    images = put(objects, f"{bucket}/photos") if what == "images" else objects
    with pytest.raises(BucketError) as error:
        run(images, store=f"{bucket}/photos.features", cluster="ray")

    text = str(error.value)
    assert re.match(rf"[\d.]+ does not reach the {what}: There are no credentials for s3://", text)
    assert "Set AWS_ACCESS_KEY_ID" in text
    assert "set it there, and start Ray anew" in text
    assert "\n" not in text
    assert not names_of(f"{bucket}/photos.features")


def names_of(url):
    return [meta["path"] for chunk in open_bucket(url).list() for meta in chunk]


def test_a_file_in_a_bucket_that_is_no_table_stays_refused(bucket):
    with pytest.raises(InputError, match="is read from a disk only"):
        run(f"{bucket}/photos.zip", cluster="ray")
