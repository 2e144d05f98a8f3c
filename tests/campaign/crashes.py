"""A power cut before every change that a command makes, and again while it is made good.

For each write point some dozens of the states that a disk may be in are drawn. Those that differ
in scratch files only are made good once, with the scratch files that the first of them had. In
each state nothing that was acknowledged may be lost and nothing wrong may be read; then the
command is typed again, and must end with the root and items digest of an undisturbed run.

On the way there the power is cut a second time, before a random change, and states are drawn as
after the first cut: what was acknowledged before either must be there. In some of these rounds
the first is no power cut but kill -9: then nothing is lost at once, and nothing became durable.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from extract.errors import HeadstartError
from extract.store import succession
from extract.store.commits import Commit, Commits
from extract.store.opening import Store
from tests.campaign.disk import Disk, put_back, watching
from tests.campaign.figures import Effort, Figure
from tests.campaign.scenarios import NAMES, Acknowledged, Scenario, scenarios
from tests.campaign.world import Tree, numbered_scratch_names, scratch
from tests.simulated import PowerCut

KILL_EVERY = 3
"""One in so many of the second cuts comes after a kill."""


def measure(effort: Effort, names: Sequence[str] = NAMES) -> Iterator[Figure]:
    """Yield two figures for each command that is named: after one power cut, and after two."""
    with scenarios(names) as commands, numbered_scratch_names(), scratch() as folder:
        points = sum(_count(scenario, folder / "store") for scenario in commands)
        states = max(effort.states, -(-effort.all_states // points))
        # as many states after second cuts as after first ones, in the long mode
        again = -(-effort.all_states // points // effort.second_cuts)
        effort = replace(effort, states=states, second_states=max(effort.second_states, again))
        for scenario in commands:
            yield from cut_everywhere(scenario, folder / "store", effort)


def _count(scenario: Scenario, store: Path) -> int:
    """Return how many changes an undisturbed command makes."""
    disk = Disk(scenario.begin)
    interrupted(scenario, store, disk)
    return disk.changes


def cut_everywhere(scenario: Scenario, store: Path, effort: Effort) -> list[Figure]:
    """Cut the power before every change of one command, and look at what is left."""
    return Cuts(scenario, store, effort).everywhere()


@dataclass
class Cuts:
    """The power cuts of one command, and what is so after them."""

    scenario: Scenario
    store: Path
    effort: Effort
    kill_every: int = KILL_EVERY
    made_good: set[str] = field(default_factory=set)
    cuts_again: int = 0
    kills: int = 0

    def __post_init__(self) -> None:
        name = self.scenario.name
        self.draw = random.Random(self.effort.seed)
        self.changes = _count(self.scenario, self.store)
        self.once = Figure(point=1, what=f"{name}: states after a power cut")
        self.twice = Figure(point=1, what=f"{name}: states after a second one")

    def everywhere(self) -> list[Figure]:
        """Cut before the first change, the second, and so on; return both figures."""
        points = next(moment for moment in itertools.count() if not self.at(moment))
        self.once.note = f"{points} write points, {len(self.made_good):,} distinct"
        self.twice.note = f"{self.cuts_again:,} second cuts, {self.kills:,} of them after a kill"
        return [self.once, self.twice]

    def at(self, moment: int) -> bool:
        """Cut before one change; return whether there is such a change, and more to try."""
        if self.effort.first_failure and self.failures:
            return False
        disk, told = Disk(self.scenario.begin, cut_at=moment), Acknowledged()
        if interrupted(self.scenario, self.store, disk, told) is None:
            return False
        left = self._look(disk, told, self.effort.states, self.once)
        if moment % self.effort.cut_again_every == 1 % self.effort.cut_again_every:
            for _ in range(self.effort.second_cuts):
                self._again(disk, told, left)
        return True

    @property
    def failures(self) -> list[str]:
        """What was not as it must be, after one cut or two."""
        return self.once.failures + self.twice.failures

    def _look(self, disk: Disk, told: Acknowledged, count: int, figure: Figure) -> list[Tree]:
        """Look at states that the disk may be in after a cut, and make them good; return them."""
        states = {_digest(s): s for s in map(disk.after_crash, reversed(range(count)))}
        figure.tried += count
        for name, state in states.items():
            put_back(self.store, state)
            figure.failures += self.scenario.crashed(self.store, told)
            if name not in self.made_good:
                self.made_good.add(name)
                figure.failures += _make_good(self.scenario, self.store)
        return list(states.values())

    def _again(self, disk: Disk, told: Acknowledged, left: Sequence[Tree]) -> None:
        """Type the command once more after a cut or a kill, and cut the power at a random change.

        What it is told is safe joins what was acknowledged already.
        """
        killed = self.cuts_again % self.kill_every == 0
        state = self.draw.choice(left)
        changes = self.changes
        while changes:
            begun = disk.after_kill() if killed else Disk(state)
            begun.cut_at = self.draw.randrange(changes)
            both = Acknowledged(dict(told.commits), [*told.snapshots])
            if interrupted(self.scenario, self.store, begun, both) is not None:
                self.cuts_again += 1
                self.kills += killed
                self._look(begun, both, self.effort.second_states, self.twice)
                return
            changes = begun.changes  # there was less to do than that


def interrupted(
    scenario: Scenario, store: Path, disk: Disk, acknowledged: Acknowledged | None = None
) -> BaseException | None:
    """Type the command on a disk that may fail; return what ended it, if something did."""
    put_back(store, disk.here())
    ended: BaseException | None = None
    with watching(disk), acknowledging(acknowledged or Acknowledged()):
        try:
            scenario.command(store)
        except (PowerCut, HeadstartError) as error:
            ended = error
    return PowerCut() if disk.dead else ended


def _make_good(scenario: Scenario, store: Path) -> list[str]:
    """Type the command until it is through; return what is not as it must be then."""
    try:
        scenario.again(store)
        return scenario.finished(store)
    except (HeadstartError, AssertionError) as error:
        return [f"{scenario.name} does not go on: {error}"]


@contextlib.contextmanager
def acknowledging(acknowledged: Acknowledged) -> Iterator[None]:
    """Note what the store says is safe."""
    publish, seal_all = Commits.publish, succession.seal_all

    def noted_publish(self: Commits, commit: Commit) -> None:
        publish(self, commit)
        acknowledged.commits[commit.digest] = commit

    def noted_seal(store: Store, snapshots: Any, *, after: int) -> list[int]:
        numbers = seal_all(store, snapshots, after=after)
        acknowledged.snapshots += numbers
        return numbers

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Commits, "publish", noted_publish)
        patch.setattr(succession, "seal_all", noted_seal)
        yield


def _digest(state: Tree) -> str:
    digest = hashlib.sha256()
    for name in sorted(n for n in state if not n.startswith("tmp/") or n == "tmp/"):
        digest.update(f"{name} {len(state[name])}\n".encode() + state[name])
    return digest.hexdigest()
