"""Any history of a small data set ends where a fresh extraction of its last state ends.

Hypothesis draws what happens: images come, go, move, are copied and relabeled, runs end or lose
power, files are damaged and repaired, rubbish is collected. A dictionary in memory knows what the
data set and the decisions about it are by then. At each comparison the store, after one more run,
must have the root digest and the items digest of a store that never knew anything else.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from extract.compacting import gc
from extract.relabeling import relabel
from extract.repairing import repair
from extract.store.opening import Store, open_store
from extract.store.reader import Snapshot
from extract.store.verify import verify
from tests.campaign.beside import overwrite
from tests.campaign.disk import Disk, found_in, put_back, watching
from tests.campaign.figures import Effort, Figure
from tests.campaign.world import (
    Tree,
    arithmetic_backbone,
    extract_folder,
    numbered_scratch_names,
    picture,
    scratch,
    tree,
)
from tests.simulated import PowerCut

LABELS, SPLITS = ("ants", "bees", "cats"), ("train", "validation", "test")
FIRST = {f"{split}/{label}/first.png": 7 * i for i, (split, label) in enumerate(
    [("train", "ants"), ("train", "bees"), ("validation", "ants"), ("test", "bees")]
)}  # fmt: skip
"""Path → seed of its picture; these stay, so that there is always something to extract."""

places = st.tuples(st.sampled_from(SPLITS), st.sampled_from(LABELS), st.integers(0, 3)).map(
    lambda place: f"{place[0]}/{place[1]}/{place[2]}.png"
)
BAD = -1


class History(RuleBasedStateMachine):
    """A data set, its store, and what must be so."""

    figure = Figure(point=9, what="histories that end where a fresh extraction ends")
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self._scratch = scratch()
        self.folder = self._scratch.__enter__()
        self.photos = self.folder / "photos"
        self.store: Path | str = self.folder / "photos.features"
        self.seeds = dict(FIRST)
        self.decided: dict[str, str] = {}
        """Path → label that a person chose, as the newest snapshot has it."""
        self.sealed: set[str] = set()
        """Paths of the newest snapshot's items."""
        self.number = 0

    @initialize()
    def begin(self) -> None:
        for path, seed in self.seeds.items():
            self._put(path, seed)
        self.run()

    def teardown(self) -> None:
        try:
            if self.sealed:
                self.compare()
        finally:
            self._scratch.__exit__(None, None, None)

    # What happens to the images ----------------------------------------------------------------

    def _put(self, path: str, seed: int) -> None:
        target = self.photos / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_bytes(b"not a picture" if seed == BAD else picture(seed))
        self.seeds[path] = seed

    def _own(self) -> list[str]:
        return sorted(self.seeds.keys() - FIRST.keys())

    @rule(path=places, seed=st.integers(BAD, 12))
    def add(self, path: str, seed: int) -> None:
        self._put(path, seed)

    @precondition(lambda self: self._own())
    @rule(data=st.data(), to=places)
    def rename(self, data: st.DataObject, to: str) -> None:
        path = data.draw(st.sampled_from(self._own()))
        seed = self.seeds.pop(path)
        (self.photos / path).unlink()
        self._put(to, seed)

    @precondition(lambda self: self._own())
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(self._own()))
        del self.seeds[path]
        (self.photos / path).unlink()

    @rule(data=st.data(), to=places)
    def duplicate(self, data: st.DataObject, to: str) -> None:
        self._put(to, self.seeds[data.draw(st.sampled_from(sorted(self.seeds)))])

    # What happens to the store -----------------------------------------------------------------

    @rule()
    def run(self) -> None:
        extract_folder(self.photos, self.store)
        self._ran()

    def _ran(self) -> None:
        self.sealed = set(self.seeds)
        self.decided = {p: label for p, label in self.decided.items() if p in self.sealed}

    @precondition(lambda self: isinstance(self.store, Path))
    @rule(moment=st.integers(0, 60), seed=st.integers(0, 1 << 20))
    def run_and_lose_power(self, moment: int, seed: int) -> None:
        disk = Disk(found_in(self.store), cut_at=moment)
        with watching(disk), contextlib.suppress(PowerCut):
            extract_folder(self.photos, self.store)
        if disk.dead:
            before = open_store_number(disk.content)
            put_back(self.store, disk.after_crash(seed))
            if open_store_number(tree(self.store)) == before:
                return  # the run is as if it had not been, but for shards
        self._ran()

    @rule(data=st.data(), label=st.sampled_from(LABELS))
    def relabel(self, data: st.DataObject, label: str) -> None:
        path = data.draw(st.sampled_from(sorted(self.sealed)))
        self._relabel(self.store, {path: label})
        self.decided[path] = label

    def _relabel(self, store: Path | str, labels: dict[str, str]) -> None:
        self.number += 1  # a table of its own: two may be read at once
        table = self.folder / f"labels-{self.number}.csv"
        lines = [f"{path},{label}" for path, label in labels.items()]
        table.write_text("\n".join(["path,label", *lines, ""]))
        relabel(store, table)

    @rule(data=st.data(), folder=st.sampled_from(["shards", "commits", "probes"]))
    def damage_and_repair(self, data: st.DataObject, folder: str) -> None:
        files = Store.at(self.store).files
        victims = [f"{folder}/{name}" for name in files.list(folder)]
        victim = data.draw(st.integers(0, len(victims) - 1).map(victims.__getitem__))
        content = bytearray(files.read(victim))
        content[len(content) // 2] ^= 16
        overwrite(files, victim, bytes(content))
        if repair(self.store).todo:  # most of its images went away meanwhile
            self.run()

    @rule(compact=st.booleans())
    def collect(self, compact: bool) -> None:
        gc(self.store, compact=compact, older_than="0", yes=True)

    @rule()
    def compare(self) -> None:
        """Run once more; extract into another folder; say there what was decided; compare."""
        self.run()
        self.number += 1
        fresh = self.folder / f"fresh-{self.number}"
        self._expected(fresh)
        if self.decided:
            self._relabel(fresh, self.decided)
        found, expected = open_store(self.store), open_store(fresh)
        type(self).figure.tried += 1

        if problems := verify(self.store).problems:
            raise AssertionError(problems)
        assert found.root_digest == expected.root_digest
        assert self._items_agree(found, expected)
        shutil.rmtree(fresh)

    def _expected(self, fresh: Path) -> None:
        """Extract the data set as it is by now into a new folder."""
        extract_folder(self.photos, fresh)

    def _items_agree(self, found: Snapshot, expected: Snapshot) -> bool:
        return found.items_digest == expected.items_digest


def open_store_number(content: Tree) -> int:
    """Return the number of the newest snapshot in a tree."""
    return max(
        (int(n[10:16]) for n in content if n.startswith("snapshots/") and n.endswith(".json")),
        default=0,
    )


def measure(effort: Effort) -> Iterator[Figure]:
    """Yield one figure: how many histories ended as they must."""
    yield held(History, effort)


def held(machine: type[History], effort: Effort) -> Figure:
    """Let Hypothesis draw histories of a kind; return how many comparisons held."""
    machine.figure = Figure(point=9, what=machine.figure.what)
    chosen = settings(
        max_examples=effort.examples,
        stateful_step_count=15,
        deadline=None,
        derandomize=effort.examples < 50,  # the ordinary tests do the same each time
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    with arithmetic_backbone(), numbered_scratch_names():
        try:
            run_state_machine_as_test(machine, settings=chosen)
        except AssertionError as error:
            machine.figure.failures.append(str(error))
    machine.figure.note = f"comparisons, in {effort.examples} histories of up to 15 steps"
    return machine.figure
