"""Shared fixtures: real data where it is, small pictures made on the spot, a synthetic engine."""

import gc
import os
import sys
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import settings

from tests.helpers import SyntheticEngine, synthetic_prepared

# OpenVINO's converter would send an event for each thing that it does, over the network.
sys.modules.setdefault("openvino_telemetry", None)
# Tests never time: a busy machine takes a second for what takes a millisecond elsewhere.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

ROOT = Path(__file__).resolve().parent.parent
LONG_FILES = (
    "extract/cluster/test_cluster_nodes.py",
    "extract/test_families.py",
    "test_docs.py",
    "test_benchmarks_workflows.py",
    "extract/cluster/test_cluster.py",
    "test_end_to_end.py",
    "test_benchmarks.py",
    "test_benchmarks_finetune.py",
    "extract/cluster/test_cluster_buckets.py",
    "campaign/test_crashes.py",
    "campaign/test_disk_faults.py",
    "campaign/test_kills.py",
    "extract/cluster/test_cluster_keras.py",
    "finetune/test_running.py",
    "heads/test_neural.py",
)
"""Half a minute and more: the workers take these first, and what is left at the end is short."""


def pytest_collection_modifyitems(items):
    """Put the long files first; those that start clusters are not next to one another."""
    order = {ROOT / "tests" / name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


def pytest_collection_finish():
    """Let the garbage collector forget what was imported: it would look at all of it for ever."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real weights and photographs that lies beside the checkout."""
    folder = Path(os.environ.get("HEADSTART_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real data: {folder} is absent (set HEADSTART_SHARED)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Converted backbones of the tests stay out of the user's cache folder; workers share them."""
    before = os.environ.get("HEADSTART_CACHE")
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    os.environ["HEADSTART_CACHE"] = str(folder / "cache")
    yield
    if before is None:
        del os.environ["HEADSTART_CACHE"]
    else:
        os.environ["HEADSTART_CACHE"] = before


@pytest.fixture
def photos(tmp_path) -> Path:
    """Twelve small pictures in two class folders, one of them a copy of another."""
    folder = tmp_path / "photos"
    rng = np.random.default_rng(0)
    for label in ("cats", "dogs"):
        (folder / label).mkdir(parents=True)
        for number in range(6):
            picture = rng.integers(0, 256, (20 + number, 30, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / label / f"{number}.png"), picture)
    (folder / "dogs" / "copy.png").write_bytes((folder / "cats" / "0.png").read_bytes())
    return folder


@pytest.fixture
def fake_backbone(monkeypatch):
    """Replace the backbone by arithmetic, so that the pipeline alone is under test.

    Yields the engine; `engine.images` counts what went through it.
    """
    engine = SyntheticEngine()
    monkeypatch.setattr("extract.plan.cached", lambda request, kind: synthetic_prepared(request))
    monkeypatch.setattr("extract.lazy_engine._load", lambda plan, precision: engine.for_plan(plan))
    return engine


@pytest.fixture(scope="session")
def picture():
    """A function that writes a small random picture, which `seed` decides."""

    def write(path: Path, seed: int, size: tuple[int, int] = (24, 30)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        cv2.imwrite(str(path), pixels)
        return path

    return write


@pytest.fixture(scope="session")
def s3_server():
    """moto's S3 server on loopback."""
    pytest.importorskip("obstore", reason='obstore is absent: pip install "headstart[s3]"')
    pytest.importorskip("moto.server", reason='moto is absent: pip install "moto[server]"')
    from tests.s3_server import Server

    server = Server()
    yield server
    server.stop()


@pytest.fixture
def bucket(s3_server, monkeypatch) -> str:
    """URL of an empty bucket on loopback, to which the environment leads."""
    from tests.s3_server import point_at

    point_at(monkeypatch, s3_server.port)
    return f"s3://{s3_server.make_bucket()}"


@pytest.fixture
def faulty_bucket(s3_server, bucket, monkeypatch):
    """A function that puts a failing proxy before the bucket: → (URL, proxy).

    Clients try again soon. They wait for each answer as long as ever: a test of late answers sets
    `extract.bucket.CLIENT`, for as long as answers are late.
    """
    from tests.s3_server import Proxy, point_at

    backoff = {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=9)}
    retry = {"max_retries": 3, "backoff": backoff, "retry_timeout": timedelta(seconds=5)}
    monkeypatch.setattr("extract.bucket.RETRY", retry)
    proxies = []

    def put_before(seed=0, share=0.0, **how):
        proxies.append(Proxy(s3_server.port, seed, share, **how))
        point_at(monkeypatch, proxies[-1].port)
        return bucket, proxies[-1]

    yield put_before
    for proxy in proxies:
        proxy.stop()
