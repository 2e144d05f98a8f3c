"""Labels that were swapped are doubted; those that were not, seldom."""

import numpy as np

import extract
from heads.label_errors import MARGIN, doubt, out_of_fold
from heads.shift import shift


def clusters(seed, count, classes, width=12):
    rng = np.random.default_rng(seed)
    codes = np.arange(count) % classes
    means = rng.normal(size=(classes, width)) * 2
    return (means[codes] + rng.normal(size=(count, width))).astype(np.float32), codes


def swapped(codes, share, seed):
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(codes), int(share * len(codes)), replace=False)
    wrong = codes.copy()
    wrong[rows] = (codes[rows] + rng.integers(1, codes.max() + 1, len(rows))) % (codes.max() + 1)
    return wrong, wrong != codes


def test_swapped_labels_are_doubted_and_what_they_were_is_suggested():
    X, codes = clusters(0, 400, 3)
    wrong, is_wrong = swapped(codes, 0.05, 1)
    found = doubt(out_of_fold(X, wrong, np.arange(400)), wrong)

    assert (found.suggested[is_wrong] == codes[is_wrong]).mean() >= 0.95
    assert (found.suggested[~is_wrong] >= 0).mean() <= 0.02


def test_a_row_is_not_judged_by_a_copy_of_itself():
    """Noise with labels drawn by chance: who saw a copy of a row would know its label."""
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(60, 200)), 2, axis=0).astype(np.float32)
    codes = np.repeat(rng.integers(0, 2, 60), 2)
    apart = out_of_fold(X, codes, np.arange(120)).argmax(axis=1)
    together = out_of_fold(X, codes, np.repeat(np.arange(60), 2)).argmax(axis=1)

    assert (apart == codes).mean() > 0.75
    assert (together == codes).mean() < 0.65


def test_few_groups_are_few_folds():
    X, codes = clusters(0, 12, 2)
    found = out_of_fold(X, codes, np.arange(12) // 4 * 2 + codes)  # three groups of each class

    assert found.shape == (12, 2)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_a_label_is_doubted_by_its_margin():
    probabilities = np.array([[0.5 - MARGIN / 2 + 1e-6, 0.5 + MARGIN / 2 - 1e-6], [0.2, 0.8]])
    found = doubt(probabilities, np.zeros(2, int))

    assert found.suggested.tolist() == [-1, 1]
    np.testing.assert_allclose(found.margin, [MARGIN - 2e-6, 0.6])


def test_swapped_labels_of_photographs_are_found(shared, tmp_path, monkeypatch):
    """5 % of labels swapped: at least .8 found, and half of what is doubted was swapped."""
    monkeypatch.setenv("KERAS_HOME", str(shared / "keras_home"))
    store = tmp_path / "photos.features"
    extract.run(shared / "data" / "cats_dogs_200px", store, arguments={"alpha": 0.35})
    data = extract.open_store(store).load(None)
    wrong, is_wrong = swapped(data.y, 0.05, 0)
    doubted = doubt(out_of_fold(data.X, wrong, np.arange(len(wrong))), wrong).suggested >= 0

    assert doubted[is_wrong].mean() >= 0.8
    assert is_wrong[doubted].mean() >= 0.5


def test_splits_of_one_distribution_look_alike_and_others_differ():
    X, codes = clusters(2, 300, 2)
    drawn = np.random.default_rng(0).random(300) < 0.5
    alike = shift(X, drawn, np.arange(300), "test", 0)
    other = shift(X, codes == 1, np.arange(300), "test", 0)

    assert not alike.found
    assert abs(alike.roc_auc - 0.5) < 0.1
    assert other.found
    assert other.roc_auc > 0.95
