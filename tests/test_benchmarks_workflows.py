"""Both workflows on pictures made on the spot, in this process, which saves starts of others."""

import json
import sys
import warnings
from importlib import import_module

import pytest

from benchmarks import clocked, pictures, processes, results, ways, workflows
from benchmarks.processes import BenchmarkError, Finished
from benchmarks.tiny import paint


@pytest.fixture
def in_this_process(monkeypatch, capsys):
    """Replace processes by calls: what they take is not under test here."""

    def run(words, environment=None):
        _, module, *rest = map(str, words)
        with monkeypatch.context() as patch:
            for key, value in (environment or {}).items():
                patch.setenv(key, value)
            patch.setattr(sys, "argv", [module, *rest])
            capsys.readouterr()
            if module == "benchmarks.clocked":
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # scripts are as people write them
                    clocked.main(rest[0], rest[1:])
            else:
                with pytest.raises(SystemExit) as ended:
                    import_module(f"{module}.cli").main()
                assert not ended.value.code, capsys.readouterr().err
            return Finished(1.0, None, json.loads(capsys.readouterr().out.splitlines()[-1]))

    monkeypatch.setattr(ways, "run", run)
    monkeypatch.setattr(processes, "run", run)


def test_every_way_but_the_slowest_gives_a_row(tmp_path, in_this_process, capsys):
    setup = workflows.tiny(paint(tmp_path / "tiny", {"train": 8, "validation": 4, "test": 4}))
    # (c) is (d) with another mode, and the slowest
    facts = workflows.measure(setup, [name for name in workflows.WAYS if name != "full"])
    workflows.report(facts, tmp_path / "out", "workflows-tiny", 0.0)

    assert [row["images"] for row in facts["rows"].values()] == [
        2 * (16 + 8) + 8,  # two epochs of train and validation, and test once
        32,
        32,
        32,
        0,
        0,
        0,
        0,
        32 + 3 * 8 + (16 + 8),  # extraction, three judgments, activations
    ]
    assert all(row["test"] is not None for row in facts["rows"].values())
    assert len(workflows.verdict(facts)) == 7
    written = {path.name for path in (tmp_path / "out").iterdir()}
    kinds = ("time.png", "time.svg", "epochs.png", "epochs.svg", "heads.png", "heads.svg")
    assert written == {"workflows-tiny.json", *(f"workflows-tiny-{kind}" for kind in kinds)}
    record = results.load(tmp_path / "out")["workflows-tiny"]
    assert record["facts"]["rows"].keys() == facts["rows"].keys()
    assert workflows.table(record["facts"]).markdown().count("\n") == 2 + 1 + 9


def test_a_process_tells_its_own_peak_and_its_last_line():
    ballast = "x = bytearray(300_000_000); import time; time.sleep(0.5); print('{\"a\": 1}')"
    done = processes.run(["-c", ballast])

    assert done.facts == {"a": 1}
    assert done.seconds > 0.5
    if sys.platform == "linux":
        assert 300e6 < done.peak_bytes < 400e6


def test_a_process_that_fails_is_named_with_its_last_words():
    with pytest.raises(BenchmarkError, match=r"-c raise.*ended with 1: ValueError: no"):
        processes.run(["-c", "raise ValueError('no')"])


def facts_of(**seconds):
    rows = {
        name: {"seconds": value, "work_seconds": value, "epoch_seconds": 10.0}
        for name, value in seconds.items()
    }
    return {"epochs": 10, "many_epochs": 50, "heads": 20, "rows": rows}


def test_when_extraction_pays_is_reckoned_from_starts_epochs_and_heads():
    facts = facts_of(in_graph=110.0, first=35.0, again=25.0, cached=5.0, many=15.0, sweep=20.0)

    # in the graph: 10 s of start, 10 s an epoch
    assert workflows.in_graph_seconds(facts, 3) == 40
    assert workflows.pays(facts) == {"epochs": 3, "heads": 1}
    assert workflows.many_epochs(facts) == pytest.approx(510 / (20 + 15))
    assert workflows.many_heads(facts) == pytest.approx(20 * 110 / (20 + 20))


def test_a_command_is_told_without_the_folders_of_a_machine():
    told = results.command(
        "benchmarks.workflows", ["--data", "/home/me/data/cats", "--epochs", "3"]
    )

    assert told == "python -m benchmarks.workflows --data cats --epochs 3"


def test_equal_numbers_give_equal_pictures(tmp_path):
    series = {"a": [(1, 2), (2, 3)]}
    for name in ("one", "two"):
        pictures.draw(
            tmp_path / name, series, title="t", x="x", y="y", log_x=True, vertical={"v": 1}
        )

    for kind in ("png", "svg"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
