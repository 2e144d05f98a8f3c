"""The benchmark of a cluster, on a handful of pictures."""

import pytest

from benchmarks import bench_cluster, results


def test_a_plan_of_names_alone():
    found = bench_cluster.plan_in_a_process(5000)

    assert (found["items"], found["chores"]) == (5000, 5)
    assert found["peak_mb"] > 0


def test_the_overhead_is_measured_in_turn(tmp_path, capsys, monkeypatch):
    pytest.importorskip("ray", reason='no ray: pip install "headstart[ray]"')
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    bench_cluster.main(["--tiny", "--out", str(tmp_path)])
    (record,) = results.load(tmp_path).values()
    facts = record["facts"]

    assert facts["overhead"]["one_root"]
    assert facts["overhead"]["extracted"] == 48
    assert len(facts["overhead"]["overheads"]) == 1
    assert len(bench_cluster.tables(facts)[0].rows) == 3
    assert "overhead to the seal" in capsys.readouterr().err
