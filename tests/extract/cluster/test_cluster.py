"""--cluster ray: whatever dies, the store ends as on one machine, or somebody says why not."""

import pickle
from pathlib import Path

import numpy as np
import pytest

import extract
from extract.cluster import Cluster, Made
from extract.cluster_share import Share
from extract.errors import BackboneError, ClusterError, InputError, ScaleError
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
from tests.helpers import formats, tree

pytestmark = WARNINGS


@pytest.fixture(scope="module")
def two_nodes():
    """A Ray cluster of two nodes on this machine, one CPU each, with a token and no dashboard."""
    with Nodes(2) as cluster:
        yield cluster


def test_a_cluster_makes_what_one_machine_makes(two_nodes, many):
    expected = alone(many)
    summary = run(many, cluster="ray")

    assert_is(summary.store, expected)
    assert (summary.rows, summary.extracted) == (41, 40)
    assert (summary.undecodable, summary.unreadable) == (1, 1)
    assert summary.images_per_second > 0


@pytest.fixture
def plain(tmp_path, picture):
    """Eleven pictures without copies and bad files: three shards."""
    for number in range(11):
        picture(tmp_path / "plain" / f"{number:02}.png", seed=number)
    return tmp_path / "plain"


def test_the_shards_are_those_of_one_machine(two_nodes, plain):
    """Without copies and bad files not one row is copied: names and bytes are the same."""
    expected = alone(plain)
    summary = run(plain, cluster="ray")

    assert tree(Path(summary.store) / "shards") == tree(Path(expected.path) / "shards")
    assert (summary.extracted, summary.copied, summary.reused) == (11, 0, 0)


def test_the_same_command_goes_on_with_and_without_a_cluster(two_nodes, many, tmp_path, picture):
    store = run(many, cluster="ray").store
    assert run(many).snapshot == 1
    assert run(many, cluster="ray").extracted == 0

    picture(many / "cows" / "0.png", seed=5)
    grown = run(many, cluster="ray")
    assert (grown.extracted, grown.snapshot) == (1, 2)
    assert run(many).extracted == 0
    assert_is(store, alone(many))


def test_further_columns_and_hdf5(two_nodes, many):
    store = run(many, format="hdf5").store
    options = {"views": 2, "augment": "flip"}
    summary = run(many, cluster="ray", format="hdf5", **options)

    expected = extract.open_store(run(many, store=f"{many}-views", **options).store)
    assert extract.open_store(store).root_digest == expected.root_digest == summary.root_digest
    assert formats(store) == {"hdf5"}


def test_parts_go_to_a_cluster_too(two_nodes, many, tmp_path):
    stores = [run(many, part=f"{index}/2", cluster="ray").store for index in (1, 2)]

    assert extract.merge(stores, tmp_path / "all").root_digest == alone(many).root_digest


@pytest.mark.parametrize("kind", [cluster_workers.DyingBefore, cluster_workers.DyingAfter])
def test_a_worker_that_dies_at_its_commit_costs_nothing(
    two_nodes, many, tmp_path, monkeypatch, kind
):
    workers(monkeypatch, kind, tmp_path)
    summary = run(many, cluster="ray")

    assert (tmp_path / "died").exists()
    assert_is(summary.store, alone(many))


@pytest.mark.parametrize("kind", [cluster_workers.DyingBefore, cluster_workers.DyingAfter])
def test_a_worker_that_dies_at_its_commit_leaves_nothing_twice(
    two_nodes, plain, tmp_path, monkeypatch, kind
):
    """Without copies and bad files no row moves: each image is in one record, and was made once."""
    workers(monkeypatch, kind, tmp_path)
    summary = run(plain, cluster="ray")

    assert (tmp_path / "died").exists()
    commits = Commits(Store.at(summary.store).files)
    digests = commits.digests()
    rows = [row.image_key for digest in digests for row in commits.read(digest).rows]
    assert len(digests) == 3
    assert len(rows) == len(set(rows)) == 11
    assert set(rows) == set(alone(plain).items["image_key"].to_pylist())
    assert summary.extracted == 11


def test_a_receipt_is_some_hundred_bytes(two_nodes, many, monkeypatch):
    """Features go to the store and nowhere else."""
    sizes = []
    add = Made.add

    def weighed(self, receipt):
        sizes.append(len(pickle.dumps(receipt)))
        add(self, receipt)

    monkeypatch.setattr(Made, "add", weighed)
    run(many, cluster="ray")

    assert len(sizes) == 11
    assert max(sizes) < 1000


def test_what_does_not_move_ends_with_one_line(two_nodes, many, tmp_path, monkeypatch):
    workers(monkeypatch, cluster_workers.Stuck, tmp_path)
    patient_until(monkeypatch, 2.0, (tmp_path / "begun").exists)
    with pytest.raises(ClusterError) as error:
        run(many, cluster="ray")

    text = str(error.value)
    assert "Nothing moved for 2 s. 11 shards are missing, the first of ants/00.png … " in text
    assert "does not go on" in text
    assert "type the same command" in text
    monkeypatch.undo()
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)
    assert_is(run(many).store, alone(many))


