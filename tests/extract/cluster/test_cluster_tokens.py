"""A Ray that `--cluster ray` starts lets nobody else in, and has no dashboard."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("ray", reason='no ray: pip install "headstart[ray]"')
from tests.extract.cluster_workers import PLACE
from tests.extract.clusters import alone

ROOT = Path(__file__).parents[3]

RUN = """
import sys, extract, extract.cluster as cluster

make = cluster._make

def looked_at(ray, *words):
    import os
    from ray._raylet import AuthenticationMode, get_authentication_mode
    print("token" if get_authentication_mode() == AuthenticationMode.TOKEN else "open")
    print(repr(ray._private.worker.global_worker.node.address_info["webui_url"]))
    print(len(os.environ["RAY_AUTH_TOKEN"]))
    make(ray, *words)

if __name__ == "__main__":
    cluster._make = looked_at
    one = cluster.Cluster.parse("ray", actors=1, cpus=1)
    print(extract.run(sys.argv[1], backbone="digits", cluster=one).root_digest)
"""


@pytest.mark.parametrize("before", ["", "import ray"], ids=["fresh", "ray was imported before"])
def test_a_ray_of_this_machine_alone_asks_for_a_token(photos, tmp_path, before):
    """The token is drawn for this run and left nowhere, also not where Ray keeps tokens."""
    found = run_alone(f"{before}\n{RUN}", photos, home=tmp_path / "home")

    assert found.returncode == 0, found.stderr
    root = alone(photos).root_digest
    assert found.stdout.split() == ["token", "''", "64", root]
    assert not (tmp_path / "home" / ".ray").exists()


def test_a_ray_that_asks_for_no_token_is_refused(photos, tmp_path):
    before = "import ray._raylet; del ray._raylet.get_authentication_mode"
    found = run_alone(f"{before}\n{RUN}", photos, home=tmp_path / "home")

    last = found.stderr.strip().splitlines()[-1]
    assert "ClusterError: This Ray does not ask for tokens" in last
    assert "RAY_AUTH_MODE=token before Ray is imported, and have ray>=2.52" in last


DIES = """
import extract.cluster_crew as crew
from extract.cli import main
from tests.extract.cluster_workers import DyingAfter

if __name__ == "__main__":
    crew.Worker = DyingAfter
    main()
"""


def test_what_ray_says_of_a_worker_that_died_is_not_among_our_lines(photos, tmp_path):
    """Ray prints it to standard output, whatever its `log_to_driver`; JSON is read from there."""
    words = ["--backbone", "digits", "--cluster", "ray", "--actors", "1", "--actor-cpus", "1"]
    place = {PLACE: str(tmp_path), "PYTHONPATH": str(ROOT)}
    found = run_alone(DIES, "run", photos, *words, "--json", home=tmp_path / "home", **place)

    assert found.returncode == 0, found.stderr
    assert (tmp_path / "died").exists()
    assert json.loads(found.stdout)["root_digest"] == alone(photos).root_digest


def run_alone(words, *arguments, home, **environment):
    """Run a script where nobody has said anything of tokens yet."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    return subprocess.run(
        [sys.executable, "-c", words, *map(str, arguments)],
        env={**kept, **environment, "HOME": str(home), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_extra_takes_a_ray_that_knows_tokens():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]

    assert extras["ray"] == ["ray>=2.52"]
