"""A record says what computed, and rows for GPUs come from such records alone."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks import device, on_gpu, report, results

GPU = {"backend": "jax", "device": "NVIDIA L4", "precision": "float32"}
FOLDER = {"float32": 4321.0, "share_of_forward": 0.93, "waits": "forward waits for decoding"}


@pytest.fixture
def fresh(monkeypatch):
    """Forget what was asked before, and what is imported."""
    device.facts.cache_clear()
    yield lambda: monkeypatch.delitem(sys.modules, "keras", raising=False)
    device.facts.cache_clear()


@pytest.mark.parametrize("chosen", ["variable", "file", "nobody"])
def test_a_process_without_keras_names_what_keras_would_choose(
    chosen, fresh, monkeypatch, tmp_path
):
    monkeypatch.setattr(device.shutil, "which", lambda name: None)
    monkeypatch.setattr(device.os.path, "exists", lambda path: False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if chosen != "nobody":
        (tmp_path / "keras.json").write_text('{"backend": "torch", "floatx": "float16"}')
    if chosen == "variable":
        monkeypatch.setenv("KERAS_BACKEND", "jax")
    fresh()

    assert device.facts() == {
        "backend": {"variable": "jax", "file": "torch", "nobody": "tensorflow"}[chosen],
        "device": "CPU",
        "precision": "float32" if chosen == "nobody" else "float16",
    }


def test_keras_itself_says_the_same():
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""}
    words = [sys.executable, "-m", "benchmarks.device"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) == {
        **{"backend": "tensorflow", "device": "CPU", "precision": "float32"}
    }


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        ({**GPU, "backend": "tensorflow", "device": "CPU"}, "bench_store"),
        ({**GPU, "device": "CPU"}, "bench_store-jax"),
        (GPU, "bench_store-jax-gpu"),
    ],
    ids=["the usual one", "another backend", "a GPU"],
)
def test_a_run_replaces_none_on_another_device(machine, name, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "machine", lambda: {"processor": "p", **machine})
    path = results.save(tmp_path, "bench_store", {}, None)
    record = results.load(tmp_path)[name]

    assert path.stem == name
    assert record["benchmark"] == "bench_store"
    assert f"p; Keras on {machine['backend']}, {machine['device']}, float32" in report.origin(
        record
    )


def record_of(benchmark, facts, machine=GPU):
    return {"benchmark": benchmark, "machine": {"processor": "p", **machine}, "facts": facts}


def test_rows_of_a_gpu_come_from_records_of_one():
    pace = {"images_per_second": 900.0, "share_of_forward": 0.5, "waits": "x"}
    workflow = {
        "data": "cats",
        "counts": {"train": 80, "validation": 20},
        "rows": {"in_graph": {"epoch_seconds": 0.5}, "first": {"pace": pace}},
    }
    speed = {"cut": "add", "images": 100, "full_epoch": 2.0, "suffix_epoch": 0.5}
    records = {
        "a": record_of("bench_extract", {"folders": {"cats": FOLDER}}),
        "b": record_of("workflows", workflow),
        "c": record_of("bench_finetune", {"speed": [speed]}),
        "d": record_of("bench_heads", {"linear": {}}),
    }
    named = "NVIDIA L4, jax, float32"

    assert on_gpu.grid(records).rows == [
        ("bench_extract", named, "cats", "4,321", "0.93", "forward waits for decoding"),
        ("bench_heads", named, "linear", "-", "-", "-"),
        ("bench_finetune", named, "add, full", "50", "-", "-"),
        ("bench_finetune", named, "add, suffix", "200", "-", "-"),
        ("workflows", named, "cats, in the graph", "200", "-", "-"),
        ("workflows", named, "cats, extraction", "900", "0.50", "x"),
        ("tutorials", *["not measured"] * 5),
    ]


@pytest.mark.parametrize("machine", [{**GPU, "device": "CPU"}, {}], ids=["said", "of before"])
def test_a_record_of_a_processor_fills_no_row(machine):
    records = {"a": record_of("bench_extract", {"folders": {"cats": FOLDER}}, machine)}

    assert len(on_gpu.grid(records).rows) == len(on_gpu.ROWS)
    assert {cell for row in on_gpu.grid(records).rows for cell in row[1:]} == {"not measured"}
