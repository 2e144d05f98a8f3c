"""Every kind of file in a store and in a head, damaged in every way, many times.

After each mutation the store is read, every snapshot and column of it, and verified; a head is
opened and asked. What is read must be the truth to the bit, or refused; what could be read must
be named by `verify`. Nothing but a deliberate error may come out. Of every so manieth mutation the
repair is tried: it must compute no more than the damaged shards held, and leave the others alone.

One thing is left out, because nothing in a store can tell it: its newest snapshot record taken
away, which is the store of before. `rollback` shows that a model tells it.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from extract.errors import HeadstartError
from extract.repairing import repair
from extract.store.opening import open_store
from extract.store.verify import verify
from tests.campaign.figures import Effort, Figure
from tests.campaign.world import (
    COLUMNS,
    EARLY,
    LATE,
    SHARD_ROWS,
    Tree,
    arithmetic_backbone,
    extract_folder,
    scratch,
    tree,
    write_tree,
)

REPAIR_EVERY = 25
KINDS = {
    "header": "store.json",
    "shard": "shards/*",
    "commit": "commits/*",
    "snapshot": "snapshots/*.json",
    "items": "snapshots/*.parquet",
    "probe": "probes/[ou]*",
    "probe features": "probes/features-*",
    "bad images": "bad_images.csv",
}
HEAD_KINDS = {
    "record": "model.json",
    "weights": "weights.npz",
    "history": "history.csv",
    "sweep": "sweep.csv",
    "estimator": "estimator.skops",
    "tuned backbone": "backbone.npz",
    "network": "model.keras",
    "picture": "curves.*",
}
TUNED = ("backbone.npz", "model.keras", "curves.png", "curves.svg")
"""What a fine-tuned model has besides; `load` looks at their digests, whatever is in them."""


@dataclass(frozen=True)
class Victim:
    """A folder whose files are damaged, one mutation at a time."""

    name: str
    content: Tree
    others: tuple[Tree, ...]
    """Folders of the same kind from before, or from elsewhere."""
    kinds: Mapping[str, str]
    """Kind of file → pattern of its name."""

    def of_kind(self, kind: str) -> list[str]:
        return sorted(n for n in self.content if Path(n).match(self.kinds[kind]))


Mutation = Callable[[Victim, str, random.Random], dict[str, bytes | None]]
"""Files by name and what becomes of them; None where a file is deleted."""


def flip(victim: Victim, name: str, draw: random.Random) -> dict[str, bytes | None]:
    data = bytearray(victim.content[name])
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return {name: bytes(data)}


def truncate(victim: Victim, name: str, draw: random.Random) -> dict[str, bytes | None]:
    data = victim.content[name]
    return {name: data[: draw.choice([len(data) - 1, draw.randrange(len(data))])]}


def empty(victim: Victim, name: str, draw: random.Random) -> dict[str, bytes | None]:
    return {name: b""}


def zero(victim: Victim, name: str, draw: random.Random) -> dict[str, bytes | None]:
    """Put zeros in the place of all, of a sector, or of the rest from somewhere on."""
    data = victim.content[name]
    start, stop = sorted(draw.sample(range(len(data) + 1), 2))
    start, stop = draw.choice([(0, len(data)), (start, stop), (start, len(data))])
    return {name: data[:start] + bytes(stop - start) + data[stop:]}


def swap(victim: Victim, name: str, draw: random.Random) -> dict[str, bytes | None]:
    """Let two files change places: of one kind where there are two, else of any."""
    kind = next(k for k in victim.kinds if name in victim.of_kind(k))
    alike = [n for n in victim.of_kind(kind) if n != name]
    other = draw.choice(alike or [n for n in sorted(victim.content) if n != name])
    return {name: victim.content[other], other: victim.content[name]}


def delete(victim: Victim, name: str, draw: random.Random) -> dict[str, bytes | None]:
    return {name: None}


def older(victim: Victim, name: str, draw: random.Random) -> dict[str, bytes | None]:
    """Put back what had this name, or was of this kind, in another state."""
    pattern = next(p for k, p in victim.kinds.items() if name in victim.of_kind(k))
    found = [
        data
        for other in victim.others
        for n, data in sorted(other.items())
        if (n == name or Path(n).match(pattern)) and data != victim.content[name]
    ]
    return {name: draw.choice(found)} if found else {}


MUTATIONS: dict[str, Mutation] = {
    "flip": flip,
    "truncate": truncate,
    "empty": empty,
    "zero": zero,
    "swap": swap,
    "delete": delete,
    "older": older,
}


def measure(effort: Effort) -> Iterator[Figure]:
    """Yield a figure for each format of a store, for heads, and for what only a model tells."""
    with arithmetic_backbone(), scratch() as folder:
        victims = stores(folder)
        share = effort.mutations * 3 // (5 * len(victims))
        for victim in victims:
            yield damage_store(victim, folder, share, effort.seed)
        found = heads_of(folder)
        share = -(-effort.mutations * 2 // (5 * len(found)))
        for victim in found:
            yield damage_head(victim, folder / "harmed.head", share, effort.seed)
        yield rollback(folder)


def mutations(
    victim: Victim, count: int, seed: int
) -> Iterator[tuple[str, dict[str, bytes | None]]]:
    """Yield (what is done, files), over every pair of kind and mutation in turn."""
    draw = random.Random(seed)
    kinds = [kind for kind in victim.kinds if victim.of_kind(kind)]
    pairs = itertools.cycle(itertools.product(kinds, MUTATIONS.items()))
    for kind, (word, mutation) in itertools.islice(pairs, count):
        name = draw.choice(victim.of_kind(kind))
        changes = mutation(victim, name, draw)
        changes = {n: d for n, d in changes.items() if d != victim.content[n]}
        # An impossible one (no older copy of a file that never changes) becomes a flip.
        yield f"{word} {kind} {name}", changes or flip(victim, name, draw)


# Stores ----------------------------------------------------------------------------------------


def stores(folder: Path) -> list[Victim]:
    """Make a store of two snapshots in each format; the images lie in `folder / "photos"`."""
    photos = write_tree(folder / "photos", EARLY)
    extract_folder(photos, folder / "other", interpolation="nearest")
    early = {}
    for form in ("zarr", "hdf5"):
        extract_folder(photos, folder / form, format=form)
        early[form] = tree(folder / form)
    write_tree(photos, LATE)
    for form in ("zarr", "hdf5"):
        extract_folder(photos, folder / form, format=form)
    other = tree(folder / "other")
    return [
        Victim(f"{form} store", tree(folder / form), (early[form], other), KINDS)
        for form in ("zarr", "hdf5")
    ]


def damage_store(victim: Victim, folder: Path, count: int, seed: int) -> Figure:
    """Damage a store `count` times."""
    figure = Figure(point=4, what=f"{victim.name}: mutations of its files")
    store = write_tree(folder / "photos.features", victim.content)  # its images lie beside it
    truth = everything(store)
    by: Counter[str] = Counter()
    for what, changes in mutations(victim, count, seed):
        if _is_rollback(victim, changes):
            changes = flip(victim, next(iter(changes)), random.Random(seed))
        figure.tried += 1
        _write(store, changes)
        by[_judge_store(store, truth, what, figure)] += 1
        if figure.tried % REPAIR_EVERY == 0:
            by["repaired"] += 1
            figure.failures += [f"{what}: {x}" for x in _repaired(victim, store, changes)]
            write_tree(store, victim.content)
        _write(store, {name: victim.content[name] for name in changes})
    figure.note = ", ".join(f"{n} {how}" for how, n in sorted(by.items()))
    return figure


def _is_rollback(victim: Victim, changes: Mapping[str, bytes | None]) -> bool:
    newest = max(n for n in victim.content if Path(n).match(KINDS["snapshot"]))
    return set(changes) == {newest} and changes[newest] is None


def everything(store: Path) -> list[object]:
    """Return all that can be read from a store: rows, labels and items of both snapshots."""
    answers: list[object] = []
    for number in (None, 1, 2):
        snapshot = open_store(store, number)
        answers.append((snapshot.number, snapshot.root_digest, snapshot.items_digest))
        for column in COLUMNS:
            data = snapshot.load(None, column, bad="keep")
            answers.append((data.X.tobytes(), data.y.tobytes(), data.items.to_pydict()))
    return answers


def _judge_store(store: Path, truth: list[object], what: str, figure: Figure) -> str:
    """Return who noticed; note a failure where nobody did, or something wrong was read."""
    try:
        answer = everything(store)
    except HeadstartError:
        return "refused on reading"
    except Exception as error:
        figure.failures.append(f"{what}: {type(error).__name__} while reading: {error}")
        return "crashed"
    figure.check(answer == truth, f"{what}: something wrong was read")
    try:
        figure.check(not verify(store).is_sound, f"{what}: nobody noticed")
    except HeadstartError:
        pass
    except Exception as error:
        figure.failures.append(f"{what}: {type(error).__name__} in verify: {error}")
    return "named by verify"


def _repaired(victim: Victim, store: Path, changes: Mapping[str, bytes | None]) -> list[str]:
    """Repair, and return what is not as it must be."""
    before = everything_of(victim, store.with_name("sound"))
    try:
        done = repair(store)
    except HeadstartError as error:
        return [f"repair ends with {error}"]
    if "store.json" in changes:  # the recipe is gone: the run that made the store knows it
        return [] if done.todo else ["repair does not say what to type without a header"]
    if done.todo:
        return [f"repair is not through: {done.todo}"]
    shards = {n for n in changes if n.startswith(("shards/", "commits/"))}
    found = [f"{name} {text} after repair" for name, text in verify(store).problems.items()]
    if done.extracted > SHARD_ROWS * len(shards):
        found.append(f"repair computed {done.extracted} images for {sorted(shards)}")
    harmed = {Path(name).stem for name in shards}
    after = tree(store)
    for name, data in victim.content.items():
        if name.startswith("shards/") and Path(name).stem not in harmed and after[name] != data:
            found.append(f"repair touched {name}")
    again = open_store(store)
    if (again.root_digest, again.items_digest) != before:
        found.append("other digests after repair")
    return found


def everything_of(victim: Victim, place: Path) -> tuple[str, str]:
    """Return the digests of the sound store's newest snapshot."""
    snapshot = open_store(write_tree(place, victim.content))
    return snapshot.root_digest, snapshot.items_digest


