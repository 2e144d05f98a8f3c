"""Each benchmark of heads on a handful of rows: the script still runs the day it is needed."""

import json

from benchmarks import heads_linear


def test_linear_heads(capsys):
    facts = {
        "logistic": heads_linear.measure_logistic(80, 12),
        "ridge": heads_linear.measure_ridge(80, 12),
    }
    json.dumps(facts)

    assert len(heads_linear.verdict(facts)) == 5
    assert facts["ridge"]["distance"] < 1e-4
    assert "median, s" in capsys.readouterr().err
