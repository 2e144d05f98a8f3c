"""The benchmark of fine-tuning on a handful of pictures: it still runs the day it is needed."""

from benchmarks import bench_finetune, on_gpu, results


def test_a_tiny_run_states_every_figure(tmp_path, capsys):
    bench_finetune.main(["--tiny", "--out", str(tmp_path)])
    (record,) = results.load(tmp_path).values()
    facts = record["facts"]

    assert facts["parity"]["relative"] < 1e-3
    assert facts["worth"][0]["validation"] >= facts["worth"][0]["head_validation"]
    assert facts["speed"][0]["images"] == 8
    assert [row["cut"] for row in facts["cuts"]] == ["relu3"]
    assert len(bench_finetune.verdict(facts)) == 5
    assert not {"parity", "never worse"} & set(bench_finetune.missed(facts))
    assert len(list(on_gpu.finetuning(facts))) == 2
    assert "in the plain script" in capsys.readouterr().err
