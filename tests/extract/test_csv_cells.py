"""No text of the user's becomes a formula in a spreadsheet, and every text comes back."""

import csv
import shutil

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import extract
from extract.csv_cells import FORMULA, TextWriter
from extract.tables import read_table, write_csv

TEXTS = st.text(
    st.sampled_from("'=+-@\t\r\n,\"1e.aß") | st.characters(codec="utf-8", exclude_characters="\0"),
    min_size=1,
    max_size=6,
)


def cells(path):
    with open(path, encoding="utf-8", newline="") as file:
        return [cell for row in csv.reader(file) for cell in row]


def is_formula(cell):
    try:
        float(cell)
    except ValueError:
        return cell.startswith(tuple(FORMULA))
    return False


@pytest.mark.parametrize("way", ["rows", "table"])
@given(texts=st.lists(TEXTS, min_size=1, max_size=5))
def test_what_is_written_is_read_again_and_is_no_formula(tmp_path_factory, way, texts):
    path = tmp_path_factory.mktemp("cells") / "t.csv"
    if way == "rows":
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = TextWriter(file)
            for row in (["text", "number"], *([text, -0.5] for text in texts)):
                writer.writerow(row)
    else:
        write_csv(pa.table({"text": texts, "number": [-0.5] * len(texts)}), path)

    assert not any(map(is_formula, cells(path)))
    assert cells(path).count("-0.5") == len(texts)
    assert read_table(path)["text"].to_pylist() == texts


def test_a_name_that_is_a_formula_goes_the_whole_road(photos, tmp_path, fake_backbone):
    """Labels and paths come from names of files, which strangers choose."""
    label = '=HYPERLINK("evil")'
    (photos / "cats").rename(photos / label)
    (photos / "@bad.jpg").write_bytes(b"no picture")
    shutil.copy(photos / "@bad.jpg", photos / label / "bad.jpg")
    store = tmp_path / "photos.features"
    extract.run(photos, store, backbone="digits", max_bad="50%")
    extract.export(store, tmp_path / "out.npy")
    items = next(tmp_path.glob("out*.csv"))

    for path in (store / "bad_images.csv", items):
        assert not any(map(is_formula, cells(path)))
        assert f"{label}/bad.jpg" in read_table(path)["path"].to_pylist()
    assert label in read_table(items)["label"].to_pylist()
    assert extract.relabel(store, items).labels == 0
    assert np.load(tmp_path / "out.npy").shape[1] > 0
