"""Each benchmark's main() on a handful of pictures: the script still runs the day it is needed."""

import json

import pytest

from benchmarks import bench_extract, bench_inputs, bench_views
from benchmarks.timing import Table, machine
from extract.backbones import BackboneSpec


def test_extraction(photos, capsys):
    results = bench_extract.main([photos], BackboneSpec(name="digits"), repeats=1, read_rows=3000)
    bench_extract.show(results)
    printed = capsys.readouterr().err

    json.dumps(results)
    assert results["folders"]["photos"]["float32_by_keras"] > 0
    assert results["reading"].keys() == {".zshard", ".h5"}
    assert "x keras" in printed


def test_views(photos, capsys):
    digits = BackboneSpec(name="digits")
    results = bench_views.main(photos, digits, views=2, augment="flip", images=4, repeats=1)
    bench_views.show(results)

    json.dumps(results)
    assert (results["images"], results["cost_in_single_views"] > 0) == (4, True)
    assert "2 views cost" in capsys.readouterr().err


def test_a_table_shows_the_spread(capsys):
    table = Table("rates", "images/s")
    table.add("ours", [1.0, 3.0, 2.0])
    table.show()

    assert "2.0  1.0  3.0" in capsys.readouterr().err
    assert {"processor", "keras"} <= machine().keys()


def test_rates_compare_round_by_round():
    rates = bench_extract.Rates({"a": [2.0, 4.0, 90.0], "b": [1.0, 2.0, 30.0]})

    assert rates.ratio("a", to="b") == pytest.approx(2.0)


def test_inputs(photos, picture, tmp_path, capsys):
    new = picture(tmp_path / "new.png", seed=9)
    results = bench_inputs.main(
        photos,
        new,
        ["--backbone", "digits"],
        files=20,
        few=3,
        many=30,
        rows=600,
        repeats=1,
    )
    bench_inputs.show(results)

    json.dumps(results)
    assert [r["extracted"] for rounds in results["processes"].values() for r in rounds] == [
        12,
        0,
        1,
        0,
    ]
    assert {name: facts["extracted"] for name, facts in results["memory"].items()} == {
        "first run of 3 files": 3,
        "first run of 30 files": 30,
        "again, of 30 files": 0,
        "plan of 30 known files": 0,
        "plan of 600 new rows": 600,
        "first run of 600 rows": 600,
        "plan of 600 rows again": 600,
        "again, of 600 rows": 0,
    }
    assert "listing 20 files" in capsys.readouterr().err
