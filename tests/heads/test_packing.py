"""A packed folder says what the model says, with five packages and nothing else."""

import csv
import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from heads.errors import HeadError, ModelError
from heads.packing import pack
from heads.predicting import predict
from heads.scoring import Dense
from tests.heads.models import linear_model

# What a machine that has PACKAGES alone would say to every other import.
ONLY = """
import runpy, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        top = name.partition('.')[0]
        ours = {'openvino', 'numpy', 'PIL', 'simplejpeg', 'cv2', 'extract', 'heads'}
        if top not in ours and top not in sys.stdlib_module_names and not top.startswith('_'):
            raise ModuleNotFoundError(f'{name} is not on this machine')
sys.meta_path.insert(0, Absent())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    import extract
    from extract.digits import write_pngs
    from heads.model_folder import save

    folder = tmp_path_factory.mktemp("digits")
    write_pngs(folder / "digits")
    extract.run(folder / "digits", backbone="digits", image_size=32, antialias=True)
    return save(linear_model(folder / "digits.features", columns=()), folder / "digits.head")


def table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run(folder, images, out, cwd, *more):
    script = str(folder / "predict.py")
    return subprocess.run(
        [sys.executable, "-I", "-c", ONLY, script, str(images), "--out", out, *more],
        capture_output=True,
        text=True,
        cwd=cwd,
    )


@pytest.fixture(scope="module")
def packed(digits, tmp_path_factory):
    return pack(digits, tmp_path_factory.mktemp("packed") / "digits.packed")


def test_each_model_has_a_folder_of_its_own(digits, tmp_path):
    from heads.model_folder import save

    names = [pack(save(digits, tmp_path / f"photos.{kind}")).name for kind in ("head", "tuned")]

    assert names == ["photos.packed", "photos.tuned.packed"]


def test_it_predicts_elsewhere_what_the_model_predicts_here(digits, packed, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    pictures = sorted((digits.path.parent / "digits").rglob("*.png"))
    for number in range(0, 800, 40):
        shutil.copy(pictures[number], images)
    enlarged = cv2.resize(cv2.imread(str(pictures[7])), (75, 50))
    cv2.imwrite(str(images / "enlarged.png"), enlarged)  # antialiased on its way back
    (images / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    away = shutil.copytree(packed, tmp_path / "away")
    done = run(away, images, "out.csv", tmp_path)

    assert done.returncode == 0, done.stderr
    here = table(predict(digits, images).out)
    there = table(tmp_path / "out.csv")
    words = [[row[n] for n in ("path", "label", "status", "label_2")] for row in here]
    assert [[row[n] for n in ("path", "label", "status", "label_2")] for row in there] == words
    numbers = [[float(r["probability"] or 0), float(r["novelty"] or 0)] for r in here]
    found = [[float(r["probability"] or 0), float(r["novelty"] or 0)] for r in there]
    np.testing.assert_allclose(found, numbers, atol=1e-5)


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_labels_and_numbers_are_predicted_elsewhere_as_here(digits, tmp_path, task):
    """One picture is broken, one is too novel, and one has no label: each has its row."""
    import extract
    import heads
    from extract.store.opening import open_store
    from tests.heads.conftest import relabelled

    folder = tmp_path / "digits"
    for path in sorted((digits.path.parent / "digits").rglob("*.png"))[::20]:
        place = folder / path.relative_to(digits.path.parent / "digits")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    store = tmp_path / "digits.features"
    extract.run(folder, store, backbone="digits", image_size=32, antialias=True)
    names = {name: number for number, name in enumerate(open_store(store).classes)}

    def learned(row):
        number = names[row["label"]]
        if task == "regression":
            return number / 4
        labels = ["even"] * (number % 2 == 0) + ["=large"] * (number > 4)
        return "|".join(labels) or "|"

    relabelled(store, learned)
    model = heads.fit(store, task=task, estimator="ridge")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    away = pack(model, tmp_path / "away")
    reject = 0.7
    here = table(predict(model, folder, tmp_path / "here.csv", reject=reject).out)
    done = run(away, folder, "there.csv", tmp_path, "--reject", str(reject))

    assert done.returncode == 0, done.stderr
    there = table(tmp_path / "there.csv")
    assert list(there[0]) == list(here[0])
    words = ["path", "status", *(["label"] if task == "multilabel" else [])]
    assert [[row[n] for n in words] for row in there] == [[r[n] for n in words] for r in here]
    assert {row["status"] for row in there} == {"good", "rejected", "undecodable"}
    numbers = [n for n in here[0] if n not in words]
    found, wanted = ([[float(r[n] or -1) for n in numbers] for r in rows] for rows in (there, here))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["graph.bin", "weights.npz", "code/heads/scoring.py"])
def test_an_altered_file_is_one_line(packed, tmp_path, name):
    away = shutil.copytree(packed, tmp_path / "away")
    data = (away / name).read_bytes()
    (away / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    done = run(away, tmp_path, "out.csv", tmp_path)

    assert done.returncode == 1
    assert done.stderr.strip().endswith(f"{name} is missing or was altered. Pack the model anew")


def test_requirements_name_versions(packed):
    lines = (packed / "requirements.txt").read_text().splitlines()

    assert [line.partition("==")[0] for line in lines] == [
        *["openvino", "numpy", "pillow", "simplejpeg", "opencv-python-headless"]
    ]
    assert "requirements.txt" in json.loads((packed / "pack.json").read_text())["files"]


def test_something_else_is_never_replaced(digits, tmp_path):
    (tmp_path / "thesis").mkdir()
    with pytest.raises(ModelError, match="thesis is something else than a packed model"):
        pack(digits, tmp_path / "thesis")


def test_heads_that_need_scikit_learn_are_refused(digits):
    class Foreign(Dense):
        kind = "sklearn"

    from dataclasses import replace

    foreign = Foreign(digits.scorer.kernels, digits.scorer.biases)
    with pytest.raises(HeadError, match=r"means runs in scikit-learn only.* python -m heads fit"):
        pack(replace(digits, scorer=foreign))
