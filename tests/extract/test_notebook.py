"""Stores and results in a notebook: short words, small tables, and nothing but text."""

from html.parser import HTMLParser

import numpy as np
import pytest

import extract
from extract.notebook import Shown, table

pytestmark = pytest.mark.usefixtures("fake_backbone")


class Balanced(HTMLParser):
    """Checks that every element is closed, and collects the text."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.tags = [], [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(markup):
    parser = Balanced()
    parser.feed(markup)
    assert parser.open == []
    assert parser.tags <= {"table", "thead", "tbody", "tr", "th", "td", "br", "p"}
    return parser.text


@pytest.fixture
def store(photos):
    return extract.run(photos, backbone="digits").store


def test_a_snapshot_shows_its_columns_and_its_items_by_class(store):
    snapshot = extract.open_store(store)
    words = read(snapshot._repr_html_())

    assert f"{store}, snapshot 1" in words
    assert {"last:avg", "cats", "dogs", "train", "13", "digits"} <= set(words)
    assert repr(snapshot).startswith(f"Snapshot({store!r}, number=1, items=13, ")


def test_data_is_short_in_words_and_shows_its_first_items(store):
    data = extract.open_store(store).load(None)

    assert repr(data) == "Data(X (13, 6) float32, y (13,) int64, 13 items)"
    assert {"cats/0.png", "cats", "good"} <= set(read(data._repr_html_()))
    assert data.items.to_pandas()["path"].tolist()[0] == "cats/0.png"


def test_every_result_is_shown_as_a_table_of_its_fields(photos, store, tmp_path, picture):
    (tmp_path / "t.csv").write_text("path,label\ncats/1.png,puma\n", encoding="utf-8")
    picture(photos / "dogs" / "new.png", 9)
    other = extract.run(photos / "dogs", tmp_path / "other", backbone="digits").store
    results = [
        extract.estimate(photos, backbone="digits"),
        extract.run(photos, backbone="digits"),
        extract.verify(store),
        extract.verify(store, quick=True),
        extract.check_images(store),
        extract.recompute(store, 2),
        extract.explain(store, backbone="digits", image_size=64),
        extract.relabel(store, tmp_path / "t.csv"),
        extract.diff(f"{store}@1", store),
        extract.export(store, tmp_path / "out.npz"),
        extract.merge([store, other], tmp_path / "merged"),
        extract.forget(store, ["cats/1.png"]),
        extract.repair(store),
        extract.gc(store),
    ]

    for result in results:
        assert isinstance(result, Shown)
        assert read(result._repr_html_())[0] == type(result).__name__
        assert repr(result).startswith(type(result).__name__)
    assert extract.split(store, "0.5/0.25/0.25").keys() == {
        "snapshot",
        "train",
        "validation",
        "test",
    }


def test_names_are_text_and_long_lists_are_cut():
    markup = table(["<b>"], [["<script>", 1234567, 0.5, None, True, [*range(20)], {"a\n": "<i>"}]])
    words = read(markup)

    assert words[:6] == ["<b>", "<script>", "1,234,567", "0.5", "true", "0"]
    assert "… 12 more" in words
    assert words[-1] == "a: <i>"


def test_every_public_name_is_there_and_an_unknown_one_is_not():
    assert all(callable(getattr(extract, name)) for name in extract.__all__)
    assert dir(extract) == extract.__all__
    with pytest.raises(AttributeError, match="no attribute 'extrct'"):
        _ = extract.extrct


def test_an_option_that_run_does_not_have_names_those_it_has(photos):
    with pytest.raises(TypeError, match="'size' is no option of run. Options: backbone, "):
        extract.estimate(photos, size=3)


class TestTensorFlow:
    def test_batches_are_those_of_the_store(self, store):
        snapshot = extract.open_store(store)
        dataset = snapshot.to_tf_dataset(None, 5, shuffle=False)
        X, y = (np.concatenate(parts) for parts in zip(*dataset.as_numpy_iterator(), strict=True))
        expected = snapshot.load(None)

        np.testing.assert_array_equal(X, expected.X)
        np.testing.assert_array_equal(y, expected.y)
        assert (len(dataset), X.dtype) == (3, np.float32)

    def test_each_pass_has_an_order_of_its_own_that_the_seed_decides(self, store):
        snapshot = extract.open_store(store)

        def passes():
            dataset = snapshot.to_tf_dataset(None, 13, seed=3)
            return [next(iter(dataset.as_numpy_iterator()))[0].tolist() for _ in range(2)]

        first, second = passes()
        assert first != second
        assert passes() == [first, second]

    def test_without_labels_there_are_features_alone(self, photos, tmp_path):
        flat = extract.run(photos / "cats", tmp_path / "flat", backbone="digits")
        dataset = extract.open_store(flat.store).to_tf_dataset(None)

        assert next(dataset.as_numpy_iterator()).shape == (6, 6)

    def test_a_batch_has_rows(self, store):
        with pytest.raises(extract.HeadstartError, match="batch_size is at least 1"):
            extract.open_store(store).to_tf_dataset(batch_size=0)


class TestTorch:
    @pytest.fixture(autouse=True)
    def torch(self):
        return pytest.importorskip("torch")

    def test_a_loader_gives_the_rows_of_the_store(self, torch, store):
        snapshot = extract.open_store(store)
        rows = snapshot.to_torch(None)
        X, y = (torch.cat(p) for p in zip(*torch.utils.data.DataLoader(rows, 5), strict=True))
        expected = snapshot.load(None)

        np.testing.assert_array_equal(X.numpy(), expected.X)
        np.testing.assert_array_equal(y.numpy(), expected.y)

    def test_one_row_is_a_tensor_and_its_class(self, store):
        rows = extract.open_store(store).to_torch(None)

        np.testing.assert_array_equal(rows[-1][0], rows[len(rows) - 1][0])
        assert rows[0][1] == 0
        with pytest.raises(IndexError, match="row 13 of 13"):
            rows[13]

    def test_without_labels_there_are_features_alone(self, photos, tmp_path):
        flat = extract.run(photos / "cats", tmp_path / "flat", backbone="digits")

        assert extract.open_store(flat.store).to_torch(None)[2].shape == (6,)
