"""--devices 0,1: a replica and a queue for each, and the features of one."""

import threading
import time

import numpy as np
import pytest

import extract
from extract.engines.engine import Engine
from extract.engines.replicas import WAITING, Replicas
from extract.errors import BackboneError, InputError
from extract.plan import parse_devices
from tests.helpers import SyntheticEngine, synthetic_prepared


class Accelerator(SyntheticEngine):
    """A stand-in for a device: notes who calls it, and whether two do at once.

    Its first call ends once every one of `all_at_work` has been called: quick devices that get
    their batches one by one would leave all of them to the first.
    """

    def __init__(self, all_at_work: threading.Barrier) -> None:
        super().__init__()
        self.all_at_work = all_at_work
        self.threads = {threading.get_ident()}
        self.inside = self.most_inside = 0

    def __call__(self, pixels):
        self.threads.add(threading.get_ident())
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        if not self.images:
            self.all_at_work.wait(60)
        try:
            return super().__call__(pixels)
        finally:
            self.inside -= 1


@pytest.fixture
def accelerators(monkeypatch):
    """Two stand-ins, where a run looks for what Keras sees; yields those that were made."""
    made: list[Accelerator] = []
    gates = {True: threading.Barrier(2), False: threading.Barrier(1)}

    def load(plan, place):
        engine = Accelerator(gates[bool(plan.settings.devices)]).for_plan(plan)
        made.append(engine)
        return engine

    monkeypatch.setattr("extract.plan.cached", lambda request, kind: synthetic_prepared(request))
    monkeypatch.setattr("extract.lazy_engine._load_keras", load)
    monkeypatch.setattr("extract.engines.keras_backend.num_accelerators", lambda: 2)
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)
    return made


def test_every_device_works_and_the_store_is_that_of_one(photos, tmp_path, accelerators):
    options = {"backbone": "digits", "batch_size": 1}
    both = extract.run(photos, store=tmp_path / "both", devices="0,1", **options)
    used = list(accelerators)
    one = extract.run(photos, store=tmp_path / "one", engine="keras", **options)

    assert both.root_digest == one.root_digest
    assert len(used) == 2
    assert all(engine.images > 0 for engine in used)
    assert both.extracted == 12
    assert all((len(e.threads), e.most_inside) == (1, 1) for e in used)


def test_a_device_that_is_not_there_is_one_line(photos, accelerators):
    with pytest.raises(BackboneError, match="There is no accelerator 2; Keras sees 0, 1. Leave"):
        extract.run(photos, backbone="digits", devices="0,2")


def test_the_shortest_queue_is_next():
    gates = [threading.Event(), threading.Event()]

    class Gated(Engine):
        signature, batch_size, streams = {"engine": "gated"}, 1, 1

        def __init__(self, gate):
            self.gate, self.calls = gate, 0

        def __call__(self, pixels):
            self.calls += 1
            self.gate.wait(10)
            return [pixels]

    engines = [Gated(gate) for gate in gates]
    both = Replicas([lambda e=e: e for e in engines])
    assert both.streams == 2 * WAITING

    pixels = np.zeros((1, 2, 2, 3), np.float32)
    callers = [threading.Thread(target=both, args=(pixels,)) for _ in range(2)]
    for caller in callers:
        caller.start()
    while not all(engine.calls for engine in engines):
        time.sleep(0.001)
    gates[1].set()  # the second is quick: whatever comes goes to it
    callers[1].join()
    for _ in range(3):
        both(pixels)
    gates[0].set()
    callers[0].join()

    assert [engine.calls for engine in engines] == [1, 4]


def test_an_error_of_a_replica_is_the_callers():
    class Failing(SyntheticEngine):
        def __call__(self, pixels):
            raise BackboneError("out of memory")

    both = Replicas([Failing, Failing])
    for _ in range(3):
        with pytest.raises(BackboneError, match="out of memory"):
            both(np.zeros((1, 2, 2, 3), np.float32))


def test_devices_of_two_kinds_are_refused():
    class Other(SyntheticEngine):
        signature = {"engine": "other"}

    with pytest.raises(BackboneError, match="Give --devices of one kind"):
        Replicas([SyntheticEngine, Other])


def test_words_that_are_no_devices(photos):
    assert parse_devices("0, 1") == (0, 1)
    assert parse_devices(None) == ()
    for text in ("a", "0,,1", "-1", "0,0", ""):
        with pytest.raises(InputError, match="--devices are numbers"):
            parse_devices(text)
    with pytest.raises(InputError, match="accelerators of Keras. Leave --engine openvino out"):
        extract.run(photos, backbone="digits", engine="openvino", devices="0")


def test_keras_computes_where_it_is_told(monkeypatch):
    """On this processor, which every backend has: the features are the same."""
    import keras

    from extract.engines.keras_backend import KerasEngine, on_device

    with on_device("cpu:0"):
        inputs = keras.Input((8, 8, 3))
        model = keras.Model(inputs, [keras.layers.GlobalAveragePooling2D()(inputs)])
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype(np.float32)

    np.testing.assert_array_equal(KerasEngine(model, "cpu:0")(pixels), KerasEngine(model)(pixels))
