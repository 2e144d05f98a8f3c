"""Name a Keras graph and its weights by what they compute, never by what things are called.

Keras numbers unnamed layers per process (a second Xception in one process differs in 21 names,
InceptionV3 in 298 of 311) and adds arguments to its layers between releases. So an operation is
known by its position in topological order, and its configuration counts without names and
without newer arguments at their default. Nested models are first written out in place: a graph
that holds another computes what it would if the other's operations stood in it.

This module knows graphs and bytes; it knows nothing of which backbones there are.
"""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from extract.errors import BackboneError
from extract.recipe import digest_json

if TYPE_CHECKING:
    import keras

# Arguments that decide no feature in inference, in any class that has them.
_UNDECIDING = {
    *("name", "trainable", "seed"),
    *("momentum", "synchronized", "renorm", "renorm_clipping", "renorm_momentum"),
}
_UNDECIDING_SUFFIXES = ("_initializer", "_regularizer", "_constraint")

# Arguments that are written down even at their default. They were there when recipe version 1
# was, so a release that changes one of these defaults changes the digest, as it must. What a
# later release adds has other names, and is left out at its default, so it orphans no store.
_ALWAYS = {
    *("batch_shape", "target_shape", "size", "data_format", "axis", "keepdims", "cropping"),
    *("filters", "units", "kernel_size", "pool_size", "strides", "padding", "output_padding"),
    *("dilation_rate", "groups", "depth_multiplier", "use_bias"),
    *("activation", "alpha", "approximate", "max_value", "negative_slope", "threshold"),
    *("epsilon", "center", "scale", "offset", "invert", "rms_scaling", "interpolation"),
}


def flat(model: keras.Model) -> keras.Model:
    """Return `model` as one functional graph, nested models written out in place.

    Layers are shared with `model`, not copied. The input layers of nested models are left out.

    Raises:
        BackboneError: If `model` is not a graph of operations, if two operations of it have
            the same name once they stand side by side, or if a nested model runs in training
            mode, so that its output is random or depends on the batch.
    """
    import keras

    if not getattr(model, "inputs", None):
        raise BackboneError(
            f"Model {model.name!r} is no graph of operations. A backbone is a functional or a "
            f"built sequential model. Received: {type(model).__name__}"
        )
    plain = keras.Model(_single(model.inputs), _single(model.outputs), name=model.name)
    if not any(isinstance(operation, keras.Model) for operation in plain.operations):
        return plain
    try:
        return keras.models.clone_model(
            plain,
            input_tensors=plain.input,
            clone_function=lambda operation: operation,
            call_function=_call_in_place,
        )
    except ValueError as error:
        raise BackboneError(f"Model {model.name!r} cannot be written out: {error}") from error


def _single(tensors: Any) -> Any:
    # Keras warns when a model of a list of one is called with a tensor.
    return tensors[0] if len(tensors) == 1 else tensors


def _call_in_place(operation: Any, *args: Any, **kwargs: Any) -> Any:
    import keras

    if not isinstance(operation, keras.Model):
        return operation(*args, **kwargs)
    if kwargs.pop("training", None):
        raise BackboneError(
            f"Model {operation.name!r} inside the backbone is called with training=True; a "
            f"feature would then depend on chance or on its neighbors. Call it with False."
        )
    tensors = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)]
    inner = flat(operation)
    # A Function's `call` runs every operation on these very tensors; a Model's converts them
    # first, each by one more operation.
    return keras.Function(inner.inputs, inner.outputs).call(tensors)


def operations(model: keras.Model) -> list[keras.Operation]:
    """Return the operations of `flat(model)` in topological order; positions count from 0.

    Never `model.layers`: these leave out residual additions written as `a + b`, and others.
    """
    return flat(model).operations


def outputs(model: keras.Model) -> list[list[keras.KerasTensor]]:
    """Return the symbolic outputs of each operation of a flat `model`, in its order.

    An operation that is called more than once gives those of its first call in this graph.
    `operation.output` is no substitute: it gives the first call in any graph.
    """
    first: dict[Any, tuple[int, list[Any]]] = {}
    seen = set()
    tensors = list(model.outputs)
    while tensors:
        operation, index, _ = tensors.pop()._keras_history
        if (operation, index) in seen:
            continue
        seen.add((operation, index))
        node = operation._inbound_nodes[index]
        if operation not in first or index < first[operation][0]:
            first[operation] = (index, node.output_tensors)
        tensors += node.input_tensors
    return [first[operation][1] for operation in model.operations]


def graph_digest(model: keras.Model) -> str:
    """Return the SHA-256 of what the operations of `model` are and how they are joined.

    Stores are found by this: a change of it orphans every store that users have, so tests pin
    it for several backbones.

    Returns:
        64 hex characters.

    Raises:
        BackboneError: If `model` is not a graph of operations; see `flat`.
    """
    return digest_json(_graph_facts(flat(model)))


