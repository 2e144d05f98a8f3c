"""The last step of a commit: its record is there, ours or that of a run beside us.

Two machines of another numeric signature may make one shard with other bits. Each has a file of its
own then, and the record that was first says whose rows they are.
"""

from __future__ import annotations

from extract.errors import DamagedStoreError
from extract.store.commits import Commit, Commits, encode, name_of
from extract.store.opening import Store


def acknowledge(store: Store, commit: Commit) -> Commit:
    """Publish a record; return the one that counts.

    Args:
        store: Where the commit's shard was written.
        commit: Our record of it.

    Raises:
        DamagedStoreError: If another's record was first, and its shard is not what it says.
        StoreWriteError: If the disk refuses.
    """
    records = Commits(store.files)
    records.publish(commit)
    if records.read_bytes(commit.digest) == encode(commit):
        return commit  # not parsed again: its texts would be in memory twice
    return read_acknowledged(store, commit.digest)


def read_acknowledged(store: Store, digest: str) -> Commit:
    """Return the record of a run beside us, after a look at its whole shard.

    Raises:
        DamagedStoreError: If the record is altered, or the shard is not what it says.
    """
    found = Commits(store.files).read(digest)
    store.shards.parse(found.ref)
    return found


def acknowledge_copy(store: Store, commit: Commit) -> Commit:
    """Do what `acknowledge` does for rows that were copied: they are the record's to the bit.

    Raises:
        DamagedStoreError: Also where another's record was first and has other bits. Digests of what
            is copied are known before, and would not fit it.
    """
    found = acknowledge(store, commit)
    if found.row_digests != commit.row_digests:
        raise DamagedStoreError(
            f"{name_of(commit.digest)} in {store.path} is of a run whose features differ in their "
            f"last bits. If no snapshot names it, this removes it: python -m extract gc "
            f"{store.path} --older-than 0 --yes"
        )
    return found
