"""Each benchmark of heads on a handful of rows: the script still runs the day it is needed."""

import json

from benchmarks import heads_linear, heads_sweep


def test_linear_heads(capsys):
    facts = {
        "logistic": heads_linear.measure_logistic(80, 12),
        "ridge": heads_linear.measure_ridge(80, 12),
    }
    json.dumps(facts)

    assert len(heads_linear.verdict(facts)) == 5
    assert facts["ridge"]["distance"] < 1e-4
    assert "median, s" in capsys.readouterr().err


def test_a_sweep(capsys):
    facts = heads_sweep.measure(repeats=1, rows=40, width=5, epochs=2, keras=False)
    json.dumps(facts)

    assert len(heads_sweep.verdict(facts)) == 2
    assert facts["10"]["heads"] == 52
    assert "52 heads, 40 x 5, 2 classes" in capsys.readouterr().err
