"""Each benchmark's main() on a handful of pictures: the script still runs the day it is needed."""

from typing import get_args
from unittest.mock import ANY

import pytest

from benchmarks import (
    bench_extract,
    bench_heads,
    bench_inputs,
    bench_views,
    forward,
    on_gpu,
    results,
    tables,
)
from benchmarks.timing import Table, machine
from extract.backbones import BackboneSpec


class StandIn:
    """In the place of the plain script in a process of its own."""

    def __init__(self, spec, image_size):
        pass

    def rate(self, images):
        return 100.0

    def close(self):
        pass


@pytest.mark.parametrize("kind", get_args(forward.Kind))
def test_extraction(kind, tmp_path, capsys, monkeypatch):
    """The processes that both are compared with are the same, and run with OpenVINO."""
    if kind == "keras":
        monkeypatch.setattr(bench_extract, "KerasServer", StandIn)
        monkeypatch.setattr(bench_extract, "process_seconds", lambda *words: 1.0)
    bench_extract.main(["--tiny", "--engine", kind, "--out", str(tmp_path)])
    (record,) = results.load(tmp_path).values()
    facts = record["facts"]
    (found,) = facts["folders"].values()

    assert facts["engine"] == kind
    assert found["float32_by_keras"] > 0
    assert found["busy"].keys() == {"reading", "decoding", "forward", "writing"}
    assert facts["reading"].keys() == {".zshard", ".h5"}
    assert "of the forward pass alone" in capsys.readouterr().err
    (grid,) = bench_extract.tables(facts)
    assert grid.columns == ("", "tiny")
    assert ("float32", f"{found['float32']:,.0f}") in grid.rows
    (cells,) = on_gpu.extraction(facts)
    assert cells == ("tiny", f"{found['float32']:,.0f}", ANY, found["waits"])


def test_the_slowest_stage_is_the_one_that_others_wait_for():
    shares = {"reading": 0.1, "decoding": 0.9, "forward": 0.5, "writing": 0.0}

    assert forward.waits(shares) == "forward waits for decoding"
    assert forward.waits({**shares, "forward": 0.95}) == "reading and decoding wait"


def test_stages_are_busy_for_the_seconds_of_their_threads(monkeypatch):
    monkeypatch.setattr(forward, "num_cores", lambda: 2)
    seconds = {f"{name}_seconds": 1.0 for name in ("read", "decode", "forward", "write")}
    summary = {"extracted": 100, "images_per_second": 50.0, **seconds}

    assert forward.busy(summary, "keras") == {
        **{"reading": 0.25, "decoding": 0.25, "forward": 0.5, "writing": 0.5}
    }
    assert forward.busy(summary, "openvino")["forward"] == pytest.approx(1 / 6)


def test_the_forward_pass_alone_has_a_rate(monkeypatch):
    monkeypatch.setattr(forward, "SECONDS", 0.01)

    assert forward.main(BackboneSpec(name="digits"), 32) > 0


def test_views(tmp_path, capsys):
    bench_views.main(["--tiny", "--out", str(tmp_path)])
    (record,) = results.load(tmp_path).values()
    facts = record["facts"]

    assert (facts["images"], facts["cost_in_single_views"] > 0) == (4, True)
    assert [row[0] for row in bench_views.tables(facts)[0].rows] == ["1 view", "2 views"]
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


def test_inputs(tmp_path, capsys):
    bench_inputs.main(["--tiny", "--out", str(tmp_path)])
    (record,) = results.load(tmp_path).values()
    facts = record["facts"]

    assert [r["extracted"] for rounds in facts["processes"].values() for r in rounds] == [
        48,
        0,
        1,
        0,
    ]
    assert {name: found["extracted"] for name, found in facts["memory"].items()} == {
        "first run of 3 files": 3,
        "first run of 30 files": 30,
        "again, of 30 files": 0,
        "plan of 30 known files": 0,
        "plan of 600 new rows": 600,
        "first run of 600 rows": 600,
        "plan of 600 rows again": 600,
        "again, of 600 rows": 0,
    }
    assert [len(grid.rows) for grid in bench_inputs.tables(facts)] == [2, 8, 4]
    assert "48 images, one new: " in bench_inputs.verdict(facts)[4]
    assert "1 extracted, no framework imported" in bench_inputs.verdict(facts)[4]
    assert "listing 20 files" in capsys.readouterr().err


def test_one_number_has_no_range():
    assert tables.told([3.0]) == "3.0 s"
    assert tables.told([3.0, 1.0, 2.0], 2, "x") == "2.00 x [1.00 to 3.00]"


def test_accuracies_of_heads_are_told_beside_their_goals():
    lines = bench_heads.show_accuracy({"cats": {"accuracy": 0.9, "goal": 0.8}})

    assert lines == ["cats: 0.9000 (at least 0.800)"]
