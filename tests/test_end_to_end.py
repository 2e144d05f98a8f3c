"""The road on real weights and real photographs, through the commands that users type."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import extract
from extract.store.verify import verify

ROOT = Path(__file__).resolve().parent.parent


def command(*words, code=None, environment=None):
    start = ["-c", code] if code else ["-m", "extract"]
    return subprocess.Popen(
        [sys.executable, *start, *map(str, words)],
        cwd=ROOT,
        text=True,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(process):
    out, err = process.communicate()
    return process.returncode, out, err


@pytest.fixture(scope="module")
def real(shared):
    """Environment and options for MobileNetV2 0.35 with ImageNet weights."""
    return {"KERAS_HOME": str(shared / "keras_home")}, ["--backbone-arg", "alpha=0.35"]


def run(images, store, real, *options, status=0):
    environment, backbone = real
    code, out, err = ended(
        command(
            "run", images, "--store", store, *backbone, *options, "--json", environment=environment
        )
    )
    assert code == status, err
    return json.loads(out)


@pytest.fixture(scope="module")
def bees(shared, real, tmp_path_factory):
    """(summary, store) of an undisturbed run over hymenoptera."""
    store = tmp_path_factory.mktemp("bees") / "store"
    return run(shared / "data" / "hymenoptera", store, real), store


def test_every_photograph_is_read(bees):
    summary, _ = bees

    assert (summary["items"], summary["extracted"], summary["bad"]) == (398, 398, 0)


def test_features_are_good_enough_for_a_head(bees):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    snapshot = extract.open_store(bees[1])
    train, validation = snapshot.load("train"), snapshot.load("validation")
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))

    assert snapshot.classes == ("ants", "bees")
    assert head.fit(train.X, train.y).score(validation.X, validation.y) > 0.85


def test_another_format_batch_and_worker_count_end_with_the_same_root(shared, real, bees, tmp_path):
    options = ["--format", "hdf5", "--batch-size", "3", "--workers", "1"]
    summary = run(shared / "data" / "hymenoptera", tmp_path / "other", real, *options)

    assert summary["root_digest"] == bees[0]["root_digest"]


def test_a_warm_run_needs_neither_keras_nor_tensorflow_nor_openvino(shared, real, bees):
    code = (
        "import sys; sys.argv[0] = 'extract'\n"
        "from extract.cli import main\n"
        "try:\n    main()\nfinally:\n"
        "    print([m for m in ('keras', 'tensorflow', 'openvino') if m in sys.modules])"
    )
    images = shared / "data" / "hymenoptera"
    status, out, err = ended(
        command(
            "run", images, "--store", bees[1], *real[1], "--json", code=code, environment=real[0]
        )
    )

    assert status == 0, err
    assert json.loads(out.splitlines()[-2])["extracted"] == 0
    assert out.splitlines()[-1] == "[]"


def test_one_new_image_is_extracted_without_keras_or_tensorflow(shared, real, bees, tmp_path):
    """The backbone was converted once; renaming everything, too, needs no framework."""
    images, store = tmp_path / "bees", tmp_path / "store"
    shutil.copytree(bees[1], store)
    shutil.copytree(shared / "data" / "hymenoptera", images)
    for path in sorted(images.rglob("*.jpg")):
        path.chmod(0o644)
        path.parent.chmod(0o755)
        path.rename(path.with_name("new-" + path.name))
    cats = shared / "data" / "cats_dogs_200px"
    new = next(path for path in sorted(cats.rglob("*.jpg")))
    shutil.copyfile(new, path.with_name("a-cat.jpg"))
    code = (
        "import sys; sys.argv[0] = 'extract'\n"
        "from extract.cli import main\n"
        "try:\n    main()\nfinally:\n"
        "    print([m for m in ('keras', 'tensorflow') if m in sys.modules])"
    )
    words = ["run", images, "--store", store, *real[1], "--json"]
    status, out, err = ended(command(*words, code=code, environment=real[0]))

    assert status == 0, err
    assert json.loads(out.splitlines()[-2])["extracted"] == 1
    assert out.splitlines()[-1] == "[]"


def test_kill_9_at_any_moment_then_the_same_command_again(shared, real, bees, tmp_path):
    """Killed again and again, the run still ends with the root of an undisturbed one."""
    code = (
        "import extract.store.shards as s; s.SHARD_ROWS = 32\nfrom extract.cli import main; main()"
    )
    images, store, moments = shared / "data" / "hymenoptera", tmp_path / "store", random.Random(0)
    words = ["run", images, "--store", store, *real[1], "--json"]
    kills = 0
    for _ in range(8):
        process = command(*words, code=code, environment=real[0])
        try:
            # the first two moments come before any machine can be through
            process.wait(moments.uniform(0.3, 1.0) if kills < 2 else moments.uniform(0.8, 2.2))
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
    status, out, err = (
        ended(process)
        if process.returncode == 0
        else ended(command(*words, code=code, environment=real[0]))
    )

    assert status == 0, err
    assert kills >= 2
    assert json.loads(out)["root_digest"] == bees[0]["root_digest"]
    assert verify(store).is_sound


IN_THE_MIDDLE = """
import itertools, pathlib, signal, time
from extract.engines.openvino import OpenVINOEngine

