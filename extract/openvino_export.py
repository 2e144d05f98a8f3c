"""Write a Keras graph for OpenVINO: traced once, its weights as constants, its outputs alone.

`model.export(format="openvino")` traces a graph three times, and the converter then looks for each
variable among all of them, again for every question it has about it: 37 seconds of a processor for
the 896 variables of InceptionResNetV2. With constants in one trace it takes 9, and the features
are the same to the bit (all families of `keras.applications` were compared).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def export(model: keras.Model, path: Path) -> None:
    """Write `model` as an OpenVINO graph in float32, with the open dimensions of its input.

    Args:
        model: Functional, with one input, on the TensorFlow or the torch backend.
        path: Name of the .xml; the .bin goes beside it.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        model.export(str(path), format="openvino", verbose=False)
        return
    import openvino as ov

    ov.save_model(converted(model), path, compress_to_fp16=False)


def converted(model: keras.Model) -> Any:
    """Return `model` as OpenVINO's, on the TensorFlow backend."""
    import openvino as ov

    traced = _traced(model)
    return _with_outputs(ov.convert_model(traced), traced)


def _traced(model: keras.Model) -> Any:
    """Return `model` as one concrete function of TensorFlow in which every weight is a constant."""
    import keras
    import tensorflow as tf

    # Read before tracing: inside a trace a variable has no value yet.
    weights = [(variable, keras.ops.convert_to_numpy(variable)) for variable in model.variables]

    def call(inputs: Any) -> Any:
        constants = [(variable, tf.constant(array)) for variable, array in weights]
        with keras.StatelessScope(state_mapping=constants):
            return model(inputs, training=False)

    tensor = model.input
    signature = [tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name)]
    return tf.function(call, input_signature=signature, autograph=False).get_concrete_function()


def _with_outputs(converted: Any, traced: Any) -> Any:
    """Return a converted graph with the outputs that `traced` has, in its order, and no others.

    OpenVINO takes every tensor that nobody uses for an output: an EfficientNet has 49 of these,
    since each `swish` also returns what its gradient would need.
    """
    import openvino as ov

    sources = {name: o.node.input_value(0) for o in converted.outputs for name in o.get_names()}
    # Only an output that is the input itself has lost its name.
    outputs = [sources.get(tensor.name, converted.input()) for tensor in traced.outputs]
    return ov.Model(outputs, converted.get_parameters())
