"""The benchmark of fine-tuning on a handful of pictures: it still runs the day it is needed."""

import json

import extract
import heads
from benchmarks import bench_finetune
from tests.heads.conftest import paint


def test_a_tiny_run_states_every_figure(tmp_path):
    paint(tmp_path / "photos", {"train": 4, "validation": 4, "test": 2})
    store = tmp_path / "photos.features"
    extract.run(tmp_path / "photos", store, backbone="digits")
    heads.fit(store, estimator="ridge")
    facts = {
        "parity": bench_finetune.measure_parity(store, "from:conv4", steps=2),
        "speed": bench_finetune.measure_speed(store, {"from:conv4": "relu3"}, epochs=1),
        "worth": bench_finetune.measure_worth(store, "from:conv4", (0,), 1, 1e-4),
    }
    json.dumps(facts)

    assert facts["parity"]["relative"] < 1e-3
    assert facts["worth"][0]["validation"] >= facts["worth"][0]["head_validation"]
    assert len(bench_finetune.verdict(facts)) == 3
