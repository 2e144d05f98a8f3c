"""Each benchmark of heads on a handful of rows: the script still runs the day it is needed."""

import json
from types import SimpleNamespace

import cv2
import numpy as np

import extract
from benchmarks import heads_audit, heads_augment, heads_linear, heads_sweep, imagenet_size


def test_linear_heads(capsys):
    facts = {
        "logistic": heads_linear.measure_logistic(80, 12),
        "ridge": heads_linear.measure_ridge(80, 12),
    }
    json.dumps(facts)

    assert len(heads_linear.verdict(facts)) == 5
    assert facts["ridge"]["distance"] < 1e-4
    assert "median, s" in capsys.readouterr().err


def test_an_audit(tmp_path, fake_backbone):
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(6):
            picture = rng.integers(0, 255, (8, 9, 3)).astype("u1")
            cv2.imwrite(str(tmp_path / "photos" / label / f"{number}.jpg"), picture)
    extract.run(tmp_path / "photos", tmp_path / "photos.features")
    facts = {
        "search": heads_audit.search(300, 80, 100),
        "planted": heads_audit.find_planted(tmp_path / "photos", tmp_path, 3),
        "labels": heads_audit.doubt_labels(tmp_path / "photos.features", 0.2),
        "report": 1.0,
        "page": 1000,
    }
    json.dumps(facts)

    assert facts["search"]["recall"] == 1
    assert facts["search"]["pairs"] >= 1
    assert facts["planted"]["quality 75"]["found"] > 0
    assert len(heads_audit.verdict(facts)) == 7


def test_a_sweep(capsys):
    facts = heads_sweep.measure(repeats=1, rows=40, width=5, epochs=2, keras=False)
    json.dumps(facts)

    assert len(heads_sweep.verdict(facts)) == 2
    assert facts["10"]["heads"] == 52
    assert "52 heads, 40 x 5, 2 classes" in capsys.readouterr().err


def test_imagenet_size(capsys):
    facts = imagenet_size.measure(share=0.5, rows=400, width=16, classes=20, judges=60)
    json.dumps(facts)
    lines = imagenet_size.verdict(facts)

    assert len(lines) == 2
    assert "reckoned from 50% of them" in lines[0]
    assert facts["ridge"]["accuracy"] > 0.1


def test_augmentation(monkeypatch):
    random = np.random.default_rng(0)
    data = SimpleNamespace(X=random.normal(size=(12, 2, 2, 3)), y=np.arange(12) % 2)
    monkeypatch.setattr(heads_augment, "EPOCHS", 1)
    found = {"a": heads_augment.gains(data, data, 2, draws=2)}
    json.dumps(found)

    assert heads_augment.verdict(found)[0].startswith("a: ")
    assert found["a"].keys() == {"none", *heads_augment.WORDS}
