"""Training on cached features and in the graph, on a handful of pictures."""

import json

import pytest

from benchmarks import trajectory
from extract.backbones import BackboneSpec


@pytest.fixture
def split_photos(tmp_path, picture):
    """Eight pictures of each of two classes in train, three in validation."""
    folder = tmp_path / "split"
    for seed in range(16):
        picture(folder / "train" / "ab"[seed % 2] / f"{seed}.png", seed)
    for seed in range(16, 22):
        picture(folder / "validation" / "ab"[seed % 2] / f"{seed}.png", seed)
    return folder


def test_the_head_on_features_walks_the_road_of_the_head_in_the_graph(split_photos, capsys):
    facts = trajectory.compare(split_photos, BackboneSpec(name="digits"), 3)
    trajectory.show(facts)

    json.dumps(facts)
    assert facts["rows"] == {"train": 16, "validation": 6}
    assert len(facts["cached"]) == 3
    assert facts["cached"] == facts["in_graph"]
    assert 0 < facts["kernel_difference"] < trajectory.TOLERANCE
    assert "same validation accuracy after 3 of 3 epochs" in trajectory.verdict(facts)[0]
    assert capsys.readouterr().err.count("\n") == 5


def test_the_plain_script_runs_as_a_process_of_its_own(split_photos):
    seconds, accuracy = trajectory.plain_script_seconds(
        split_photos, epochs=1, count=2, options=["--size", "32", "--random-weights"]
    )

    assert seconds > 0
    assert accuracy in (0, 0.25, 0.5, 0.75, 1)


def test_a_subset_has_the_first_images_of_each_class_and_split(split_photos):
    with trajectory.subset(split_photos, 2) as folder:
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))

    assert not folder.exists()
    assert len(names) == 8
    assert names[:2] == ["train/a/0.png", "train/a/10.png"]
