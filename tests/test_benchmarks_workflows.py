"""Both workflows on pictures made on the spot, in this process, which saves starts of others."""

import dataclasses
import io
import json
import shutil
import sys
import warnings
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import keras
import numpy as np
import pytest

import extract
from benchmarks import (
    clocked,
    everyday,
    forward,
    pictures,
    plain_script,
    processes,
    reckoning,
    results,
    tutorials,
    ways,
    workflows,
    wrong_scale,
)
from benchmarks.processes import BenchmarkError, Finished
from benchmarks.recipes import RECIPES
from benchmarks.tiny import paint
from benchmarks.ways import Setup
from extract.backbones import BackboneSpec, entry
from finetune.options import Options


def spec_of(text, size):
    return BackboneSpec(**json.loads(text)), int(size)


@pytest.fixture
def in_this_process(monkeypatch, capsys):
    """Replace processes by calls: what they take is not under test here."""

    monkeypatch.setattr(forward, "SECONDS", 0.01)
    real = processes.run

    def run(words, environment=None):
        first, module, *rest = map(str, words)
        if first == "-c":
            return real(words, environment)
        with monkeypatch.context() as patch:
            for key, value in (environment or {}).items():
                patch.setenv(key, value)
            patch.setattr(sys, "argv", [module, *rest])
            capsys.readouterr()
            if module == "benchmarks.clocked":
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # scripts are as people write them
                    clocked.main(rest[0], rest[1:])
            elif module == "benchmarks.forward":
                print(json.dumps({"images_per_second": forward.main(*spec_of(*rest))}))
            elif module == "benchmarks.wrong_scale":
                wrong_scale.save(rest[0], rest[1], int(rest[2]), json.loads(rest[3]))
            else:
                with pytest.raises(SystemExit) as ended:
                    import_module(f"{module}.cli").main()
                if ended.value.code:
                    raise BenchmarkError(f"it: {capsys.readouterr().err.splitlines()[-1]}")
            return Finished(1.0, None, json.loads(capsys.readouterr().out.splitlines()[-1]))

    monkeypatch.setattr(ways, "run", run)
    monkeypatch.setattr(processes, "run", run)


def test_every_way_but_the_slowest_gives_a_row(tmp_path, in_this_process, monkeypatch, capsys):
    monkeypatch.setattr(results, "load_average", lambda: 1.0)
    setup = workflows.tiny(paint(tmp_path / "tiny", {"train": 8, "validation": 4, "test": 4}))
    # (c) is (d) with another mode, and the slowest
    facts = workflows.measure(setup, [name for name in workflows.WAYS if name != "full"], 2)
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
    assert facts["rows"]["first"]["pace"].keys() == {
        *("images_per_second", "share_of_forward", "waits"),
    }
    assert {name for name, row in facts["rows"].items() if row["repeats"]} == {*workflows.REPEATED}
    assert facts["rows"]["cached"]["repeats"] == [1.0, 1.0]
    assert len(workflows.verdict(facts)) == 8
    speeds = [line for line in workflows.verdict(facts) if "faster" in line]
    assert len(speeds) == 4
    assert not any("at least" in line for line in speeds)  # of 10 epochs, 50, and 20 heads
    written = {path.name for path in (tmp_path / "out").iterdir()}
    kinds = ("time.png", "time.svg", "epochs.png", "epochs.svg", "heads.png", "heads.svg")
    assert written == {"workflows-tiny.json", *(f"workflows-tiny-{kind}" for kind in kinds)}
    record = results.load(tmp_path / "out")["workflows-tiny"]
    assert record["facts"]["rows"].keys() == facts["rows"].keys()
    assert workflows.table(record["facts"]).markdown().count("\n") == 2 + 1 + 9


def test_a_process_tells_its_own_peak_and_its_last_line(tmp_path, monkeypatch):
    """It ends once it was looked at with its ballast, or after a minute."""
    ballast = (
        "import sys, time; from pathlib import Path; x, waits = bytearray(300_000_000), 600\n"
        "while waits and not Path(sys.argv[1]).exists(): time.sleep(0.1); waits -= 1\n"
        "print('noise'); print('{\"a\": 1}')"
    )
    peak_of, seen = processes.peak_of, tmp_path / "seen"

    def noticed(pid):
        held = peak_of(pid)
        if held is None or held > 300e6:
            seen.touch()
        return held

    monkeypatch.setattr(processes, "peak_of", noticed)
    done = processes.run(["-c", ballast, seen])

    assert done.facts == {"a": 1}
    assert done.seconds > 0
    if sys.platform == "linux":
        assert 300e6 < done.peak_bytes < 400e6


