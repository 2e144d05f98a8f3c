"""What looks after a store finds its images again in whatever they came from."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

import extract
from extract.backbones import BackboneSpec
from extract.checks import check_images, recompute
from extract.errors import InputError
from extract.estimating import estimate
from extract.explaining import explain
from extract.plan import Settings
from extract.recipe import LayerRequest, PixelPolicy
from extract.repairing import repair
from extract.store.verify import verify
from tests.extract.sources.making import KINDS, make, pictures
from tests.helpers import tree

pytestmark = [
    pytest.mark.usefixtures("fake_backbone"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of TensorFlow Datasets' friends
]
SETTINGS = Settings(spec=BackboneSpec(name="digits"), pixels=PixelPolicy(image_size=32))
MODULES = {"hf": "datasets", "tfds": "tensorflow_datasets"}


@pytest.fixture(params=KINDS)
def kind(request):
    """How the images are kept."""
    if request.param in MODULES:
        pytest.importorskip(MODULES[request.param])
    return request.param


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Give a folder that holds a data set of one kind, made once and copied for every test."""
    folders = {}

    def give(kind):
        if kind not in folders:
            folders[kind] = tmp_path_factory.mktemp(kind)
            make(kind, folders[kind] / "data", pictures())
        return folders[kind] / "data"

    return give


@pytest.fixture
def images(kind, made, tmp_path):
    """What `run` calls the data set, which is the test's own."""
    shutil.copytree(made(kind), tmp_path / "data")
    return called(kind, tmp_path / "data")


def called(kind, folder):
    names = {"folder": "pets", "hf": "pets", "tfds": "tfds/pets/1.0.0"}
    path = folder / names.get(kind, f"pets.{kind}")
    assert path.exists()
    return f"{kind}:{path}" if kind in MODULES else str(path)


@pytest.fixture
def store(images, tmp_path, monkeypatch):
    """A store of two shards."""
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)
    summary = extract.run(images, tmp_path / "pets.features", backbone="digits", image_size=32)
    assert (summary.items, summary.extracted, summary.bad) == (8, 8, 0)
    return Path(summary.store)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def moved(kind, folder):
    """Move a data set, and return what tells a command where it is now."""
    where = called(kind, folder.rename(folder.with_name("elsewhere")))
    return str(Path(where).parent) if kind in ("csv", "parquet") else where


def test_images_that_are_as_they_were_fit(store):
    before = tree(store)
    verdict = check_images(store)

    assert (verdict.problems, verdict.checks) == ({}, 8)
    assert tree(store) == before


def test_an_image_that_changed_is_named(kind, store, tmp_path):
    changed = pictures() | {"dogs/1.png": pictures(seed=1)["dogs/1.png"]}
    make(kind, tmp_path / "data", changed)
    path = extract.open_store(store).items["path"][5].as_py()

    assert check_images(store).problems == {
        path: "has other bytes than the image that was extracted"
    }


def test_an_image_that_went_away_is_named(kind, store, tmp_path):
    images = pictures()
    del images["dogs/3.png"]
    (tmp_path / "data" / "pets" / "dogs" / "3.png").unlink(missing_ok=True)
    make(kind, tmp_path / "data", images)
    path = extract.open_store(store).items["path"][7].as_py()

    assert list(check_images(store).problems) == [path]


def test_images_that_moved_are_found_where_the_caller_says(kind, store, tmp_path):
    where = moved(kind, tmp_path / "data")

    with pytest.raises(InputError, match="--found-at"):
        check_images(store)
    assert check_images(store, where).is_sound


def test_rows_are_computed_again_bit_for_bit(store):
    verdict = recompute(store, 3)

    assert (verdict.problems, verdict.checks) == ({}, 3)


@pytest.mark.parametrize("pattern", ["shards/*", "commits/*", "snapshots/*.parquet"])
def test_repair_alone_makes_a_store_whole(store, pattern):
    snapshot = extract.open_store(store)
    flip(sorted(store.glob(pattern))[0])
    done = repair(store)
    again = extract.open_store(store)

    assert (done.problems, done.todo) == ({}, "")
    assert done.extracted <= 4
    assert verify(store).is_sound
    assert (again.root_digest, again.items_digest) == (snapshot.root_digest, snapshot.items_digest)
    assert again.items.equals(snapshot.items)


