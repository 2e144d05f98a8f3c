"""One grammar of augmentation: what it takes, what it says, and what its numbers mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.augment import NAMES, Augmentation, Operation, crop_start
from extract.errors import InputError

flips = st.sampled_from(["horizontal", "vertical", "horizontal_and_vertical"])
numbers = st.floats(min_value=0, max_value=1, exclude_min=True, exclude_max=True)
operations = st.one_of(
    st.builds(Operation, st.just("flip"), flips),
    st.builds(Operation, st.sampled_from([name for name in NAMES if name != "flip"]), numbers),
)
augmentations = st.lists(operations, min_size=1, unique_by=lambda x: x.name).map(
    lambda chosen: Augmentation(tuple(chosen))
)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("flip", "flip=horizontal"),
        ("flip=vertical", "flip=vertical"),
        ("rotation=0.10", "rotation=0.1"),
        (" flip , crop = .8 ", "flip=horizontal,crop=0.8"),
        ("crop=0.8,flip", "crop=0.8,flip=horizontal"),
        ("rotation=1", "rotation=1.0"),
        ("contrast=2e-1,brightness=0.2", "contrast=0.2,brightness=0.2"),
    ],
)
def test_an_augmentation_has_one_text(text, canonical):
    assert Augmentation.parse(text).canonical == canonical


@given(augmentations)
def test_the_canonical_text_reads_back(augmentation):
    assert Augmentation.parse(augmentation.canonical) == augmentation


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rotatoin=0.1", "Unknown augmentation 'rotatoin': did you mean rotation.* Known: flip,"),
        ("Flip", "did you mean flip"),
        ("mixup=0.2", "Unknown augmentation 'mixup'. Known: flip, rotation, zoom,"),
        ("flip=horizontaly", "Received: 'horizontaly': did you mean horizontal?"),
        ("flip=0.5", "flip is one of horizontal, vertical, horizontal_and_vertical. Rec.*'0.5'"),
        ("flip=", "flip takes a value, such as flip=horizontal"),
        ("rotation", "rotation takes a value, such as rotation=0.1"),
        ("rotation=ten", "rotation is a number above 0 and at most 1. Received: 'ten'"),
        ("rotation=nan", "rotation is a number above 0 and at most 1. Received: 'nan'"),
        ("rotation=-0.1", "rotation is a number above 0 and at most 1. Received: '-0.1'"),
        ("rotation=30", "rotation is a number above 0 and at most 1. Received: '30'"),
        ("brightness=0", "brightness is a number above 0"),
        ("crop=1", "crop is a number above 0 and below 1. Received: '1'"),
        ("zoom=1", "zoom is a number above 0 and below 1. Received: '1'"),
        ("flip,,crop=0.8", "--augment is such as flip,rotation=0.1. Received an empty part: ''"),
        ("=0.1", "Received an empty part: '=0.1'"),
        ("flip,flip=vertical", "takes each operation once. Received twice: flip"),
        ("", "--augment names at least one of flip, .* Received: none"),
    ],
)
def test_what_it_does_not_know_is_one_line(text, message):
    with pytest.raises(InputError, match=message) as caught:
        Augmentation.parse(text)
    assert "\n" not in str(caught.value)


@given(operations)
def test_every_draw_is_around_no_change_at_all(operation):
    """A view is the plain picture on average: neither brighter nor turned to one side."""
    unchanged = {"zoom": 1.0, "contrast": 1.0, "flip": 0.5, "top": 0.5, "left": 0.5}
    for name, (low, high) in operation.draws.items():
        assert (low + high) / 2 == pytest.approx(unchanged.get(name, 0.0))


@given(st.integers(1, 300), st.data())
def test_a_crop_can_be_anywhere_in_the_picture_and_nowhere_else(size, data):
    side = data.draw(st.integers(1, size))
    places = {crop_start(i / (size - side + 1), size, side) for i in range(size - side + 1)}
    assert places <= set(range(size - side + 1))
    assert crop_start(0.0, size, side) == 0
    assert crop_start(1 - 2**-53, size, side) == size - side
