"""Heads train on a store in a bucket as on one on a disk; what they write lies here."""

import numpy as np
import pytest

import extract
import heads
from extract.store.opening import open_store
from tests.heads.conftest import paint


@pytest.fixture
def both(tmp_path, bucket, fake_backbone, monkeypatch):
    """(path, URL) of one store on a disk and in a bucket; the working folder is an empty one."""
    images = paint(tmp_path / "photos")
    url = f"{bucket}/photos.features"
    for store in (tmp_path / "photos.features", url):
        extract.run(images, store)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "photos.features", url


@pytest.mark.parametrize("estimator", ["logistic", "ridge"])
def test_a_head_is_that_of_the_store_on_a_disk(both, estimator, tmp_path):
    here, there = (heads.fit(store, estimator=estimator) for store in both)
    X = open_store(both[0]).load("test").X

    assert there.path.resolve() == tmp_path / "work" / "photos.head"
    assert there.store["path"] == both[1]
    np.testing.assert_array_equal(here.scorer.logits(X), there.scorer.logits(X))


def test_the_store_is_found_again_by_its_url(both):
    model = heads.fit(both[1], estimator="ridge")

    assert heads.evaluate(model).store == both[1]


def test_the_command_line_takes_a_url(both, cli):
    status, out, err = cli("fit", both[1], "--estimator", "ridge")

    assert (status, err.count("Error")) == (0, 0)
    assert "photos.head" in out
    assert cli("evaluate", "photos.head")[0] == 0
    assert cli("audit", both[1])[0] == 0
    assert cli("few-shot", both[1], "--shots", "1,2", "--draws", "2")[0] == 0
