"""--engine keras on a node with GPUs: Ray takes their number on trust, so that none is needed."""

import pytest

import extract
from extract.cluster import Cluster
from extract.errors import BackboneError
from tests.extract import cluster_workers
from tests.extract.clusters import WARNINGS, Nodes, assert_is, run, workers

pytestmark = WARNINGS


@pytest.fixture(scope="module", autouse=True)
def _node():
    with Nodes(1, num_cpus=2, num_gpus=2):
        yield


@pytest.fixture(scope="module")
def few(tmp_path_factory, picture):
    folder = tmp_path_factory.mktemp("photos") / "few"
    for number in range(8):
        picture(folder / f"{number}.png", seed=number)
    return folder


@pytest.fixture(scope="module")
def alone(few):
    return extract.open_store(run(few, store=f"{few}-alone", engine="keras").store)


@pytest.mark.parametrize("gpus", [1, 0.5])
def test_workers_on_gpus_make_what_one_machine_makes(few, alone, tmp_path, monkeypatch, gpus):
    workers(monkeypatch, cluster_workers.Noting, tmp_path)
    store = tmp_path / "few.features"
    summary = run(few, store=store, engine="keras", cluster=Cluster.parse("ray", gpus=gpus))

    assert summary.extracted == 8
    assert_is(summary.store, alone)
    given = sorted(path.name.split("-")[1] for path in tmp_path.glob("gpus-*"))
    assert len(given) >= 2
    assert gpus < 1 or given == ["0", "1"]


def test_other_weights_on_a_node_are_found_out(few, tmp_path, monkeypatch):
    """Keras is built on each node, from what lies there."""
    workers(monkeypatch, cluster_workers.OfOtherWeights, tmp_path)
    with pytest.raises(BackboneError, match=r"^[\d.]+: The weights of digits here are not those"):
        run(few, store=tmp_path / "few.features", engine="keras", cluster="ray")
