"""Shared fixtures: real data where it is, small pictures made on the spot, a synthetic engine."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import settings

from tests.helpers import SyntheticEngine, synthetic_prepared

# Tests never time: a busy machine takes a second for what takes a millisecond elsewhere.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

ROOT = Path(__file__).resolve().parent.parent


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


@pytest.fixture
def picture():
    """A function that writes a small random picture, which `seed` decides."""

    def write(path: Path, seed: int, size: tuple[int, int] = (24, 30)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        cv2.imwrite(str(path), pixels)
        return path

    return write
