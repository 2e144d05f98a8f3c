"""Build the backbone of a KerasHub preset: the part of it that sees images.

CLIP, SigLIP and others hold an encoder of images and one of text; the first is taken. Tokens that
are no patches (class, registers) are told by the size of a patch, which the backbone knows.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from extract.backbones import BackboneSpec
from extract.errors import BackboneError
from extract.hub_presets import check_preset, converter_of, files_of, folder_of
from extract.identity import outputs
from extract.keras_models import graph_of, import_hub
from extract.keras_weights import freshly, one_line

if TYPE_CHECKING:
    import keras

    from extract.keras_graph import Built


def build(spec: BackboneSpec, image_size: int) -> Built:
    """Build a preset with its weights; see `extract.keras_graph.build`."""
    from extract.keras_graph import Built, entry_of

    folder = folder_of(spec.name)
    converter = converter_of(spec.name)
    check_preset(folder)
    import_hub()
    backbone = freshly(partial(_load, folder))
    model = graph_of(backbone, image_size, folder)
    model.trainable = False
    return Built(
        entry=entry_of(model, spec, image_size),
        model=model,
        image_size=image_size,
        preprocessing=converter.preprocessing,
        weights_path=folder,
        arguments={},
        files=files_of(folder),
        patches=_patches(backbone, image_size),
        shapes=_shapes(model),
    )


def _load(folder: Path) -> Any:
    import keras_hub

    try:
        backbone = keras_hub.models.Backbone.from_preset(str(folder), dtype="float32")
    except Exception as error:  # KerasHub raises many kinds for what it cannot build
        raise BackboneError(f"{folder} cannot be loaded: {one_line(error)}") from error
    return getattr(backbone, "vision_encoder", None) or backbone


def _patches(backbone: Any, image_size: int) -> int | None:
    """Return how many patches an image is cut into; None for a network without patches."""
    side = getattr(backbone, "patch_size", None)
    if side is None:
        return None
    height, width = side if isinstance(side, list | tuple) else (side, side)
    return (image_size // height) * (image_size // width)


def _shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """Return the true shapes of layers' outputs where Keras is told others.

    The embedding of SigLIP has no class token, and says that it has one (KerasHub 0.32).
    """
    import keras

    told = {
        operation.name: tensors[0]
        for operation, tensors in zip(model.operations, outputs(model), strict=True)
        if len(tensors) == 1
    }
    plain = np.zeros((1, *model.input.shape[1:]), np.float32)
    found = keras.tree.flatten(keras.Model(model.input, list(told.values()))(plain, training=False))
    pairs = zip(told.items(), found, strict=True)
    return {name: tuple(x.shape[1:]) for (name, t), x in pairs if x.shape[1:] != t.shape[1:]}
