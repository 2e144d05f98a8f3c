"""The commands that look after a store: what they print, JSON, exit statuses, the next command."""

import json
import re
from pathlib import Path

import pytest

import extract
from tests.helpers import tree

pytestmark = pytest.mark.usefixtures("fake_backbone")


@pytest.fixture
def store(photos):
    return Path(extract.run(photos, backbone="digits").store)


@pytest.mark.parametrize(
    ("option", "covers"),
    [
        ("--quick", "no shard was hashed"),
        ("--full", "every byte of every file"),
        ("--images", "the bytes of every image"),
        ("--recompute=3", "3 rows computed again"),
    ],
)
def test_verify_says_what_it_covers(cli, store, option, covers):
    status, out, _ = cli("verify", store, option)

    assert status == 0
    assert covers in next(line for line in out.splitlines() if line.startswith("Covered: "))
    assert re.search(r"^0 problems in .* s, [\d.,]+ (\w+B|checks)/s$", out, re.MULTILINE)
    what = "Everything" if option == "--full" else "What was looked at"
    assert out.splitlines()[-1] == f"{what} is as it was sealed."


@pytest.mark.parametrize("option", ["--quick", "--full"])
def test_verify_says_that_nothing_was_sealed_yet(cli, photos, monkeypatch, option):
    """A first run that was stopped leaves a store that is sound, and of which nothing is sealed."""

    def stopped(self):
        raise KeyboardInterrupt

    monkeypatch.setattr("extract.pipeline.Extraction._tick", stopped)
    with pytest.raises(KeyboardInterrupt):
        extract.run(photos, backbone="digits")
    status, out, _ = cli("verify", f"{photos}.features", option)

    assert status == 0
    assert "as it was sealed" not in out
    assert out.splitlines()[-1] == (
        f"{photos}.features has no sealed snapshot yet: its first run did not finish. Run the same "
        f"command again: it resumes"
    )
    assert json.loads(cli("verify", f"{photos}.features", option, "--json")[1])["unsealed"]


@pytest.mark.parametrize("command", ["info", "verify", "repair", "gc", "split"])
def test_a_snapshot_where_a_store_is_expected_is_told_of(cli, store, command):
    """Only diff takes STORE@N; the others look at the newest, or at all of them."""
    status, _, err = cli(command, f"{store}@1")

    assert (status, err) == (
        1,
        f"Error: {store}@1 names a snapshot of {store}, and only python -m extract diff A B takes "
        f"one. Give {store}\n",
    )
    assert "is not a store: it has no store.json" in cli("info", f"{store}s@1")[2]


def test_verify_takes_one_mode(cli, store):
    status, _, err = cli("verify", store, "--quick", "--images")

    assert (status, err) == (1, "Error: Give one of --quick, --full, --recompute K and --images\n")


def test_repair_says_what_is_left_to_do(cli, store, tmp_path):
    store.with_name("photos").rename(tmp_path / "moved")
    next((store / "shards").iterdir()).write_bytes(b"")
    status, out, _ = cli("repair", store)

    assert status == 1
    assert "Give --images FOLDER" in out
    assert out.splitlines()[-1] == f"Next: python -m extract repair {store} --images FOLDER"
    status, out, _ = cli("repair", store, "--images", tmp_path / "moved")
    assert (status, out.splitlines()[-1]) == (0, "The store is whole.")


def test_repair_says_what_it_could_not_read_again(cli, store):
    (store.with_name("photos") / "dogs" / "1.png").unlink()
    next((store / "shards").iterdir()).write_bytes(b"")
    status, out, _ = cli("repair", store)

    assert status == 0
    listed = store / "bad_images.csv"
    assert f"1 items cannot be read, and have no features: {listed}" in out.splitlines()
    assert "dogs/1.png,read," in listed.read_text()


def test_gc_rehearses_and_gives_the_command(cli, store):
    (store / "tmp" / "0123456789abcdef").write_bytes(b"left over")
    before = tree(store)
    status, out, _ = cli("gc", store, "--older-than", "0")

    assert (status, tree(store)) == (0, before)
    assert "would remove tmp/0123456789abcdef" in out
    assert out.splitlines()[-1] == f"Next: python -m extract gc {store} --older-than 0 --yes"
    assert json.loads(cli("gc", store, "--older-than", "0", "--yes", "--json")[1])["done"]


def test_explain_takes_the_options_of_run(cli, store):
    status, out, _ = cli("explain", store, "--backbone", "digits", "--interpolation", "nearest")

    assert status == 0
    assert "pixels.interpolation  bilinear  nearest" in out
    assert out.splitlines()[-1].endswith("--backbone digits --interpolation nearest")
    facts = json.loads(cli("explain", store, "--backbone", "digits", "--json")[1])
    assert (facts["fits"], facts["cost"]["extract"]) == (True, 0)


def test_relabel_and_split_say_what_changed(cli, store, tmp_path):
    (tmp_path / "t.csv").write_text("path,label\ncats/1.png,lions\n")
    status, out, _ = cli("relabel", store, tmp_path / "t.csv")
    assert status == 0
    assert "1 items in the table: 1 other labels" in out
    status, out, _ = cli("split", store, "--ratios", "0.8/0.1/0.1", "--json")
    facts = json.loads(out)
    assert (facts["snapshot"], facts["train"] + facts["validation"] + facts["test"]) == (3, 13)
    status, _, err = cli("relabel", store, tmp_path / "nowhere.csv")
    assert (status, err.count("\n")) == (1, 1)


def test_export_and_diff_say_what_they_did(cli, store, tmp_path):
    status, out, _ = cli("export", store, tmp_path / "out.npz")
    assert status == 0
    assert "13 items, 12 rows" in out
    status, out, _ = cli("diff", store, f"{store}@1")
    assert (status, out.splitlines()[-1]) == (0, "They are the same.")
    assert json.loads(cli("diff", store, store, "--json")[1])["same"]


def test_merge_and_forget_say_what_they_did(cli, store, photos, tmp_path, picture):
    picture(tmp_path / "more" / "cats" / "9.png", seed=9)
    other = extract.run(tmp_path / "more", backbone="digits").store
    status, out, _ = cli("merge", store, other, "--store", tmp_path / "all.features")
    assert status == 0
    assert "14 items, 13 distinct images" in out
    status, out, _ = cli("forget", tmp_path / "all.features", "cats/1.png")
    assert status == 0
    assert "forgotten: item cats/1.png" in out
    assert cli("verify", tmp_path / "all.features")[0] == 0
    status, _, err = cli("forget", store, "nowhere.png")
    assert (status, err.count("\n")) == (1, 1)
