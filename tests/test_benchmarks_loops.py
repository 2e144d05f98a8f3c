"""The custom training loop of the plain script does what `fit` does, on every backend."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
CODE = """
import keras
import numpy as np
from benchmarks import plain_script

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
X, y = rng.normal(size=(2, 8, 4, 4, 3)).astype("float32"), rng.integers(0, 2, (2, 8, 1)) * 1.0
kernel = keras.layers.Conv2D(2, 3)
frozen = keras.layers.Conv2D(3, 1, trainable=False)
model = keras.Sequential(
    [keras.Input((4, 4, 3)), frozen, keras.layers.BatchNormalization(), kernel,
     keras.layers.Flatten(), keras.layers.Dense(1)]
)
twin = keras.models.clone_model(model)
twin.set_weights(model.get_weights())
before = model.get_weights()
for one in (model, twin):
    plain_script.compile_for(one, 2, "adam", 0.1)
model.optimizer.build(model.trainable_weights)
step = plain_script.STEPS[keras.backend.backend()](model)
for pixels, targets in zip(X, y):
    logits = step(pixels, targets.astype("float32"))
    twin.train_on_batch(pixels, targets)
for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
changed = [not np.array_equal(a, b) for a, b in zip(before, twin.get_weights())]
print(keras.ops.shape(logits), sum(changed))
"""


def test_statistics_move_in_the_code_of_the_guides():
    """`training=False` at the call holds them while all is frozen, and no longer."""
    base = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.BatchNormalization()])
    inputs = keras.Input((2, 2, 3))
    outputs = keras.layers.Dense(1)(keras.layers.Flatten()(base(inputs, training=False)))
    model = keras.Model(inputs, outputs)
    moved = []
    for trains in (False, True):
        base.trainable = trains
        model.compile("sgd", "mse")
        model.fit(np.full((8, 2, 2, 3), 5.0), np.zeros((8, 1)), verbose=0)
        moved.append(bool(np.any(base.get_weights()[2] != 0)))

    assert moved == [False, True]


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_step_of_the_loop_is_a_step_of_fit(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", CODE]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    # a normalization's four, and kernel and bias of a convolution and of the logit
    assert done.stdout.split() == ["(8,", "1)", "8"]
