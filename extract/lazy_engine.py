"""A plan's engine, loaded when the first image needs it: a warm run may never do so."""

from __future__ import annotations

import threading
import time
from functools import partial

import numpy as np

from extract import prepare
from extract.cores import num_cores
from extract.engines.engine import Engine, check_bits, relative_distance
from extract.engines.replicas import WAITING, Replicas
from extract.errors import BackboneError
from extract.identity import weights_digest
from extract.plan import Plan
from extract.recipe import Precision


class LazyEngine:
    """The plan's engine, loaded when the first image needs it: a warm run may never do so."""

    def __init__(self, plan: Plan, engine: Engine | None = None) -> None:
        """Take an engine of the same backbone that is loaded already, where there is one."""
        self._plan = plan
        self.load_seconds = 0.0
        self._engine = engine
        self._lock = threading.Lock()

    @property
    def engine(self) -> Engine:
        """The engine; its outputs are the columns of `plan.prepared`."""
        with self._lock:
            if self._engine is None:
                start = time.perf_counter()
                self._engine = _load(self._plan, self._plan.settings.precision)
                plan = self._plan
                if plan.stored_signature is not None and plan.settings.engine == "auto":
                    found, kind = self._engine.signature, plan.kind
                    check_bits("This machine", found, plan.stored_signature, kind)
                self.load_seconds = time.perf_counter() - start
            return self._engine

    @property
    def batch_size(self) -> int:
        """Images per call."""
        return self._plan.settings.batch_size or self.engine.batch_size

    @property
    def streams(self) -> int:
        """Threads that call at once: one more than compute, so that none of them ever waits."""
        if self._plan.kind == "keras":
            return max(1, WAITING * len(self._plan.settings.devices))
        return num_cores() + 1

    def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Return the plan's outputs for a batch: (n, *row_shape) each, in their type on disk."""
        outputs = self.engine(pixels)
        by_output = {
            (c.operation, c.pooling): array
            for (c, _), array in zip(self._plan.prepared.columns, outputs, strict=True)
        }
        with np.errstate(over="ignore"):  # infinity in float16 is found and named by the caller
            return [
                by_output[c.operation, c.pooling].astype(c.dtype, copy=False)
                for c in self._plan.outputs
            ]

    def distance(self) -> float | None:
        """Return how far the features are from float32 on the probes, None where they are it."""
        if self._plan.settings.precision == "float32":
            return None
        pixels = prepare.probe_pixels(self._plan.settings.pixels)
        pairs = zip(self.engine(pixels), _load(self._plan, "float32")(pixels), strict=True)
        return max(relative_distance(found, exact) for found, exact in pairs)


def _load(plan: Plan, precision: Precision) -> Engine:
    if plan.kind == "openvino":
        from extract.engines.openvino import OpenVINOEngine

        return OpenVINOEngine(plan.prepared.graph, precision)
    devices = plan.settings.devices
    if not devices:
        return _load_keras(plan, None)
    from extract.engines.keras_backend import num_accelerators

    count = num_accelerators()
    if max(devices) >= count:
        names = ", ".join(map(str, range(count))) or "none"
        raise BackboneError(
            f"There is no accelerator {max(devices)}; Keras sees {names}. Leave --devices out to "
            f"let it choose"
        )
    return Replicas([partial(_load_keras, plan, f"gpu:{number}") for number in devices])


def _load_keras(plan: Plan, place: str | None) -> Engine:
    from extract.engines.keras_backend import KerasEngine, on_device

    with on_device(place):
        built, columns, model = prepare.build(plan.request)
        expected = [column.canonical for column, _ in plan.prepared.columns]
        assert [column.canonical for column in columns] == expected
        if weights_digest(built.model) != plan.prepared.weights_digest:
            raise BackboneError(
                f"The weights of {plan.request.spec.title} here are not those that the run was "
                f"planned with. Give every machine the same file"
            )
        return KerasEngine(model, place)
