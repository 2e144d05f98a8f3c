"""Features of several processors in one store: only when asked for, and every record says so."""

import shutil

import numpy as np
import pytest

import extract
from extract.checks import recompute
from extract.errors import BackboneError
from extract.merging import merge
from extract.store.commits import Commits
from extract.store.opening import Store, open_store
from extract.store.verify import verify
from tests.helpers import SyntheticEngine, tree

pytestmark = pytest.mark.usefixtures("fake_backbone")

OTHER = 1 + 3e-7  # a float32 has steps of 6e-8 to 1.2e-7


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)


@pytest.fixture
def other_processor(monkeypatch):
    """A function after which this machine computes as another one."""
    call = SyntheticEngine.__call__

    def change():
        monkeypatch.setattr(
            SyntheticEngine, "signature", SyntheticEngine.signature | {"instructions": "others"}
        )
        monkeypatch.setattr(
            SyntheticEngine,
            "__call__",
            lambda self, pixels: [c * np.float32(OTHER) for c in call(self, pixels)],
        )

    return change


@pytest.fixture
def stores(photos, tmp_path, other_processor):
    """Stores of two machines: the cats, and all pictures."""
    cats = tmp_path / "only-cats"
    shutil.copytree(photos / "cats", cats / "cats")
    first = extract.run(cats, backbone="digits").store
    other_processor()
    return [first, extract.run(photos, backbone="digits").store]


def signatures(path):
    records = Commits(Store.at(path).files)
    return {records.read(digest).signature["instructions"] for digest in records.digests()}


def test_stores_of_two_processors_are_not_merged_unasked(stores, tmp_path):
    before = tree(tmp_path)
    for order in (stores, stores[::-1]):
        with pytest.raises(BackboneError, match=r"instructions '(none|others)'.*--mix"):
            merge(order, tmp_path / "all.features")

    assert tree(tmp_path) == before


@pytest.mark.parametrize("turned", [False, True])
def test_what_is_mixed_is_sound_and_says_so(stores, tmp_path, turned):
    """The pictures that both stores have come in the order of one of them, with bits of either."""
    out = tmp_path / "all.features"
    done = merge(stores[::-1] if turned else stores, out, mix=True)
    found, whole = (open_store(path).load(None) for path in (out, stores[1]))

    assert {s["instructions"] for s in done.signatures} == {"none", "others"}
    assert verify(out).is_sound
    assert found.items["path"] == whole.items["path"]
    np.testing.assert_allclose(found.X, whole.X, rtol=1e-6)
    assert signatures(out) <= {"none", "others", "none, others"}
    assert merge(stores[::-1] if turned else stores, out, mix=True).root_digest == done.root_digest


def test_a_merge_of_one_processor_says_which(photos, tmp_path, picture):
    new = picture(tmp_path / "new" / "birds" / "1.png", seed=9).parent.parent
    done = merge([extract.run(f, backbone="digits").store for f in (photos, new)], tmp_path / "all")

    assert done.signatures == [SyntheticEngine.signature]


def test_a_shard_of_copied_and_fresh_rows_names_both_processors(photos, picture, other_processor):
    """Else a later check would ask of the copied ones the bits of the fresh."""
    picture(photos / "dogs" / "last.png", seed=8)
    extract.run(photos, backbone="digits")
    other_processor()
    picture(photos / "dogs" / "new.png", seed=9)
    store = extract.run(photos, backbone="digits", engine="openvino").store

    assert "none, others" in signatures(store)
    assert recompute(store, 100, photos).is_sound


def test_the_command_mixes_only_when_asked(cli, stores, tmp_path):
    out = tmp_path / "all.features"
    status, _, error = cli("merge", *stores, "--store", out)

    assert status == 1
    assert "--mix" in error
    assert len(error.splitlines()) == 1

    status, said, _ = cli("merge", *stores, "--store", out, "--mix")

    assert status == 0
    assert "several processors or engines" in said
