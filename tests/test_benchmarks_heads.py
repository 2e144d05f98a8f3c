"""Each benchmark of heads on a handful of rows: the script still runs the day it is needed."""

import json
from types import SimpleNamespace

import cv2
import numpy as np

import extract
from benchmarks import (
    bench_heads,
    heads_audit,
    heads_augment,
    heads_linear,
    heads_sweep,
    imagenet_size,
    report,
    results,
    tiny,
)

TINY = {
    "sweep": {"repeats": 1, "rows": 40, "width": 5, "epochs": 2, "keras": False},
    "imagenet": {"share": 0.5, "rows": 400, "width": 16, "classes": 20, "judges": 60},
    "audit": {"copied": 3, "sizes": (300, 80, 100), "backbone": {"backbone": "digits"}},
}

ORIGIN = {"command": "c", "machine": {"processor": "p"}, "load_before": None, "load_after": None}


def test_every_figure_that_is_asked_for_is_in_a_record_of_its_part(tmp_path):
    tiny.paint(tmp_path / "data" / heads_audit.DATA)
    bench_heads.main(tmp_path, list(TINY), tmp_path / "results", TINY)
    records = results.load(tmp_path / "results")
    sweep, imagenet, audit = (records[f"bench_heads-{part}"]["facts"][part] for part in TINY)

    assert {record["benchmark"] for record in records.values()} == {"bench_heads"}
    assert {"many_by_one", "faster"} <= sweep["2"].keys()
    assert all({"all", "peak", "accuracy"} <= imagenet[n].keys() for n in ("ridge", "stream"))
    assert audit["search"].keys() == {"rows", "seconds", "peak", "pairs", "recall"}
    assert all(
        audit["planted"][kind].keys() == {"found", "precision"} for kind in heads_audit.KINDS
    )
    assert audit["labels"].keys() == {"recall", "precision"}
    assert (audit["items"], audit["report"] > 0, audit["page"] > 0) == (48, True, True)

    text = report.document(records)
    for said in ("52 heads, 2 classes", "ridge, 20 penalties", "copies, mirrored", "of 48 items"):
        assert said in text


def test_a_run_of_its_own_is_a_record(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(imagenet_size, "measure", lambda *given: {"a": 1})
    monkeypatch.setattr(imagenet_size, "verdict", lambda facts: [])
    monkeypatch.setattr("sys.argv", ["it", "--out", str(tmp_path)])
    imagenet_size.main()

    assert results.load(tmp_path)["imagenet_size"]["facts"] == {"a": 1}
    assert capsys.readouterr().out.strip() == str(tmp_path / "imagenet_size.json")


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
        "items": 12,
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

    assert len(heads_augment.verdict(found)) == len(heads_augment.WORDS)
    assert found["a"].keys() == {"none", *heads_augment.WORDS}
    assert len(heads_augment.tables(found)[0].rows) == 1


def test_augmentation_is_said_to_help_where_its_interval_is_above_nothing():
    gains = {word: [0.0, 0.1] for word in heads_augment.WORDS}
    facts = {"a": {"none": 0.5, **gains, "mixup:0.2": [0.2, 0.1], "noise:0.5": [-0.2, 0.1]}}
    said = heads_augment.verdict(facts)

    assert said[:2] == ["noise:0.5 hurt: a", "mixup:0.2 helped: a"]
    assert said[2] == "brightness:0.2 neither helped nor hurt beyond its interval"
    assert "+0.200 ± 0.100" in report.document(
        {"bench_heads-augment": {"benchmark": "bench_heads", **ORIGIN, "facts": {"augment": facts}}}
    )
