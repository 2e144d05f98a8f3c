"""Any history in which features of the project meet: two commands at once, parts, merges, buckets.

What `properties` draws is drawn here as well. Besides, columns are added, images are forgotten,
items are cut anew, stores are merged and go on as one, listings are extracted in parts, names of
shards are taken by others, and every command may begin and end in the middle of another one. The
store lies on a disk, or in a bucket. The dictionary in memory knows what must be so.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from extract.compacting import gc
from extract.errors import HeadstartError, InputError
from extract.forgetting import find_traces, forget
from extract.merging import merge
from extract.reading import image_key
from extract.relabeling import split
from extract.repairing import repair
from extract.store.opening import Store, open_store
from extract.store.verify import verify
from tests.campaign.beside import buckets_in_memory, copied, interrupting, overwrite
from tests.campaign.figures import Effort, Figure
from tests.campaign.properties import BAD, FIRST, LABELS, History, held, places
from tests.campaign.world import extract_folder, picture

FORMATS = st.sampled_from(["zarr", "hdf5"])
ASKED = st.sampled_from(
    [{"layers": ["3"]}, {"layers": ["last", "4"]}, {"views": 2, "augment": "flip"}]
)
COMMANDS = ("run", "relabel", "split", "compact", "forget", "repair", "more columns")
"""gc of age 0 is none of them: its age is what keeps the files of a command beside it."""


class Pairs(History):
    """A data set, its store, what must be so, and whoever else is at work on it."""

    figure = Figure(point=9, what="histories of commands beside each other")

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[dict[str, object]] = [{}]
        """What runs were asked for, as often as the columns became more."""
        self.kept: dict[str, str] = {}
        """Image key → split, since items were cut by hand; empty where folders decide."""
        self.cutting = False
        """Whether items are cut by a command that is told of later."""
        self.stores = 0
        self.fresh_seeds = 1000

    @initialize(bucket=st.booleans())
    def begin(self, bucket: bool) -> None:
        if bucket:
            self.store = f"s3://campaign/{self.folder.name}.features"
        super().begin()

    # Commands, and what is so once they are through --------------------------------------------

    def _options(self) -> dict[str, object]:
        return {}

    def _look(self, cut: bool = False) -> None:
        """Compare splits with those of before, and remember them."""
        items = open_store(self.store).items
        now = dict(zip(items["image_key"].to_pylist(), items["split"].to_pylist(), strict=True))
        cut = cut or self.cutting
        if self.kept and not cut:
            moved = {k for k in now.keys() & self.kept.keys() if now[k] != self.kept[k]}
            assert not moved - {None}, f"splits of {moved} changed"
        if self.kept or cut:
            self.kept = now

    def _ran(self) -> None:
        super()._ran()
        self._look()

    @rule(asked=ASKED, form=FORMATS)
    def add_columns(self, asked: dict[str, object], form: str) -> None:
        extract_folder(self.photos, self.store, format=form, **asked)
        self.asked.append(asked)
        self._ran()

    @rule(seed=st.integers(0, 3))
    def cut(self, seed: int) -> None:
        split(self.store, seed=seed)
        self._look(cut=True)

    def _target(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.sealed)))

    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        name = self._target(data)
        try:
            done = forget(self.store, [name])
        except InputError as error:
            if "no other images" not in str(error):
                raise
            return
        self._forgotten(name, done.image_keys)

        assert find_traces(Store.at(self.store), done.image_keys) == []

    def _forgotten(self, name: str, keys: list[str]) -> None:
        """Take forgotten images out of the data set; the first ones become others."""
        for path in sorted(self.seeds):
            if path == name or image_key((self.photos / path).read_bytes()) in keys:
                if path in FIRST:
                    self.fresh_seeds += 1
                    self._put(path, self.fresh_seeds)
                else:
                    del self.seeds[path]
                    (self.photos / path).unlink()
        self.sealed = set(open_store(self.store).items["path"].to_pylist())
        self.decided = {p: label for p, label in self.decided.items() if p in self.sealed}
        self._look()

    # Others at work ----------------------------------------------------------------------------

    @rule(command=st.sampled_from(["run", "compact"]), size=st.integers(0, 40), form=FORMATS)
    def names_are_taken(self, command: str, size: int, form: str) -> None:
        """Torn files of a second writer have the names of what is about to be written."""
        self.number += 1
        copy = copied(self.store, self.folder / f"copy-{self.number}")
        before = set(Store.at(copy).files.list("shards"))

        def work(store: Path | str) -> None:
            if command == "run":
                extract_folder(self.photos, store, format=form)
            else:
                gc(store, compact=True, yes=True)

        work(copy)
        files = Store.at(self.store).files
        for name in set(Store.at(copy).files.list("shards")) - before:
            overwrite(files, f"shards/{name}", bytes(size))
        shutil.rmtree(copy)
        work(self.store)
        if command == "run":
            self._ran()
        self._look()
        gc(self.store, older_than="0", yes=True)  # removes what is torn, and nothing else

    @rule(
        data=st.data(),
        outer=st.sampled_from(COMMANDS),
        inner=st.sampled_from(COMMANDS),
        at=st.integers(0, 150),
        form=FORMATS,
    )
    def beside(self, data: st.DataObject, outer: str, inner: str, at: int, form: str) -> None:
        """One command runs whole between two operations of another."""
        works = [self._command(data, name, form) for name in (outer, inner)]
        error: HeadstartError | None = None
        with interrupting(at, works[1][0]) as interruption:
            try:
                works[0][0]()
            except HeadstartError as told:
                error = told
        if not interruption.done:
            self._typed_again(works[1][0])
        again = [w for w, e in zip(works, (error, interruption.error), strict=True) if e]
        for told in filter(None, (error, interruption.error)):
            assert "\n" not in str(told), told
        for work, _ in again:
            self._typed_again(work)
        self.cutting = "split" in (outer, inner)
        for _, tell in works:
            tell()
        self._look()
        self.cutting = False
        self.sealed = set(open_store(self.store).items["path"].to_pylist())
        self.decided = {p: label for p, label in self.decided.items() if p in self.sealed}
        assert verify(self.store).problems == {}, (outer, inner)

    def _typed_again(self, work: Callable[[], object]) -> None:
        try:
            work()
        except InputError as error:  # what was to be relabeled or forgotten is gone
            gone = ("no item and no image", "items that the store does not have", "no other")
            if not any(words in str(error) for words in gone):
                raise

    def _command(
        self, data: st.DataObject, name: str, form: str
    ) -> tuple[Callable[[], object], Callable[[], object]]:
        """Return a command, and what tells the dictionary once it is through."""

        def nothing() -> None:
            pass

        if name in ("run", "more columns"):
            asked = data.draw(ASKED) if name == "more columns" else {}

            def ran() -> None:
                self.asked.append(asked)
                self._ran()

            return lambda: extract_folder(self.photos, self.store, format=form, **asked), ran
        if name == "relabel":
            path, label = self._target(data), data.draw(st.sampled_from(LABELS))

            def relabeled() -> None:
                if path in set(open_store(self.store).items["path"].to_pylist()):
                    self.decided[path] = label

            return lambda: self._relabel(self.store, {path: label}), relabeled
        if name == "split":
            return lambda: split(self.store, seed=1), lambda: self._look(cut=True)
        if name == "compact":
            return lambda: gc(self.store, compact=True, yes=True), nothing
        if name == "repair":
            return lambda: repair(self.store), nothing
        key = self._take_away(data)
        return (lambda: forget(self.store, [key])) if key else nothing, nothing

    def _take_away(self, data: st.DataObject) -> str | None:
        """Remove an image from the folder, as one does before it is forgotten; return its key."""
        items = open_store(self.store).items
        path = data.draw(st.sampled_from(sorted(self.sealed)))
        key = str(items["image_key"][items["path"].to_pylist().index(path)])
        copies = {p for p in self.seeds if image_key((self.photos / p).read_bytes()) == key}
        if copies & FIRST.keys() or path in FIRST:
            return None  # there must be something to extract
        for copy in copies:
            del self.seeds[copy]
            (self.photos / copy).unlink()
        return key

    # Stores that become one --------------------------------------------------------------------

    def _another(self, name: str) -> Path | str:
        """Return a place for one more store, where this one is."""
        self.stores += 1
        if isinstance(self.store, str):
            return f"s3://campaign/{self.folder.name}-{self.stores}-{name}"
        return self.folder / f"{self.stores}-{name}"

    def _extract_all(self, photos: Path, store: Path | str, **options: object) -> None:
        for asked in self.asked:
            extract_folder(photos, store, **asked, **options)

    @rule(of=st.integers(2, 4), form=FORMATS)
    def in_parts(self, of: int, form: str) -> None:
        """Extract the listing in parts, and go on with what they merge to."""
        if of > len(self.seeds):
            return
        parts = [self._another("part") for _ in range(of)]
        for number, part in enumerate(parts, 1):
            self._extract_all(self.photos, part, part=f"{number}/{of}", format=form)
        self.store, self.kept, self.decided = self._merged(parts), {}, {}
        self._ran()

    @rule(content=st.dictionaries(places, st.integers(BAD, 12), min_size=1), form=FORMATS)
    def join_another(self, content: dict[str, int], form: str) -> None:
        """Merge with the store of another folder, whose files become ours too."""
        from tests.campaign.world import write_tree

        content = {p: seed for p, seed in content.items() if p not in self.seeds}
        if not any(seed != BAD for seed in content.values()):
            return
        self.run()
        photos = write_tree(
            self.folder / "other",
            {p: b"not a picture" if s == BAD else picture(s) for p, s in content.items()},
        )
        other = self._another("other")
        self._extract_all(photos, other, format=form)
        self.store, self.kept = self._merged([self.store, other]), {}
        for path, seed in content.items():
            self._put(path, seed)
        self._ran()

    def _merged(self, stores: list[Path | str]) -> Path | str:
        out = self._another("merged")
        with interrupting(40, lambda: merge(stores, out)) as beside_us:
            done = merge(stores, out)

        assert beside_us.error is None
        assert verify(out).problems == {}
        assert open_store(out).root_digest == done.root_digest
        return out

    # What must be so ---------------------------------------------------------------------------

    def _expected(self, fresh: Path) -> None:
        self._extract_all(self.photos, fresh)

    @precondition(lambda self: self.kept)
    @rule()
    def folders_decide_again(self) -> None:
        """Go on with a store that nobody cut."""
        self.store, self.kept, self.decided = self._another("again"), {}, {}
        self._extract_all(self.photos, self.store)
        self._ran()

    def _items_agree(self, found: object, expected: object) -> bool:
        if not self.kept:
            return super()._items_agree(found, expected)
        names = ["path", "image_key", "label", "group", "status"]
        return found.items.select(names).equals(expected.items.select(names))


def measure(effort: Effort) -> Iterator[Figure]:
    """Yield one figure: how many histories ended as they must."""
    with buckets_in_memory():
        yield held(Pairs, effort)
