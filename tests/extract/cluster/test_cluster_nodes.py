"""Nodes that die, and a Ray of this machine alone."""

import contextlib
import os
import subprocess
import sys
import threading

import pytest

from extract.cluster import Cluster
from extract.cluster_crew import PATIENCE, Crew
from extract.errors import ClusterError
from extract.store.commits import Commits
from extract.store.opening import Store
from tests.extract import cluster_workers
from tests.extract.clusters import (
    WARNINGS,
    Nodes,
    alone,
    assert_is,
    patient_until,
    run,
    workers,
)

pytestmark = WARNINGS


def test_a_node_that_dies_in_the_middle(many, tmp_path, monkeypatch):
    """The survivor finishes; where nobody is left, it is said, and the same command goes on."""
    assert PATIENCE <= 120  # seconds until it is said
    workers(monkeypatch, cluster_workers.Held, tmp_path)
    with Nodes(2) as cluster:
        nodes = list(cluster.worker_nodes)
        with killed_once_held(cluster, nodes[0], tmp_path, then=(tmp_path / "go").touch):
            summary = run(many, cluster="ray")
        assert_is(summary.store, alone(many))

        (tmp_path / "held").unlink()
        (tmp_path / "go").unlink()
        patient_until(monkeypatch, 2.0, lambda: num_dead() == 2)
        with (
            killed_once_held(cluster, nodes[1], tmp_path),
            pytest.raises(ClusterError, match=r"Nothing moved .* shards are missing.* is dead"),
        ):
            run(many, cluster="ray", store=tmp_path / "second")
        assert len(Commits(Store.at(tmp_path / "second").files).digests()) < 11
    assert_is(run(many, store=tmp_path / "second").store, alone(many))


def num_dead():
    import ray

    return sum(not node["Alive"] for node in ray.nodes())


@contextlib.contextmanager
def killed_once_held(cluster, node, place, then=lambda: None):
    """Kill a node, as a power cut would, while chores are held: a worker may outlive its node."""
    over = threading.Event()

    def kill():
        while not (place / "held").exists() and not over.wait(0.05):
            pass
        cluster.remove_node(node, allow_graceful=False)
        then()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        over.set()
        killer.join()


def test_a_node_that_joins_later_gets_workers(many, tmp_path, monkeypatch):
    """One node begins; the other one comes once work has begun, and both have made shards."""
    workers(monkeypatch, cluster_workers.Waiting, tmp_path)
    nodes, recruit = Nodes(1), Crew._recruit

    def joined(self):
        if nodes.count == 1 and list(tmp_path.glob("begun-*")):
            nodes.count += 1
            nodes.add_node()  # Ray does so in the main thread only
        recruit(self)

    monkeypatch.setattr(Crew, "_recruit", joined)
    with nodes:
        summary = run(many, cluster="ray")

    assert len(list(tmp_path.glob("begun-*"))) == 2
    assert_is(summary.store, alone(many))


def test_the_cluster_of_this_machine_alone(many):
    """--cluster ray without any cluster: one is started, with a token, and ended."""
    import ray

    assert not ray.is_initialized()
    summary = run(many, cluster=Cluster.parse("ray", actors=1, cpus=1))

    assert not ray.is_initialized()
    assert_is(summary.store, alone(many))


@pytest.fixture(scope="module")
def another():
    """Address of a cluster of one node, of which this process is no part."""
    with Nodes(1, drives=False) as cluster:
        yield cluster.address


def test_a_cluster_that_is_elsewhere(another, many, tmp_path):
    """ray:HOST:PORT joins the cluster with that head; where there is none, one line says it."""
    words = (
        "import sys, extract; from pathlib import Path\n"
        "if __name__ == '__main__':\n"
        "    cluster = f'ray:{sys.argv[2]}'\n"
        "    summary = extract.run(sys.argv[1], sys.argv[3], backbone='digits', cluster=cluster)\n"
        "    Path(sys.argv[4]).write_text(summary.root_digest)\n"
    )
    found = in_a_process(words, many, another, tmp_path / "there", tmp_path / "root")
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "root").read_text() == alone(many).root_digest

    lost = in_a_process(words, many, "127.0.0.1:9", tmp_path / "none", tmp_path / "none.root")
    last = lost.stderr.strip().splitlines()[-1]
    assert "ClusterError: No Ray cluster could be had at 127.0.0.1:9: " in last
    assert last.endswith("Is it up, and is its token in RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH?")


def test_a_ray_of_this_machine_alone_is_no_other_that_runs_here(another, tmp_path):
    """Ray itself would join whatever cluster it finds on the machine, if the token fits."""
    words = (
        "import sys; from pathlib import Path; from extract.cluster_ray import connected\n"
        "with connected(None) as ray:\n"
        "    address = ray.get_runtime_context().gcs_address\n"
        "    Path(sys.argv[1]).write_text(f'{address} {ray.cluster_resources()[\"CPU\"]:g}')\n"
    )
    found = in_a_process(words, tmp_path / "facts", RAY_ADDRESS="")
    assert found.returncode == 0, found.stderr
    address, cpus = (tmp_path / "facts").read_text().split()

    assert address != another
    assert int(cpus) == os.cpu_count()


def in_a_process(words, *arguments, **environment):
    """Run a script. What it has to say is in a file: on stdout Ray has its say, too."""
    return subprocess.run(
        [sys.executable, "-c", words, *map(str, arguments)],
        env={**os.environ, "PYTHONWARNINGS": "ignore", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
