"""The collected results are what the JSON of runs says, and the README says nothing else."""

import json
import re

import pytest

from benchmarks import figures, on_gpu, report, results

RECORDS = results.load(results.FOLDER)
RESULTS = (report.ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
README = (report.ROOT / "README.md").read_text(encoding="utf-8")


def test_results_are_what_the_json_of_runs_says():
    assert report.document(RECORDS) == RESULTS, "type: python -m benchmarks.report"


def test_the_readme_says_what_the_results_say():
    assert report.block_of(README) == report.readme(RECORDS), "type: python -m benchmarks.report"


def test_every_number_of_the_readme_is_one_of_the_results():
    assert not report.strangers(report.block_of(README), RESULTS)


def test_a_number_that_was_typed_by_hand_is_found():
    block = f"{report.block_of(README)}\nand 98,765.4 x faster"

    assert report.strangers(block, RESULTS) == {"98,765.4"}


def test_every_measured_figure_of_the_readme_is_one_of_the_results():
    """Outside of the marked block too: what is typed there by hand grows old unseen."""
    missing = figures.figures(README) - figures.figures(RESULTS)

    assert not missing, f"not in benchmarks/RESULTS.md: {sorted(missing)}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "It takes 3.5 s, 12 minutes or 1,234 images/s.",
            {"3.5 s", "12 minutes", "1,234 images/s"},
        ),
        (
            "7.3 \N{MULTIPLICATION SIGN} faster, ten times as fast, 40 % less",
            {"7.3 x", "10 x", "40 %"},
        ),
        ("accuracy .9705, and 0.884 on test rows", {"0.9705", "0.884"}),
        ("3 GB on disk, two seconds", {"3 GB", "2 s"}),
        ("`--ratios 0.700`\n```console\n17.7 s\n```\n[x](a/b.955)", set()),
        ("Python 3.11, pixels 0..255, 224 pixels, step 2 of 3, 8 views", set()),
    ],
)
def test_figures_are_numbers_that_only_a_measurement_gives(text, found):
    assert figures.figures(text) == found


def test_pictures_of_the_results_are_there():
    for target in re.findall(r"!\[.*?\]\((.*?)\)", RESULTS):
        place = report.ROOT / "benchmarks" / target
        assert place.is_file(), target
        assert place.with_suffix(".svg").is_file(), target


def test_a_run_names_its_machine_command_and_load(tmp_path):
    results.save(tmp_path, "bench_store-small", {"a": 1}, 0.5)
    record = results.load(tmp_path)["bench_store-small"]

    told = report.origin(record)

    assert record["benchmark"] == "bench_store"
    assert record["facts"] == {"a": 1}
    assert all(word in told for word in ("keras 3", "numpy", "Load average 0.5 before"))


def test_what_a_benchmark_printed_itself_is_a_record_too(tmp_path):
    path = tmp_path / "bench_finetune.json"
    path.write_text(json.dumps({"machine": {"processor": "p"}, "worth": []}), encoding="utf-8")
    record = results.load(tmp_path)["bench_finetune"]

    assert record["facts"] == {"worth": []}
    assert report.origin(record) == "`python -m benchmarks.bench_finetune` on p; ."


def test_what_did_not_run_is_said_not_to_be_measured():
    text = report.document({})

    assert text.count("Not measured: no run of") == len(report.TITLES)
    assert text.count("not measured") == 5 * len(on_gpu.ROWS)


def test_the_block_of_the_readme_is_replaced_whole():
    text = f"before\n{report.BEGIN}\nold\n{report.END}\nafter"

    assert report.with_block(text, "new") == "before\nnew\nafter"
    with pytest.raises(ValueError, match="not found"):
        report.with_block("no markers", "new")