def _graph_facts(model: keras.Model) -> dict[str, Any]:
    # `get_config` is what Keras saves models by: complete, public, and readable for ever.
    config = model.get_config()
    positions = {facts["name"]: index for index, facts in enumerate(config["layers"])}
    return {
        "operations": [
            {
                "class": facts["class_name"],
                "config": _deciding(type(operation), facts["config"], positions),
                "calls": [_call_facts(node, positions) for node in facts["inbound_nodes"]],
            }
            for operation, facts in zip(model.operations, config["layers"], strict=True)
        ],
        "outputs": _plain(_named(config["output_layers"], positions), positions),
    }


def _named(history: Any, positions: Mapping[str, int]) -> Any:
    """Return [name, node, tensor], or a structure of these, with positions for names."""
    if isinstance(history, list) and len(history) == 3 and isinstance(history[0], str):
        return [positions[history[0]], *history[1:]]
    if isinstance(history, Mapping):
        return {key: _named(value, positions) for key, value in history.items()}
    return [_named(value, positions) for value in history]


def _call_facts(node: Mapping[str, Any], positions: Mapping[str, int]) -> dict[str, Any]:
    """Return the arguments of one call: tensors by where they come from, constants by value."""
    kwargs = {
        name: value
        for name, value in node["kwargs"].items()
        if value is not None and (name, value) != ("training", False)
    }
    return {"args": _plain(node["args"], positions), "kwargs": _plain(kwargs, positions)}


def _deciding(
    kind: type | None, config: Mapping[str, Any], positions: Mapping[str, int]
) -> dict[str, Any]:
    """Return the arguments that decide what an operation of class `kind` computes."""
    kept = {
        name: _plain(value, positions)
        for name, value in config.items()
        if name not in _UNDECIDING
        and not name.endswith(_UNDECIDING_SUFFIXES)
        and not (name == "dtype" and _dtype_name(value) == "float32")
    }
    if "dtype" in kept:
        kept["dtype"] = _dtype_name(config["dtype"])
    unsure = kept.keys() - _ALWAYS - {"dtype"}
    defaults = _defaults(kind, config) if kind and unsure else {}
    return {
        name: value
        for name, value in kept.items()
        if name not in unsure or name not in defaults or value != _plain(defaults[name], positions)
    }


def _defaults(kind: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a `kind` is configured where only what it must be told is as in `config`."""
    parameters = inspect.signature(kind.__init__).parameters.values()  # type: ignore[misc]
    required = {p.name for p in parameters if p.default is p.empty}
    given = {name: value for name, value in config.items() if name in required | _ALWAYS}
    if "name" in config:
        given["name"] = "reference"  # else Keras would count one more in its automatic names
    try:
        reference = kind.from_config(given).get_config()  # type: ignore[attr-defined]
    except Exception:
        return {}  # a class of others that wants more: then every argument of it counts
    return {name: value for name, value in reference.items() if name not in required}


def _dtype_name(policy: Any) -> Any:
    """Return "float32" for each of the ways that Keras writes a policy down."""
    config = policy.get("config") if isinstance(policy, Mapping) else None
    return config["name"] if isinstance(config, Mapping) and set(config) == {"name"} else policy


def _plain(value: Any, positions: Mapping[str, int]) -> Any:
    """Return `value` as JSON values without names: a part of a configuration or of a call."""
    if isinstance(value, Mapping):
        kind = value.get("class_name")
        if kind == "__keras_tensor__":
            return {"from": _named(value["config"]["keras_history"], positions)}
        if kind is not None and isinstance(value.get("config"), Mapping):
            return {"class": kind, "config": _deciding(None, value["config"], positions)}
        return {key: _plain(item, positions) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, positions) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist(), positions)
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}  # JSON has no infinity
    return value


def weights_digest(model: keras.Model) -> str:
    """Return the SHA-256 of the weights of `model`, operation by operation.

    For each variable: its shape, its dtype, its bytes, little-endian; int32 counts as int64.
    States of random generators, such as those of `Dropout`, are no weights. The bytes are hashed
    where they lie; only a backend that keeps them elsewhere copies one variable at a time.

    Returns:
        64 hex characters.
    """
    import keras

    digest = hashlib.sha256()
    for variable in variables(model):
        array = _little_endian(keras.ops.convert_to_numpy(variable))
        dtype = keras.backend.standardize_dtype(variable.dtype)
        if dtype == "int32":  # Keras' "int" is int64 on TensorFlow, and this on other backends
            array, dtype = array.astype("<i8"), "int64"
        shape = "x".join(map(str, array.shape))
        digest.update(f"{shape}:{dtype}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _little_endian(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return `array` in C order with little-endian numbers; itself where it is so already."""
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def variables(model: keras.Model) -> Iterator[Any]:
    """Yield each weight once, in the order of the operations that own it."""
    seen = set()
    for operation in operations(model):
        for variable in getattr(operation, "weights", []):
            if id(variable) not in seen:
                seen.add(id(variable))
                yield variable