def _write(folder: Path, changes: Mapping[str, bytes | None]) -> None:
    for name, data in changes.items():
        if data is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(data)


# Heads -----------------------------------------------------------------------------------------


def heads_of(folder: Path) -> list[Victim]:
    """Make a head that is arrays, one that scikit-learn keeps and a fine-tuned model, each with an
    older state."""
    from heads.fitting import fit
    from heads.model_folder import save
    from tests.heads.models import linear_model

    history = ({"stage": "head", "epoch": 1, "loss": 0.5}, {"stage": "head", "epoch": 2, "loss": 0})
    tried = tuple({"estimator": "linear", "accuracy": a, "chosen": a > 0.8} for a in (0.9, 0.7))
    rows = {"history": history, "sweep": tried}
    made, tuned = {}, {}
    for number, changes in enumerate(({}, {"temperature": 3.0, "history": history[:1]})):
        model = linear_model(folder / "zarr", COLUMNS, **{**rows, **changes})
        made[number] = tree(save(model, folder / f"{number}.head").path)
        loose = write_tree(folder / f"loose-{number}", {n: _bytes(n, number) for n in TUNED})
        files = {name: loose / name for name in TUNED}
        model = replace(model, kind="finetuned", attachments=files)
        tuned[number] = tree(save(model, folder / f"{number}.tuned").path)
    trees = {}
    for number, name in enumerate(["GaussianNB", "BernoulliNB"]):
        out = folder / f"{name}.head"
        fit(folder / "zarr", out, estimator=f"sklearn.naive_bayes.{name}", seed=number)
        trees[number] = tree(out)
    return [
        Victim("linear head", made[0], (made[1],), HEAD_KINDS),
        Victim("scikit-learn head", trees[0], (trees[1],), HEAD_KINDS),
        Victim("fine-tuned model", tuned[0], (tuned[1],), HEAD_KINDS),
    ]


