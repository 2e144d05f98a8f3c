"""The network as a plain Keras model, for people with a training loop of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finetune import freezing
from finetune.network import open_network
from finetune.options import Options
from finetune.quiet import quiet_keras
from heads.model import Model
from heads.model_folder import load

if TYPE_CHECKING:
    import keras


def build(
    head: str | Path | Model,
    unfreeze: str = Options().unfreeze,
    *,
    weights: str | Path | None = None,
) -> keras.Model:
    """Return a head on its backbone as one Keras model, of which the planned layers train.

    Args:
        head: A model, or its folder.
        unfreeze: What trains of the backbone, such as "from:block_16"; the head always does.
        weights: Where the backbone's weights file is now, if it is not where it was.

    Returns:
        Model from pixels (batch, S, S, 3), float32 in 0..255, to logits (batch, classes), on the
        Keras backend that is active. Call it with `training=False` while it trains, too: gradients
        flow, and BatchNormalization keeps its statistics.

    Raises:
        HeadstartError: With one line that says what to do.
    """
    model = head if isinstance(head, Model) else load(head)
    quiet_keras()
    import keras

    from finetune.tuner import full_body

    network = open_network(model, weights)
    plan = freezing.make_plan(freezing.layers_of(network.built), unfreeze)
    freezing.apply(network, plan)
    body = full_body(network)
    return keras.Model(body.inputs[0], network.head(body.outputs[0]), name="network")
