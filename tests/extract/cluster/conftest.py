"""Small shards and many pictures, for runs on a cluster."""

import pytest


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)


@pytest.fixture
def many(tmp_path, picture):
    from tests.extract.clusters import fill  # where Ray is missing, to import it is to skip

    return fill(tmp_path / "many", picture)
