"""What a run came to, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from extract.notebook import Shown
from extract.pipeline import Extraction
from extract.plan import allowed_bad
from extract.sealing import Sealed
from extract.store.commits import HAS_FEATURES


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary(Shown):
    """What a run did; `--json` prints its fields."""

    store: str
    items: int
    """Entries of the data set: good + bad."""
    rows: int
    """Distinct images among them."""
    extracted: int
    """Images that this run put through the backbone."""
    copied: int
    """Rows that were copied from a shard that had to be rewritten."""
    reused: int
    """Rows in shards that were left as they are."""
    bad: int
    """Items without features: undecodable + unreadable."""
    undecodable: int
    unreadable: int
    seconds: float
    images_per_second: float
    """`extracted` over the time from the first image to the last commit, without the seconds in
    which the engine was loaded."""
    read_seconds: float
    decode_seconds: float
    """Time that decoding kept its threads busy, summed over them; likewise the others."""
    forward_seconds: float
    write_seconds: float
    snapshot: int
    root_digest: str
    max_bad: int
    """Bad items that `--max-bad` allows."""

    @property
    def too_many_bad(self) -> bool:
        """Whether more items are bad than was allowed."""
        return self.bad > self.max_bad


def summary_of(
    work: Extraction, sealed: Sealed, seconds: float, complete: frozenset[str] | None
) -> Summary:
    """Return the numbers of a run that was sealed; `complete` is told at `extract_listing`."""
    keys = work.rows.item_keys()
    copied, reused = work.assemblers[0].copied & keys, work.assemblers[0].reused & keys
    elsewhere = 0
    if complete is not None:
        fresh = (copied | reused) - complete
        commits = (work.known.commits[digest] for digest in work.assemblers[0].digests)
        good = {r.image_key for c in commits for r in c.rows if r.status in HAS_FEATURES}
        elsewhere, copied, reused = len(fresh & good), copied - fresh, reused - fresh
    rate = work.extracted / work.busy_seconds if work.extracted else 0.0
    return Summary(
        store=work.store.path,
        items=len(work.listing.items),
        rows=sealed.rows,
        extracted=work.extracted + elsewhere,
        copied=len(copied),
        reused=len(reused),
        bad=sealed.bad,
        undecodable=sealed.reasons["undecodable"],
        unreadable=sealed.reasons["unreadable"],
        seconds=round(seconds, 3),
        images_per_second=round(rate, 1),
        read_seconds=round(work.read.seconds, 3),
        decode_seconds=round(work.decode.seconds, 3),
        forward_seconds=round(work.forward.seconds, 3),
        write_seconds=round(work.writer.seconds, 3),
        snapshot=sealed.number,
        root_digest=sealed.root_digest,
        max_bad=allowed_bad(work.plan.settings.max_bad, len(work.listing.items)),
    )
