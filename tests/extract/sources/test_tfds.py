"""Data sets of TensorFlow Datasets: made here, found by folder, read as the bytes they hold."""

import pytest

import extract
from extract.errors import InputError
from extract.items import list_folder
from extract.reading import read
from extract.sources import list_images
from extract.sources.tfds import KEPT, Stream

pytestmark = pytest.mark.filterwarnings("ignore")  # of TensorFlow and its old friends


@pytest.fixture(scope="module")
def tfds():
    return pytest.importorskip("tensorflow_datasets")


@pytest.fixture
def prepared(tfds, tmp_path, photos):
    """A data set of two splits with twelve pictures, as tfds prepares it."""
    items = list_folder(photos).items
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=["cats", "dogs"]),
        }
    )
    parts = {"train": items[::2], "test": items[1::2]}
    builder = tfds.dataset_builders.store_as_tfds_dataset(
        name="pets",
        version="1.0.0",
        features=features,
        split_datasets={
            split: [
                (n, {"image": str(photos / i.path), "label": i.label}) for n, i in enumerate(part)
            ]
            for split, part in parts.items()
        },
        data_dir=str(tmp_path / "tfds"),
        disable_shuffling=True,
    )
    return builder.data_path


def test_records_become_items_with_labels_and_splits(prepared, photos):
    listing = list_images(f"tfds:{prepared}")
    train = list_folder(photos).items[::2]

    assert len(listing.items) == 13
    assert [(i.path, i.label, i.split) for i in listing.items[6:]] == [
        (f"train/{index:08d}", item.label, "train") for index, item in enumerate(train)
    ]
    assert [read(listing, i).data for i in listing.items[6:]] == [
        (photos / item.path).read_bytes() for item in train
    ]


def test_a_slice_holds_what_tfds_says(tfds, prepared):
    listing = list_images(f"tfds:{prepared}[train[:40%]+test[5:]]")
    builder = tfds.builder_from_directory(str(prepared))
    count = builder.info.splits["train[:40%]"].num_examples

    assert [i.path for i in listing.items] == [
        "test[5:]/00000000",
        *(f"train[:40%]/{index:08d}" for index in range(count)),
    ]
    assert [i.split for i in listing.items] == ["test", *["train"] * count]


@pytest.mark.usefixtures("fake_backbone")
def test_a_data_set_and_its_folder_share_a_store(prepared, photos, monkeypatch):
    first = extract.run(photos, backbone="digits")
    second = extract.run(f"tfds:{prepared}", first.store, backbone="digits")
    monkeypatch.setattr("extract.sources.tfds.Streams.read", None)
    third = extract.run(f"tfds:{prepared}", first.store, backbone="digits")

    assert (second.extracted, second.root_digest) == (0, first.root_digest)
    assert (third.snapshot, third.extracted) == (second.snapshot, 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("[dev]", "has no split 'dev'. It has: "),
        ("[train[:40%]", r"Expected NAME\[SPLITS\]"),
    ],
)
def test_a_bad_split_is_one_line(prepared, name, message):
    with pytest.raises(InputError, match=message) as caught:
        list_images(f"tfds:{prepared}{name}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_data_set", "has no data set 'no_such_data_set', and no folder is called that."),
        ("minst", "Did you mean .*tfds:mnist"),
        ("{folder}", "cannot be had"),
    ],
)
def test_what_is_nowhere_is_one_short_line(tfds, tmp_path, name, message):
    with pytest.raises(InputError, match=message) as caught:
        list_images(f"tfds:{name.format(folder=tmp_path)}")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_tensorflow_is_imported_quietly(prepared, monkeypatch):
    imported = []
    monkeypatch.setattr("extract.sources.tfds.quiet_import", imported.append)
    list_images(f"tfds:{prepared}")

    assert imported == ["tensorflow"]


def test_without_the_library_the_command_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorflow_datasets", None)

    with pytest.raises(InputError, match=r'pip install "headstart\[tfds\]"'):
        list_images("tfds:mnist")


@pytest.mark.parametrize(
    ("asked", "opened"),
    [
        (range(200), [0]),
        ([0, 3, 1, 2, 6, 5, 4], [0]),
        ([150, 151], [150]),
        ([0, 1, 180], [0, 180]),
        ([*range(150), 0], [0, 0]),
    ],
    ids=["in order", "nearly in order", "from the middle", "far ahead", "back to the beginning"],
)
def test_a_stream_gives_every_record_and_opens_as_seldom_as_it_can(asked, opened):
    starts = []

    def open_at(start):
        starts.append(start)
        return (b"%d" % i for i in range(start, 200))

    stream = Stream(open_at)

    assert [stream[i] for i in asked] == [b"%d" % i for i in asked]
    assert starts == opened
    assert len(stream._kept) <= KEPT
