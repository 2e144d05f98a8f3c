"""OpenVINO on the processor: loads in a fraction of a second, needs neither Keras nor TensorFlow.

The batch dimension is dynamic: then the same image gives the same bits in batches of any size,
on any number of streams and threads (a static batch would not; a test holds it).
"""

from __future__ import annotations

import importlib.metadata
import threading
from pathlib import Path
from typing import Any

import numpy as np

from extract.cores import most_cores, num_cores
from extract.engines.engine import Engine, instruction_family
from extract.errors import BackboneError
from extract.recipe import Precision

HINTS = {"float32": "f32", "bfloat16": "bf16"}


def openvino_signature() -> dict[str, str]:
    """Return the numeric signature, without importing OpenVINO."""
    return {
        "engine": "openvino",
        "version": importlib.metadata.version("openvino"),
        "instructions": instruction_family(),
    }


class OpenVINOEngine(Engine):
    """A converted graph, compiled for throughput on every core."""

    # Small batches keep a layer's activations in the cache: on two cores 2 images a call are
    # 10 % faster than 4 and 25 % faster than 16.
    batch_size = 2

    def __init__(self, graph: Path, precision: Precision = "float32") -> None:
        """Compile `graph`, an OpenVINO .xml with its .bin beside it.

        Raises:
            BackboneError: If the processor cannot compute in this precision.
        """
        import openvino as ov

        core = ov.Core()
        self._compiled = core.compile_model(
            core.read_model(graph),
            "CPU",
            {
                "PERFORMANCE_HINT": "THROUGHPUT",
                "INFERENCE_PRECISION_HINT": HINTS[precision],
                # Decode threads share the cores: a stream that is tied to one waits for it while
                # another is free (15 % slower on large photographs, two cores).
                "ENABLE_CPU_PINNING": False,
                **({"INFERENCE_NUM_THREADS": num_cores()} if most_cores() else {}),
            },
        )
        self._check_precision(precision)
        self.signature = openvino_signature()
        self.streams = int(self._compiled.get_property("NUM_STREAMS"))
        self._local = threading.local()
        self._warm_up()

    def _warm_up(self) -> None:
        # OpenVINO's bindings set up their NumPy interface at the first array that they meet. If
        # two threads meet one at once, each waits for a lock that the other holds, for ever.
        shape = [1, *(dim.get_length() for dim in list(self._compiled.inputs[0].partial_shape)[1:])]
        self(np.zeros(shape, np.float32))

    def _check_precision(self, precision: Precision) -> None:
        # OpenVINO turns an f16 hint into bfloat16 without a word, so what counts is read back.
        effective = self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if effective != HINTS[precision]:
            raise BackboneError(
                f"This processor computes in {effective} where --precision {precision} was asked "
                f"for. Leave --precision out"
            )

    def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
        request = self._request()
        request.infer([pixels], share_inputs=True)
        return [np.array(request.get_output_tensor(i).data) for i in range(self._num_outputs)]

    @property
    def _num_outputs(self) -> int:
        return len(self._compiled.outputs)

    def _request(self) -> Any:
        """Return this thread's own request: one request serves one call at a time."""
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        return self._local.request
