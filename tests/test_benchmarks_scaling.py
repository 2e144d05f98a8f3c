"""The model of growth, on numbers that are known; and each piece of work on a few rows."""

import json

import pytest

from benchmarks import processes, report, scaling, scaling_model
from benchmarks.tiny import paint


def facts_of(start, slope, sizes=(1000, 10_000, 100_000)):
    return {
        str(size): {
            "seconds": start + slope * size,
            "read_seconds": slope * size,
            "disk_bytes": 5000 * size,
            "peak_bytes": 1e8 + 5600 * size,
            "write_peak_bytes": 1e8 + 600 * size,
        }
        for size in sizes
    }


FACTS = {
    "width": 1280,
    "rows_of_widths": 10_000,
    "extract": facts_of(2.0, 0.01),
    "store": facts_of(0.5, 1e-4),
    "widths": facts_of(0.1, 1e-3, (256, 2048)),
    "ridge": facts_of(0.1, 1e-5),
    "linear": facts_of(0.0, 1e-5),
    "sweep": facts_of(1.0, 0.1, (1, 10, 50)),
}


def test_a_line_is_found_again():
    assert scaling_model.line(FACTS["extract"], "seconds") == pytest.approx((2.0, 0.01))
    assert scaling_model.line(FACTS["store"], "write_peak_bytes") == pytest.approx((1e8, 600))


def test_a_size_lost_in_noise_does_not_bend_the_line():
    """An epoch of 1000 rows came out as 0 s once, and the line through it as 1e-12 s a row."""
    sizes = {"1000": {"seconds": 0.0}, "10000": {"seconds": 0.3}, "100000": {"seconds": 3.0}}

    assert scaling_model.line(sizes, "seconds")[1] == pytest.approx(3e-5)
    with pytest.raises(ValueError, match="above 0 at some size"):
        scaling_model.line({"1000": {"seconds": 0.0}}, "seconds")


def test_the_document_says_what_the_lines_imply():
    text = scaling_model.document({"facts": FACTS}, "on a machine")

    assert "a day from about 8,600,000 images on" in text  # (86400 - 2) / 0.01
    assert "| extraction | 2.8 hours | 11.6 days | 115.7 days |" in text
    assert "| disk | 5.0 GB | 500.0 GB | 5.0 TB |" in text
    assert "| 30 epochs of a Keras head | 5.0 minutes | 8.3 hours | 3.5 days |" in text
    assert "Extraction needs more than 64 GB of memory from about 11,000,000 images on" in text
    noise = {key: found for key, found in FACTS.items() if key != "extract"}
    text = scaling_model.document({"facts": noise}, "on a machine")
    assert "Extraction needs more than 64 GB of memory from about 110,000,000 images on" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(9.0, "9.0 s"), (150, "2.5 minutes"), (9000, "2.5 hours"), (10 * 86400, "10.0 days")],
)
def test_durations_have_the_unit_that_people_use(seconds, text):
    assert scaling_model.duration(seconds) == text


def test_each_work_runs_on_a_few_rows(monkeypatch):
    def run(words):
        *_, what, count, width = words
        return processes.Finished(1.0, 10**8, scaling.WORK[what](int(count), int(width)))

    monkeypatch.setattr(processes, "run", run)
    facts = scaling.measure(None, rows=(20, 40), widths=(8, 16), heads=(1, 2))
    json.dumps(facts)

    assert len(scaling_model.measured(facts).rows) == 2 * 5
    assert all(found["disk_bytes"] > 0 for found in facts["store"].values())


def test_photographs_that_are_used_again_and_again_are_each_extracted(tmp_path):
    photos = paint(tmp_path / "few", {"train": 1})
    found = scaling.extraction(photos, 5, ("--backbone", "digits"))

    assert found["process_seconds"] > found["seconds"] > 0
    assert found["disk_bytes"] > 5 * 4 * 64


def test_the_committed_document_is_what_its_run_says():
    path = report.ROOT / "docs" / "scaling.md"

    assert path.read_text(encoding="utf-8") == report.scaling_document(report.stored()), (
        "type: python -m benchmarks.report"
    )
