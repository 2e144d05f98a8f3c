"""Digests are made piece by piece and say what their definition says."""

import hashlib
import json

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from extract.recipe import Column
from extract.store.commits import Commit, RowFacts, root_digest, root_line, root_of
from extract.store.item_tables import items_digest
from extract.store.shards import ShardRef

columns = [Column(operation=n, layer=str(n), pooling="avg") for n in (3, 12)]
keys = st.sampled_from([hashlib.sha256(bytes([n])).hexdigest() for n in range(12)])
facts = st.builds(RowFacts, keys, st.sampled_from(["good", "warned", "undecodable", "absent"]))


@st.composite
def parts(draw):
    """Commits of two columns; an image may stand in several, and twice."""
    made = []
    for column in draw(st.lists(st.sampled_from(columns), min_size=1, max_size=4)):
        rows = tuple(draw(st.lists(facts, max_size=8)))
        digests = tuple(draw(st.sampled_from(["0" * 64, "f" * 64])) for _ in rows)
        ref = ShardRef(
            file="x",
            sha256="",
            size=0,
            rows=len(rows),
            row_shape=(2,),
            dtype="float32",
            shard_rows=8,
            chunk_rows=8,
            offset=0,
            stride=0,
        )
        made.append(
            (column, Commit(recipe_key="k", column=column, ref=ref, rows=rows, row_digests=digests))
        )
    return made


@given(parts(), st.sets(keys))
def test_the_root_is_over_the_sorted_lines_of_the_images_that_are_used(made, used):
    lines = [
        root_line(row, column.canonical, digest)
        for column, commit in made
        for row, digest in zip(commit.rows, commit.row_digests, strict=True)
        if row.image_key in used
    ]

    assert root_of(made, used) == root_digest(lines)


texts = st.text(max_size=4) | st.sampled_from(["a", "a b", 'a"', "a/b", "ä", "a\\"])


@given(st.lists(st.tuples(texts, *[st.none() | texts] * 4), unique_by=lambda item: item[0]))
def test_the_items_digest_is_over_the_sorted_lines(items):
    names = ("path", "image_key", "label", "split", "group")
    table = pa.table(
        {n: pa.array([i[at] for i in items], pa.string()) for at, n in enumerate(names)}
    )
    lines = sorted(
        json.dumps(list(i), sort_keys=True, separators=(",", ":"), ensure_ascii=True) for i in items
    )
    expected = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()

    assert items_digest(table) == expected
