"""The script over all backbones, on two small ones: it still runs the day it is needed."""

from benchmarks import backbones
from extract.engines.engine import PARITY


def test_backbones(capsys):
    results = backbones.main(
        ["--only", "digits,mobilenet", "--tiny", "--images", "4", "--repeats", "2"]
    )

    assert [result.name for result in results] == ["digits", "mobilenet"]
    assert all(0 < result.parity <= PARITY for result in results)
    assert all(len(result.images_per_second) == 2 for result in results)
    printed = capsys.readouterr()
    assert "mobilenet: parity" in printed.out
    assert "median, images/s" in printed.err