def test_a_busy_node_is_passed_over(two_nodes, plain, monkeypatch):
    """One worker is wanted, and the node that comes first has no room for it."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    class Busy:
        def is_here(self):
            return True

    monkeypatch.setattr("extract.cluster_crew.NEW", 1.0, raising=False)
    first = min(n["NodeID"] for n in ray.nodes() if n["Alive"] and n["Resources"].get("CPU"))
    there = NodeAffinitySchedulingStrategy(first, soft=False)
    busy = ray.remote(Busy).options(num_cpus=1, scheduling_strategy=there).remote()
    assert ray.get(busy.is_here.remote())
    try:
        summary = run(plain, cluster=Cluster.parse("ray", actors=1))
    finally:
        ray.kill(busy)

    assert_is(summary.store, alone(plain))


def test_a_head_that_does_not_answer_is_one_line(two_nodes, many, monkeypatch):
    import ray

    def nodes():
        raise ray.exceptions.RpcError("Deadline Exceeded")

    monkeypatch.setattr(ray, "nodes", nodes)
    with pytest.raises(ClusterError, match=r"head of the cluster does not answer \(RpcError\)"):
        run(many, cluster="ray")


def test_a_machine_that_does_not_see_the_images_says_so(two_nodes, many, tmp_path, monkeypatch):
    workers(monkeypatch, cluster_workers.Blind, tmp_path)

    with pytest.raises(InputError, match=r"does not see the images: there is no /nowhere/photos"):
        run(many, cluster="ray")


def test_a_machine_with_a_store_of_its_own_is_found_out(two_nodes, many, tmp_path, monkeypatch):
    workers(monkeypatch, cluster_workers.Elsewhere, tmp_path)

    with pytest.raises(ClusterError, match=r"committed a shard that is not in .* share"):
        run(many, cluster="ray")


def test_images_that_were_divided_by_255_leave_nothing_behind(two_nodes, tmp_path):
    import cv2

    folder = tmp_path / "dark"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        cv2.imwrite(str(folder / f"{number:02}.png"), rng.integers(0, 2, (9, 9, 3), np.uint8))
    with pytest.raises(ScaleError, match="divided by 255"):
        run(folder, cluster="ray")

    assert not folder.with_name("dark.features").exists()


def test_an_engine_of_other_bits_is_refused(two_nodes, many, monkeypatch):
    other = {"engine": "openvino", "version": "1", "instructions": "none"}
    monkeypatch.setattr("extract.engines.openvino.openvino_signature", lambda: other)

    with pytest.raises(BackboneError, match="bits would differ within 1e-5. To mix them: --engine"):
        run(many, cluster="ray")


def test_an_engine_of_other_bits_that_was_asked_for_is_told_once(two_nodes, many, monkeypatch, cli):
    """Two workers, one signature: one note, of one of them."""
    from extract.engines.openvino import openvino_signature

    own = openvino_signature()
    monkeypatch.setattr(
        "extract.engines.openvino.openvino_signature",
        lambda: own | {"version": "1", "instructions": "none"},
    )
    words = ("run", many, "--backbone", "digits", "--engine", "openvino", "--cluster", "ray")
    status, _, err = cli(*words)
    notes = [line for line in err.splitlines() if "computes with" in line]

    assert status == 0
    assert len(notes) == 1
    assert f"version {own['version']!r} instead of '1' and instructions " in notes[0]
    assert notes[0].endswith("bits may differ within 1e-5, which --engine auto would refuse")


def test_what_a_cluster_does_not_do_is_one_line(cli, many, tmp_path):
    np.save(tmp_path / "arrays.npy", np.zeros((3, 8, 8, 3), np.uint8))
    for words, message in (
        (("--cluster", "dask"), "--cluster is ray, ray:auto or ray:HOST:PORT. Received: 'dask'"),
        (("--actors", 2), "--actors, --actor-cpus and --actor-gpus go with --cluster ray"),
        (("--cluster", "ray", "--actor-gpus", 0), "--actor-gpus is above 0"),
        (("--cluster", "ray", "--rehash"), "--rehash reads every byte here"),
    ):
        status, _, err = cli("run", many, "--backbone", "digits", *words)
        assert (status, message in err) == (1, True)
    with pytest.raises(InputError, match="no folder and no table of files"):
        run(tmp_path / "arrays.npy", cluster="ray")


def test_shares_of_a_node():
    node = {"CPU": 16.0, "GPU": 4.0, "memory": 1e9}

    assert Share().of_node(node) == [{"num_cpus": 16.0, "num_gpus": 0.0}]
    assert Share(gpus=1).of_node(node) == [{"num_cpus": 4.0, "num_gpus": 1}] * 4
    assert Share(gpus=0.5).of_node(node) == [{"num_cpus": 2.0, "num_gpus": 0.5}] * 8
    assert Share(cpus=6).of_node(node) == [{"num_cpus": 6, "num_gpus": 0.0}] * 2
    assert Share(gpus=1, cpus=8).of_node(node) == [{"num_cpus": 8, "num_gpus": 1}] * 2
    assert Share().of_node({"memory": 1e9}) == Share(gpus=1).of_node({"CPU": 8.0}) == []