def _bytes(name: str, number: int) -> bytes:
    return random.Random(f"{name} {number}").randbytes(300)


def damage_head(victim: Victim, head: Path, count: int, seed: int) -> Figure:
    """Damage a head `count` times: opening it must refuse every time."""
    from heads.model_folder import load

    figure = Figure(point=4, what=f"{victim.name}: mutations of its files")
    write_tree(head, victim.content)
    load(head)
    for what, changes in mutations(victim, count, seed):
        figure.tried += 1
        _write(head, changes)
        try:
            load(head)
            figure.failures.append(f"{what}: nobody noticed")
        except HeadstartError:
            pass
        except Exception as error:
            figure.failures.append(f"{what}: {type(error).__name__}: {error}")
        _write(head, {name: victim.content[name] for name in changes})
    figure.note = "all refused on opening"
    return figure


def rollback(folder: Path) -> Figure:
    """Take a store back to an older state, whole or by its newest record; ask a model."""
    from heads.evaluation import evaluate
    from heads.model_folder import save
    from tests.heads.models import linear_model

    figure = Figure(point=4, what="a store put back to an older state, told by a model")
    store = folder / "zarr"
    model = save(linear_model(store, COLUMNS), folder / "newer.head").path
    newest = max((store / "snapshots").glob("*.json"))
    figure.tried += 1
    data = newest.read_bytes()
    newest.unlink()
    said = evaluate(model, store).notes
    figure.check(
        any("does not hold the features that the model was trained on" in note for note in said),
        f"evaluate says only {said}",
    )
    figure.check(
        any("is without its record" in note for note in verify(store).notes),
        "verify does not note the items that the snapshot left",
    )
    newest.write_bytes(data)
    return figure
