"""What features become at a step of training; and what is averaged when a model is judged."""

import numpy as np
import pytest

import heads
from heads.augmenting import Augmentation, augmented, blurred, parse
from heads.data import Source
from heads.errors import HeadError
from heads.evaluation import evaluate
from heads.neural import LinearHead, MLPHead
from tests.heads.models import linear_model

STYLES = ["brightness:0.3", "contrast:0.5", "posterize:4"]


@pytest.mark.parametrize("word", STYLES)
@pytest.mark.parametrize("channels", [3, 12])
def test_styles_keep_the_range_of_a_row_and_its_neighbors_alone(word, channels):
    random = np.random.default_rng(0)
    x = random.normal(size=(5, 12)).astype(np.float32)
    found = augmented(parse(word), x, channels, np.random.default_rng(1))
    alone = augmented(parse(word), x[:1], channels, np.random.default_rng(1))

    assert found.dtype == x.dtype
    assert (found >= x.min(axis=1, keepdims=True) - 1e-6).all()
    assert (found <= x.max(axis=1, keepdims=True) + 1e-6).all()
    np.testing.assert_allclose(found[0], alone[0], atol=1e-6)


def test_brightness_is_one_number_for_a_channel():
    x = np.linspace(0.4, 0.6, 8, dtype=np.float32).reshape(1, 8)
    x[0, 0], x[0, -1] = 0, 1  # the range: 0..1 stays 0..1
    moved = (augmented(parse("brightness:0.1"), x, 2, np.random.default_rng(0)) - x)[0, 1:-1]

    np.testing.assert_allclose(moved[::2], moved[0], atol=1e-6)
    np.testing.assert_allclose(moved[1::2], moved[1], atol=1e-6)
    assert abs(moved[0] - moved[1]) > 1e-3


def test_mixup_mixes_labels_as_it_mixes_rows():
    x = np.eye(4, dtype=np.float32)
    mixed, labels = blurred(parse("mixup:0.5"), x, np.eye(4), np.random.default_rng(0))

    np.testing.assert_allclose(mixed, labels, atol=1e-6)
    np.testing.assert_allclose(labels.sum(axis=1), 1)
    assert not np.allclose(labels, np.eye(4))


def test_noise_is_in_standard_deviations():
    x = np.zeros((2000, 5), np.float32)
    noisy, _ = blurred(parse("noise:0.25"), x, np.eye(2000)[:, :2], np.random.default_rng(0))

    assert noisy.std() == pytest.approx(0.25, rel=0.05)


def data(classes=3, rows=90):
    random = np.random.default_rng(0)
    y = random.integers(0, classes, rows)
    return (random.normal(size=(classes, 6))[y] + random.normal(size=(rows, 6))), y


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    "options", [{"augment": [*STYLES, "noise:0.1", "mixup:0.2"]}, {"focal": 2.0}]
)
def test_heads_train_with_it_the_same_each_time(classes, options):
    X, y = data(classes)
    plain = LinearHead(epochs=20, learning_rate=0.03, random_state=0).fit(X, y)
    a, b = (
        LinearHead(epochs=20, learning_rate=0.03, random_state=0, **options).fit(X, y, channels=2)
        for _ in "ab"
    )

    np.testing.assert_array_equal(a.coef_, b.coef_)
    assert not np.allclose(a.coef_, plain.coef_)
    assert a.score(X, y) > 1 / classes + 0.1


def test_focal_loss_is_less_sure():
    """Rows that are right already hardly pull: probabilities stay nearer to each other."""
    X, y = data(3)
    plain, focal = (
        MLPHead(8, epochs=60, learning_rate=0.02, focal=g, random_state=0).fit(X, y)
        for g in (0.0, 3.0)
    )

    assert focal.predict_proba(X).max(axis=1).mean() < plain.predict_proba(X).max(axis=1).mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augment": "blur:1"}, "augment is made of noise, mixup, .* such as noise:0.1"),
        ({"augment": "noise"}, "noise has a number above 0 and at most 10"),
        ({"augment": ["brightness:2"]}, "brightness has a number above 0 and at most 1"),
        ({"focal": -1}, "focal is a number at least 0"),
    ],
)
def test_bad_words_are_one_line(options, message):
    with pytest.raises(HeadError, match=message):
        LinearHead(**options).fit(*data())


def test_a_map_has_whole_channels():
    with pytest.raises(HeadError, match="6 features are no map of 4 channels"):
        LinearHead(augment="noise:0.1").fit(*data(), channels=4)


def test_words_are_parsed():
    assert parse(None) == parse([]) == ()
    assert parse("mixup:0.2") == (Augmentation("mixup", 0.2),)


def test_probabilities_are_means_over_views(painted, monkeypatch):
    model = linear_model(painted)
    with pytest.raises(HeadError, match="--tta takes the mean over cached views"):
        evaluate(model, painted, tta=True)
    real = Source.load_views
    monkeypatch.setattr(Source, "views", property(lambda self: [self.columns, self.columns]))
    monkeypatch.setattr(
        Source, "load_views", lambda self, s: real(self, s) + np.array([0, 500])[:, None, None]
    )
    once, mean = evaluate(model, painted), heads.evaluate(model, painted, tta=True)

    assert mean.report.log_loss != once.report.log_loss
    assert mean.rows == once.rows
