"""A plan's engine, loaded when the first image needs it: a warm run may never do so."""

from __future__ import annotations

import threading
import time

import numpy as np

from extract import prepare
from extract.cores import num_cores
from extract.engines.engine import Engine, relative_distance
from extract.errors import BackboneError
from extract.plan import Plan
from extract.recipe import Precision


class LazyEngine:
    """The plan's engine, loaded when the first image needs it: a warm run may never do so."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.load_seconds = 0.0
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    @property
    def engine(self) -> Engine:
        """The engine; its outputs are the columns of `plan.prepared`."""
        with self._lock:
            if self._engine is None:
                start = time.perf_counter()
                self._engine = _load(self._plan, self._plan.settings.precision)
                self._check_signature(self._engine)
                self.load_seconds = time.perf_counter() - start
            return self._engine

    def _check_signature(self, engine: Engine) -> None:
        """Mix two sources of bits in one store only when somebody asks for it."""
        plan = self._plan
        stored = plan.stored_signature
        if stored is not None and plan.settings.engine == "auto":
            differ = [key for key in stored if stored[key] != engine.signature.get(key)]
            if differ:
                raise BackboneError(
                    f"The store was begun with {differ[0]} {stored[differ[0]]!r}, and this machine "
                    f"has {engine.signature.get(differ[0])!r}: bits would differ within 1e-5. To "
                    f"mix them: --engine {plan.kind}"
                )

    @property
    def batch_size(self) -> int:
        """Images per call."""
        return self._plan.settings.batch_size or self.engine.batch_size

    @property
    def streams(self) -> int:
        """Threads that call at once: one more than compute, so that none of them ever waits."""
        return 1 if self._plan.kind == "keras" else num_cores() + 1

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
    from extract.engines.keras_backend import KerasEngine

    _, columns, model = prepare.build(plan.request)
    expected = [column.canonical for column, _ in plan.prepared.columns]
    assert [column.canonical for column in columns] == expected
    return KerasEngine(model)