# A suite that is started in the background has its children ignore SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
real, calls = OpenVINOEngine.__call__, itertools.count()

def call(self, pixels):
    if next(calls) >= 200:  # of 1000; no machine has so many streams, so some were taken
        pathlib.Path({word!r}).touch()
        time.sleep(0.1)
    return real(self, pixels)

OpenVINOEngine.__call__ = call
from extract.cli import main

main()
"""


def test_ctrl_c_is_one_line_and_the_same_command_resumes(shared, real, tmp_path):
    """Stopped long before the first shard is full, it keeps the part that is there."""
    images, store = shared / "data" / "cats_dogs_200px" / "train", tmp_path / "store"
    words = ["run", images, "--store", store, *real[1], "--json"]
    code = IN_THE_MIDDLE.format(word=str(tmp_path / "word"))
    process = command(*words, code=code, environment=real[0])
    while process.poll() is None and not (tmp_path / "word").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    status, _, err = ended(process)
    first = sum(len(json.loads(p.read_text())["image_keys"]) for p in (store / "commits").iterdir())
    summary = run(images, store, real)

    assert status == 130
    assert err.splitlines()[-1] == "Stopped. What was finished is kept: the same command resumes."
    assert 0 < first < 1024
    assert summary["extracted"] == 2000 - first


def test_the_awkward_folder_finishes_and_counts_add_up(shared, real, tmp_path):
    """Files that break readers: each is read in its documented way, or listed with its reason.

    test_pixels.py says for each of them what that is; here only that the run goes on.
    """
    summary = run(shared / "data" / "awkward", tmp_path / "store", real, status=3)
    lines = (tmp_path / "store" / "bad_images.csv").read_text().splitlines()
    snapshot = extract.open_store(tmp_path / "store")
    data = snapshot.load(None)

    assert summary["items"] == 39  # Thumbs.db is no item
    assert summary["bad"] == summary["undecodable"] + summary["unreadable"] == len(lines) - 1
    assert len(data) == 39 - summary["bad"]
    assert np.isfinite(data.X).all()
    assert lines[0] == "path,stage,reason"
    assert {line.split(",")[0] for line in lines[1:]} == {
        "broken_data_stream.png",
        "made_truncated_half.jpg",
        "truncated_end_chunk.png",
        "ultrahdr.jpg",
        "zero_width.gif",
    }


def test_bfloat16_is_another_recipe_and_says_how_far_it_is(shared, real, bees, tmp_path):
    import openvino as ov

    images = shared / "data" / "beans_256px" / "test"
    options = ["--precision", "bfloat16"]
    if "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        code, _, err = ended(
            command(
                "run", images, "--store", tmp_path / "s", *real[1], *options, environment=real[0]
            )
        )
        assert (code, err.count("\n")) == (1, 1)
        return
    run(images, tmp_path / "store", real, *options)
    snapshot = extract.open_store(tmp_path / "store")

    assert snapshot.recipe.precision == "bfloat16"
    assert snapshot.recipe.signature["engine"] == "openvino"
    assert 1e-3 < snapshot.distance < 0.3


def test_weights_that_are_not_here_are_one_line_that_says_where_to_put_them(tmp_path, photos):
    """No network, no weights: which file, from where, into which folder."""
    environment = {
        "KERAS_HOME": str(tmp_path / "keras"),
        "https_proxy": "http://127.0.0.1:9",
        "HEADSTART_CACHE": str(tmp_path / "cache"),
    }
    before = sorted(tmp_path.iterdir())
    status, _, err = ended(command("run", photos, environment=environment))

    assert status == 1
    assert "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5" in err
    assert str(tmp_path / "keras" / "models") in err
    assert "https://" in err
    assert [p for p in sorted(tmp_path.iterdir()) if p.suffix == ".features"] == []
    assert photos in before


def test_the_demo_runs_twice(tmp_path):
    for extracted in (True, False):
        status, out, err = ended(command("demo", tmp_path / "demo", "--json"))
        summary = json.loads(out)

        assert status == 0, err
        assert summary["items"] == 896
        assert bool(summary["extracted"]) == extracted
