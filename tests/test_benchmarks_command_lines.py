"""What cannot be measured is one line, with what to give instead."""

import pytest

from benchmarks import (
    bench_cluster,
    bench_extract,
    bench_finetune,
    bench_heads,
    bench_inputs,
    bench_store,
    bench_views,
    everyday,
    scaling,
    tutorials,
    workflows,
)
from benchmarks.command_line import in_one_line
from benchmarks.processes import BenchmarkError
from benchmarks.tiny import paint
from extract.errors import InputError


@pytest.mark.parametrize(
    "module", [bench_extract, bench_finetune, bench_inputs, bench_views, everyday, scaling]
)
def test_photographs_that_are_not_there(module, tmp_path):
    with pytest.raises(BenchmarkError, match=r"no pictures in .*data/.* Give --shared a folder"):
        module.main(["--shared", str(tmp_path)])


@pytest.mark.parametrize("part", ["accuracy", "audit", "augment", "trajectory", "workflow"])
def test_photographs_of_heads_that_are_not_there(part, tmp_path):
    with pytest.raises(BenchmarkError, match="no (pictures|images) in "):
        bench_heads.main(tmp_path, [part])


def test_a_folder_of_a_cluster_that_is_empty(tmp_path):
    with pytest.raises(BenchmarkError, match="no pictures in .* Give a folder of photographs"):
        bench_cluster.main([str(tmp_path)])


@pytest.mark.parametrize("splits", [{}, {"train": 1}, {"validation": 1}])
@pytest.mark.parametrize("module", [workflows, tutorials])
def test_photographs_without_splits(module, splits, tmp_path):
    paint(tmp_path, splits)
    with pytest.raises(BenchmarkError, match="no images in train/ and validation/ over class"):
        module.main(["--data", str(tmp_path)])


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (workflows, ["--epochs", "0"]),
        (workflows, ["--repeats", "-1"]),
        (tutorials, ["--repeats", "x"]),
        (bench_store, ["--rows", "600", "0"]),
        (bench_inputs, ["--files", "0"]),
    ],
)
def test_numbers_of_things_are_above_0(module, words, capsys):
    with pytest.raises(SystemExit, match="2"):
        module.main(words)

    assert "a whole number of at least 1. Received: " in capsys.readouterr().err


@pytest.mark.parametrize("error", [BenchmarkError("so\nmuch"), InputError("so much")])
def test_what_cannot_be_ends_with_1(error):
    def main():
        raise error

    with pytest.raises(SystemExit, match="^Error: so much$"):
        in_one_line(main)
