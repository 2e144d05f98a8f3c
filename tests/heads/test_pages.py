"""Pages say what was measured, show pictures, and let nothing in that the data carries."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import extract
import heads
from extract.relabeling import relabel
from extract.store.opening import open_store
from heads.audit_page import write_audit
from heads.auditing import audit
from heads.errors import HeadError
from heads.evaluation import evaluate
from heads.model_folder import save
from heads.page import render
from heads.reporting import report
from tests.heads.conftest import COLORS, opened, paint, tabulate
from tests.heads.models import linear_model


@pytest.fixture
def model(painted, tmp_path):
    """A head of class means beside its store."""
    return save(linear_model(painted), tmp_path / "photos.head")


def test_a_report_shows_the_numbers_that_evaluate_gives(model, browser):
    made = report(model)
    page, said = opened(browser, model.path.parent / "photos.report.html")
    row = page.get_by_role("row").filter(has_text=re.compile("^accuracy")).first.inner_text()

    assert made.out == str(model.path.parent / "photos.report.html")
    assert f"{evaluate(model).report.accuracy:.4f}" in row
    assert made.missing == 0
    assert said == []


def test_a_point_of_the_map_shows_its_picture_and_label_on_hover(model, browser):
    report(model)
    page, said = opened(browser, model.path.parent / "photos.report.html")
    points = page.locator("#map circle")
    points.nth(3).hover(force=True)
    tip = page.locator("#tip")

    assert points.count() == 3 * (12 + 6 + 6)
    assert tip.is_visible()
    assert re.search(r"label: (blue|green|red)\n", tip.inner_text())
    assert re.search(r"given: \w+, [01]\.\d{4}", tip.inner_text())
    assert tip.locator("img").evaluate("picture => picture.naturalWidth") == 20
    page.get_by_role("button", name="PCA").click()
    assert page.get_by_role("button", name="PCA").get_attribute("aria-pressed") == "true"
    assert said == []


def test_what_the_data_carries_is_shown_and_never_run(tmp_path, fake_backbone, browser):
    """A label, and with it every path, that is a script where it is not escaped."""
    nasty = "<script>document.title='in'</script>&lt;$x$\"'"
    nasty = nasty.replace("/", "\u2215")
    colors = dict(zip((nasty, "green", "red"), COLORS.values(), strict=True))
    paint(tmp_path / "photos", colors=colors)
    extract.run(tmp_path / "photos", tmp_path / "photos.features", layers=["last"])
    model = save(linear_model(tmp_path / "photos.features"), tmp_path / "photos.head")
    report(model)
    write_audit(tmp_path / "photos.features")
    for name in ("photos.report.html", "photos.audit.html"):
        page, said = opened(browser, tmp_path / name)
        assert page.title() == name.removesuffix(".html")
        assert nasty in page.locator("body").inner_text()
        assert said == []


def test_the_policy_forbids_everything_from_elsewhere():
    page = render(
        "audit",
        {
            "title": "t",
            "facts": [],
            "notes": [],
            "summary": {"title": "", "columns": [], "rows": []},
            "pairs": [],
            "labels": [],
            "outliers": [],
            "sizes": {"title": "", "columns": [], "rows": []},
            "shifts": {"title": "", "columns": [], "rows": []},
            "small": 1,
            "shown": 1,
            "album": {"notes": []},
        },
    )
    policy = re.search('Content-Security-Policy" content="([^"]*)"', page)[1]

    assert policy.startswith("default-src &#39;none&#39;; img-src data:; style-src &#39;sha256-")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_models_are_set_side_by_side(painted, model, tmp_path):
    other = save(linear_model(painted, temperature=3.0), tmp_path / "other.head")
    report(model, compare=[other])
    page = (tmp_path / "photos.report.html").read_text()

    assert "Side by side" in page
    assert "photos.head alone is right on 0 rows, other.head alone on 0." in page


@pytest.fixture
def other(tmp_path, fake_backbone):
    """A head of the column "color" of a store whose column "label" says nothing."""
    images = paint(tmp_path / "pictures")
    names = {color: color for color in COLORS}
    table = tabulate(
        images, images / "list.csv", label=dict.fromkeys(COLORS, "photograph"), color=names
    )
    store = tmp_path / "listed.features"
    extract.run(table, store, layers=["last"])
    return heads.fit(store, tmp_path / "color.head", label="color", estimator="prototype")


def test_a_report_shows_the_labels_that_its_head_learned(other):
    report(other)
    page = other.path.with_name("color.report.html").read_text()

    assert "Would more labels help?" in page
    assert "red</figure>" in page
    assert "photograph" not in page


@pytest.fixture
def small(tmp_path, fake_backbone):
    """A function that makes a head of class means on pictures in some splits."""

    def make(**splits):
        paint(tmp_path / "photos", splits)
        extract.run(tmp_path / "photos", tmp_path / "photos.features", layers=["last"])
        return heads.fit(tmp_path / "photos.features", estimator="prototype")

    return make


def test_a_report_without_validation_rows_says_why_a_chart_is_missing(small):
    model = small(train=4, validation=2)
    relabelled = model.path.with_name("splits.csv")
    rows = open_store(model.store["path"]).items.to_pylist()
    lines = [f"{row['path']},{row['split'].replace('validation', 'test')}" for row in rows]
    relabelled.write_text("\n".join(["path,split", *lines]), encoding="utf-8")
    relabel(model.store["path"], relabelled)
    made = report(model)
    why = next(note for note in made.notes if note.startswith("Whether more labels would help"))

    assert "has no validation rows, which decide here. Type: python -m extract split" in why
    assert "Whether more labels would help is not shown: " in Path(made.out).read_text()


def test_many_rows_are_named_with_the_command_that_takes_longer(other, monkeypatch):
    monkeypatch.setattr("heads.report_charts.FEW_SHOT", 10)
    notes = report(other).notes

    assert re.search(
        "36 training rows of 6 features take longer than a moment. Type: python -m heads few-shot "
        ".*listed.features --label color$",
        notes[-1],
    )


def test_a_class_of_one_image_has_a_point_and_no_curve(small):
    model = small(train=3, validation=2)
    folder = model.path.with_name("photos") / "train" / "red"
    for number in (1, 2):
        (folder / f"{number}.png").unlink()
    extract.run(folder.parents[1], model.store["path"], layers=["last"])
    notes = report(model).notes

    assert "Whether more labels would help is not shown: Class 'red' has 1 training" in notes[-1]


def test_heads_of_different_columns_are_not_set_side_by_side(other):
    same = replace(other, label_columns=("label",), classes=("photograph",))
    with pytest.raises(HeadError, match=r"color.head learned 'color', and .* 'label'.*--compare"):
        report(other, compare=[same])


def test_pictures_that_moved_away_are_placeholders_and_counted(painted, model, tmp_path):
    painted.with_suffix("").rename(tmp_path / "elsewhere")
    gone = report(model)
    page = (tmp_path / "photos.report.html").read_text()

    assert gone.missing > 0
    assert "not at hand" in page
    assert f"{gone.missing:,} of" in page
    assert "Give --images FOLDER" in gone.notes[-1]
    assert report(model, images=tmp_path / "elsewhere").missing == 0


def test_a_picture_that_changed_is_not_shown(painted, model):
    cv2.imwrite(str(painted.with_suffix("") / "test" / "red" / "0.png"), np.zeros((5, 5, 3), "u1"))

    assert report(model).missing >= 1


def test_a_tuned_models_report_does_not_replace_its_heads(painted, model, tmp_path):
    tuned = save(linear_model(painted), tmp_path / "photos.tuned")
    pages = [report(m).out for m in (model, tuned)]

    assert pages == [
        str(tmp_path / "photos.report.html"),
        str(tmp_path / "photos.tuned.report.html"),
    ]


def test_something_else_is_never_replaced(painted, model, tmp_path):
    (tmp_path / "photos.report.html").write_text("<html>mine</html>")
    (tmp_path / "photos.audit.csv").write_text("mine")
    with pytest.raises(
        HeadError, match="is something else than a page of `report`. Give another --out"
    ):
        report(model)
    with pytest.raises(HeadError, match="something else than an audit's table"):
        write_audit(painted)
    assert (tmp_path / "photos.report.html").read_text() == "<html>mine</html>"
    report(model, out=tmp_path / "new.html")
    report(model, out=tmp_path / "new.html")


def leaking(tmp_path):
    """A store with a copy in two splits, one under two labels, and one twice in a class."""
    photos = paint(tmp_path / "photos")
    shutil.copy(photos / "train/red/0.png", photos / "test/red/copy.png")
    shutil.copy(photos / "train/red/1.png", photos / "train/blue/copy.png")
    shutil.copy(photos / "train/green/2.png", photos / "train/green/copy.png")
    extract.run(photos, tmp_path / "photos.features", layers=["last"])
    return tmp_path / "photos.features"


def named(found, kind):
    paths = found.items["path"].to_pylist()
    return {tuple(sorted((paths[p.first], paths[p.second]))) for p in found.pairs_of(kind)}


def test_copies_are_found_across_splits_under_two_labels_and_within(tmp_path, fake_backbone):
    found = audit(leaking(tmp_path), similarity=1.0)

    assert named(found, "leakage") == {("test/red/copy.png", "train/red/0.png")}
    assert named(found, "conflict") == {("train/blue/copy.png", "train/red/1.png")}
    assert named(found, "duplicate") == {("train/green/2.png", "train/green/copy.png")}


def test_relabel_takes_the_table_back_and_leakage_is_gone(tmp_path, fake_backbone):
    store = leaking(tmp_path)
    made = write_audit(store, similarity=1.0)
    table = (tmp_path / "photos.audit.csv").read_text()
    changed = relabel(store, tmp_path / "photos.audit.csv")

    assert made.counts["leakage"] == 1
    assert table.startswith("path,label,group,in_split,findings,")
    assert changed.splits == 1
    assert changed.labels == 0
    assert audit(store, similarity=1.0).counts["leakage"] == 0


def test_an_audit_fails_on_what_it_is_told_to(tmp_path, fake_backbone, cli):
    store = leaking(tmp_path)
    status, out, _ = cli("audit", store, "--similarity", "1", "--fail-on", "leakage", "--json")
    facts = json.loads(out.splitlines()[-1])

    assert status == 3
    assert facts["counts"]["leakage"] == 1
    assert cli("audit", store, "--similarity", "1", "--fail-on", "small-class")[0] == 0
    status, _, err = cli("audit", store, "--fail-on", "everything")
    assert status == 1
    assert "--fail-on is one of leakage, conflict" in err


def test_a_store_without_labels_is_audited_too(tmp_path, fake_backbone):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, path in enumerate(sorted(paint(tmp_path / "all").rglob("*.png"))):
        shutil.copy(path, photos / f"{number}.png")
    extract.run(photos, tmp_path / "photos.features", layers=["last"])
    found = audit(tmp_path / "photos.features")

    assert found.doubts is None
    assert "Labels are not judged" in found.notes[0]
    assert found.counts["label"] == 0


def test_an_odd_picture_is_an_outlier(tmp_path, fake_backbone):
    photos = paint(tmp_path / "photos")
    cv2.imwrite(str(photos / "test/red/odd.png"), np.full((9, 9, 3), 255, "u1"))
    extract.run(photos, tmp_path / "photos.features", layers=["last"])
    found = audit(tmp_path / "photos.features", similarity=1.0)

    assert found.items["path"].take(found.outliers).to_pylist() == ["test/red/odd.png"]


def test_where_most_images_are_copies_the_others_are_outliers(tmp_path, fake_backbone):
    """Their class has one picture, its mean: the usual distance is 0."""
    photos = paint(tmp_path / "photos", {"train": 2}, {"red": (0, 0, 255), "green": (0, 255, 0)})
    for number in range(1, 12):
        shutil.copy(photos / "train/red/0.png", photos / f"train/red/{number}.png")
    extract.run(photos, tmp_path / "photos.features", layers=["last"])
    made = write_audit(tmp_path / "photos.features")

    assert made.counts["outlier"] == 2
    page = (tmp_path / "photos.audit.html").read_text()
    assert "train/green/0.png" in page


def test_too_few_images_are_one_line(tmp_path, fake_backbone):
    photos = paint(tmp_path / "photos", splits={"train": 1}, colors={"red": (0, 0, 255)})
    extract.run(photos, tmp_path / "photos.features", layers=["last"])
    with pytest.raises(HeadError, match="has 1 images with features; an audit needs two"):
        audit(tmp_path / "photos.features")


@pytest.mark.parametrize("seed", [-1, 1.5, "x"])
def test_a_seed_is_a_whole_number(painted, model, seed):
    for work in (
        lambda: heads.audit(painted, columns=["last"], seed=seed),
        lambda: heads.report(model, seed=seed),
    ):
        with pytest.raises(HeadError, match="seed is a whole number at least 0. Received: "):
            work()


def test_the_api_has_both(painted, model, tmp_path):
    assert heads.report(model).rows == 18
    found = heads.audit(open_store(painted), columns=["last"])
    assert found.counts == heads.audit(painted, columns=["last"]).counts
