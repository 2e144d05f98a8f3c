"""No benchmark goes untested: each script that can be started has a test that calls it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted(
    path.stem
    for path in (ROOT / "benchmarks").glob("*.py")
    if re.search(r'^if __name__ == "__main__":', path.read_text(encoding="utf-8"), re.MULTILINE)
)
TESTS = "".join(
    path.read_text(encoding="utf-8")
    for path in [*(ROOT / "tests").glob("test_bench*.py"), ROOT / "tests" / "test_trajectory.py"]
    if path.stem != Path(__file__).stem
)
STARTED_BY = {
    "keras_server": "bench_extract",
    "plain_finetune": "bench_finetune",
    "fifteen_lines": "workflows",
}
"""Scripts that are no benchmark by themselves → the one that starts them as a process."""


def is_called(name: str) -> bool:
    """Tell whether a test calls a function of a benchmark's module."""
    return re.search(rf"\b{name}\.[a-z]\w*\(", TESTS) is not None


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_is_called_by_a_test(name):
    assert is_called(STARTED_BY.get(name, name)), f"no test calls benchmarks/{name}.py"


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name.startswith("bench_")])
def test_every_benchmark_of_ours_can_run_tiny_or_is_a_sum_of_parts(name):
    text = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")

    assert '"--tiny"' in text or "PARTS" in text


def test_a_script_without_a_test_is_found():
    assert not is_called("bench_nothing")
