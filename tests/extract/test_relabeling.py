"""relabel and split: a new snapshot, nothing extracted, and later runs keep what was decided."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import extract
from extract.errors import InputError, StoreError
from extract.relabeling import relabel, split
from extract.store.verify import verify
from tests.helpers import tree

pytestmark = pytest.mark.usefixtures("fake_backbone")


@pytest.fixture
def store(photos):
    return Path(run(photos).store)


def run(photos):
    return extract.run(photos, backbone="digits")


def table(folder, rows, name="table.csv", **options):
    path = folder / name
    frame = pd.DataFrame(rows)
    if name.endswith(".parquet"):
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, **options)
    return path


def column(store, name):
    items = extract.open_store(store).items
    return dict(zip(items["path"].to_pylist(), items[name].to_pylist(), strict=True))


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_labels_change_and_the_features_stay(store, tmp_path, fake_backbone, name):
    old, images = extract.open_store(store), fake_backbone.images
    before = tree(store / "shards")
    rows = [{"path": "cats/1.png", "label": "lions"}, {"path": "dogs/2.png", "label": "007"}]
    done = relabel(store, table(tmp_path, rows, name))
    new = extract.open_store(store)

    assert (done.snapshot, done.labels, done.splits) == (2, 2, 0)
    assert new.classes == ("007", "cats", "dogs", "lions")
    assert column(store, "label")["cats/1.png"] == "lions"
    assert (new.root_digest, tree(store / "shards")) == (old.root_digest, before)
    assert new.items_digest != old.items_digest
    assert fake_backbone.images == images
    assert verify(store).is_sound


def test_later_runs_keep_what_was_decided(store, photos, tmp_path, picture):
    rows = [{"path": "cats/1.png", "label": "lions", "split": "test", "group": "a"}]
    relabel(store, table(tmp_path, rows))
    assert run(photos).snapshot == 2  # nothing new to say
    picture(photos / "cats" / "new.png", seed=3)
    (photos / "cats" / "2.png").rename(photos / "dogs" / "moved.png")
    run(photos)

    assert column(store, "label")["cats/1.png"] == "lions"
    assert column(store, "split")["cats/1.png"] == "test"
    assert column(store, "group")["cats/1.png"] == "a"
    assert column(store, "label")["cats/new.png"] == "cats"
    assert column(store, "label")["dogs/moved.png"] == "dogs"


def test_empty_cells_and_unnamed_items_stay_as_they_are(store, tmp_path):
    before = column(store, "split")
    rows = [
        {"path": "cats/1.png", "label": "lions", "split": ""},
        {"path": "cats/2.png", "label": "", "split": "validation"},
    ]
    relabel(store, table(tmp_path, rows))

    assert column(store, "label")["cats/2.png"] == "cats"
    assert column(store, "split") == before | {"cats/2.png": "validation"}


def test_the_same_table_twice_seals_once(store, tmp_path):
    path = table(tmp_path, [{"path": "cats/1.png", "label": "lions"}])

    assert relabel(store, path).snapshot == relabel(store, path).snapshot == 2


def test_copies_follow_and_may_not_be_parted(store, photos, tmp_path):
    done = relabel(store, table(tmp_path, [{"path": "cats/0.png", "split": "test"}]))
    assert column(store, "split")["dogs/copy.png"] == "test"
    assert done.moved <= 1
    run(photos)
    assert column(store, "split")["dogs/copy.png"] == "test"

    rows = [
        {"path": "cats/0.png", "split": "test"},
        {"path": "dogs/copy.png", "split": "train"},
    ]
    with pytest.raises(InputError, match="belong together"):
        relabel(store, table(tmp_path, rows))


def test_a_new_group_goes_where_most_of_it_is_and_stays_there(store, photos, tmp_path):
    split(store, "0.5/0.25/0.25")
    rows = [{"path": path, "group": "all"} for path in column(store, "split")]
    relabel(store, table(tmp_path, rows))
    assert set(column(store, "split").values()) == {"train"}
    run(photos)
    assert set(column(store, "split").values()) == {"train"}


def test_split_cuts_anew_by_class_and_is_kept(store, photos, picture, fake_backbone):
    images = fake_backbone.images
    done = split(store, "0.5/0.5/0", seed=1)
    first = column(store, "split")

    assert (done["train"] + done["validation"], done["test"]) == (13, 0)
    assert sorted(first.values()).count("validation") in (6, 7)
    assert run(photos).snapshot == 2
    for number in range(8):
        picture(photos / "cats" / f"new{number}.png", seed=50 + number)
    run(photos)
    later = column(store, "split")

    assert {path: later[path] for path in first} == first
    assert "test" not in later.values()
    assert fake_backbone.images == images + 8


def test_split_overrules_folders_and_pins(tmp_path, picture):
    photos = tmp_path / "photos"
    for name in ("train", "test"):
        for number in range(6):
            picture(photos / name / "cats" / f"{number}.png", seed=hash((name, number)) % 999)
    store = Path(run(photos).store)
    relabel(store, table(tmp_path, [{"path": "train/cats/1.png", "split": "test"}]))
    split(store, "1/0/0")
    assert set(column(store, "split").values()) == {"train"}
    run(photos)
    assert set(column(store, "split").values()) == {"train"}


def test_another_seed_gives_another_cut(store):
    split(store, seed=0)
    one = column(store, "split")
    split(store, seed=1)
    assert column(store, "split") != one
    split(store, seed=0)
    assert column(store, "split") == one


def test_a_seed_of_numpy_is_a_plain_number(store):
    first = split(store, seed=3)["snapshot"]

    assert split(store, seed=np.int64(3))["snapshot"] == first  # it says nothing new
    split(store, seed=np.int64(4))
    seed = extract.open_store(store).record.split_rule.seed
    assert (seed, type(seed)) == (4, int)


@pytest.mark.parametrize("seed", ["x", None, 1.5, True])
def test_a_seed_that_is_no_whole_number_is_refused(store, seed):
    before = tree(store)
    with pytest.raises(InputError, match=f"seed is a whole number. Received: {seed!r}"):
        split(store, seed=seed)
    assert tree(store) == before


@pytest.mark.parametrize(
    "text",
    ["0.7/0.3", "0.7/0.2/0.2", "a/b/c", "0/0.5/0.5", "1.5/-0.5/0", (0.6, 0.2, 0.2), None, 0.7],
)
def test_ratios_that_are_none_are_refused(store, text):
    before = tree(store)
    with pytest.raises(InputError, match="--ratios are three shares"):
        split(store, text)
    assert tree(store) == before


BAD = [
    ([{"path": "cats/1.png", "label": "a"}] * 2, "names 'cats/1.png' twice"),
    ([{"path": p, "label": "a"} for p in ("cats/1.png", "cats/./1.png")], "'cats/1.png' twice"),
    ([{"path": "../1.png", "label": "a"}], "leaves the folder of images"),
    ([{"path": "/etc/1.png", "label": "a"}], "leaves the folder of images"),
    ([{"path": "cats/9.png", "label": "a"}], "1 items that the store does not have.*cats/0.png"),
    ([{"file": "cats/1.png", "label": "a"}], "no column 'path'. Columns found: file, label"),
    ([{"path": "cats/1.png", "klass": "a"}], "none of label, split and group. Columns found: path"),
    ([{"path": "cats/1.png", "split": "some"}], "split 'some', expected one of train, validation"),
    ([{"path": "", "label": "a"}], "no path in row 1"),
]


@pytest.mark.parametrize(("rows", "message"), BAD, ids=lambda value: str(value)[:30])
def test_a_bad_table_is_one_line_and_touches_nothing(store, tmp_path, rows, message):
    before = tree(store)
    with pytest.raises(InputError, match=message):
        relabel(store, table(tmp_path, rows))
    assert tree(store) == before


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_table_in_another_encoding_is_named(store, tmp_path, encoding):
    path = table(tmp_path, [{"path": "cats/1.png", "label": "Löwe"}], encoding=encoding)

    with pytest.raises(InputError, match=r"table.csv is not in UTF-8"):
        relabel(store, path)


def test_paths_are_those_that_a_run_of_the_table_has(photos, tmp_path):
    """Who lists "./cats/1.png" corrects the same table, and gives it back."""
    rows = [{"path": f"./cats//{n}.png", "label": "cats"} for n in range(3)]
    made = extract.run(table(photos, rows), store=tmp_path / "f", backbone="digits")
    done = relabel(made.store, table(photos, [dict(row, label="lions") for row in rows]))

    assert done.labels == 3
    assert column(made.store, "label")["cats/1.png"] == "lions"


@pytest.mark.parametrize("name", ["path", "label"])
def test_a_column_of_lists_is_named(store, tmp_path, name):
    row = {"path": "cats/1.png", "label": "lions"} | {name: ["a", "b"]}

    with pytest.raises(InputError, match=f"Column '{name}' is list.*Expected text, or numbers"):
        relabel(store, table(tmp_path, [row], "table.parquet"))


def test_a_byte_order_mark_is_no_part_of_the_first_column(store, tmp_path):
    path = table(tmp_path, [{"path": "cats/1.png", "label": "Löwe"}], encoding="utf-8-sig")
    relabel(store, path)

    assert column(store, "label")["cats/1.png"] == "Löwe"


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("nowhere.csv", None, "There is no table"),
        ("table.xlsx", b"PK", "expected a .csv or .parquet"),
        ("table.parquet", b"PAR1", "cannot be read as a table"),
        ("table.csv", b"", "cannot be read as a table"),
    ],
)
def test_what_is_no_table_is_one_line(store, tmp_path, name, data, message):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message):
        relabel(store, tmp_path / name)


def test_what_is_no_store_is_one_line(tmp_path):
    with pytest.raises(StoreError, match="not a store"):
        split(tmp_path)