def test_a_process_that_fails_is_named_with_its_last_words():
    with pytest.raises(BenchmarkError, match=r"-c raise.*ended with 1: ValueError: no"):
        processes.run(["-c", "raise ValueError('no')"])


def facts_of(**seconds):
    rows = {
        name: {
            **{"seconds": value, "work_seconds": value, "epoch_seconds": 10.0},
            **{"load": 2.0, "validation": 0.9},
        }
        for name, value in seconds.items()
    }
    rows["in_graph"]["curve"] = [[10.0 * (epoch + 1), 0.9] for epoch in range(1, 11)]
    return {"epochs": 10, "many_epochs": 50, "heads": 20, "rows": rows}


def test_repeats_come_to_their_median_and_tell_their_range():
    rows = [
        ways.Row(seconds, seconds - 1, peak, 5, 0, validation=0.9)
        for seconds, peak in ((4.0, 10), (9.0, 30), (5.0, 20))
    ]
    row = ways.median_of(rows)

    assert (row.seconds, row.work_seconds, row.peak_bytes) == (5.0, 4.0, 30)
    assert row.repeats == [4.0, 9.0, 5.0]
    assert workflows._seconds(dataclasses.asdict(row)) == "5.0 [4.0 to 9.0]"
    assert workflows._seconds(dataclasses.asdict(ways.median_of(rows[:1]))) == "4.0"


def test_ways_of_seconds_go_in_turn():
    names = ["in_graph", "first", "again", "cached", "full"]

    assert workflows.rounds(names) == [["in_graph"], ["first"], ["again", "cached"], ["full"]]


def test_when_extraction_pays_is_reckoned_from_starts_epochs_and_heads():
    facts = facts_of(in_graph=110.0, first=35.0, again=25.0, cached=5.0, many=15.0, sweep=20.0)

    # in the graph: 10 s of start, 10 s an epoch
    assert [reckoning.in_graph_seconds(facts, n) for n in (1, 3, 50)] == [20, 40, 510]
    assert reckoning.pays(facts) == {"epochs": 3, "heads": 1}
    assert reckoning.many_epochs(facts) == pytest.approx(510 / (20 + 15))
    assert reckoning.many_heads(facts, "again") == pytest.approx(20 * 110 / (20 + 20))
    assert reckoning.many_heads(facts, "first") == pytest.approx(20 * 110 / (30 + 20))


def test_epochs_that_were_run_are_not_reckoned():
    """Starts came out below nothing where the median epoch was longer than the mean one."""
    facts = facts_of(in_graph=60.0, first=12.0, cached=1.0) | {"epochs": 4}
    facts["rows"]["in_graph"]["curve"] = [[14.0, 0.9], [33.0, 0.9], [41.0, 0.9], [60.0, 0.9]]

    assert [reckoning.in_graph_seconds(facts, n) for n in (1, 2, 4)] == [14, 33, 60]
    assert reckoning.in_graph_seconds(facts, 6) == pytest.approx(60 + 2 * (60 - 14) / 3)
    assert reckoning.pays(facts)["epochs"] == 1


def test_epochs_on_features_are_more_than_those_in_the_graph(tmp_path):
    """50 of each divided by nothing once all was measured."""
    options = workflows.parse(["--data", str(tmp_path), "--epochs", "50"])

    assert workflows.setup_of(options).many_epochs == 250


@pytest.mark.parametrize("benchmark", [workflows, tutorials])
def test_pictures_made_on_the_spot_are_no_folder_of_ones_own(benchmark, tmp_path, capsys):
    """--tiny ran, and --data was left out without a word."""
    with pytest.raises(SystemExit):
        benchmark.parse(["--tiny", "--data", str(tmp_path)])

    assert "not allowed with argument" in capsys.readouterr().err


@pytest.mark.parametrize("way", workflows.WAYS)
def test_a_way_brings_the_one_whose_store_it_takes(way, tmp_path):
    gone = workflows.possible(Setup(data=tmp_path), [way])

    assert gone in ([way], ["again", way])
    assert (gone == [way]) == (way in ("in_graph", "fifteen_lines", "first", "again"))