def test_repair_finds_what_moved_where_the_caller_says(kind, store, tmp_path):
    where = moved(kind, tmp_path / "data")
    flip(sorted(store.glob("shards/*"))[0])
    done = repair(store)

    assert "--images" in done.todo
    assert repair(store, where).problems == {}
    assert verify(store).is_sound


def test_explain_counts_the_images_and_times_them(kind, store, images):
    before = tree(store)
    same = explain(store, SETTINGS)
    more = explain(
        store,
        Settings(spec=SETTINGS.spec, pixels=SETTINGS.pixels, layers=(LayerRequest("3", None),)),
    )

    assert (same.fits, same.cost.items, same.cost.known, same.cost.extract) == (True, 8, 8, 0)
    assert (more.missing_columns, more.cost.extract) == (("3:avg",), 8)
    assert more.cost.seconds is not None
    assert same.images == images
    assert tree(store) == before


def test_explain_knows_no_time_where_the_images_are_gone(kind, store, tmp_path):
    where = moved(kind, tmp_path / "data")
    other = Settings(spec=SETTINGS.spec, pixels=PixelPolicy(image_size=64))

    assert (explain(store, other).images, explain(store, other).cost.seconds) == (None, None)
    assert explain(store, other, where).cost.extract == 8


def test_a_plan_counts_and_writes_nothing(images, tmp_path):
    before = tree(tmp_path)
    first = estimate(images, tmp_path / "pets.features", SETTINGS)

    assert tree(tmp_path) == before
    assert (first.items, first.known, first.new, first.extract) == (8, 0, 8, 8)
    assert first.probed == 8
    extract.run(images, tmp_path / "pets.features", backbone="digits", image_size=32)
    again = estimate(images, tmp_path / "pets.features", SETTINGS)
    assert (again.known, again.new, again.extract, again.disk) == (8, 0, 0, 0)


def test_the_command_line_finds_the_images_too(cli, store):
    status, out, _ = cli("verify", store, "--images", "--json")

    assert (status, json.loads(out)["problems"]) == (0, {})
    status, out, _ = cli("verify", store, "--recompute", 2, "--json")
    assert (status, json.loads(out)["checks"]) == (0, 2)
    words = ("--backbone", "digits", "--image-size", 32)
    status, out, _ = cli("explain", store, *words)
    assert status == 0
    assert " fits" in out
    again = out.splitlines()[-1].removeprefix("Next: python -m extract ")
    assert "0 extracted, 0 copied, 8 reused" in cli(*shlex.split(again))[1]


class TestArraysInMemory:
    """Nobody finds them again but the program that made them: each command says so."""

    @pytest.fixture
    def store(self, tmp_path):
        """A store of arrays that nobody kept."""
        arrays = [*pictures().values()]
        return Path(extract.run(arrays, tmp_path / "s", backbone="digits", image_size=32).store)

    def test_a_check_says_that_they_are_gone(self, store):
        with pytest.raises(InputError, match="arrays in memory"):
            check_images(store)

    def test_repair_sets_aside_and_the_program_computes_again(self, store):
        flip(next(store.glob("shards/*")))
        done = repair(store)

        assert "arrays in memory" in done.todo
        again = extract.run([*pictures().values()], store, backbone="digits", image_size=32)
        assert again.extracted == 8
        assert verify(store).is_sound

    def test_explain_knows_no_time(self, store):
        found = explain(store, SETTINGS)

        assert (found.images, found.fits, found.cost.seconds) == (None, True, None)

    def test_a_plan_counts_them(self, tmp_path):
        found = estimate(pictures().values(), tmp_path / "s", SETTINGS)

        assert (found.items, found.extract) == (8, 8)
        with pytest.raises(InputError, match="Give store="):
            estimate(pictures().values(), None, SETTINGS)
