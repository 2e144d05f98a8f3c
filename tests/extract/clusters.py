"""Ray clusters on this machine, and what a run on one must come to."""

import importlib.util
import os

import numpy as np
import pytest

import extract
from extract.cluster_crew import Crew
from extract.store.verify import verify
from tests.extract import cluster_workers

if importlib.util.find_spec("ray") is None:
    pytest.skip('no ray: pip install "headstart[ray]"', allow_module_level=True)
# Ray reads these when it is imported, and keeps them.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}

WARNINGS = [
    pytest.mark.filterwarnings(f"ignore::{kind}Warning")
    for kind in ("Resource", "Deprecation", "Future")
]
"""Of Ray's own."""
SMALL = 100 << 20  # bytes of each node's object store


class Nodes:
    """A cluster of nodes that are processes here; this process `drives` it, or is no part of it."""

    def __init__(self, count, drives=True, **resources):
        self.count, self.drives = count, drives
        self.resources = {"num_cpus": 1, "object_store_memory": SMALL} | resources

    def __enter__(self):
        import ray
        from ray.cluster_utils import Cluster

        soon = {  # a node that is gone is known to be within two seconds
            "health_check_initial_delay_ms": 500,
            "health_check_period_ms": 700,
            "health_check_timeout_ms": 1500,
            "health_check_failure_threshold": 2,
        }
        own = {
            "num_cpus": 0,
            "object_store_memory": SMALL,
            "include_dashboard": False,
            "_system_config": soon,
        }
        self.cluster = Cluster(initialize_head=True, head_node_args=own)
        for _ in range(self.count):
            self.add_node()
        if self.drives:
            ray.init(self.cluster.address, log_to_driver=False, logging_level="ERROR")
        return self.cluster

    def add_node(self):
        return self.cluster.add_node(**self.resources)

    def __exit__(self, *_):
        import ray

        if self.drives:
            ray.shutdown()
        self.cluster.shutdown()


def fill(folder, picture):
    """Forty pictures of two classes; a copy, bad bytes, and a link that leads nowhere."""
    for label in ("ants", "bees"):
        for number in range(20):
            picture(folder / label / f"{number:02}.png", seed=ord(label[0]) * 1000 + number)
    (folder / "bees" / "copy.png").write_bytes((folder / "ants" / "03.png").read_bytes())
    (folder / "ants" / "bad.png").write_bytes(b"no picture")
    (folder / "ants" / "05x.png").symlink_to(folder.with_name("elsewhere.png"))
    return folder


def run(folder, **options):
    return extract.run(folder, backbone="digits", **options)


def alone(folder):
    """What one machine makes of the same pictures."""
    return extract.open_store(run(folder, store=f"{folder}-alone").store)


def assert_is(store, expected):
    """Root, items and features are those of one machine, and every file fits."""
    found = extract.open_store(store)
    assert (found.root_digest, found.items_digest) == (expected.root_digest, expected.items_digest)
    assert verify(store).is_sound
    np.testing.assert_array_equal(found.load(None).X, expected.load(None).X)


def patient_until(monkeypatch, seconds, happened):
    """Let a run give up after so many seconds, but only once something has happened.

    Until then it is as patient as ever: on a busy machine a worker takes long to come.
    """
    check = Crew._check_patience

    def checked(self):
        if happened():
            monkeypatch.setattr("extract.cluster_crew.PATIENCE", seconds)
        check(self)

    monkeypatch.setattr(Crew, "_check_patience", checked)


def workers(monkeypatch, kind, place, **environment):
    """Let the workers of a cluster be of another kind, with a folder for word of theirs."""
    environment[cluster_workers.PLACE] = str(place)

    class Told(kind):
        def __init__(self, *words):
            os.environ.update(environment)
            super().__init__(*words)

    monkeypatch.setattr("extract.cluster_crew.Worker", Told)
