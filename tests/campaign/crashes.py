"""A power cut before every change that a command makes, and again while it is made good.

For each write point some dozens of the states that a disk may be in are drawn. Those that differ
in scratch files only are made good once, with the scratch files that the first of them had. In
each state nothing that was acknowledged may be lost and nothing wrong may be read; then the
command is typed again, cut once more at a random change, and typed a last time: it must end with
the root and items digest of an undisturbed run.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from extract.errors import HeadstartError
from extract.store.commits import Commit, Commits
from extract.store.snapshots import Snapshots
from tests.campaign.disk import Disk, watching
from tests.campaign.figures import Effort, Figure
from tests.campaign.scenarios import Acknowledged, Scenario, scenarios
from tests.campaign.world import Tree, numbered_scratch_names, scratch, tree, write_tree
from tests.simulated import PowerCut

FEW = 12
"""So many distinct states of a command are all cut again."""


def measure(effort: Effort) -> Iterator[Figure]:
    """Yield a figure for each command."""
    with scenarios() as commands, numbered_scratch_names(), scratch() as folder:
        points = sum(_count(scenario, folder / "store") for scenario in commands)
        effort = replace(effort, states=max(effort.states, -(-effort.all_states // points)))
        for scenario in commands:
            yield cut_everywhere(scenario, folder / "store", effort)


def _count(scenario: Scenario, store: Path) -> int:
    """Return how many changes an undisturbed command makes."""
    disk = Disk(scenario.begin)
    interrupted(scenario, store, disk)
    return disk.changes


def cut_everywhere(scenario: Scenario, store: Path, effort: Effort) -> Figure:
    """Cut the power before every change of one command, and look at what is left."""
    figure = Figure(point=1, what=f"{scenario.name}: states after a power cut")
    draw = random.Random(effort.seed)
    points, again, changes = 0, 0, _count(scenario, store)
    made_good: set[str] = set()
    for moment in itertools.count():
        disk, acknowledged = Disk(scenario.begin, cut_at=moment), Acknowledged()
        ended = interrupted(scenario, store, disk, acknowledged) is None
        if ended or (effort.first_failure and figure.failures):
            break
        points += 1
        states = {_digest(s): s for s in map(disk.after_crash, reversed(range(effort.states)))}
        figure.tried += effort.states
        for name, state in states.items():
            write_tree(store, state)
            figure.failures += scenario.crashed(store, acknowledged)
            if name not in made_good:
                made_good.add(name)
                if len(made_good) <= FEW or len(made_good) % effort.cut_again_every == 0:
                    again += _cut_again(scenario, store, draw.randrange(changes), draw)
                figure.failures += _make_good(scenario, store)
    figure.note = f"{points} write points, {len(made_good):,} distinct, {again:,} cut again"
    return figure


def interrupted(
    scenario: Scenario, store: Path, disk: Disk, acknowledged: Acknowledged | None = None
) -> BaseException | None:
    """Type the command on a disk that may fail; return what ended it, if something did."""
    write_tree(store, disk.content)
    ended: BaseException | None = None
    with watching(disk), _acknowledging(acknowledged or Acknowledged()):
        try:
            scenario.command(store)
        except (PowerCut, HeadstartError) as error:
            ended = error
    return PowerCut() if disk.dead else ended


def _cut_again(scenario: Scenario, store: Path, moment: int, draw: random.Random) -> bool:
    """Type the command, and cut the power at a change; return whether it came to that."""
    disk = Disk(tree(store), cut_at=moment)
    if interrupted(scenario, store, disk) is None:
        return False
    write_tree(store, disk.after_crash(draw.randrange(1 << 30)))
    return True


def _make_good(scenario: Scenario, store: Path) -> list[str]:
    """Type the command until it is through; return what is not as it must be then."""
    try:
        scenario.again(store)
        return scenario.finished(store)
    except (HeadstartError, AssertionError) as error:
        return [f"{scenario.name} does not go on: {error}"]


@contextlib.contextmanager
def _acknowledging(acknowledged: Acknowledged) -> Iterator[None]:
    """Note what the store says is safe."""
    publish, seal_all = Commits.publish, Snapshots.seal_all

    def noted_publish(self: Commits, commit: Commit) -> None:
        publish(self, commit)
        acknowledged.commits[commit.digest] = commit

    def noted_seal(self: Snapshots, snapshots: object) -> list[int]:
        numbers = seal_all(self, snapshots)
        acknowledged.snapshots += numbers
        return numbers

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Commits, "publish", noted_publish)
        patch.setattr(Snapshots, "seal_all", noted_seal)
        yield


def _digest(state: Tree) -> str:
    digest = hashlib.sha256()
    for name in sorted(name for name in state if not name.startswith("tmp/")):
        digest.update(f"{name} {len(state[name])}\n".encode() + state[name])
    return digest.hexdigest()
