"""Workers of a cluster that die when they are told to. Each does so once, in whichever process."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from extract.cluster_worker import Worker
from extract.store import commits

PLACE = "HEADSTART_TEST_PLACE"
"""The folder in which workers and tests leave word."""
LONG = 100  # seconds; nobody waits so long unless something is wrong


def once(name: str) -> bool:
    """Return whether nobody was here before."""
    try:
        os.close(os.open(Path(os.environ[PLACE]) / name, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def wait_for(happened: Callable[[], bool]) -> None:
    """Wait until something has happened."""
    until = time.monotonic() + LONG
    while not happened() and time.monotonic() < until:
        time.sleep(0.05)


def die() -> None:
    os.kill(os.getpid(), 9)
    time.sleep(60)


class DyingBefore(Worker):
    """Dies right before its first commit, whose shard is on the disk already."""

    def make(self, *words):
        publish = commits.Commits.publish

        def dying(self, commit):
            if once("died"):
                die()
            publish(self, commit)

        commits.Commits.publish = dying
        return super().make(*words)


class DyingAfter(Worker):
    """Dies right after its first commit, and nobody hears of it."""

    def make(self, *words):
        receipt = super().make(*words)
        if once("died"):
            die()
        return receipt


class Held(Worker):
    """Leaves word before the fourth shard of all, and makes no more until it is told to go on."""

    def make(self, *words):
        if words[0] >= 3:
            once("held")
            wait_for((Path(os.environ[PLACE]) / "go").exists)
        return super().make(*words)


class Waiting(Worker):
    """Goes on once another worker has begun, too."""

    def make(self, *words):
        once(f"begun-{os.getpid()}")
        wait_for(lambda: len(list(Path(os.environ[PLACE]).glob("begun-*"))) >= 2)
        return super().make(*words)


class Stuck(Worker):
    """Never ends, and leaves word that it has begun."""

    def make(self, *words):
        once("begun")
        time.sleep(600)
        return super().make(*words)


class Blind(Worker):
    """Is on a machine where the images are not mounted."""

    def __init__(self, job, files, node, num_cores):
        from dataclasses import replace

        super().__init__(replace(job, root="/nowhere/photos"), files, node, num_cores)


class Elsewhere(Worker):
    """Is on a machine whose store is another folder of the same name."""

    def __init__(self, job, files, node, num_cores):
        from dataclasses import replace

        super().__init__(replace(job, store=f"{job.store}-of-mine"), files, node, num_cores)


class Hasty(Worker):
    """Gives a bucket up early."""

    def __init__(self, *words):
        from datetime import timedelta

        from extract import bucket

        soon = {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=9)}
        bucket.CLIENT.update(timeout="1s")
        bucket.RETRY.update(max_retries=3, backoff=soon, retry_timeout=timedelta(seconds=5))
        super().__init__(*words)


class Stranger(Hasty):
    """Is on a machine that has no credentials."""

    def __init__(self, *words):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            os.environ.pop(name, None)
        super().__init__(*words)


class Noting(Worker):
    """Leaves word of the GPUs that it was given, and is ready once another worker has done so."""

    def ready(self):
        once(f"gpus-{os.environ['CUDA_VISIBLE_DEVICES']}-{os.getpid()}")
        wait_for(lambda: len(list(Path(os.environ[PLACE]).glob("gpus-*"))) >= 2)
        return super().ready()


class OfOtherWeights(Worker):
    """Is on a machine whose file of the backbone's weights is another one."""

    def __init__(self, job, files, node, num_cores):
        from dataclasses import replace

        prepared = replace(job.plan.prepared, weights_digest="0" * 64)
        plan = replace(job.plan, prepared=prepared)
        super().__init__(replace(job, plan=plan), files, node, num_cores)
