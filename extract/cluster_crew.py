"""Actors on the nodes of a Ray cluster, and the loop that hands chores to them.

    nodes ─▶ one actor per node, or per GPU ─▶ chores, two in hand each ─▶ receipts

An actor stays on the node that it was made for. When the actor or its node dies, its chores go to
the others, and it is made anew if the node lives; nodes that join later get actors, too. Ray itself
repeats nothing here. What does not move for `PATIENCE` seconds ends with one line that says what is
missing: Ray's own half hour looks like a hang.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from extract.chores import Chore
from extract.cluster_hand import Hand, reason_of
from extract.cluster_share import Share
from extract.cluster_worker import Job, Ready, Receipt, Worker
from extract.errors import BucketError, ClusterError, HeadstartError
from extract.items import Item

PATIENCE = 120.0
"""Seconds without an image, a receipt or a new worker, after which a run gives up."""
IN_HAND = 2
"""Chores that an actor has at once: one begins while the other ends."""
NEW = 10.0
"""Seconds in which a worker counts that is not ready; then another node may be less busy."""
ROUND = 1.0
"""Seconds between two looks at nodes and actors."""
MOST_DEATHS = 4
"""Workers that may die over one chore, before it is the chore's fault."""


class Crew:
    """The actors of a run."""

    def __init__(
        self,
        ray: Any,
        job: Job,
        files: Mapping[str, bytes],
        share: Share,
        items: Sequence[Item],
        on_ready: Callable[[Ready], None],
        on_receipt: Callable[[str, Receipt], None],
        on_move: Callable[[int], None],
        note: Callable[[str], None],
    ) -> None:
        """`on_move` hears of the items done so far, `note` of sentences for people."""
        self._ray = ray
        self._job = ray.put(job)
        self._files = ray.put(dict(files))  # the graph, once for each node
        self._share = share
        self._items = items
        self._on_ready, self._on_receipt = on_ready, on_receipt
        self._on_move, self._note = on_move, note
        self._hands: dict[tuple[str, int], Hand] = {}
        self._pending: dict[Any, tuple[str, Hand, Chore | None]] = {}
        self._deaths: dict[int, int] = {}
        self._todo: deque[Chore] = deque()
        self._reasons: dict[str, str] = {}
        """Why the last worker of a node died."""
        self._before = 0
        """Items of chores that are finished by actors that died since."""
        self._moved = time.monotonic()

    def work(self, chores: Sequence[Chore]) -> None:
        """See that every chore is done.

        Raises:
            ClusterError: If nothing moves for `PATIENCE` seconds, or workers die over one chore.
            HeadstartError: What a worker raised on purpose.
        """
        self._todo.extend(chores)
        looked = 0.0
        try:
            while self._todo or any(hand.chores for hand in self._hands.values()):
                if time.monotonic() - looked >= ROUND:
                    self._recruit()
                    self._ask()
                    looked = time.monotonic()
                self._hand_out()
                self._collect()
                self._check_patience()
        finally:
            for hand in self._hands.values():
                with contextlib.suppress(self._ray.exceptions.RayError):  # of a head that is gone
                    self._ray.kill(hand.actor)

    # Actors --------------------------------------------------------------------------------------

    def _recruit(self) -> None:
        """Make the actors that living nodes lack, up to as many as there are chores."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        for node in self._living():
            for slot, resources in enumerate(self._share.of_node(node["Resources"])):
                place = (node["NodeID"], slot)
                if place in self._hands or self._is_enough():
                    continue
                actor = (
                    self._ray.remote(Worker)
                    .options(
                        **resources,
                        max_restarts=0,
                        max_task_retries=0,
                        max_concurrency=IN_HAND + 1,  # and a question in between
                        scheduling_strategy=NodeAffinitySchedulingStrategy(place[0], soft=False),
                    )
                    .remote(
                        self._job,
                        self._files,
                        node["NodeManagerAddress"],
                        int(resources["num_cpus"]),
                    )
                )
                hand = Hand(actor, place[0], node["NodeManagerAddress"], place)
                self._hands[place] = hand
                self._pending[actor.ready.remote()] = ("ready", hand, None)

    def _living(self) -> list[dict[str, Any]]:
        nodes = [node for node in self._head(self._ray.nodes) if node["Alive"]]
        return sorted(nodes, key=lambda node: (node["NodeManagerAddress"], node["NodeID"]))

    def _head(self, question: Callable[[], Any]) -> Any:
        """Return what the head of the cluster answers.

        Raises:
            ClusterError: If it does not answer.
        """
        try:
            return question()
        except (self._ray.exceptions.RayError, ConnectionError) as error:
            raise ClusterError(
                f"The head of the cluster does not answer ({type(error).__name__}). What is "
                f"committed stays: bring it back and type the same command, or go on without "
                f"--cluster"
            ) from error

    def _is_enough(self) -> bool:
        wanted = len(self._todo) + sum(len(hand.chores) for hand in self._hands.values())
        most = wanted if self._share.actors is None else min(wanted, self._share.actors)
        now = time.monotonic()
        return sum(hand.ready or now - hand.born < NEW for hand in self._hands.values()) >= most

    def _is_one_too_many(self) -> bool:
        """Return whether a worker that was given up came after all, and another in its place."""
        most = self._share.actors
        return most is not None and sum(hand.ready for hand in self._hands.values()) >= most

    def _dismiss(self, hand: Hand) -> None:
        del self._hands[hand.place]
        self._ray.kill(hand.actor)

    def _lose(self, hand: Hand, reason: str) -> None:
        """Take the chores of an actor that died back."""
        if self._hands.get(hand.place) is not hand:
            return  # heard already
        del self._hands[hand.place]
        self._ray.kill(hand.actor)  # perhaps it only cannot be reached
        self._reasons[hand.node] = reason
        self._before += hand.items_done
        for ref in [ref for ref, (_, whose, _) in self._pending.items() if whose is hand]:
            del self._pending[ref]
        for chore in hand.chores.values():
            self._deaths[chore.number] = self._deaths.get(chore.number, 0) + 1
            if self._deaths[chore.number] >= MOST_DEATHS:
                raise ClusterError(
                    f"{MOST_DEATHS} workers died over {chore.title(self._items)}, the last on "
                    f"{hand.address} ({reason}). Look for memory there, or run this part of the "
                    f"images without --cluster"
                )
        if hand.chores:
            count = len(hand.chores)
            self._note(f"A worker on {hand.address} is gone ({reason}): {count} shards again")
        self._todo.extendleft(reversed(list(hand.chores.values())))
        hand.chores = {}

    # Work ----------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        ready = [hand for hand in self._hands.values() if hand.ready]
        for round_ in range(IN_HAND):  # everyone gets a first one before anyone a second
            for hand in ready:
                if self._todo and len(hand.chores) == round_:
                    chore = self._todo.popleft()
                    hand.chores[chore.number] = chore
                    ref = hand.actor.make.remote(
                        chore.number, chore.files(self._items), chore.columns
                    )
                    self._pending[ref] = ("make", hand, chore)

    def _ask(self) -> None:
        for hand in self._hands.values():
            if hand.ready and not hand.asked:
                hand.asked = True
                self._pending[hand.actor.items_done.remote()] = ("asked", hand, None)

    def _collect(self) -> None:
        """Take the answers that are there, or wait for one a while."""
        if not self._pending:
            time.sleep(ROUND)
            return
        refs = list(self._pending)
        done, _ = self._ray.wait(refs, num_returns=1, timeout=ROUND)
        more, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref in dict.fromkeys([*done, *more]):
            if ref in self._pending:  # not of an actor that was lost a moment ago
                what, hand, chore = self._pending.pop(ref)
                self._take(what, hand, chore, ref)

    def _take(self, what: str, hand: Hand, chore: Chore | None, ref: Any) -> None:
        try:
            answer = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, BucketError) and hand.ready:
                raise BucketError(f"{hand.address}: {error.cause}") from None
            if isinstance(error.cause, HeadstartError):
                raise error.cause from None
            raise
        except self._ray.exceptions.RayError as error:
            if not hand.ready and "creation task" in str(error):
                last = str(error).strip().splitlines()[-1]
                raise ClusterError(f"No worker can begin on {hand.address}: {last}") from error
            self._lose(hand, reason_of(error))
            return
        if what == "ready" and self._is_one_too_many():
            self._dismiss(hand)
        elif what == "ready":
            hand.ready = True
            self._on_ready(answer)
            self._moved = time.monotonic()
        elif what == "asked":
            hand.asked = False
            if answer > hand.items_done:
                self._moved = time.monotonic()
            hand.items_done = answer
            done = self._before + sum(hand.items_done for hand in self._hands.values())
            self._on_move(done)
        elif chore is not None:
            del hand.chores[chore.number]
            self._on_receipt(hand.address, answer)
            self._moved = time.monotonic()

    # Patience ------------------------------------------------------------------------------------

    def _check_patience(self) -> None:
        if time.monotonic() - self._moved < PATIENCE:
            return
        missing = [*(c for h in self._hands.values() for c in h.chores.values()), *self._todo]
        missing.sort(key=lambda chore: chore.number)
        raise ClusterError(
            f"Nothing moved for {PATIENCE:.0f} s. {len(missing)} shards are missing, the first of "
            f"{missing[0].title(self._items)}. {'; '.join(self._state())}. What is committed "
            f"stays: bring the nodes back and type the same command, or go on without --cluster"
        )

    def _state(self) -> Iterator[str]:
        """Say of each node what it does."""
        free = self._head(self._ray.available_resources)
        nodes = self._head(self._ray.nodes)
        for node in sorted(nodes, key=lambda node: (node["NodeManagerAddress"], node["NodeID"])):
            name = node["NodeManagerAddress"]
            if not node["Alive"]:
                yield f"{name} is dead"
                continue
            hands = [hand for hand in self._hands.values() if hand.node == node["NodeID"]]
            if not hands and self._share.of_node(node["Resources"]):
                yield f"{name} has no worker ({self._reasons.get(node['NodeID'], 'not begun')})"
            elif not hands:
                cpus, gpus = (node["Resources"].get(kind, 0) for kind in ("CPU", "GPU"))
                yield f"{name} has {cpus:g} CPUs and {gpus:g} GPUs, too few for a worker"
            for hand in hands:
                if hand.ready:
                    yield f"the worker on {name} has {len(hand.chores)} of them and does not go on"
                else:
                    gone = self._reasons.get(hand.node)
                    why = (
                        f"the one before is gone: {gone}"
                        if gone
                        else f"the cluster has {free.get('CPU', 0):g} CPUs and "
                        f"{free.get('GPU', 0):g} GPUs free"
                    )
                    yield f"the worker on {name} does not start ({why})"