@pytest.mark.parametrize("left", ["in_graph", "first", "again", "cached", "many", "sweep"])
def test_what_was_not_gone_is_not_told(left, tmp_path):
    times = {"first": 35.0, "again": 25.0, "cached": 5.0, "epochs": 6.0, "many": 15.0}
    facts = facts_of(in_graph=110.0, sweep=20.0, fifteen_lines=30.0, **times)
    facts |= {"data": "d", "backbone": "b", "counts": {"validation": 9}}
    for row in facts["rows"].values():
        row.setdefault("curve", [(row["seconds"], row["validation"])])
    whole = len(workflows.verdict(facts))
    del facts["rows"][left]

    assert whole == 7
    assert len(workflows.verdict(facts)) < whole
    drawn = {path.stem for path in workflows.draw(facts, tmp_path / "it")}
    assert "it-time" in drawn
    assert ("it-heads" in drawn) == (left in ("again", "many"))


def test_a_machine_that_was_busy_for_one_way_alone_is_told():
    """Ratios came out ten times too good once: others had the cores while (a) ran, and left."""
    times = {"first": 35.0, "again": 25.0, "cached": 5.0, "epochs": 6.0, "many": 15.0}
    facts = facts_of(in_graph=110.0, sweep=20.0, **times)

    assert workflows.uneven(facts) == []
    facts["rows"]["in_graph"]["load"] = 13.0
    assert workflows.verdict(facts)[0].startswith("NOT COMPARABLE: the load average was 2.0 after")


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


def test_a_recipe_is_run_and_its_wrong_scale_is_caught(tmp_path, in_this_process, capsys):
    recipe = RECIPES["many-classes"]
    setup = recipe.tiny(paint(tmp_path / "tiny", {"train": 8, "validation": 4}))
    top = ("--loop", "--then-epochs", "1", "--then-from", "-3")  # what the other recipes do
    facts = tutorials.measure("many-classes", replace(setup, plain=top), "noise", ["in_graph"])
    tutorials.report(facts, tmp_path / "out", 0.0)
    told = tutorials.verdict(results.load(tmp_path / "out")["tutorials-many-classes"]["facts"])

    assert facts["wrong"]["caught"]
    assert "scaled twice, in rescaling" in facts["wrong"]["message"]
    assert [text.partition(":")[0] for text in told[:2]] == ["source", "ran"]
    assert told[2].startswith("everything is trained: nothing stays frozen")
    assert told[3].startswith("fine-tuning in (a) is the source's own code, in which BatchNorm")
    assert told[4] == "random weights: no accuracy is claimed"
    assert "caught by `extract run` after" in told[-1]
    assert facts["published"]["validation with the wrong scale"] == ".0206"
    assert len(facts["rows"]["in_graph"]["training"]) == 2  # an epoch of the head, one of the top
    assert (tmp_path / "out" / "tutorials-many-classes-curves.svg").is_file()


@pytest.mark.parametrize("name", RECIPES)
def test_a_tiny_recipe_counts_layers_that_there_are(name, tmp_path):
    """from:100 of a backbone of 86 layers ended a run of all recipes."""
    setup = RECIPES[name].tiny(tmp_path)
    build = getattr(keras.applications, entry(setup.backbone).class_name)
    side = setup.image_size
    layers = len(build(input_shape=(side, side, 3), weights=None, **setup.arguments).layers)
    texts = [text for text in setup.unfreeze if text not in ("all", "20%")]
    words = plain_script.parse([str(tmp_path), *setup.plain])

    assert all(int(text.partition(":")[2]) < layers for text in texts)
    assert abs(words.then_from) < layers


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_where_it_is_from_and_what_stands_in(name, tmp_path):
    recipe = RECIPES[name]
    words = tutorials.parse(["--shared", str(tmp_path), "--only", name])
    setup, ran = tutorials.setup_of(name, words)
    official, _ = tutorials.setup_of(name, tutorials.parse(["--data", str(tmp_path)]))

    assert recipe.source
    assert recipe.url is None or recipe.url.startswith("https://")
    assert recipe.where == f"{recipe.url or 'address not found'} ({recipe.checked})"
    assert recipe.published
    assert "MobileNetV2 0.35" in ran
    assert (setup.backbone, setup.weights) == ("mobilenet_v2", "imagenet")
    assert (official.backbone, official.image_size) == (
        recipe.setup.backbone,
        recipe.setup.image_size,
    )
    plain_script.parse([str(tmp_path), *setup.plain])  # every option is one of the script
    options = [word for word in (*setup.tuned_options, *setup.full_options) if word[:2] == "--"]
    fields = {field.name for field in dataclasses.fields(Options)}
    assert {option[2:].replace("-", "_") for option in options} <= fields


