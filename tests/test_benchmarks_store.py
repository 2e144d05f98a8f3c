"""The benchmark of stores on a few rows: it still runs the day it is needed."""

import json

import numpy as np

import extract
from benchmarks import bench_store, synthetic


def test_a_tiny_run_states_every_figure():
    facts = bench_store.measure([300], maps=2, repeats=1, batches=2)
    json.dumps(facts)

    assert len(bench_store.verdict(facts)) == 4
    assert [len(grid.rows) for grid in bench_store.tables(facts)] == [16, 8, 2]
    assert all(value > 0 for value in facts["sizes"]["300"]["ratios"].values())


def test_synthetic_rows_are_noise_that_differs_between_images(tmp_path):
    synthetic.fill(tmp_path / "a.features", 5, (3, 4))
    rows = extract.open_store(tmp_path / "a.features").take(np.arange(5))

    assert rows.shape == (5, 3, 4)
    assert len(np.unique(rows[:, 0, 0])) == 5
    assert len(np.unique(rows[0])) == 12