def test_the_days_after_the_first_run(tmp_path, in_this_process, monkeypatch):
    """The script is a word here: `fifteen_lines` runs with the workflows."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    word = "import numpy, sys; numpy.save('x.npy', numpy.ones((2, 3))); print('{}')"
    monkeypatch.setattr(everyday.Day, "script", lambda self: [["-c", word]])
    setup = replace(
        everyday.tiny(paint(tmp_path / "tiny", {"train": 8, "validation": 4})),
        **{"backbone": "digits", "arguments": {}, "weights": "imagenet"},
    )
    broken = paint(tmp_path / "broken", {"train": 8, "validation": 4})
    (broken / "train" / "blue" / "00000.jpg").write_bytes(b"no picture")
    facts = everyday.measure(setup, {"broken": replace(setup, data=broken)}, repeats=2)

    found = facts["photographs"]["broken"]
    assert facts["days"].keys() == everyday.CASES.keys()
    assert {case: len(times["ours"]) for case, times in facts["days"].items()} == {
        **{"first": 1, "second": 2, "killed": 1, "one new": 2}
    }
    assert (found["files"]["images"], found["ours"]["images"]) == (24, 23)
    assert found["ours"]["ended"] == "done, 1 bad and listed"
    assert found["script"] == {"ended": "done", "images": 2}
    assert len(everyday.verdict(facts)) == 5
    assert len(everyday.tables(facts)) == 2


def test_a_script_that_fails_is_told_with_its_last_words(tmp_path, in_this_process, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(everyday.Day, "script", lambda self: [["-c", "raise OSError('broken')"]])
    data = paint(tmp_path / "tiny", {"train": 2, "validation": 2})
    setup = Setup(data=data, backbone="digits", arguments={}, image_size=32)
    found = everyday.photographs(setup)

    assert found["script"] == {"ended": "1: OSError: broken", "images": 0}
    assert found["ours"]["images"] == 8


def test_files_are_put_into_splits_over_classes(tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for number in range(8):
        (flat / f"{number}.jpg").write_bytes(b"x")
    placed = everyday.in_splits(flat, tmp_path / "split")

    assert sorted(path.relative_to(placed).as_posix() for path in placed.rglob("*.jpg")) == [
        *("train/a/0.jpg", "train/a/4.jpg", "train/b/1.jpg", "train/b/5.jpg"),
        *("validation/a/2.jpg", "validation/a/6.jpg", "validation/b/3.jpg", "validation/b/7.jpg"),
    ]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_that_trains_everything_has_no_top_on_kept_activations(name):
    setup = RECIPES[name].setup
    there = workflows.possible(setup, list(workflows.WAYS))

    assert ("suffix" in there) == ("all" not in setup.unfreeze)
    assert [way for way in workflows.WAYS if way != "suffix"] == [w for w in there if w != "suffix"]


def test_what_ended_a_process_is_its_last_line_that_says_something():
    """TensorFlow puts the node of its graph below the reason, indented."""
    said = "E0000 noise\nUnknown image file format\n\t [[{{node decode_image}}]] name: \n\n"

    assert processes._last(io.StringIO(said)) == "Unknown image file format"
    assert processes._last(io.StringIO("")) == ""


def test_rows_of_the_script_are_compared_with_ours_by_path(photos, tmp_path, fake_backbone):
    for label in ("cats", "dogs"):
        for number, split in enumerate(["train", "val"] * 3):
            place = tmp_path / "set" / split / label / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(photos / label / f"{number}.png", place)
    store = extract.run(tmp_path / "set", tmp_path / "set.features", backbone="digits").store
    data = extract.open_store(store).load(None)
    paths = data.items["path"].to_pylist()
    for split in ("train", "val"):
        np.save(tmp_path / f"{split}.npy", data.X[[p.startswith(split) for p in paths]])
    assert everyday._apart(tmp_path, ["train", "val"], Path(store)) == 0

    rows = np.load(tmp_path / "val.npy")
    rows[:2] *= 1.02
    np.save(tmp_path / "val.npy", rows)
    assert everyday._apart(tmp_path, ["train", "val"], Path(store)) == 2
    assert everyday._apart(tmp_path, ["val", "train"], Path(store)) == 2


def test_an_error_of_tensorflow_is_told_by_its_name():
    ended = "1: tensorflow.python.framework.errors_impl.InvalidArgumentError: {{function_node __x"

    assert everyday._end({"ended": ended}) == "1: InvalidArgumentError"
    assert everyday._end({"ended": "done, 5 bad and listed"}) == "done, 5 bad and listed"
